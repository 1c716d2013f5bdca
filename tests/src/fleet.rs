//! Edges at addresses of their own, with DNS that leads to them and a CA that follows it.

mod builder;

use std::{future::ready, iter::once, net::SocketAddr, path::PathBuf};

use reqwest::{
    Certificate, Client, ClientBuilder,
    dns::{Addrs, Name, Resolve, Resolving},
};
use tempfile::TempDir;

pub use self::builder::{FleetBuilder, PreparedFleet};
use crate::{
    Answer, Authority, DEADLINE, Lab, RecursiveResolver,
    acme::Pebble,
    run_landfall,
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

impl Fleet {
    /// Describes a fleet with the defaults of everything.
    pub fn builder(edges: usize) -> FleetBuilder {
        FleetBuilder::new(edges)
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

    /// A zone has these records from now on, in place of those it had, and the resolver knows.
    ///
    /// # Panics
    /// As [`Authority::set`], and [`RecursiveResolver::wait_until_set`].
    pub async fn set_zone(&mut self, zone: &str, records: &str) {
        self.dns.set(zone, records).await;
        self.resolver.wait_until_set(&self.dns, zone).await;
    }

    /// A client to be built, for which every name is at one edge, and which trusts this root alone (PEM).
    ///
    /// # Panics
    /// Where that is no root.
    pub fn client(&self, number: usize, root: &str) -> ClientBuilder {
        Client::builder()
            .tls_certs_only([Certificate::from_pem(root.as_bytes()).expect("the root is PEM")])
            .dns_resolver(At(self.lab.https(number)))
            .timeout(DEADLINE)
            .no_proxy()
    }

    /// Where an edge serves a hostname: a URL without a path.
    pub fn url(&self, number: usize, hostname: &str) -> String {
        format!("https://{hostname}:{}", self.lab.https(number).port())
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
        let client = self.client(number, &self.pebble.root(0).await).build()?;
        let url = format!("{}{path}", self.url(number, hostname));
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
        let url = self.url(number, hostname);
        let own = ["-sS", "--cacert", root.to_str().unwrap(), "--resolve", &resolve];
        tools::run("curl", &[&own, args, &[&url]].concat()).await
    }

    /// Runs a `landfall` command on the control plane's state, as in `operate(&["issuance", "accounts"])`.
    ///
    /// # Panics
    /// Where it does not end.
    pub async fn operate(&self, args: &[&str]) -> Ran {
        let config = self.lab.control_config();
        run_landfall(&[args, &["--config", config.to_str().unwrap()]].concat()).await.into()
    }

    /// Pebble's root as a file.
    async fn write_root(&self) -> PathBuf {
        let file = self.lab.folder().join("pebble-root.pem");
        std::fs::write(&file, self.pebble.root(0).await).unwrap();
        file
    }
}

/// All names are at this address.
struct At(SocketAddr);

impl Resolve for At {
    fn resolve(&self, _: Name) -> Resolving {
        let addresses: Addrs = Box::new(once(self.0));
        Box::pin(ready(Ok(addresses)))
    }
}
