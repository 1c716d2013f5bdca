//! An edge that listens on free ports, and what it serves.

mod client;
mod collector;
mod dns;
mod fleet;
mod origin;
mod recorder;
mod scripted;
mod secure;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use landfall_certstore::{EntrySpec, Publisher, Resolver};
use landfall_edge::{
    EdgeError,
    challenges::Challenges,
    config::{EdgeConfig, RawEdgeConfig},
    metrics::Metrics,
    properties::Properties,
    readiness::Readiness,
    server::{Addresses, EdgeServer, Parts, build},
    site::Site,
};
use landfall_feed::record::PropertyRecord;
use landfall_model::{
    CustomOrigin, HostnameState, HttpPolicy, OriginPool, PropertyId, Route, TlsPolicy,
};
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;
use tokio::sync::oneshot;

pub(crate) use client::{
    connect, connect_after, curl, exchange, read_to_end, run, run_with_input, tcp,
};
pub(crate) use collector::{Collector, Mood, attribute};
pub(crate) use dns::DnsServer;
use fleet::Fleet;
pub(crate) use origin::Origin;
pub(crate) use recorder::Recorder;
pub(crate) use scripted::Scripted;
pub(crate) use secure::SecureOrigin;

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A running edge.
pub(crate) struct Edge {
    pub(crate) addresses: Addresses,
    pub(crate) publisher: Publisher<Site>,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) challenges: Arc<Challenges>,
    properties: Arc<Properties>,
    next_property: i64,
    fleet: Fleet,
    directory: TempDir,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), EdgeError>>>,
}

/// An edge that is built and not running.
pub(crate) struct Built {
    pub(crate) server: EdgeServer,
    pub(crate) publisher: Publisher<Site>,
    readiness: Arc<Readiness>,
    metrics: Arc<Metrics>,
    challenges: Arc<Challenges>,
    properties: Arc<Properties>,
    fleet: Fleet,
    directory: TempDir,
}

/// The least configuration with `more` at its end. The drain is short unless `more` says so.
pub(crate) fn config(directory: &Path, more: &str) -> EdgeConfig {
    config_listening(directory, "", more)
}

