//! The process: its listeners, its services, its signals and its end.
//!
//! [`build`] binds every address before anything runs, so that an address in use is an error and
//! not a service that dies. A service that ends by itself ends the process: a supervisor starts
//! it again, and it serves from its last-known-good state.

mod background;
mod descriptors;
mod lifecycle;
pub(crate) mod run_directory;
mod runtimes;
mod shutdown;
mod signals;
mod supervised;

use std::{
    future::Future,
    io,
    net::{SocketAddr, TcpListener},
    num::NonZeroU16,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use landfall_certstore::Resolver;
use landfall_model::LookupName;
use pingora_core::{
    apps::ServerApp,
    listeners::{L4BufferSettings, ListenerConfig},
    server::{RunArgs, Server, configuration::ServerConf},
    services::{
        ServiceWithDependents,
        background::{BackgroundService, background_service},
        listening::Service,
    },
};
use socket2::{Domain, Socket, Type};
use tokio::sync::watch;

use crate::{
    EdgeError, access_log,
    admin::Admin,
    admission::Admission,
    answer::Answering,
    challenges::Challenges,
    config::EdgeConfig,
    duty::Duty,
    front::{Door, FrontSettings, Gate, PlainFront, TlsFront},
    handover::{self, Handed, Kind},
    kept::Kept,
    metrics::Metrics,
    overload::{MemoryWatch, Overload},
    process,
    properties::Properties,
    proxy::{EdgeProxy, Outward},
    readiness::Readiness,
    site::Site,
    traces,
    upstream::{Upstreams, roots},
};
use background::Restarted;
pub(crate) use descriptors::Descriptors;
pub(crate) use lifecycle::{Process, State};
use runtimes::Runtimes;
use shutdown::{Ending, GIVE_UP, Group, Settings, Shutdown};
pub use signals::Signals;
use supervised::{Failure, Supervised, Told};

/// Threads for reading certificates, for each service.
const BLOCKING_THREADS: usize = 32;
/// Connections that wait to be accepted; the system caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 65_535;

/// What the server serves from, and what it tells.
pub struct Parts {
    /// Where names and certificates are found.
    pub resolver: Resolver<Site>,
    /// What the hostnames of a property have in common.
    pub properties: Arc<Properties>,
    /// The challenges of CAs.
    pub challenges: Arc<Challenges>,
    /// What `/readyz` says.
    pub readiness: Arc<Readiness>,
    /// What `/metrics` says.
    pub metrics: Arc<Metrics>,
}

/// Where the server listens. Differs from the configuration where that says port 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// TLS
    pub https: Vec<SocketAddr>,
    /// Plain HTTP
    pub http: Vec<SocketAddr>,
    /// The operators' listener
    pub admin: SocketAddr,
}

/// A server that is bound and not running yet.
pub struct EdgeServer {
    server: Server,
    metrics: Arc<Metrics>,
    ending: Arc<Ending>,
    drain: Duration,
    runtimes: Arc<Runtimes>,
    services: usize,
    /// Copies of the listening sockets, for a successor.
    listeners: Vec<Handed>,
    /// Whether connections may be accepted.
    on_duty: watch::Receiver<bool>,
    failure: Failure,
    readiness: Arc<Readiness>,
    addresses: Addresses,
}

/// What keeps clients from taking too much.
struct Guards {
    gate: Gate,
    overload: Arc<Overload>,
}

/// A bound socket and where it is bound.
struct Bound {
    /// Where the system chose the port, not that of the configuration.
    address: SocketAddr,
    socket: TcpListener,
    /// For a successor.
    copy: Handed,
}

/// Binds every listener and makes the services.
///
/// # Errors
/// [`EdgeError::Bind`], [`EdgeError::Directory`], [`EdgeError::RunDirectory`], [`EdgeError::Metrics`],
/// [`EdgeError::AccessLog`] and [`EdgeError::Traces`].
pub fn build(config: &EdgeConfig, parts: Parts) -> Result<EdgeServer, EdgeError> {
    build_with(config, parts, (Vec::new(), Duty::on().watch()))
}

