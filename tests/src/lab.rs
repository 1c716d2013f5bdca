mod enrolment;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use reqwest::{Certificate, Client};
use rustix::process::Signal;
use tempfile::TempDir;
use toml::{Table, Value};

use self::enrolment::{Place, edge, must, set, write};
use crate::{
    api::{Answer, Api},
    node::Node,
    ports::free_ports,
    tools::{self, Ran},
    wait::{DEADLINE, wait_until},
};

/// The lab's system domain.
pub const SYSTEM_DOMAIN: &str = "lab.localhost";

/// A control plane and its edges, each a process, in a temporary folder.
///
/// Edges are numbered from 0. Every port is chosen before the first start and kept, so that a
/// node comes back where it was.
pub struct Lab {
    control: Node,
    control_address: SocketAddr,
    api_key: String,
    edges: Vec<Edge>,
    /// Dropped last: a node that is dropped by a failed test reads its log.
    folder: TempDir,
}

struct Edge {
    node: Node,
    https: SocketAddr,
    http: SocketAddr,
    admin: SocketAddr,
}

/// What a [`Lab`] has before it is started.
pub struct LabBuilder {
    edges: usize,
    control: Vec<(String, Value)>,
    edge: Vec<(String, Value)>,
    environment: Vec<(String, String)>,
    edge_disk: Option<String>,
    edge_descriptors: Option<u32>,
    pop_ports: Option<[u16; 2]>,
}

impl LabBuilder {
    /// Has each edge listen at its PoP's own address, 127.0.0.2 and on, at these ports, which all
    /// share: where a CA that follows DNS finds it.
    #[must_use]
    pub fn at_pop_addresses(mut self, http: u16, https: u16) -> Self {
        self.pop_ports = Some([http, https]);
        self
    }

    /// Gives every edge a disk of its own of this size for its state, as in `"6m"`, which
    /// [`Node::fill_disk`] fills. It is gone with the process.
    #[must_use]
    pub fn edge_disk(mut self, size: &str) -> Self {
        self.edge_disk = Some(size.to_owned());
        self
    }

    /// Gives every edge a hard limit of open files.
    #[must_use]
    pub fn edge_descriptors(mut self, most: u32) -> Self {
        self.edge_descriptors = Some(most);
        self
    }

    /// How many edges there are. Default: one.
    #[must_use]
    pub fn edges(mut self, edges: usize) -> Self {
        self.edges = edges;
        self
    }

    /// Sets a key of control.toml, as in `("feed.snapshot_every", 5)`.
    #[must_use]
    pub fn control_setting(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.control.push((key.to_owned(), value.into()));
        self
    }

    /// Sets a key of every edge.toml, as in `("limits.header_timeout", "300ms")`.
    #[must_use]
    pub fn edge_setting(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.edge.push((key.to_owned(), value.into()));
        self
    }

    /// Sets an environment variable of every node, as in `("RUST_LOG", "trace")`.
    #[must_use]
    pub fn environment(mut self, key: &str, value: &str) -> Self {
        self.environment.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Writes keys and configs, enrols every edge and starts nothing.
    ///
    /// # Panics
    /// When a `landfall` command fails.
    pub async fn prepare(self) -> Lab {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        must(&["keys", "init", "--dir", text(&path.join("keys"))]).await;

        let [port] = free_ports();
        let control_address = SocketAddr::from(([127, 0, 0, 1], port));
        let control_config = path.join("control.toml");
        let mut config = Table::new();
        set(&mut config, "system_domain", SYSTEM_DOMAIN.into());
        set(&mut config, "api.listen", control_address.to_string().into());
        // Tests ask faster than a client does.
        for limit in ["api.rate_limit", "api.rate_burst", "api.failed_auth_limit"] {
            set(&mut config, limit, 1_000_000.into());
        }
        set(&mut config, "state.directory", "control".into());
        set(&mut config, "keys.group_public_key_file", "keys/group.pub".into());
        set(&mut config, "origins.allow_networks", vec!["127.0.0.0/8"].into());
        // Edges with ports of their own are not where their PoPs' addresses say.
        set(&mut config, "watch.handshakes", self.pop_ports.is_some().into());
        if let Some([_, https]) = self.pop_ports {
            set(&mut config, "watch.port", i64::from(https).into());
        }
        write(&control_config, config, &self.control);

        let control = text(&control_config);
        let key =
            must(&["api-key", "add", "lab", "--scope", "admin", "--config", control]).await.stdout;
        let with_environment = |node: Node| {
            let set = |node: Node, (key, value): &(String, String)| node.environment(key, value);
            self.environment.iter().fold(node, set)
        };
        let node = with_environment(Node::new("control", &["control", "--config", control], path));
        let mut edges = Vec::new();
        for number in 0..self.edges {
            let place = Place::of(number, self.pop_ports);
            let mut edge = edge((number, &place), path, control_address, &self.edge).await;
            edge.node = with_environment(edge.node);
            if let Some(size) = &self.edge_disk {
                edge.node = edge.node.on_disk(&path.join(format!("edge{number}")), size);
            }
            if let Some(most) = self.edge_descriptors {
                edge.node = edge.node.descriptors(most);
            }
            edges.push(edge);
        }
        let api_key = key.trim().to_owned();
        Lab { control: node, control_address, api_key, edges, folder }
    }

    /// As [`Self::prepare`], then starts every node and waits until it is ready.
    ///
    /// # Panics
    /// When a node is not ready within [`DEADLINE`].
    pub async fn start(self) -> Lab {
        let mut lab = self.prepare().await;
        lab.start_all().await;
        lab
    }
}

impl Lab {
    /// Describes a lab with one edge and the defaults of both configs.
    pub fn builder() -> LabBuilder {
        LabBuilder {
            edges: 1,
            control: Vec::new(),
            edge: Vec::new(),
            environment: Vec::new(),
            edge_disk: None,
            edge_descriptors: None,
            pop_ports: None,
        }
    }

