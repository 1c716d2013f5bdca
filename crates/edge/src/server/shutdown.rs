//! What ends the server, and in which order.
//!
//! pingora waits out its whole grace period, in whole seconds and deaf to signals. Here the
//! listeners are told first; once the last connection has ended, or the drain, the tasks; and
//! pingora hears of it when there is nothing left to wait for.

use std::{
    future::{Future, pending},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{
    FutureExt, StreamExt,
    stream::{self, BoxStream, Fuse},
};
use pingora_core::server::{ShutdownSignal, ShutdownSignalWatch, ShutdownWatch};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};

use super::{Signals, lifecycle::Process, runtimes::Runtimes, supervised::Failure};
use crate::{
    handover::{ToPredecessor, channel::Watched},
    patience::Patience,
    readiness::Readiness,
};

/// How long tasks may take to end.
pub(super) const GIVE_UP: Duration = Duration::from_secs(2);
/// The longest time for jobs that were begun before the end: a CA's validation takes no longer.
const JOBS: Duration = Duration::from_secs(180);

/// What is told of the end at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    /// The public listeners and their connections.
    Clients,
    /// Tasks that finish what they have begun.
    Jobs,
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
    jobs: watch::Sender<bool>,
    tasks: watch::Sender<bool>,
    operators: watch::Sender<bool>,
    /// How long idle connections are kept.
    pub(super) patience: Arc<Patience>,
}

