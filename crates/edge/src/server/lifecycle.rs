//! A process of its own, from its start to the reason for its end: what it takes over from the
//! process before it, what the service manager is told, and what the one after it is given.

use std::{
    fs,
    future::pending,
    os::{fd::OwnedFd, unix::net::UnixListener},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use landfall_certstore::{GroupKeys, Resolver};
use landfall_feed::lkg::SealedTo;
use prometheus::Registry;
use tokio::{
    net::UnixListener as TokioListener,
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval, timeout},
};

use super::{
    run_directory,
    shutdown::{Asked, Drain, Settings, Wishes},
};
use crate::{
    EdgeError,
    config::ServerSettings,
    duty::Duty,
    handover::{
        Handed, HandoverMetrics, Outcome, SOCKET, Succession, ToPredecessor, ToSuccessor,
        attempt::{Attempt, Estate, Program},
        channel::{Channel, Watched},
        control::{self, Request},
    },
    readiness::{Readiness, Serving},
    site::Site,
    sync::{Filling, describe},
    systemd,
};

/// How long a write of the state may take that a hand-over waits for.
const LAST_WRITE: Duration = Duration::from_secs(30);
/// How long the services' runtimes may take to run something once they have started.
const FIRST_ANSWER: Duration = Duration::from_secs(10);
/// How long the old process may take to say that this one is to take over.
const UNTIL_GO: Duration = Duration::from_secs(10);
/// How many processes that were handed over from drain at a time.
const MAX_DRAINING: usize = 4;
/// How often what the service manager shows is brought up to date.
const STATUS: Duration = Duration::from_secs(1);
/// The parts of the watchdog's interval: at each the runtimes are asked, and one may fail before the
/// interval is over.
const PARTS: u32 = 3;

/// What a process has beyond its server.
pub(crate) struct Process {
    program: Program,
    duty: Arc<Duty>,
    filling: watch::Receiver<Filling>,
    state: State,
    control: UnixListener,
    control_path: PathBuf,
    /// The socket of the process before it, where that has another run directory.
    left_behind: Option<PathBuf>,
    drain: Duration,
    listeners: Vec<Handed>,
    succession: Option<Succession>,
    /// To the processes that drain, the oldest first.
    draining: Vec<Channel>,
    metrics: HandoverMetrics,
    abandoned: Arc<AtomicBool>,
}

/// What is served, and whether all of it can be.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) resolver: Resolver<Site>,
    pub(crate) keys: Arc<GroupKeys>,
}

/// How a start ended.
enum Started {
    Serving,
    Asked(Asked),
    /// The old process does not hand over.
    Abandoned,
}

impl Process {
    /// Listens for who asks for a hand-over, unless that is handed over as well.
    ///
    /// # Errors
    /// [`EdgeError::Directory`], [`EdgeError::RunDirectory`], [`EdgeError::Control`], [`EdgeError::Program`] and
    /// [`EdgeError::Metrics`].
    pub(crate) fn new(
        settings: &ServerSettings,
        (duty, filling): (Arc<Duty>, watch::Receiver<Filling>),
        state: State,
        control: Option<(String, UnixListener)>,
        registry: &Registry,
    ) -> Result<Self, EdgeError> {
        run_directory::make(&settings.run_directory)?;
        let path = settings.run_directory.join(SOCKET);
        let (control, left_behind) = match control {
            Some((known, listener)) if path.to_str() == Some(&known) => (Ok(listener), None),
            Some((known, _)) => (control::listen(&path), Some(PathBuf::from(known))),
            None => (control::listen(&path), None),
        };
        let failed = |source| EdgeError::Control { path: path.clone(), source };
        let control = control.map_err(failed)?;
        control.set_nonblocking(true).map_err(failed)?;
        Ok(Self {
            program: Program::own().map_err(EdgeError::Program)?,
            duty,
            filling,
            state,
            control,
            control_path: path,
            left_behind,
            drain: settings.handover_drain,
            listeners: Vec::new(),
            succession: None,
            draining: Vec::new(),
            metrics: HandoverMetrics::new(registry)?,
            abandoned: Arc::default(),
        })
    }

    /// It takes over from another one.
    pub(crate) fn succeeding(self, succession: Option<Succession>) -> Self {
        Self { succession, ..self }
    }

    /// Has copies of what it listens at.
    pub(super) fn with_listeners(self, listeners: Vec<Handed>) -> Self {
        Self { listeners, ..self }
    }