/// The same, with more about the listeners.
fn config_listening(directory: &Path, listen: &str, more: &str) -> EdgeConfig {
    let server = match more.contains("[server]") {
        true => "",
        false => "[server]\nthreads = 1\ndrain = \"0s\"",
    };
    // Origins are on this host, unless `more` has something to say of that.
    let allow = "[upstream]\nallow_networks = [\"127.0.0.0/8\"]";
    let (more, upstream) = match more.contains("allow_networks") {
        true => (more.to_owned(), ""),
        false if more.contains("[upstream]") => (more.replace("[upstream]", allow), ""),
        false => (more.to_owned(), allow),
    };
    let text = format!(
        r#"
        [listen]
        https = ["127.0.0.1:0"]
        http = ["127.0.0.1:0"]
        admin = "127.0.0.1:0"
        {listen}
        [feed]
        url = "http://127.0.0.1:1"
        token_file = "token"
        signing_keys = ["ed25519:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]
        [keys]
        group_key_files = ["group.key"]
        [state]
        directory = "state"
        {more}
        {upstream}
        {server}
        "#
    );
    let raw: RawEdgeConfig = toml::from_str(&text).unwrap();
    raw.check(directory).unwrap()
}

impl Built {
    pub(crate) fn new(more: &str) -> Self {
        Self::listening("", more)
    }

    fn listening(listen: &str, more: &str) -> Self {
        landfall_edge::install_crypto();
        let directory = tempfile::tempdir().unwrap();
        let fleet = Fleet::new();
        let (mut publisher, resolver) = fleet.channel();
        publisher.replacement().finish();
        let readiness = Arc::<Readiness>::default();
        let metrics = Arc::new(Metrics::new().unwrap());
        let properties = Arc::new(Properties::default());
        let challenges = Arc::<Challenges>::default();
        let nowhere = OriginPool::of("http://127.0.0.1:1".parse().unwrap());
        properties.insert(PropertyRecord { property: PropertyId(1), pool: nowhere });
        let parts = Parts {
            resolver,
            properties: Arc::clone(&properties),
            challenges: Arc::clone(&challenges),
            readiness: Arc::clone(&readiness),
            metrics: Arc::clone(&metrics),
        };
        let server = build(&config_listening(directory.path(), listen, more), parts).unwrap();
        Self { server, publisher, readiness, metrics, challenges, properties, fleet, directory }
    }

    pub(crate) fn start(self) -> Edge {
        let addresses = self.server.addresses().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = self.server;
        let wait = async move {
            // A dropped sender stops the edge too.
            let _ = stopped.await;
        };
        let thread = std::thread::spawn(move || server.run_until(wait));
        Edge {
            addresses,
            publisher: self.publisher,
            readiness: self.readiness,
            metrics: self.metrics,
            challenges: self.challenges,
            properties: self.properties,
            next_property: 2,
            fleet: self.fleet,
            directory: self.directory,
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Edge {
    pub(crate) fn start(more: &str) -> Self {
        Built::new(more).start()
    }

    /// An edge with more about its listeners.
    pub(crate) fn listening(listen: &str, more: &str) -> Self {
        Built::listening(listen, more).start()
    }

    /// The two ends of a store that nothing is in.
    pub(crate) fn empty_store() -> (Publisher<Site>, Resolver<Site>) {
        landfall_edge::install_crypto();
        Fleet::new().channel()
    }

    /// Serves `name` from `origin` with a new certificate.
    pub(crate) fn serve(&mut self, name: &str, origin: SocketAddr) {
        self.serve_with(name, origin, TlsPolicy::default());
    }

    /// A new property.
    pub(crate) fn property(&mut self, pool: OriginPool) -> PropertyId {
        let property = PropertyId(self.next_property);
        self.next_property += 1;
        self.change_property(property, pool);
        property
    }

    pub(crate) fn change_property(&self, property: PropertyId, pool: OriginPool) {
        let pool = pool.checked().unwrap();
        self.properties.insert(PropertyRecord { property, pool });
    }

    /// Serves `name` from a new property's origins.
    pub(crate) fn serve_pool(&mut self, name: &str, pool: OriginPool) {
        let property = self.property(pool);
        self.serve_route(name, Route::to(property));
    }

    pub(crate) fn serve_route(&mut self, name: &str, route: Route) {
        let certificate = self.fleet.certificate(name, self.directory.path());
        let spec = EntrySpec {
            name: name.parse().unwrap(),
            state: HostnameState::Active,
            route,
            policy: TlsPolicy::default(),
            certificates: vec![certificate],
        };
        self.publisher.insert(&spec).unwrap();
    }

    pub(crate) fn serve_with(&mut self, name: &str, origin: SocketAddr, policy: TlsPolicy) {
        let certificate = self.fleet.certificate(name, self.directory.path());
        let spec = EntrySpec { certificates: vec![certificate], ..bare(name, origin, policy) };
        self.publisher.insert(&spec).unwrap();
    }

    /// Serves `name` from `origin` with an HTTP policy, in the JSON of the feed.
    pub(crate) fn serve_http(&mut self, name: &str, origin: SocketAddr, http: &str) {
        self.serve_http_with(name, origin, http, TlsPolicy::default());
    }

    pub(crate) fn serve_http_with(
        &mut self,
        name: &str,
        origin: SocketAddr,
        http: &str,
        policy: TlsPolicy,
    ) {
        let certificate = self.fleet.certificate(name, self.directory.path());
        let bare = bare(name, origin, policy);
        let http = serde_json::from_str::<HttpPolicy>(http).unwrap().checked().unwrap();
        let route = Route { http, ..bare.route };
        let spec = EntrySpec { certificates: vec![certificate], route, ..bare };
        self.publisher.insert(&spec).unwrap();
    }

    /// Publishes `name` before anything is issued for it.
    pub(crate) fn serve_without_certificate(&mut self, name: &str, origin: SocketAddr) {
        self.publisher.insert(&bare(name, origin, TlsPolicy::default())).unwrap();
    }

    /// Serves `name`, whose DNS is not verified, from `origin` with a certificate that somebody made.
    pub(crate) fn serve_pending(&mut self, name: &str, origin: SocketAddr, http: &str) {
        let certificate = self.fleet.certificate(name, self.directory.path());
        let bare = bare(name, origin, TlsPolicy::default());
        let http = serde_json::from_str::<HttpPolicy>(http).unwrap().checked().unwrap();
        let route = Route { http, ..bare.route };
        let state = HostnameState::PendingValidation;
        let spec = EntrySpec { certificates: vec![certificate], route, state, ..bare };
        self.publisher.insert(&spec).unwrap();
    }

    /// Publishes `name` with a certificate whose key does not open.
    pub(crate) fn serve_unusable(&mut self, name: &str, origin: SocketAddr) {
        let certificate = self.fleet.unusable_certificate(name, self.directory.path());
        let policy = TlsPolicy::default();
        let spec = EntrySpec { certificates: vec![certificate], ..bare(name, origin, policy) };
        self.publisher.insert(&spec).unwrap();
    }

    pub(crate) fn https(&self) -> SocketAddr {
        self.addresses.https[0]
    }

    pub(crate) fn http(&self) -> SocketAddr {
        self.addresses.http[0]
    }

    /// The certificates that clients trust, as PEM.
    pub(crate) fn roots(&self) -> PathBuf {
        fleet::roots(self.directory.path())
    }

    /// The value of a metric by its name and labels, 0 where it isn't there.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let text = String::from_utf8(self.metrics.render().unwrap()).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Waits until a metric has a value.
    pub(crate) fn wait_for_metric(&self, name: &str, value: f64) {
        wait_until(&format!("{name} is {value}"), || {
            (self.metric(name) - value).abs() < f64::EPSILON
        });
    }

    /// Tells the edge to end, and does not wait for it.
    pub(crate) fn stop(&mut self) {
        self.stop = None;
    }

    /// Waits for the end.
    pub(crate) fn wait(&mut self) -> Result<(), EdgeError> {
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the edge panicked");
        }
    }
}

fn bare(name: &str, origin: SocketAddr, policy: TlsPolicy) -> EntrySpec {
    EntrySpec {
        name: name.parse().unwrap(),
        state: HostnameState::Active,
        route: Route {
            custom_origin: Some(CustomOrigin { server: origin.into(), sni: None }),
            ..Route::to(PropertyId(1))
        },
        policy,
        certificates: Vec::new(),
    }
}

/// Waits for `condition`, and fails the test where it does not come true.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// An address that refuses connections: its port is taken for as long as the tests run, and nobody
/// listens there.
pub(crate) fn refusing_address() -> SocketAddr {
    static TAKEN: LazyLock<Socket> = LazyLock::new(|| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        socket
    });
    TAKEN.local_addr().unwrap().as_socket().unwrap()
}