    /// A control plane and one edge, running and ready.
    ///
    /// # Panics
    /// As [`LabBuilder::start`].
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// Starts every node and waits until it is ready.
    ///
    /// # Panics
    /// When a node is not ready within [`DEADLINE`].
    pub async fn start_all(&mut self) {
        self.control.start();
        self.wait_until_control_is_ready().await;
        for edge in &mut self.edges {
            edge.node.start();
        }
        for number in 0..self.edges.len() {
            self.wait_until_edge_is_ready(number).await;
        }
    }

    /// The folder: `keys/`, `control.toml`, `control/` (its state), and of each edge `edge0.toml`,
    /// `edge0/`, `edge0.token`. Logs are `control.log` and `edge0.log`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The control plane's process.
    pub fn control(&mut self) -> &mut Node {
        &mut self.control
    }

    /// The process of an edge.
    pub fn edge(&mut self, number: usize) -> &mut Node {
        &mut self.edges[number].node
    }

    /// Sends a signal to an edge's process, also while others look at the lab.
    ///
    /// # Panics
    /// When it does not run.
    pub fn signal_edge(&self, number: usize, signal: Signal) {
        self.edges[number].node.signal(signal);
    }

    /// Where the API and the feed are.
    pub fn control_address(&self) -> SocketAddr {
        self.control_address
    }

    /// An edge's address for TLS.
    pub fn https(&self, number: usize) -> SocketAddr {
        self.edges[number].https
    }

    /// An edge's address for plain HTTP.
    pub fn http(&self, number: usize) -> SocketAddr {
        self.edges[number].http
    }

    /// An edge's address for health and metrics.
    pub fn admin(&self, number: usize) -> SocketAddr {
        self.edges[number].admin
    }

    /// The config file of the control plane.
    pub fn control_config(&self) -> PathBuf {
        self.folder().join("control.toml")
    }

    /// The config file of an edge.
    pub fn edge_config(&self, number: usize) -> PathBuf {
        self.folder().join(format!("edge{number}.toml"))
    }

    /// The root of the internal CA as PEM. There once the control plane has run.
    pub fn root_certificate(&self) -> PathBuf {
        self.folder().join("control/internal-ca.pem")
    }

    /// The key of [`Self::api`].
    pub fn api_key(&self) -> &str {
        &self.api_key
    }

    /// A client of the API with a key.
    pub fn api(&self) -> Api {
        Api::new(self.control_address, &self.api_key)
    }

    /// Waits until the control plane answers.
    ///
    /// # Panics
    /// After [`DEADLINE`].
    pub async fn wait_until_control_is_ready(&self) {
        wait_until_ready("the control plane", self.control_address).await;
    }

    /// Waits until an edge says that it is ready.
    ///
    /// # Panics
    /// After [`DEADLINE`].
    pub async fn wait_until_edge_is_ready(&self, number: usize) {
        wait_until_ready(&format!("edge {number}"), self.admin(number)).await;
    }

    /// What an edge answers on its admin listener, as for `/metrics`.
    ///
    /// # Errors
    /// The client's, where there is no answer.
    pub async fn read_admin(&self, number: usize, path: &str) -> Result<Answer, reqwest::Error> {
        read(&format!("http://{}{path}", self.admin(number))).await
    }

