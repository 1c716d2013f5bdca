//! Edges at addresses of their own, with DNS that leads to them and a CA that follows it.

use std::path::PathBuf;

use reqwest::{Certificate, Client};
use tempfile::TempDir;
use toml::Value;

use crate::{
    Answer, Authority, DEADLINE, Lab, LabBuilder, RecursiveResolver,
    acme::{Pebble, PebbleBuilder},
    free_ports,
    tools::{self, Ran},
    wait_until,
};

/// The fleet's system domain. DNS says of every name below it that it is at all edges.
pub const FLEET_DOMAIN: &str = "edge.test";
/// A zone of customers' names, empty at first.
pub const CUSTOMER_ZONE: &str = "customer.test";

/// A control plane, edges on 127.0.0.2 and on that obtain certificates, DNS, and a pebble whose HTTP-01
/// and TLS-ALPN-01 challenges arrive at the edges' own ports.
///
/// ```no_run
/// # use landfall_tests::{CUSTOMER_ZONE, Fleet, Origin};
/// # async fn test() {
/// let origin = Origin::start("shop").await;
/// let mut fleet = Fleet::start(3).await;
/// let property = fleet.lab.api().create_property("shop", origin.address()).await;
/// fleet.dns.set(CUSTOMER_ZONE, "www CNAME shop.edge.test.").await;
/// fleet.lab.api().add_hostname(property, "www.customer.test").await;
/// fleet.wait_until_served_everywhere("www.customer.test", "shop").await;
/// # }
/// ```
pub struct Fleet {
    /// The control plane and the edges.
    pub lab: Lab,
    /// What DNS says.
    pub dns: Authority,
    /// Asks it for everything, and remembers nothing.
    pub resolver: RecursiveResolver,
    /// The CA.
    pub pebble: Pebble,
    edges: usize,
    /// The roots that CAs' directories are verified with.
    _roots: TempDir,
}

/// What a [`Fleet`] has before it is started.
pub struct FleetBuilder {
    edges: usize,
    zones: Vec<(String, String)>,
    resolver: String,
    pebble: PebbleBuilder,
    ports: [u16; 2],
    control: Vec<(String, Value)>,
    edge: Vec<(String, Value)>,
}

/// A [`Fleet`] whose DNS and CA run, and whose control plane and edges don't yet.
pub struct PreparedFleet {
    /// What DNS says.
    pub dns: Authority,
    /// Asks it for everything.
    pub resolver: RecursiveResolver,
    /// The CA.
    pub pebble: Pebble,
    lab: LabBuilder,
    edges: usize,
    roots: TempDir,
}

impl FleetBuilder {
    /// One zone more, with these records; see [`Authority`].
    #[must_use]
    pub fn zone(mut self, name: &str, records: &str) -> Self {
        self.zones.push((name.to_owned(), records.to_owned()));
        self
    }

    /// More of the resolver's configuration, as in a `stub-zone:`; see [`RecursiveResolver`].
    #[must_use]
    pub fn resolver_setting(mut self, lines: &str) -> Self {
        self.resolver += lines;
        self.resolver += "\n";
        self
    }

    /// Changes what the CA is started with. Its ports and its DNS are those of the fleet.
    #[must_use]
    pub fn pebble(self, change: impl FnOnce(PebbleBuilder) -> PebbleBuilder) -> Self {
        Self { pebble: change(self.pebble), ..self }
    }

    /// Sets a key of control.toml, as in `("issuance.method", "tls-alpn-01")`.
    #[must_use]
    pub fn control_setting(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.control.push((key.to_owned(), value.into()));
        self
    }

    /// Sets a key of every edge.toml, as in `("issuance.jobs", 2)`.
    #[must_use]
    pub fn edge_setting(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.edge.push((key.to_owned(), value.into()));
        self
    }

    /// The ports that all edges share, for HTTP and for HTTPS.
    pub fn ports(&self) -> [u16; 2] {
        self.ports
    }

