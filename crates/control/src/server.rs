//! The running control plane: the listener, the tasks, and an orderly stop.

mod connections;

use std::{future::Future, net::SocketAddr, num::NonZeroU32, sync::Arc};

use time::OffsetDateTime;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
};

use crate::{
    api::{
        self, App, SharedApp, import::Imports, key_uses::KeyUses, lists::Lists, throttle::Throttle,
    },
    challenge_zone::Publisher,
    config::{ChecksAtATime, ControlConfig, VerificationConfig},
    error::ControlError,
    feed::snapshot::SnapshotBuilder,
    metrics::{Metrics, watch::WatchMetrics},
    notify,
    pops_seen::PopsSeen,
    refusals::Refusals,
    service::{
        AgentRules, Service, Verification,
        verification::results::{Finished, Results},
    },
    state::{self, ServerLock},
    store::Store,
    tasks,
    verification::Lane,
    watch::Watch,
};
use connections::Connections;

/// A control plane whose port is bound.
pub struct Control {
    listener: TcpListener,
    address: SocketAddr,
    app: SharedApp,
    builder: SnapshotBuilder,
    finished: mpsc::Receiver<Finished>,
    zone: Option<Publisher>,
    stop: watch::Sender<bool>,
    config: ControlConfig,
    server_lock: ServerLock,
}

