use std::{collections::HashSet, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::{StreamExt, future::join_all, stream::FuturesUnordered};
use hickory_resolver::{proto::rr::Name, system_conf::read_system_conf};
use landfall_model::HostPattern;
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::{
    DnsConfig, DnsError, Evidence, Expectation, LookupOutcome, ZoneServers,
    ask::Asker,
    caa::{self, CaaSet},
    canonical_resolver,
    conclusion::{conclude, zone_should_tell},
    exchange::Server,
    names::{question, shown},
    report::Findings,
    resolvers::{Heard, SilentPart},
    sight::{Seen, Sight, look},
    sockets::Sockets,
    zone::Zones,
};

/// The port of resolvers that are configured for the system.
const DNS_PORT: u16 = 53;
/// A resolver gets this part of the whole time before it is asked whether it is alive.
const PATIENCE: u32 = 5;
/// How many resolvers are used: more could not be asked within the time.
const MAX_RESOLVERS: usize = 8;

/// Verifies hostnames' DNS. Cheap to clone; clones share the limit of sockets. It holds no connection
/// and remembers nothing.
#[derive(Clone, Debug)]
pub struct Verifier {
    pub(crate) config: Arc<DnsConfig>,
    pub(crate) sockets: Sockets,
}

impl Verifier {
    /// Asks whom `config` says.
    ///
    /// # Errors
    /// Where no resolver is configured and the system has none.
    pub fn new(config: &DnsConfig) -> Result<Self, DnsError> {
        let mut config = config.clone();
        if config.resolvers.is_empty() {
            config.resolvers = system_resolvers()?;
        }
        config.resolvers = distinct(&config.resolvers);
        config.resolvers.truncate(MAX_RESOLVERS);
        let sockets = Sockets::new(config.sockets);
        Ok(Self { config: Arc::new(config), sockets })
    }

    /// Verifies that `name` leads to an active PoP, within the configured time in all. What is asked
    /// in which order is in `docs/flows/verification.md`.
    pub async fn verify(
        &self,
        name: &HostPattern,
        expected: &Expectation,
        now: OffsetDateTime,
    ) -> Evidence {
        let started = Instant::now();
        let deadline = started + self.config.timeout;
        let (seen, caa) =
            tokio::join!(self.addresses(name, expected, deadline), self.caa(name, deadline));
        let SeenByAll { heard, zone_sights, zone } = seen;
        Findings {
            name,
            expected,
            checked_at: now,
            elapsed: started.elapsed(),
            resolvers: heard.asked.clone(),
            zone,
            conclusion: conclude(&heard, &zone_sights, expected),
            caa: caa::evidence(&caa, name, &expected.cas),
        }
        .evidence()
    }

    async fn addresses(
        &self,
        name: &HostPattern,
        expected: &Expectation,
        deadline: Instant,
    ) -> SeenByAll {
        let Some(question) = question(name) else { return SeenByAll::impossible_name() };
        let heard = self.hear_addresses(&question, deadline).await;
        let asks_zone =
            self.config.zone_servers == ZoneServers::Asked && zone_should_tell(&heard, expected);
        if !asks_zone {
            return SeenByAll { heard, zone_sights: Vec::new(), zone: None };
        }
        let (zone_sights, zone) = self.ask_zone(&question, &heard, deadline).await;
        SeenByAll { heard, zone_sights, zone }
    }

    /// Asks resolvers for a name's addresses.
    pub(crate) async fn hear_addresses(&self, name: &Name, deadline: Instant) -> Heard<Sight> {
        self.hear(deadline, |resolver| async move {
            look(&Asker::Resolver(self.server(resolver, deadline)), name).await
        })
        .await
    }

    pub(crate) fn server(&self, address: SocketAddr, deadline: Instant) -> Server<'_> {
        Server { address, deadline, sockets: &self.sockets }
    }

    /// The zones of a name, of which this resolver is asked by the names above it alone.
    pub(crate) fn sparing_zones(
        &self,
        resolver: SocketAddr,
        name: &Name,
        deadline: Instant,
    ) -> Zones<'_> {
        // Others ask others of a zone's servers.
        let turn = self.config.resolvers.iter().position(|own| *own == resolver);
        let resolver = self.server(resolver, deadline);
        Zones::new(&self.config, resolver, name.clone(), turn.unwrap_or(0)).sparing()
    }

    /// Looks again by the zone's own servers, found by each resolver that answers: so none of them
    /// says alone which servers those are. What each was told, in the order of who answered, where
    /// the zone has told it of the name itself.
    pub(crate) async fn ask_zone(
        &self,
        name: &Name,
        heard: &Heard<Sight>,
        deadline: Instant,
    ) -> (Vec<Option<Sight>>, Option<(String, Vec<SocketAddr>)>) {
        let looks = heard.words.iter().enumerate().map(|(turn, (server, _))| async move {
            let resolver = self.server(*server, deadline);
            let zones = Zones::new(&self.config, resolver, name.clone(), turn);
            let sight = look(&Asker::Zones(&zones), name).await;
            ((!sight.is_partial()).then_some(sight), zones.of(name).await)
        });
        let (sights, zones): (Vec<_>, Vec<_>) = join_all(looks).await.into_iter().unzip();
        let mut asked: Option<(String, Vec<SocketAddr>)> = None;
        for zone in zones.into_iter().flatten() {
            let (_, servers) = asked.get_or_insert_with(|| (shown(&zone.name), Vec::new()));
            servers.extend(&zone.servers);
            servers.sort();
            servers.dedup();
        }
        (sights, asked)
    }

    /// The CAA records that apply, by the first resolver that can tell.
    pub(crate) async fn caa(&self, name: &HostPattern, deadline: Instant) -> CaaSet {
        let resolvers = self.config.resolvers.iter().take(2);
        let climbs = resolvers.map(|server| async move {
            let asker = Asker::Resolver(self.server(*server, deadline));
            caa::climb(&asker, name).await
        });
        let mut climbs: FuturesUnordered<_> = climbs.collect();
        let mut failed = CaaSet::Failed { at: name.base().to_string() };
        while let Some(set) = climbs.next().await {
            match set {
                set @ CaaSet::Failed { .. } => failed = set,
                set @ (CaaSet::Absent | CaaSet::Found { .. }) => return set,
            }
        }
        failed
    }

    pub(crate) fn patience(&self) -> Duration {
        self.config.timeout / PATIENCE
    }
}

