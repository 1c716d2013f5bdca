//! Background services that are started again when they panic.

use std::sync::Arc;

use async_trait::async_trait;
use pingora_core::{server::ShutdownWatch, services::background::BackgroundService};

use crate::{metrics::Metrics, supervise::supervise};

/// A background service whose panics don't end it.
pub(super) struct Restarted<S> {
    name: &'static str,
    service: S,
    metrics: Arc<Metrics>,
}

impl<S> Restarted<S> {
    pub(super) fn new(name: &'static str, service: S, metrics: Arc<Metrics>) -> Self {
        Self { name, service, metrics }
    }
}

#[async_trait]
impl<S: BackgroundService + Send + Sync + 'static> BackgroundService for Restarted<S> {
    async fn start(&self, shutdown: ShutdownWatch) {
        let start = || self.service.start(shutdown.clone());
        supervise(self.name, self.metrics.tasks(), start).await;
    }
}
