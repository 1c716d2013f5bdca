//! What ends the server.

use std::{future::Future, sync::Mutex};

use async_trait::async_trait;
use futures_util::{FutureExt, future::BoxFuture};
use pingora_core::server::{ShutdownSignal, ShutdownSignalWatch, UnixShutdownSignalWatch};

use super::supervised::Failure;

/// Waits for the first reason to end.
pub(super) struct Shutdown {
    /// Taken by the one caller that waits for it.
    wanted: Mutex<Option<BoxFuture<'static, ShutdownSignal>>>,
    failure: Failure,
}

impl Shutdown {
    /// SIGTERM, SIGINT and SIGQUIT, or a service that stops.
    pub(super) fn on_signals(failure: Failure) -> Self {
        Self::new(async { UnixShutdownSignalWatch.recv().await }.boxed(), failure)
    }

    /// `stop`, or a service that stops.
    pub(super) fn on(stop: impl Future<Output = ()> + Send + 'static, failure: Failure) -> Self {
        Self::new(stop.map(|()| ShutdownSignal::GracefulTerminate).boxed(), failure)
    }

    fn new(wanted: BoxFuture<'static, ShutdownSignal>, failure: Failure) -> Self {
        Self { wanted: Mutex::new(Some(wanted)), failure }
    }

    fn take_wanted(&self) -> Option<BoxFuture<'static, ShutdownSignal>> {
        self.wanted.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }
}

#[async_trait]
impl ShutdownSignalWatch for Shutdown {
    async fn recv(&self) -> ShutdownSignal {
        let Some(wanted) = self.take_wanted() else {
            return ShutdownSignal::FastShutdown;
        };
        let signal = tokio::select! {
            signal = wanted => signal,
            // What still works goes on for the drain, then a supervisor starts the process anew.
            () = self.failure.happened() => ShutdownSignal::GracefulTerminate,
        };
        tracing::info!("stopping");
        signal
    }
}
