//! What ends the server, and in which order.
//!
//! pingora waits out its whole grace period, in whole seconds and deaf to signals. Here the
//! listeners are told first; once the last connection has ended, or the drain, the tasks; and
//! pingora hears of it when there is nothing left to wait for.

use std::{
    future::{Future, pending},
    io,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{
    FutureExt, StreamExt,
    stream::{self, BoxStream},
};
use pingora_core::server::{ListenFds, ShutdownSignal, ShutdownSignalWatch, ShutdownWatch};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    time::timeout,
};

use super::supervised::Failure;
use crate::readiness::Readiness;

/// How long tasks may take to end.
pub(super) const GIVE_UP: Duration = Duration::from_secs(2);
/// How long a new process has to begin accepting after the listeners were handed to it.
const HAND_OVER: Duration = Duration::from_secs(5);

/// What is told of the end at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    /// The public listeners and their connections.
    Clients,
    /// Tasks, which are of use as long as there are connections.
    Tasks,
    /// The operators' listener, for which nothing waits.
    Operators,
}

/// Tells groups of the end, and knows when they have ended: whoever belongs to one holds its watch
/// for as long as it lives.
#[derive(Debug, Default)]
pub(super) struct Ending {
    clients: watch::Sender<bool>,
    tasks: watch::Sender<bool>,
    operators: watch::Sender<bool>,
}

impl Ending {
    pub(super) fn watch(&self, group: Group) -> ShutdownWatch {
        match group {
            Group::Clients => self.clients.subscribe(),
            Group::Tasks => self.tasks.subscribe(),
            Group::Operators => self.operators.subscribe(),
        }
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// To serve what is open, for a while.
    Drain,
    /// To give the listeners to a new process, and then the same.
    HandOver,
    /// To end at once.
    End,
}

/// How the server is to end.
pub(super) struct Settings {
    pub(super) ending: Arc<Ending>,
    /// How long open connections are served.
    pub(super) drain: Duration,
    /// The listeners as pingora hands them over, once they are there.
    pub(super) listeners: Arc<OnceLock<ListenFds>>,
    /// Where a new process waits for them.
    pub(super) upgrade_socket: String,
    pub(super) failure: Failure,
    pub(super) readiness: Arc<Readiness>,
}

/// Waits for the first reason to end, and for the end of what is open.
pub(super) struct Shutdown {
    settings: Settings,
    /// Taken by the one caller that waits for it.
    asked: Mutex<Option<BoxStream<'static, Asked>>>,
}

impl Shutdown {
    /// SIGTERM, SIGINT and SIGQUIT, or a service that stops.
    pub(super) fn on_signals(settings: Settings) -> Self {
        Self::new(settings, signals())
    }

    /// `stop`, or a service that stops.
    pub(super) fn on(stop: impl Future<Output = ()> + Send + 'static, settings: Settings) -> Self {
        let asked = stream::once(stop.map(|()| Asked::Drain)).chain(stream::pending());
        Self::new(settings, asked.boxed())
    }

    fn new(settings: Settings, asked: BoxStream<'static, Asked>) -> Self {
        Self { settings, asked: Mutex::new(Some(asked)) }
    }

    async fn wait(&self, asked: &mut BoxStream<'static, Asked>) -> Asked {
        tokio::select! {
            asked = asked.next() => asked.unwrap_or_else(|| {
                self.settings.failure.report("signals");
                Asked::Drain
            }),
            // What still works goes on for the drain, then a supervisor starts the process anew.
            () = self.settings.failure.happened() => Asked::Drain,
        }
    }

    async fn end(&self, asked: Asked) -> ShutdownSignal {
        match asked {
            Asked::Drain => {}
            Asked::HandOver => self.hand_over().await,
            Asked::End => return ShutdownSignal::FastShutdown,
        }
        let Settings { ending, drain, .. } = &self.settings;
        tracing::info!(?drain, "stopping: open connections are served to their end");
        ending.clients.send_replace(true);
        if timeout(*drain, ending.clients.closed()).await.is_err() && !drain.is_zero() {
            tracing::warn!("connections are still open at the end of the drain; cutting them");
        }
        ending.tasks.send_replace(true);
        ending.operators.send_replace(true);
        // Those that go on are dropped.
        let _ = timeout(GIVE_UP, ending.tasks.closed()).await;
        tracing::info!("stopped");
        ShutdownSignal::GracefulTerminate
    }

    async fn hand_over(&self) {
        let Settings { listeners, upgrade_socket, .. } = &self.settings;
        let Some(listeners) = listeners.get().map(Arc::clone) else { return };
        let socket = upgrade_socket.clone();
        let send = move || listeners.lock().send_to_sock(socket.as_str());
        match tokio::task::spawn_blocking(send).await {
            Ok(Ok(_)) => tokio::time::sleep(HAND_OVER).await,
            Ok(Err(error)) => tracing::error!(%error, "no process takes the listeners over"),
            Err(error) => tracing::error!(%error, "the listeners can't be handed over"),
        }
    }
}

#[async_trait]
impl ShutdownSignalWatch for Shutdown {
    async fn recv(&self) -> ShutdownSignal {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut asked) = asked else {
            return ShutdownSignal::FastShutdown;
        };
        let first = self.wait(&mut asked).await;
        self.settings.failure.expect_ends();
        self.settings.readiness.stop();
        let again = async {
            match asked.next().await {
                Some(_) => tracing::warn!("asked to stop again: ending at once"),
                None => pending().await,
            }
        };
        tokio::select! {
            () = again => ShutdownSignal::FastShutdown,
            signal = self.end(first) => signal,
        }
    }
}

/// The process's signals.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Drain,
            _ = self.interrupt.recv() => Asked::End,
            _ = self.quit.recv() => Asked::HandOver,
        }
    }
}

/// Ends where the system does not let signals be handled. They are from the first look on.
fn signals() -> BoxStream<'static, Asked> {
    let next = |signals: Option<Signals>| async {
        let mut signals = match signals {
            Some(signals) => signals,
            None => Signals::new().ok()?,
        };
        Some((signals.next().await, Some(signals)))
    };
    stream::unfold(None, next).boxed()
}