    /// Whether nothing was handed over to it.
    pub(super) fn abandoned(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.abandoned)
    }

    /// Starts, takes over, and serves until there is a reason to end: `None` is to be done at once.
    /// The copies of the listeners are closed then.
    pub(super) async fn reign(mut self, settings: &Settings, wishes: &mut Wishes) -> Option<Drain> {
        let asked = match self.start(settings, wishes).await {
            Started::Serving => {
                systemd::ready(self.state.words()).await;
                let alive = tell_alive(settings, systemd::watchdog_interval());
                let state = self.state.clone();
                tokio::select! {
                    end = self.serve(settings, wishes) => match end {
                        Ok(handed_over) => return Some(handed_over),
                        Err(asked) => asked,
                    },
                    () = alive => return None,
                    () = state.tell() => return None,
                }
            }
            Started::Asked(asked) => asked,
            Started::Abandoned => {
                self.abandoned.store(true, Ordering::Release);
                return None;
            }
        };
        systemd::stopping().await;
        match asked {
            Asked::Drain | Asked::HandOver => Some(Drain::Stop),
            Asked::End => None,
        }
    }

    async fn start(&mut self, settings: &Settings, wishes: &mut Wishes) -> Started {
        let succession = self.succession.take();
        let asked = loop {
            tokio::select! {
                asked = settings.wait(wishes) => match asked {
                    Asked::HandOver => tracing::warn!("asked to hand over before it serves"),
                    Asked::Drain | Asked::End => break asked,
                },
                started = self.is_ready(settings) => match succession {
                    None => return Started::Serving,
                    Some(succession) => return self.take_over(succession, started).await,
                },
            }
        };
        match succession {
            None => Started::Asked(asked),
            Some(succession) => {
                let service = settings.failure.service();
                succession.refuse(&match service {
                    Some(service) => format!("the service `{service}` stopped by itself"),
                    None => "the new process was told to stop".to_owned(),
                });
                Started::Abandoned
            }
        }
    }

    /// Ready once all services run, and what is on disk is loaded or known not to be.
    async fn is_ready(&self, settings: &Settings) -> Result<(), String> {
        settings.runtimes.all_started(settings.services).await;
        let mut filling = self.filling.clone();
        let filled = filling.wait_for(|filling| *filling != Filling::Goes).await;
        let filled = filled.map(|filling| filling.clone());
        if let Err(service) = settings.runtimes.answer(FIRST_ANSWER).await {
            return Err(format!("the service `{service}` does not run"));
        }
        match filled {
            Ok(Filling::Failed(reason)) => Err(format!("the state can't be loaded: {reason}")),
            // It ended, which is another one's to notice.
            Ok(Filling::Goes | Filling::Done) | Err(_) => Ok(()),
        }
    }

    /// Says that this process serves, and begins once it is told to.
    async fn take_over(&mut self, succession: Succession, ready: Result<(), String>) -> Started {
        let refusal = ready.err().or_else(|| self.state.darkens(&succession.group_keys));
        if let Some(reason) = refusal {
            succession.refuse(&reason);
            return Started::Abandoned;
        }
        let Succession { channel, draining, .. } = succession;
        let Ok(old) = channel.watched() else { return Started::Abandoned };
        let told = old.send(&ToPredecessor::Serving);
        let go = timeout(UNTIL_GO, old.receive()).await;
        if told.is_err() || !matches!(go, Ok(Ok(Some(ToSuccessor::Go)))) {
            return Started::Abandoned;
        }
        // Whether or not it hears that: it has no say any more.
        let _ = old.send(&ToPredecessor::Going);
        self.duty.begin();
        self.metrics.taken_over();
        self.draining = draining;
        self.draining.extend(old.into_channel().ok());
        self.end_oldest();
        if let Some(Err(error)) = self.left_behind.take().map(fs::remove_file) {
            tracing::warn!(%error, "the old process's socket can't be removed");
        }
        tracing::info!("the listeners were taken over");
        Started::Serving
    }

    /// Lets no more processes drain than may.
    fn end_oldest(&mut self) {
        self.draining.retain(|channel| !channel.is_over());
        let surplus = self.draining.len().saturating_sub(MAX_DRAINING);
        for oldest in self.draining.drain(..surplus) {
            // It may have ended.
            let _ = oldest.send(&ToPredecessor::End, None);
        }
    }

    /// Serves until the listeners are handed over, or until something else is asked for.
    async fn serve(&mut self, settings: &Settings, wishes: &mut Wishes) -> Result<Drain, Asked> {
        let (requests, mut asked) = mpsc::channel(1);
        let listener = match self.control.try_clone().and_then(TokioListener::from_std) {
            Ok(listener) => Some(listener),
            Err(error) => {
                tracing::error!(%error, "nobody can ask for a hand-over, but by SIGHUP");
                None
            }
        };
        let listening = async {
            match &listener {
                Some(listener) => control::serve(listener, requests).await,
                None => pending().await,
            }
        };
        let serving = async {
            loop {
                let request = tokio::select! {
                    wish = settings.wait(wishes) => match wish {
                        Asked::HandOver => None,
                        Asked::Drain | Asked::End => return Err(wish),
                    },
                    Some(request) = asked.recv() => Some(request),
                };
                let refusing = refuse_others(&mut asked);
                let outcome = tokio::select! {
                    outcome = self.hand_over() => outcome,
                    () = refusing => continue,
                    wish = ending(settings, wishes) => return Err(wish),
                };
                if let Some(successor) = self.told(outcome, request) {
                    return Ok(Drain::HandedOver { successor, limit: self.drain });
                }
            }
        };
        tokio::select! {
            end = serving => end,
            () = listening => Err(Asked::Drain),
        }
    }

    /// Tries to hand over. Dropped or failed, everything is as before.
    async fn hand_over(&mut self) -> Result<(u32, Watched), String> {
        let own = std::process::id();
        if own == 1 {
            return Err(
                "the first process of a container ends it; start a new container".to_owned()
            );
        }
        let rest = self.duty.rest(LAST_WRITE).await;
        let rest = rest.map_err(|_| "a write of the state does not end".to_owned())?;
        self.draining.retain(|channel| !channel.is_over());
        let control: OwnedFd = self.control.try_clone().map_err(|error| error.to_string())?.into();
        let path = self.control_path.to_string_lossy();
        let estate = Estate {
            listeners: &self.listeners,
            control: (&path, control),
            draining: &self.draining,
            group_keys: &self.state.keys.ids(),
        };
        let mut attempt =
            Attempt::start(&self.program, &estate).map_err(|error| describe(&error))?;
        let pid = attempt.serving().await.map_err(|error| describe(&error))?;
        systemd::main_process(pid).await;
        match attempt.go().await {
            Ok(successor) => {
                rest.for_good();
                Ok((pid, successor))
            }
            Err(error) => {
                systemd::main_process(own).await;
                Err(describe(&error))
            }
        }
    }

    /// Says what came of it to everyone who wants to know.
    fn told(
        &self,
        outcome: Result<(u32, Watched), String>,
        request: Option<Request>,
    ) -> Option<Watched> {
        let (outcome, successor) = match outcome {
            Ok((pid, successor)) => {
                tracing::info!(pid, "a new process has taken the listeners over");
                (Outcome::TakenOver { pid }, Some(successor))
            }
            Err(reason) => {
                tracing::error!(reason, "the hand-over was refused; this process goes on");
                self.metrics.refused();
                (Outcome::Refused { reason }, None)
            }
        };
        if let Some(request) = request {
            // Whoever asked may have gone.
            let _ = request.answer.send(outcome);
        }
        successor
    }
}