impl Ending {
    pub(super) fn watch(&self, group: Group) -> ShutdownWatch {
        match group {
            Group::Clients => self.clients.subscribe(),
            Group::Jobs => self.jobs.subscribe(),
            Group::Tasks => self.tasks.subscribe(),
            Group::Operators => self.operators.subscribe(),
        }
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// To serve what is open, for a while.
    Drain,
    /// To hand the listeners over to a new process.
    HandOver,
    /// To end at once.
    End,
}

/// Why the listeners close, and for how long what is open is served.
pub(super) enum Drain {
    /// The process is to stop.
    Stop,
    /// Another one has the listeners. It says when there are too many that drain.
    HandedOver {
        successor: Watched,
        /// A stop that is asked for meanwhile shortens it to that of a stop.
        limit: Duration,
    },
}

/// How the server is to end.
pub(super) struct Settings {
    pub(super) ending: Arc<Ending>,
    /// How long open connections are served.
    pub(super) drain: Duration,
    pub(super) runtimes: Arc<Runtimes>,
    /// How many services there are.
    pub(super) services: usize,
    pub(super) failure: Failure,
    pub(super) readiness: Arc<Readiness>,
}

/// Waits for the first reason to end, and for the end of what is open.
pub(super) struct Shutdown {
    settings: Settings,
    /// Taken by the one caller that waits for it.
    own: Mutex<Option<(Wishes, Option<Process>)>>,
}

/// What is asked for, one after the other. Pending once nobody can ask any more.
pub(super) struct Wishes(Fuse<BoxStream<'static, Asked>>);

impl Wishes {
    /// The next one. `None`: it will never be known.
    async fn next(&mut self) -> Option<Asked> {
        self.0.next().await
    }

    /// The next one, if ever.
    pub(super) async fn next_ever(&mut self) -> Asked {
        match self.next().await {
            Some(asked) => asked,
            None => pending().await,
        }
    }
}

impl Settings {
    /// Waits for a signal, or for a service that stops.
    pub(super) async fn wait(&self, wishes: &mut Wishes) -> Asked {
        tokio::select! {
            asked = wishes.next() => asked.unwrap_or_else(|| {
                self.failure.report("signals");
                Asked::Drain
            }),
            // What still works goes on for the drain, then a supervisor starts the process anew.
            () = self.failure.happened() => Asked::Drain,
        }
    }

    /// Closes the listeners, and waits for the end of what is open.
    async fn end(&self, how: Drain, wishes: &mut Wishes) -> ShutdownSignal {
        self.failure.expect_ends();
        self.readiness.stop();
        let Self { ending, drain, .. } = self;
        let (limit, mut successor) = match how {
            Drain::Stop => (*drain, None),
            Drain::HandedOver { successor, limit } => {
                ending.patience.extend();
                // Who asks at the operators' address is to find the successor.
                ending.operators.send_replace(true);
                (limit, Some(successor))
            }
        };
        tracing::info!(drain = ?limit, "stopping: open connections are served to their end");
        ending.clients.send_replace(true);
        ending.jobs.send_replace(true);
        let mut until = Instant::now() + limit;
        let mut may_shorten = successor.is_some();
        let open = async {
            let jobs = timeout(JOBS, ending.jobs.closed());
            let ((), ended) = tokio::join!(ending.clients.closed(), jobs);
            if ended.is_err() {
                tracing::warn!("jobs are left to others: their leases run out");
            }
        };
        tokio::pin!(open);
        loop {
            tokio::select! {
                biased;
                () = &mut open => break,
                asked = wishes.next_ever() => match asked {
                    Asked::HandOver => {}
                    Asked::Drain if may_shorten => {
                        tracing::info!(?drain, "asked to stop: draining no longer than at a stop");
                        may_shorten = false;
                        until = until.min(Instant::now() + *drain);
                    }
                    Asked::Drain | Asked::End => {
                        tracing::warn!("asked to stop again: ending at once");
                        return ShutdownSignal::FastShutdown;
                    }
                },
                () = too_many(&mut successor) => {
                    tracing::warn!("too many processes drain: ending the drain of this one");
                    break;
                }
                () = sleep_until(until) => {
                    if !limit.is_zero() {
                        tracing::warn!("connections are still open at the end of the drain; cutting them");
                    }
                    break;
                }
            }
        }
        ending.tasks.send_replace(true);
        ending.operators.send_replace(true);
        // Those that go on are dropped.
        let _ = timeout(GIVE_UP, ending.tasks.closed()).await;
        tracing::info!("stopped");
        ShutdownSignal::GracefulTerminate
    }
}

/// Ready once a successor says that too many processes drain.
async fn too_many(successor: &mut Option<Watched>) {
    loop {
        let Some(channel) = successor else { return pending().await };
        match channel.receive().await {
            Ok(Some(ToPredecessor::End)) => return,
            Ok(Some(_)) => {}
            // What it would say is known by nobody any more.
            Ok(None) | Err(_) => *successor = None,
        }
    }
}

impl Shutdown {
    /// SIGTERM, SIGINT and SIGHUP, a successor, or a service that stops.
    pub(super) fn of_process(settings: Settings, process: Process, signals: Signals) -> Self {
        Self::new(settings, signals.heard(), Some(process))
    }

    /// `stop`, or a service that stops.
    pub(super) fn on(stop: impl Future<Output = ()> + Send + 'static, settings: Settings) -> Self {
        let asked = stream::once(stop.map(|()| Asked::Drain)).chain(stream::pending());
        Self::new(settings, asked.boxed(), None)
    }

    fn new(settings: Settings, asked: BoxStream<'static, Asked>, process: Option<Process>) -> Self {
        Self { settings, own: Mutex::new(Some((Wishes(asked.fuse()), process))) }
    }
}

#[async_trait]
impl ShutdownSignalWatch for Shutdown {
    async fn recv(&self) -> ShutdownSignal {
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((mut wishes, process)) = own else {
            return ShutdownSignal::FastShutdown;
        };
        let reason = match process {
            Some(process) => process.reign(&self.settings, &mut wishes).await,
            None => match self.settings.wait(&mut wishes).await {
                Asked::Drain | Asked::HandOver => Some(Drain::Stop),
                Asked::End => None,
            },
        };
        match reason {
            Some(how) => self.settings.end(how, &mut wishes).await,
            None => {
                self.settings.failure.expect_ends();
                ShutdownSignal::FastShutdown
            }
        }
    }
}
