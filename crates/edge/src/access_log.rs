//! A line for a request, written by a task of its own.
//!
//! A request never waits for it: what does not fit into the queue, or comes faster than is allowed,
//! is dropped and counted. Whether a request is written is decided from its status and its id, so
//! that what isn't costs next to nothing.

mod metrics;
mod rate;
mod record;
mod sink;
mod writer;

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use prometheus::Registry;
use tokio::sync::mpsc;

use crate::{config::AccessLogSettings, request_id::RequestId};
use metrics::{AccessLogMetrics, Dropped};
use rate::Rate;
pub(crate) use record::Record;
use sink::Output;
pub(crate) use writer::Writer;

/// Why the access log does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessLogError {
    /// Its file can't be opened.
    #[error("cannot open {} to append to it", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A metric was not registered.
    #[error("cannot register the access log's metrics")]
    Metrics(#[source] prometheus::Error),
}

/// Takes lines.
#[derive(Clone)]
pub(crate) struct AccessLog {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Vec<u8>>,
}

struct Shared {
    sample: [f64; 6],
    rate: Rate,
    /// Bytes that wait to be written.
    waiting: AtomicUsize,
    most_waiting: usize,
    metrics: AccessLogMetrics,
}

/// Opens the log: where lines are put, and what has to run for them to be written.
pub(crate) fn open(
    settings: &AccessLogSettings,
    registry: &Registry,
) -> Result<(AccessLog, Writer), AccessLogError> {
    let metrics = AccessLogMetrics::new(registry).map_err(AccessLogError::Metrics)?;
    let output = Output::open(settings.sink.clone())?;
    let (queue, lines) = mpsc::channel(settings.queue_lines);
    let shared = Arc::new(Shared {
        sample: settings.sample,
        rate: Rate::new(settings.max_per_second),
        waiting: AtomicUsize::new(0),
        most_waiting: settings.queue_size,
        metrics,
    });
    Ok((AccessLog { shared: Arc::clone(&shared), queue }, Writer::new(lines, output, shared)))
}

impl AccessLog {
    /// Whether a request is to be written that ended with `status`, if with any.
    pub(crate) fn wants(&self, status: Option<u16>, id: &RequestId) -> bool {
        let share = self.shared.sample.get(usize::from(status.unwrap_or(0) / 100));
        match share.copied().unwrap_or(0.0) {
            share if share >= 1.0 => true,
            share if share <= 0.0 => false,
            share => position(id) < share,
        }
    }

    /// Writes a line, later.
    pub(crate) fn put(&self, record: &Record<'_>) {
        let shared = &self.shared;
        if !shared.rate.allows(record.second()) {
            return shared.metrics.dropped(Dropped::Rate, 1);
        }
        let Ok(mut line) = serde_json::to_vec(record) else { return };
        line.push(b'\n');
        let len = line.len();
        let waiting = shared.waiting.fetch_add(len, Ordering::Relaxed);
        if waiting + len > shared.most_waiting || self.queue.try_send(line).is_err() {
            shared.waiting.fetch_sub(len, Ordering::Relaxed);
            shared.metrics.dropped(Dropped::Queue, 1);
        }
    }
}

/// Where an id is between 0 and 1: the same at every edge.
fn position(id: &RequestId) -> f64 {
    let mut hasher = DefaultHasher::new();
    id.as_str().hash(&mut hasher);
    let upper = u32::try_from(hasher.finish() >> 32).unwrap_or(u32::MAX);
    f64::from(upper) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests;