    /// Starts DNS and the CA.
    ///
    /// # Panics
    /// Where one of them does not come up.
    pub async fn prepare(self) -> PreparedFleet {
        let zones: Vec<_> = self.zones.iter().map(|(name, own)| (&**name, &**own)).collect();
        let dns = Authority::start(&zones).await;
        let forgetful = "  cache-max-ttl: 0\n  cache-max-negative-ttl: 0\n";
        let resolver =
            RecursiveResolver::start(&dns, &format!("{forgetful}{}", self.resolver)).await;
        let [http, https] = self.ports;
        let pebble = self.pebble.dns(resolver.address()).validation_ports(http, https);
        let pebble = pebble.start().await;
        let lab = Lab::builder().edges(self.edges).at_pop_addresses(http, https);
        let (zone_port, loopback) = (i64::from(dns.address().port()), vec!["127.0.0.0/8"]);
        let resolvers = vec![resolver.address().to_string()];
        let mut lab = lab
            .control_setting("system_domain", FLEET_DOMAIN)
            .control_setting("dns.resolvers", resolvers.clone())
            .control_setting("dns.zone_port", zone_port)
            .control_setting("verification.allow_networks", loopback.clone())
            .edge_setting("issuance.enabled", true)
            .edge_setting("issuance.resolvers", resolvers)
            .edge_setting("issuance.zone_port", zone_port)
            .edge_setting("issuance.allow_networks", loopback)
            .edge_setting("issuance.http_port", i64::from(http))
            .edge_setting("issuance.tls_port", i64::from(https));
        for (key, value) in self.control {
            lab = lab.control_setting(&key, value);
        }
        for (key, value) in self.edge {
            lab = lab.edge_setting(&key, value);
        }
        let roots = tempfile::tempdir().unwrap();
        PreparedFleet { dns, resolver, pebble, lab, edges: self.edges, roots }
    }

    /// Starts everything, with pebble as the only CA, and waits until it is ready.
    ///
    /// # Panics
    /// Where something does not come up.
    pub async fn start(self) -> Fleet {
        let prepared = self.prepare().await;
        let own = prepared.pebble.authority();
        let directory = own.directory.clone();
        prepared.authorities(&[("pebble", &directory, &own.roots.unwrap())]).start().await
    }
}

impl PreparedFleet {
    /// The CAs that issue, the preferred one first: of each its name, the URL of its directory, and the
    /// roots that it is verified with (PEM).
    ///
    /// # Panics
    /// Where the roots can't be written.
    #[must_use]
    pub fn authorities(mut self, authorities: &[(&str, &str, &str)]) -> Self {
        let mut names = Vec::new();
        for &(name, directory, roots) in authorities {
            let file = self.roots.path().join(format!("{name}.pem"));
            std::fs::write(&file, roots).unwrap();
            let key = |field| format!("issuance.authority.{name}.{field}");
            let file = file.to_str().unwrap();
            self.lab = self.lab.control_setting(&key("directory"), directory);
            self.lab = self.lab.control_setting(&key("roots_file"), file);
            names.push(name);
        }
        self.lab = self.lab.control_setting("issuance.certificate_authorities", names);
        self
    }

    /// Sets a key of control.toml.
    #[must_use]
    pub fn control_setting(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.lab = self.lab.control_setting(key, value);
        self
    }

    /// Starts the control plane and the edges, and waits until they are ready.
    ///
    /// # Panics
    /// Where something does not come up.
    pub async fn start(self) -> Fleet {
        let Self { dns, resolver, pebble, lab, edges, roots } = self;
        Fleet { lab: lab.start().await, dns, resolver, pebble, edges, _roots: roots }
    }
}