/// Tells who else asks that a hand-over is under way. Never ends.
async fn refuse_others(asked: &mut mpsc::Receiver<Request>) {
    while let Some(request) = asked.recv().await {
        let reason = "another hand-over is under way: ask again once it has ended".to_owned();
        let _ = request.answer.send(Outcome::Refused { reason });
    }
    pending().await
}

/// Waits for a wish to end.
async fn ending(settings: &Settings, wishes: &mut Wishes) -> Asked {
    loop {
        match settings.wait(wishes).await {
            Asked::HandOver => tracing::warn!("a hand-over is under way already"),
            wish @ (Asked::Drain | Asked::End) => return wish,
        }
    }
}

/// Gives signs of life for as long as every service's runtime runs something.
async fn tell_alive(settings: &Settings, watchdog: Option<Duration>) {
    let Some(watchdog) = watchdog else { return pending().await };
    let part = watchdog / PARTS;
    let mut ticks = interval(part.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match settings.runtimes.answer(part).await {
            Ok(()) => systemd::alive().await,
            Err(service) => {
                tracing::error!(service, "a service's runtime is stuck: no sign of life");
            }
        }
    }
}

impl State {
    /// Why this process would not serve all that one with the group keys `held` does.
    fn darkens(&self, held: &[String]) -> Option<String> {
        let missing = &self.readiness.state().missing;
        let lost = missing.keys.iter().find(|missing| held.contains(&missing.key_id))?;
        let SealedTo { key_id, certificates, hostname } = lost;
        Some(format!(
            "`keys.group_key_files` lacks the group key {key_id} that the old process holds, and \
             {certificates} certificates are sealed to it, among them one of {hostname}: put it back \
             until `landfall keys in-use` names it no more; to go without it, restart the service"
        ))
    }

    /// What is served, for a person.
    fn words(&self) -> String {
        let hostnames = self.resolver.stats().hostnames;
        let state = self.readiness.state();
        let words = match state.serving {
            Serving::Nothing => "waiting for the first state of the feed".to_owned(),
            Serving::LastKnownGood => format!("serving {hostnames} names, as last known on disk"),
            Serving::Feed => format!("serving {hostnames} names, as the feed says"),
        };
        match state.missing.certificates() {
            0 => words,
            some => format!("{words}; {some} certificates can't be served: a group key is missing"),
        }
    }

    /// Says it to the service manager whenever it changes. Never ends.
    async fn tell(&self) {
        let (mut ticks, mut told) = (interval(STATUS), String::new());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let words = self.words();
            if words != told {
                told.clone_from(&words);
                systemd::status(words).await;
            }
        }
    }
}
