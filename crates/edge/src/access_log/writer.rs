//! The task that writes lines.

use std::sync::{Arc, atomic::Ordering};

use async_trait::async_trait;
use pingora_core::{server::ShutdownWatch, services::background::BackgroundService};
use tokio::sync::{Mutex, mpsc};

use super::{Shared, metrics::Dropped, sink::Output};

/// The most lines that are written at once.
const BATCH: usize = 512;

/// Writes the lines. It has threads of its own, which its sink may block.
pub(crate) struct Writer {
    /// Locked by the one run of it.
    state: Mutex<State>,
    shared: Arc<Shared>,
}

struct State {
    lines: mpsc::Receiver<Vec<u8>>,
    output: Output,
    /// Whether the last write failed: it is said once.
    is_failing: bool,
}

impl Writer {
    pub(super) fn new(lines: mpsc::Receiver<Vec<u8>>, output: Output, shared: Arc<Shared>) -> Self {
        Self { state: Mutex::new(State { lines, output, is_failing: false }), shared }
    }
}

impl State {
    fn write(&mut self, bytes: &[u8], count: usize, shared: &Shared) {
        match self.output.write(bytes) {
            Ok(()) => {
                shared.metrics.written(count);
                if std::mem::replace(&mut self.is_failing, false) {
                    tracing::info!("the access log is written again");
                }
            }
            Err(error) => {
                shared.metrics.dropped(Dropped::Write, count);
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::error!(%error, "the access log cannot be written");
                }
            }
        }
    }
}

#[async_trait]
impl BackgroundService for Writer {
    /// Tasks are told of the end when the last request has ended: what waits then is all there is.
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut state = self.state.lock().await;
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let count = tokio::select! {
                biased;
                count = state.lines.recv_many(&mut batch, BATCH) => count,
                _ = shutdown.changed() => {
                    state.lines.close();
                    continue;
                }
            };
            if count == 0 {
                return;
            }
            let bytes = batch.concat();
            batch.clear();
            self.shared.waiting.fetch_sub(bytes.len(), Ordering::Relaxed);
            state.write(&bytes, count, &self.shared);
        }
    }
}
