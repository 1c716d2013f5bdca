//! A fleet with two PoPs, the zones of its platform, and a verifier.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hickory_resolver::proto::{
    op::{Message, Query},
    rr::{Name, RecordType},
};
use landfall_dns::{
    Activity, CaIdentity, DnsConfig, Evidence, Expectation, Pop, Verifier, ZoneServers,
};
use landfall_tests::{Authority, DEADLINE, RecursiveResolver, wait_until};
use time::OffsetDateTime;
use tokio::{net::UdpSocket, time::timeout};

use crate::scripted::{Said, Scripted};

/// Active PoPs are at 192.0.2.1, 192.0.2.2 and 2001:db8::1; one at 192.0.2.9 is not active.
pub(crate) fn expectation() -> Expectation {
    let pop = |name: &str, addresses: &[&str], active| Pop {
        name: name.to_owned(),
        addresses: addresses.iter().map(|own| own.parse().unwrap()).collect(),
        activity: if active { Activity::Active } else { Activity::Off },
    };
    Expectation {
        target: "my-site.edge.test".parse().unwrap(),
        system_domain: "edge.test".parse().unwrap(),
        pops: Arc::new([
            pop("fra", &["192.0.2.1", "2001:db8::1"], true),
            pop("ams", &["192.0.2.2"], true),
            pop("old", &["192.0.2.9"], false),
        ]),
        origin_names: vec!["origin.host.test".parse().unwrap()],
        origin_addresses: vec!["198.51.100.7".parse::<IpAddr>().unwrap()],
        cas: Arc::new([CaIdentity {
            name: "lets_encrypt".to_owned(),
            domains: vec!["letsencrypt.org".to_owned()],
        }]),
    }
}

/// The platform's own zone, and one of somebody else's.
const PLATFORM: &str = "
my-site A 192.0.2.1
my-site A 192.0.2.2
my-site AAAA 2001:db8::1
other-site A 192.0.2.1
";
/// A zone of its own below the customer's.
const DELEGATED: &str = "@ A 198.51.100.20";
const HOST: &str = "
origin A 198.51.100.7
shop A 198.51.100.20
";

/// DNS servers with a customer's zone, and who asks them.
pub(crate) struct World {
    pub(crate) authority: Authority,
    pub(crate) resolver: RecursiveResolver,
}

impl World {
    /// With these records in `shop.test`.
    pub(crate) async fn start(records: &str) -> Self {
        Self::with_settings(records, "").await
    }

    /// With more settings for the resolver.
    pub(crate) async fn with_settings(records: &str, settings: &str) -> Self {
        let zones = [
            ("shop.test", records),
            ("own.shop.test", DELEGATED),
            ("edge.test", PLATFORM),
            ("host.test", HOST),
        ];
        let authority = Authority::start(&zones).await;
        let resolver = RecursiveResolver::start(&authority, settings).await;
        Self { authority, resolver }
    }

    /// Asks these resolvers, and zones' own servers.
    pub(crate) fn config(&self, resolvers: &[SocketAddr]) -> DnsConfig {
        DnsConfig {
            resolvers: resolvers.to_vec(),
            zone_servers: ZoneServers::Asked,
            zone_port: self.authority.address().port(),
            allowed_networks: vec!["127.0.0.0/8".parse().unwrap()],
            ..DnsConfig::default()
        }
    }

    /// Verifies by the one resolver.
    pub(crate) async fn verify(&self, name: &str) -> Evidence {
        verify(&self.config(&[self.resolver.address()]), name).await
    }
}

pub(crate) async fn verify(config: &DnsConfig, name: &str) -> Evidence {
    let verifier = Verifier::new(config).unwrap();
    let name = name.parse().unwrap();
    // As a task, which is how verifications run.
    let task = tokio::spawn(async move {
        verifier.verify(&name, &expectation(), OffsetDateTime::UNIX_EPOCH).await
    });
    task.await.unwrap()
}

/// A server that takes questions and never answers.
pub(crate) async fn nobody() -> Scripted {
    Scripted::start(|_| Said::Nothing).await
}

/// What a resolver answers, once it does; it remembers that.
pub(crate) async fn ask_resolver(resolver: SocketAddr, name: &str, kind: RecordType) -> Message {
    let mut question = Message::query();
    question.metadata.recursion_desired = true;
    question.queries.push(Query::query(Name::from_ascii(name).unwrap(), kind));
    let question = question.to_vec().unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    wait_until("a resolver answers", DEADLINE, async || {
        socket.send_to(&question, resolver).await.ok()?;
        let mut answer = [0; 4096];
        let received = timeout(Duration::from_secs(1), socket.recv(&mut answer)).await;
        Message::from_vec(&answer[..received.ok()?.ok()?]).ok()
    })
    .await
}
