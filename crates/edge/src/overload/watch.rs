//! Looks at the process's memory, again and again.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use pingora_core::{server::ShutdownWatch, services::background::BackgroundService};

use super::Overload;
use crate::process;

/// How often. A burst that fills the memory in less is the system's to deal with.
const INTERVAL: Duration = Duration::from_millis(250);

/// Tells the [`Overload`] how much memory is used.
pub(crate) struct MemoryWatch(Arc<Overload>);

impl MemoryWatch {
    pub(crate) fn new(overload: Arc<Overload>) -> Self {
        Self(overload)
    }

    async fn watch(&self) {
        loop {
            match process::memory() {
                Ok(memory) => self.0.observe(memory.resident),
                // Not known is not short.
                Err(error) => tracing::debug!(%error, "the used memory can't be read"),
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }
}

#[async_trait]
impl BackgroundService for MemoryWatch {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        tokio::select! {
            // An error is the end of who would say so.
            _ = shutdown.wait_for(|is_stopping| *is_stopping) => {}
            () = self.watch() => {}
        }
    }
}