/// As [`build`], with the sockets of `handed` that the configuration names; the others are closed. No
/// connection is accepted before `on_duty`: until then whoever handed them over does.
pub(crate) fn build_with(
    config: &EdgeConfig,
    parts: Parts,
    (mut handed, on_duty): (Vec<Handed>, watch::Receiver<bool>),
) -> Result<EdgeServer, EdgeError> {
    run_directory::make(&config.server.run_directory)?;
    parts.metrics.watch_store(parts.resolver.clone())?;
    let https = bind_all(Kind::Https, &config.listen.https, &mut handed)?;
    let http = bind_all(Kind::Http, &config.listen.http, &mut handed)?;
    let admin = bind(Kind::Admin, config.listen.admin, &mut handed)?;
    drop(handed);
    let addresses = Addresses {
        https: https.iter().map(|bound| bound.address).collect(),
        http: http.iter().map(|bound| bound.address).collect(),
        admin: admin.address,
    };
    let roots = roots::write(config.upstream.ca_file.as_deref(), &config.server.run_directory);
    let roots = roots.map_err(EdgeError::Roots)?;
    let (upstreams, upkeep) = Upstreams::new(
        &config.upstream,
        addresses.admin,
        &roots,
        Arc::clone(&parts.properties),
        parts.metrics.registry(),
    )?;
    let server = Server::new_with_opt_and_conf(None, server_conf(config, &roots));
    let mut edge = EdgeServer {
        server,
        metrics: Arc::clone(&parts.metrics),
        ending: Arc::default(),
        drain: config.server.drain,
        runtimes: Arc::default(),
        services: 0,
        listeners: Vec::new(),
        on_duty,
        failure: Failure::default(),
        readiness: Arc::clone(&parts.readiness),
        addresses,
    };
    edge.add_background("origin-names", upkeep.names);
    edge.add_background("origin-checks", upkeep.checks);
    let guards = guards(config, &parts)?;
    let outward = edge.outward(config, &parts, upstreams)?;
    edge.add_https(config, &parts, &guards, &outward, https);
    edge.add_http(config, &parts, &guards, &outward, http);
    edge.add_admin(config, parts, admin);
    edge.add_background("memory", MemoryWatch::new(guards.overload));
    Ok(edge)
}

