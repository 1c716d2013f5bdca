//! Services that are noticed when they end.

use std::{
    net::TcpListener,
    os::fd::IntoRawFd,
    panic::AssertUnwindSafe,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use futures_util::FutureExt;
use pingora_core::{
    server::{ListenFds, ShutdownWatch},
    services::{ServiceReadyNotifier, ServiceWithDependents},
};
use tokio::sync::{Notify, watch};

use super::runtimes::Runtimes;

/// The first service that ended by itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Failure {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    service: OnceLock<&'static str>,
    happened: Notify,
    /// The server is stopping: services end, each when what it works for has ended.
    is_stopping: AtomicBool,
}

impl Failure {
    /// From here on a service's end is no failure, unless it panics.
    pub(super) fn expect_ends(&self) {
        self.shared.is_stopping.store(true, Ordering::Release);
    }

    /// Its name.
    pub(super) fn service(&self) -> Option<&'static str> {
        self.shared.service.get().copied()
    }

    /// Ready once there is one.
    pub(super) async fn happened(&self) {
        let happened = self.shared.happened.notified();
        if self.service().is_none() {
            happened.await;
        }
    }

    /// Notes that a service has ended, unless services are to end.
    fn ended(&self, service: &'static str) {
        if !self.shared.is_stopping.load(Ordering::Acquire) {
            self.report(service);
        }
    }

    /// Notes that a service has failed.
    pub(super) fn report(&self, service: &'static str) {
        tracing::error!(service, "a service stopped by itself");
        // The first one is the cause; later ones may follow from it.
        let _ = self.shared.service.set(service);
        self.shared.happened.notify_waiters();
    }
}

/// A service with its bound sockets, whose end is reported.
pub(super) struct Supervised {
    name: &'static str,
    inner: Box<dyn ServiceWithDependents>,
    sockets: Vec<(String, TcpListener)>,
    told: Told,
}

/// What a service is told, and whom it tells.
pub(super) struct Told {
    /// Says when to end.
    pub(super) shutdown: ShutdownWatch,
    /// Where its runtime is known.
    pub(super) runtimes: Arc<Runtimes>,
    /// Says when connections may be accepted.
    pub(super) on_duty: watch::Receiver<bool>,
    pub(super) failure: Failure,
}

impl Told {
    /// Waits until connections may be accepted; false where the server ends before.
    async fn may_accept(&self) -> bool {
        let (mut on_duty, mut shutdown) = (self.on_duty.clone(), self.shutdown.clone());
        tokio::select! {
            on_duty = on_duty.wait_for(|on_duty| *on_duty) => on_duty.is_ok(),
            _ = shutdown.wait_for(|is_stopping| *is_stopping) => false,
        }
    }
}

impl Supervised {
    pub(super) fn new(
        name: &'static str,
        inner: Box<dyn ServiceWithDependents>,
        sockets: Vec<(String, TcpListener)>,
        told: Told,
    ) -> Self {
        Self { name, inner, sockets, told }
    }
}

#[async_trait]
impl ServiceWithDependents for Supervised {
    async fn start_service(
        &mut self,
        fds: Option<ListenFds>,
        _shutdown: ShutdownWatch,
        listeners_per_fd: usize,
        ready: ServiceReadyNotifier,
    ) {
        let Told { shutdown, runtimes, failure, .. } = &self.told;
        runtimes.started(self.name);
        // What waits at the sockets meanwhile is not lost: another process accepts it, or this one will.
        if !self.sockets.is_empty() && !self.told.may_accept().await {
            return;
        }
        if let Some(table) = &fds {
            for (address, socket) in self.sockets.drain(..) {
                table.lock().add(address, socket.into_raw_fd());
            }
        }
        let service = self.inner.start_service(fds, shutdown.clone(), listeners_per_fd, ready);
        // A panic would otherwise end with its task, and nobody would know.
        match AssertUnwindSafe(service).catch_unwind().await {
            Ok(()) if *shutdown.borrow() => {}
            Ok(()) => failure.ended(self.name),
            Err(_) => failure.report(self.name),
        }
    }

    fn name(&self) -> &str {
        self.name
    }

    fn threads(&self) -> Option<usize> {
        self.inner.threads()
    }

    fn listen_addresses(&self) -> Option<Vec<String>> {
        self.inner.listen_addresses()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn during_a_stop_a_service_may_end_and_not_panic() {
        let failure = Failure::default();
        failure.expect_ends();
        failure.ended("access_log");
        assert_eq!(failure.service(), None);
        failure.report("https");
        assert_eq!(failure.service(), Some("https"));
    }

    #[tokio::test]
    async fn nothing_is_accepted_before_the_turn_has_come_nor_once_the_server_ends() {
        let (on_duty, shutdown) = (watch::Sender::new(false), watch::Sender::new(false));
        let told = || Told {
            shutdown: shutdown.subscribe(),
            runtimes: Arc::default(),
            on_duty: on_duty.subscribe(),
            failure: Failure::default(),
        };
        let (first, second) = (told(), told());
        let mut waiting = Box::pin(first.may_accept());
        assert!(futures_util::poll!(&mut waiting).is_pending());
        on_duty.send_replace(true);
        assert!(waiting.await);
        on_duty.send_replace(false);
        shutdown.send_replace(true);
        assert!(!second.may_accept().await);
    }

    #[test]
    fn before_a_stop_a_service_that_ends_is_a_failure() {
        let failure = Failure::default();
        failure.ended("https");
        assert_eq!(failure.service(), Some("https"));
    }
}