    /// The value of a metric of an edge; of all its label sets that contain `labels`, as in
    /// `result="ok"`, the sum. `None` where there is no such metric.
    ///
    /// # Panics
    /// Where the edge does not answer.
    pub async fn metric(&self, number: usize, name: &str, labels: &str) -> Option<f64> {
        let metrics = self.read_admin(number, "/metrics").await.expect("the edge answers").text;
        let values = metrics.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let (own, set) = series.split_once('{').unwrap_or((series, ""));
            (own == name && set.contains(labels)).then(|| value.parse::<f64>().ok())?
        });
        values.reduce(|sum, value| sum + value)
    }

    /// Asks an edge over TLS, on a new connection, and checks its certificate against the
    /// internal CA.
    ///
    /// # Errors
    /// The client's: a handshake that fails, or a certificate that does not fit.
    pub async fn get(
        &self,
        number: usize,
        hostname: &str,
        path: &str,
    ) -> Result<Answer, reqwest::Error> {
        let (client, address) = (self.client_of(number, hostname), self.https(number));
        let url = format!("https://{hostname}:{}{path}", address.port());
        Answer::read(client.get(url).send().await?).await
    }

    /// A client of edge 0 that trusts the internal CA and keeps its connections.
    ///
    /// # Panics
    /// Where the control plane has not run.
    pub fn client(&self, hostname: &str) -> Client {
        self.client_of(0, hostname)
    }

    fn client_of(&self, number: usize, hostname: &str) -> Client {
        let pem = fs::read(self.root_certificate()).expect("the control plane has run");
        let client = Client::builder()
            .tls_certs_only([Certificate::from_pem(&pem).expect("the root is PEM")])
            .resolve(hostname, self.https(number))
            .timeout(DEADLINE)
            .no_proxy();
        client.build().expect("a client can be made")
    }

    /// Takes an edge's process out of the lab, for a test that restarts it while the lab is used.
    ///
    /// # Panics
    /// Where there is no such edge.
    pub fn take_edge(&mut self, number: usize) -> Node {
        let unused = Node::new(&format!("edge{number}"), &[], self.folder.path());
        std::mem::replace(&mut self.edges[number].node, unused)
    }

    /// Waits until an edge answers for the hostname with `body` and status 200.
    ///
    /// # Panics
    /// After [`DEADLINE`].
    pub async fn wait_until_served(&self, number: usize, hostname: &str, body: &str) {
        let what = format!("edge {number} serves {hostname} with {body:?}");
        wait_until(&what, DEADLINE, async || {
            let answer = self.get(number, hostname, "/").await.ok()?;
            (answer.status == 200 && answer.text == body).then_some(())
        })
        .await;
    }

    /// Waits until an edge refuses the hostname's handshake.
    ///
    /// # Panics
    /// After [`DEADLINE`].
    pub async fn wait_until_refused(&self, number: usize, hostname: &str) {
        let what = format!("edge {number} refuses {hostname}");
        wait_until(&what, DEADLINE, async || {
            let ran = self.handshake(number, hostname, &[]).await;
            ran.all().contains("unrecognized name").then_some(())
        })
        .await;
    }

    /// Runs curl against an edge, with the internal CA as the only root.
    pub async fn curl(&self, number: usize, hostname: &str, path: &str, args: &[&str]) -> Ran {
        let address = self.https(number);
        let resolve = format!("{hostname}:{}:{}", address.port(), address.ip());
        let url = format!("https://{hostname}:{}{path}", address.port());
        let root = self.root_certificate();
        let own = ["-sS", "--cacert", text(&root), "--resolve", &resolve];
        tools::run("curl", &[&own, args, &[&url]].concat()).await
    }

    /// Runs `openssl s_client` against an edge, with the internal CA as the only root and nothing
    /// to send.
    pub async fn handshake(&self, number: usize, hostname: &str, args: &[&str]) -> Ran {
        let (address, root) = (self.https(number).to_string(), self.root_certificate());
        let own = ["s_client", "-connect", &address, "-servername", hostname];
        tools::run("openssl", &[&own[..], &["-CAfile", text(&root)], args].concat()).await
    }
}

async fn wait_until_ready(who: &str, address: SocketAddr) {
    let url = format!("http://{address}/readyz");
    wait_until(&format!("{who} is ready"), DEADLINE, async || {
        (read(&url).await.ok()?.status == 200).then_some(())
    })
    .await;
}

async fn read(url: &str) -> Result<Answer, reqwest::Error> {
    let client = Client::builder().timeout(DEADLINE).no_proxy().build()?;
    Answer::read(client.get(url).send().await?).await
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have names of text")
}