impl EdgeServer {
    /// Where it listens.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Adds a task that runs as long as the server. It is told of the shutdown once no connection
    /// is open. Where it panics it is started again, as [`supervise`](crate::supervise::supervise)
    /// does; where it ends before, the server ends with [`EdgeError::ServiceStopped`].
    pub fn add_background<S>(&mut self, name: &'static str, service: S)
    where
        S: BackgroundService + Send + Sync + 'static,
    {
        self.add_task(name, service, Group::Tasks);
    }

    /// As [`Self::add_background`], for a task that finishes what it has: it is told of the shutdown
    /// at once, and given the drain to end by itself.
    pub(crate) fn add_finishing<S>(&mut self, name: &'static str, service: S)
    where
        S: BackgroundService + Send + Sync + 'static,
    {
        self.add_task(name, service, Group::Jobs);
    }

    fn add_task<S>(&mut self, name: &'static str, service: S, group: Group)
    where
        S: BackgroundService + Send + Sync + 'static,
    {
        let restarted = Restarted::new(name, service, Arc::clone(&self.metrics));
        let service = background_service(name, restarted);
        self.add(name, Box::new(service), Vec::new(), group);
    }

    /// Runs as a process of its own: until SIGTERM (open connections are drained), SIGINT (at once),
    /// or until a successor has taken the listeners over, which SIGHUP asks for. A second SIGTERM
    /// ends it at once.
    ///
    /// # Errors
    /// [`EdgeError::ServiceStopped`] and [`EdgeError::NotTakenOver`].
    pub(crate) fn run(mut self, process: Process, signals: Signals) -> Result<(), EdgeError> {
        let listeners = std::mem::take(&mut self.listeners);
        let process = process.with_listeners(listeners);
        let abandoned = process.abandoned();
        let shutdown = Shutdown::of_process(self.settings(), process, signals);
        self.run_with(shutdown)?;
        if abandoned.load(Ordering::Acquire) {
            return Err(EdgeError::NotTakenOver);
        }
        Ok(())
    }

    /// Runs until `stop` is ready, and drains. Leaves the process's signals alone.
    ///
    /// # Errors
    /// [`EdgeError::ServiceStopped`].
    pub fn run_until(
        mut self,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), EdgeError> {
        self.listeners.clear();
        let shutdown = Shutdown::on(stop, self.settings());
        self.run_with(shutdown)
    }

    fn run_with(mut self, shutdown: Shutdown) -> Result<(), EdgeError> {
        let addresses = &self.addresses;
        tracing::info!(
            https = ?addresses.https, http = ?addresses.http, admin = %addresses.admin,
            "the edge is listening"
        );
        self.server.bootstrap();
        self.server.run(RunArgs { shutdown_signal: Box::new(shutdown) });
        match self.failure.service() {
            Some(service) => Err(EdgeError::ServiceStopped { service: service.to_owned() }),
            None => Ok(()),
        }
    }

    fn settings(&self) -> Settings {
        Settings {
            ending: Arc::clone(&self.ending),
            drain: self.drain,
            runtimes: Arc::clone(&self.runtimes),
            services: self.services,
            failure: self.failure.clone(),
            readiness: Arc::clone(&self.readiness),
        }
    }

    fn add_https(
        &mut self,
        config: &EdgeConfig,
        parts: &Parts,
        guards: &Guards,
        outward: &Outward,
        bound: Vec<Bound>,
    ) {
        let resolver = parts.resolver.clone();
        let conf = &self.server.configuration;
        let proxy = EdgeProxy::app(config, conf, parts, outward, &guards.overload);
        let front = TlsFront::new(
            Kept::new(proxy, config, Arc::clone(&parts.metrics)),
            resolver,
            guards.gate.clone(),
            front_settings(config, parts, &self.ending),
        );
        self.listen("https", Group::Clients, front, bound, config.server.threads.get());
    }

    fn add_http(
        &mut self,
        config: &EdgeConfig,
        parts: &Parts,
        guards: &Guards,
        outward: &Outward,
        bound: Vec<Bound>,
    ) {
        if bound.is_empty() {
            return;
        }
        let conf = &self.server.configuration;
        let proxy = EdgeProxy::app(config, conf, parts, outward, &guards.overload);
        let app = Kept::new(proxy, config, Arc::clone(&parts.metrics));
        let door = Door::Public(guards.gate.clone());
        let front = PlainFront::new(app, door, front_settings(config, parts, &self.ending));
        self.listen("http", Group::Clients, front, bound, config.server.threads.get());
    }

    /// Opens the access log, makes what traces, and finds out where clients find TLS.
    fn outward(
        &mut self,
        config: &EdgeConfig,
        parts: &Parts,
        upstreams: Upstreams,
    ) -> Result<Outward, EdgeError> {
        let registry = parts.metrics.registry();
        let listened = || self.addresses.https.first().map_or(443, SocketAddr::port);
        let https_port = config.http.https_port.map_or_else(listened, NonZeroU16::get);
        let upstreams = Arc::new(upstreams);
        let mut outward = Outward { https_port, access_log: None, tracer: None, upstreams };
        if let Some(settings) = &config.access_log {
            let (log, writer) =
                access_log::open(settings, registry).map_err(EdgeError::AccessLog)?;
            self.add_background("access_log", writer);
            outward.access_log = Some(log);
        }
        if let Some(settings) = &config.tracing {
            let (tracer, exporter) =
                traces::start(settings, registry).map_err(EdgeError::Traces)?;
            self.add_background("traces", exporter);
            outward.tracer = Some(tracer);
        }
        Ok(outward)
    }

    fn add_admin(&mut self, config: &EdgeConfig, parts: Parts, bound: Bound) {
        let settings = front_settings(config, &parts, &self.ending);
        let app = Answering::new(Admin::new(parts.readiness, parts.metrics));
        let front = PlainFront::new(app, Door::Operators, settings);
        self.listen("admin", Group::Operators, front, vec![bound], 1);
    }

    fn listen<A>(
        &mut self,
        name: &'static str,
        group: Group,
        app: A,
        bound: Vec<Bound>,
        threads: usize,
    ) where
        A: ServerApp + Send + Sync + 'static,
    {
        let mut service = Service::new(name.to_owned(), app);
        service.threads = Some(threads);
        let mut sockets = Vec::with_capacity(bound.len());
        for Bound { address, socket, copy } in bound {
            self.listeners.push(copy);
            let address = address.to_string();
            // rustls and HTTP have buffers of their own.
            let listener = ListenerConfig::tcp(&address).l4_buffer(L4BufferSettings::unbuffered());
            service.add_listener(listener);
            sockets.push((address, socket));
        }
        self.add(name, Box::new(service), sockets, group);
    }

    fn add(
        &mut self,
        name: &'static str,
        service: Box<dyn ServiceWithDependents>,
        sockets: Vec<(String, TcpListener)>,
        group: Group,
    ) {
        let told = Told {
            shutdown: self.ending.watch(group),
            runtimes: Arc::clone(&self.runtimes),
            on_duty: self.on_duty.clone(),
            failure: self.failure.clone(),
        };
        self.services += 1;
        self.server.add_service(Supervised::new(name, service, sockets, told));
    }
}

fn front_settings(config: &EdgeConfig, parts: &Parts, ending: &Ending) -> FrontSettings {
    FrontSettings {
        limits: config.limits.clone(),
        default_hostname: config.default_hostname.as_ref().map(LookupName::from),
        metrics: Arc::clone(&parts.metrics),
        challenges: Arc::clone(&parts.challenges),
        patience: Arc::clone(&ending.patience),
    }
}

fn guards(config: &EdgeConfig, parts: &Parts) -> Result<Guards, EdgeError> {
    let (limits, registry) = (&config.limits, parts.metrics.registry());
    let descriptors = Descriptors::of_process();
    let memory = limits.memory.unwrap_or_else(process::default_memory_limit);
    let overload = Arc::new(Overload::new(memory, descriptors, registry)?);
    let capacity = limits.connections.unwrap_or(usize::MAX).min(descriptors.connections());
    let admission = Admission::new(limits.admission, capacity, Arc::clone(&overload), registry)?;
    let proxies = config.listen.proxy_protocol_from.clone().into();
    Ok(Guards { gate: Gate { admission: Arc::new(admission), proxies }, overload })
}

fn server_conf(config: &EdgeConfig, roots: &Path) -> ServerConf {
    let in_run_directory =
        |name: &str| config.server.run_directory.join(name).to_string_lossy().into_owned();
    ServerConf {
        threads: config.server.threads.get(),
        pid_file: in_run_directory("edge.pid"),
        // Neither is made: see `handover`.
        upgrade_sock: in_run_directory("upgrade.sock"),
        // It has passed when pingora hears of the end.
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(GIVE_UP.as_secs()),
        upstream_keepalive_pool_size: config.upstream.pool_size,
        ca_file: Some(roots.to_string_lossy().into_owned()),
        max_retries: config.upstream.tries.get(),
        max_blocking_threads: Some(BLOCKING_THREADS),
        ..ServerConf::default()
    }
}

fn bind_all(
    kind: Kind,
    addresses: &[SocketAddr],
    handed: &mut Vec<Handed>,
) -> Result<Vec<Bound>, EdgeError> {
    addresses.iter().map(|address| bind(kind, *address, handed)).collect()
}

fn bind(kind: Kind, configured: SocketAddr, handed: &mut Vec<Handed>) -> Result<Bound, EdgeError> {
    let failed = |source| EdgeError::Bind { address: configured, source };
    let socket = match handover::claim(handed, kind, configured) {
        Some(socket) => socket,
        None => listen_on(configured).map_err(failed)?,
    };
    let address = socket.local_addr().map_err(failed)?;
    let copy = Handed { kind, configured, socket: socket.try_clone().map_err(failed)? };
    Ok(Bound { address, socket, copy })
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), None)?;
    if address.is_ipv6() {
        // So that `0.0.0.0` and `[::]` can both be listened on, at the same port.
        socket.set_only_v6(true)?;
    }
    // Connections of the last process, in TIME_WAIT, don't keep this one from starting.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