impl Fleet {
    /// Describes a fleet with the defaults of everything.
    pub fn builder(edges: usize) -> FleetBuilder {
        let addresses: String =
            (0..edges).map(|edge| format!("* A 127.0.0.{}\n", edge + 2)).collect();
        FleetBuilder {
            edges,
            zones: vec![
                (FLEET_DOMAIN.to_owned(), addresses),
                (CUSTOMER_ZONE.to_owned(), String::new()),
            ],
            resolver: String::new(),
            pebble: Pebble::builder(),
            ports: free_ports(),
            control: Vec::new(),
            edge: Vec::new(),
        }
    }

    /// So many edges and the defaults of everything, running and ready.
    ///
    /// # Panics
    /// As [`FleetBuilder::start`].
    pub async fn start(edges: usize) -> Self {
        Self::builder(edges).start().await
    }

    /// How many edges there are.
    pub fn edges(&self) -> usize {
        self.edges
    }

    /// A client of one edge that trusts this root alone (PEM), and keeps its connections.
    ///
    /// # Panics
    /// Where that is no root.
    pub fn client(&self, number: usize, hostname: &str, root: &str) -> Client {
        let client = Client::builder()
            .tls_certs_only([Certificate::from_pem(root.as_bytes()).expect("the root is PEM")])
            .resolve(hostname, self.lab.https(number))
            .timeout(DEADLINE)
            .no_proxy();
        client.build().expect("a client can be made")
    }

    /// Asks an edge over TLS, on a new connection, and checks its certificate against pebble's root.
    ///
    /// # Errors
    /// The client's: a handshake that fails, or a certificate that does not fit.
    ///
    /// # Panics
    /// Where pebble does not say its root.
    pub async fn get(
        &self,
        number: usize,
        hostname: &str,
        path: &str,
    ) -> Result<Answer, reqwest::Error> {
        let client = self.client(number, hostname, &self.pebble.root(0).await);
        let url = format!("https://{hostname}:{}{path}", self.lab.https(number).port());
        Answer::read(client.get(url).send().await?).await
    }

    /// Waits until every edge answers for the hostname with `body`, under a certificate of pebble.
    ///
    /// # Panics
    /// After two times [`DEADLINE`].
    pub async fn wait_until_served_everywhere(&self, hostname: &str, body: &str) {
        for number in 0..self.edges {
            let what = format!("edge {number} serves {hostname} with {body:?}");
            wait_until(&what, DEADLINE * 2, async || {
                let answer = self.get(number, hostname, "/").await.ok()?;
                (answer.status == 200 && answer.text == body).then_some(())
            })
            .await;
        }
    }

    /// The certificate that an edge shows for a hostname, as PEM; `None` while it shows none.
    /// `args` are more options of `openssl s_client`, as in `-sigalgs RSA-PSS+SHA256`.
    pub async fn certificate(
        &self,
        number: usize,
        hostname: &str,
        args: &[&str],
    ) -> Option<String> {
        let shown = self.lab.handshake(number, hostname, args).await.stdout;
        let begin = shown.find("-----BEGIN CERTIFICATE-----")?;
        let end = "-----END CERTIFICATE-----";
        let length = shown[begin..].find(end)? + end.len();
        Some(format!("{}\n", &shown[begin..begin + length]))
    }

    /// Runs curl with pebble's root as the only one, and with the hostname at that edge.
    ///
    /// # Panics
    /// Where pebble does not say its root.
    pub async fn curl(&self, number: usize, hostname: &str, args: &[&str]) -> Ran {
        let root = self.write_root().await;
        let address = self.lab.https(number);
        let resolve = format!("{hostname}:{}:{}", address.port(), address.ip());
        let url = format!("https://{hostname}:{}/", address.port());
        let own = ["-sS", "--cacert", root.to_str().unwrap(), "--resolve", &resolve];
        tools::run("curl", &[&own, args, &[&url]].concat()).await
    }

    /// Pebble's root as a file.
    async fn write_root(&self) -> PathBuf {
        let file = self.lab.folder().join("pebble-root.pem");
        std::fs::write(&file, self.pebble.root(0).await).unwrap();
        file
    }
}