/// What resolvers and the zone's servers said.
struct SeenByAll {
    heard: Heard<Sight>,
    zone_sights: Vec<Option<Sight>>,
    zone: Option<(String, Vec<SocketAddr>)>,
}

impl SeenByAll {
    /// For a wildcard whose own name is longer than DNS has names.
    fn impossible_name() -> Self {
        let seen = Seen::nothing(LookupOutcome::NxDomain);
        let sight = Sight { v4: seen.clone(), v6: seen, cname: None };
        let nobody = SocketAddr::from(([0, 0, 0, 0], 0));
        let heard = Heard {
            asked: Vec::new(),
            words: vec![(nobody, sight)],
            wanted: 0,
            dead: 0,
            silence: SilentPart::Resolvers,
        };
        Self { heard, zone_sights: Vec::new(), zone: None }
    }
}

/// Each resolver once, where it comes first.
fn distinct(resolvers: &[SocketAddr]) -> Vec<SocketAddr> {
    let mut seen = HashSet::new();
    let canonical = resolvers.iter().map(|resolver| canonical_resolver(*resolver));
    canonical.filter(|resolver| seen.insert(*resolver)).collect()
}

fn system_resolvers() -> Result<Vec<SocketAddr>, DnsError> {
    let (config, _) = read_system_conf().map_err(DnsError::SystemResolvers)?;
    let servers = config.name_servers().iter().map(|server| SocketAddr::new(server.ip, DNS_PORT));
    let servers: Vec<SocketAddr> = servers.collect();
    if servers.is_empty() { Err(DnsError::NoResolver) } else { Ok(servers) }
}
