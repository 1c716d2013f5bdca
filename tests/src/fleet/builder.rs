//! What a fleet is started with.

use tempfile::TempDir;
use toml::Value;

use super::{CUSTOMER_ZONE, FLEET_DOMAIN, Fleet};
use crate::{
    Authority, Checkpoint, Lab, LabBuilder, RecursiveResolver,
    acme::{Pebble, PebbleBuilder},
    free_ports,
};

/// What a [`Fleet`] has before it is started.
pub struct FleetBuilder {
    edges: usize,
    zones: Vec<(String, String)>,
    dns_port: u16,
    resolver: String,
    pebble: PebbleBuilder,
    ports: [u16; 2],
    pebble_ports: Option<[u16; 2]>,
    lab: LabBuilder,
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
    pub(super) fn new(edges: usize) -> Self {
        let addresses: String =
            (0..edges).map(|edge| format!("* A 127.0.0.{}\n", edge + 2)).collect();
        let [dns_port] = free_ports();
        let [http, https] = free_ports();
        let (zone_port, loopback) = (i64::from(dns_port), vec!["127.0.0.0/8"]);
        let lab = Lab::builder()
            .edges(edges)
            .at_pop_addresses(http, https)
            .control_setting("system_domain", FLEET_DOMAIN)
            .control_setting("dns.zone_port", zone_port)
            .control_setting("verification.allow_networks", loopback.clone())
            .edge_setting("issuance.enabled", true)
            .edge_setting("issuance.zone_port", zone_port)
            .edge_setting("issuance.allow_networks", loopback)
            .edge_setting("issuance.http_port", i64::from(http))
            .edge_setting("issuance.tls_port", i64::from(https));
        Self {
            edges,
            zones: vec![
                (FLEET_DOMAIN.to_owned(), addresses),
                (CUSTOMER_ZONE.to_owned(), String::new()),
            ],
            dns_port,
            resolver: String::new(),
            pebble: Pebble::builder(),
            ports: [http, https],
            pebble_ports: None,
            lab,
        }
    }

    /// One zone more, with these records; see [`Authority`].
    #[must_use]
    pub fn zone(mut self, name: &str, records: &str) -> Self {
        self.zones.push((name.to_owned(), records.to_owned()));
        self
    }

    /// The port at which zones' own servers are asked.
    pub fn dns_port(&self) -> u16 {
        self.dns_port
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

    /// Has the CA look for challenges at other ports than those of the edges, first for HTTP-01.
    #[must_use]
    pub fn pebble_ports(self, http: u16, tls: u16) -> Self {
        Self { pebble_ports: Some([http, tls]), ..self }
    }

    /// Sets a key of control.toml, as in `("issuance.method", "tls-alpn-01")`.
    #[must_use]
    pub fn control_setting(self, key: &str, value: impl Into<Value>) -> Self {
        Self { lab: self.lab.control_setting(key, value), ..self }
    }

    /// Sets a key of every edge.toml, as in `("issuance.jobs", 2)`.
    #[must_use]
    pub fn edge_setting(self, key: &str, value: impl Into<Value>) -> Self {
        Self { lab: self.lab.edge_setting(key, value), ..self }
    }

    /// Sets an environment variable of every node, as in `("RUST_LOG", "trace")`.
    #[must_use]
    pub fn environment(self, key: &str, value: &str) -> Self {
        Self { lab: self.lab.environment(key, value), ..self }
    }

    /// Gives every edge a disk of its own of this size for its state; see [`LabBuilder::edge_disk`].
    #[must_use]
    pub fn edge_disk(self, size: &str) -> Self {
        Self { lab: self.lab.edge_disk(size), ..self }
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
        let dns = Authority::start_at(self.dns_port, &zones, None).await;
        let forgetful = "  cache-max-ttl: 0\n  cache-max-negative-ttl: 0\n";
        let resolver =
            RecursiveResolver::start(&dns, &format!("{forgetful}{}", self.resolver)).await;
        let [http, tls] = self.pebble_ports.unwrap_or(self.ports);
        let pebble = self.pebble.dns(resolver.address()).validation_ports(http, tls).start().await;
        let resolvers = vec![resolver.address().to_string()];
        let lab = self
            .lab
            .control_setting("dns.resolvers", resolvers.clone())
            .edge_setting("issuance.resolvers", resolvers);
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

    /// As [`Self::start`], with a checkpoint between the edges and their control plane, and nothing is
    /// started yet: [`Lab::start_all`] does that.
    ///
    /// # Panics
    /// Where an edge can't be enrolled.
    pub async fn behind(self, checkpoint: &Checkpoint) -> Fleet {
        let Self { dns, resolver, pebble, lab, edges, roots } = self;
        let lab = lab.edge_setting("feed.url", checkpoint.url()).prepare().await;
        checkpoint.lead_to(lab.control_address());
        Fleet { lab, dns, resolver, pebble, edges, _roots: roots }
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