/// Runs the control plane until `shutdown` completes.
///
/// # Errors
/// Where it can't start, and where one of its tasks ends by itself.
pub async fn run(
    config: ControlConfig,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ControlError> {
    Control::bind(config).await?.serve(shutdown).await
}

impl Control {
    /// Opens the state, making what a first start finds missing, and binds the port.
    ///
    /// # Errors
    /// Every [`ControlError`] of a start.
    pub async fn bind(config: ControlConfig) -> Result<Self, ControlError> {
        let state = state::open(&config).await?;
        let server_lock = state.server_lock;
        let (listener, address) = listen(config.api.listen).await?;
        let metrics = Metrics::new()?;
        let signing_key = Arc::new(state.signing_key);
        let watch = WatchMetrics::register(metrics.registry()).map_err(ControlError::Metrics)?;
        let zone = bind_zone(&config, &state.store, &metrics).await?;
        let (builder, snapshots) = SnapshotBuilder::new(
            state.store.clone(),
            Arc::clone(&signing_key),
            state.snapshots.clone(),
            config.feed,
            metrics.snapshots.clone(),
        );
        let (results, finished) = Results::channel();
        let verification = Verification::new(
            &config.verification,
            (config.issuance.scope, &config.agents),
            results,
            metrics.verification.clone(),
        );
        let service = Service {
            verification: verification.map_err(ControlError::Resolvers)?,
            store: state.store,
            ca: Arc::new(state.ca),
            authorities: Arc::new(state.authorities),
            agents: Arc::new(AgentRules::of(&config.agents, metrics.issuance.clone())),
            watch: Arc::new(Watch::new(config.watch, watch)),
            group: state.group,
            system_domain: config.system_domain.clone(),
            challenge_zone: config.challenge_zone.as_ref().map(|own| own.zone.hostname.clone()),
            issuance: config.issuance,
            origins: config.origins.clone(),
            limits: config.limits,
            pop_unhealthy_after: config.verification.pop_unhealthy_after,
            keys_per_property: config.api.keys_per_property,
        };
        let (stop, stopping) = watch::channel(false);
        let app = Arc::new(App {
            service,
            signing_key,
            snapshots,
            snapshot_directory: state.snapshots,
            long_polls: Semaphore::new(config.feed.max_long_polls),
            stopping,
            refused_pops: Refusals::default(),
            refused_api_keys: Refusals::default(),
            key_uses: KeyUses::default(),
            imports: Imports::new(),
            lists: Lists::default(),
            throttle: Throttle::new(config.api.rates),
            pops_seen: PopsSeen::default(),
            pops_refused: PopsSeen::default(),
            metrics,
            limits: config.api,
        });
        begin(&app, OffsetDateTime::now_utc()).await;
        Ok(Self { listener, address, app, builder, finished, zone, stop, config, server_lock })
    }

    /// Where it listens: the real port where port 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the zone of challenges is served, if it is: real ports where port 0 was asked for.
    pub fn dns_addresses(&self) -> Vec<SocketAddr> {
        self.zone.as_ref().map(Publisher::addresses).unwrap_or_default()
    }

    #[cfg(test)]
    pub(crate) fn app(&self) -> SharedApp {
        Arc::clone(&self.app)
    }

    /// Serves until `shutdown` completes, then lets requests in progress end.
    ///
    /// # Errors
    /// [`ControlError::Task`] where a task ends by itself.
    pub async fn serve(
        self,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ControlError> {
        let signing_key = self.app.signing_key.verifying_key();
        tracing::info!(address = %self.address, %signing_key, "listening");
        let _server_lock = self.server_lock;
        let store = self.app.service.store.clone();
        let mut background = JoinSet::new();
        spawn(&mut background, "follow head", tasks::follow_head(store.clone()));
        spawn(&mut background, "follow commands", tasks::commands::follow(store.clone()));
        let retention = self.config.feed.tombstone_retention;
        spawn(&mut background, "prune tombstones", tasks::prune(store.clone(), retention));
        spawn(&mut background, "renew certificates", tasks::renew(self.app.service.clone()));
        let service = self.app.service.clone();
        spawn(&mut background, "forget predecessors", tasks::forget_predecessors(service));
        spawn(&mut background, "do jobs", tasks::jobs::work(Arc::clone(&self.app)));
        let service = self.app.service.clone();
        spawn(&mut background, "take back leases", tasks::leases::take_back(service));
        spawn(&mut background, "rotate tickets", tasks::rotate_tickets(Arc::clone(&self.app)));
        spawn(&mut background, "note key uses", tasks::note_key_uses(Arc::clone(&self.app)));
        spawn(&mut background, "build snapshots", self.builder.run());
        spawn(&mut background, "note PoPs", tasks::keep_seen(Arc::clone(&self.app)));
        let results = tasks::verify::keep_results(store.clone(), self.finished);
        spawn(&mut background, "keep verifications", results);
        let service = self.app.service.clone();
        spawn(&mut background, "keep checks in time", tasks::schedule::keep(service));
        if self.config.watch.handshakes {
            spawn(&mut background, "look at PoPs", tasks::watch::look(self.app.service.clone()));
        }
        if let Some(publisher) = self.zone {
            spawn(&mut background, "publish DNS challenges", publisher.run());
        }
        spawn_lanes(&mut background, &self.app.service, &self.config.verification);
        if let Some(interval) = notify::watchdog_interval() {
            let watched = notify::keep_alive(store.clone(), interval, notify::alive);
            spawn(&mut background, "answer the watchdog", watched);
        }

        let router = api::router(Arc::clone(&self.app));
        let app = Arc::clone(&self.app);
        let mut connections = Connections::new(self.app);
        notify::ready(format!("API and feed on {}", self.address)).await;
        let ended = tokio::select! {
            () = shutdown => Ok(()),
            task = first_to_end(&mut background) => Err(ControlError::Task { task }),
            task = connections.accept(self.listener, router) => Err(ControlError::Task { task }),
        };
        tracing::info!("stopping");
        notify::stopping().await;
        self.stop.send_replace(true);
        connections.drain(self.config.api.drain).await;
        background.shutdown().await;
        tasks::note_key_uses_once(&app, OffsetDateTime::now_utc()).await;
        store.close().await;
        ended
    }
}

/// Binds a port and says which it is: the real one where 0 was asked for.
async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ControlError> {
    let failed = |source| ControlError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

async fn bind_zone(
    config: &ControlConfig,
    store: &Store,
    metrics: &Metrics,
) -> Result<Option<Publisher>, ControlError> {
    let Some(zone) = &config.challenge_zone else { return Ok(None) };
    Publisher::bind(zone, store.clone(), metrics.registry()).await.map(Some)
}

fn spawn(
    tasks: &mut JoinSet<&'static str>,
    name: &'static str,
    task: impl Future<Output = ()> + Send + 'static,
) {
    tasks.spawn(async move {
        task.await;
        name
    });
}

fn spawn_lanes(tasks: &mut JoinSet<&'static str>, service: &Service, config: &VerificationConfig) {
    let ChecksAtATime { fresh, pending, active } = config.checks;
    let lanes = [
        ("verify new hostnames", Lane::Fresh, fresh, None),
        ("verify pending hostnames", Lane::Pending, pending, None),
        ("verify active hostnames", Lane::Active, active, NonZeroU32::new(config.recheck_rate)),
    ];
    for (name, lane, at_a_time, pace) in lanes {
        spawn(tasks, name, tasks::verify::run(service.clone(), lane, at_a_time, pace));
    }
}

/// What is done before an edge can ask: its first snapshot has the secrets of tickets.
async fn begin(app: &App, now: OffsetDateTime) {
    tasks::ticket_round(&app.service, &app.metrics, now).await;
    tasks::leases::lift_holds(&app.service, now).await;
}

/// Waits for a task that should never end, and names it.
async fn first_to_end(tasks: &mut JoinSet<&'static str>) -> &'static str {
    match tasks.join_next().await {
        Some(Ok(name)) => name,
        Some(Err(error)) => {
            tracing::error!(%error, "a background task panicked");
            "background"
        }
        None => "background",
    }
}
