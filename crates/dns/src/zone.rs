//! Which zone a name is in, and which servers it has.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::future::join_all;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use tokio::sync::OnceCell;

use crate::{
    DnsConfig,
    exchange::{Role, Server},
    names::upwards,
    walk::{End, Walk, is_at},
};

/// How many of a zone's servers are asked.
const MAX_SERVERS: usize = 2;
/// How many of its servers' names are looked up.
const MAX_SERVER_NAMES: usize = 3;
/// For how many names of a chain a zone is looked for; beyond them the resolver is asked.
const MAX_ZONES: usize = 6;
/// Names of so many labels can be zones. A deeper one belongs to a zone that is none of these, whose
/// parent's servers say nothing with authority.
const ZONE_LABELS: std::ops::RangeInclusive<usize> = 2..=10;

/// A zone and those of its servers that may be asked.
#[derive(Debug)]
pub(crate) struct Zone {
    pub(crate) name: Name,
    pub(crate) servers: Vec<SocketAddr>,
}

/// Where a zone is put once it is found, or found not to be.
#[derive(Default)]
struct Place(OnceCell<Option<Arc<Zone>>>);

/// What resolvers are asked while zones are looked for. What a resolver is told of a name that is not
/// there it remembers, and so may that of a CA, which can be the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resolvers {
    /// Everything.
    Free,
    /// Nothing of the names on the chain themselves: names above them alone.
    Spared,
}

/// The zones along one name's chain, each looked for once.
pub(crate) struct Zones<'a> {
    config: &'a DnsConfig,
    resolver: Server<'a>,
    subject: Name,
    resolvers: Resolvers,
    /// Which of a zone's servers come first.
    turn: usize,
    /// By name on the chain.
    found: Mutex<HashMap<Name, Arc<Place>>>,
}

impl<'a> Zones<'a> {
    /// For a walk from `subject`. Different turns ask different servers of a zone first.
    pub(crate) fn new(
        config: &'a DnsConfig,
        resolver: Server<'a>,
        subject: Name,
        turn: usize,
    ) -> Self {
        let resolvers = Resolvers::Free;
        Self { config, resolver, subject, resolvers, turn, found: Mutex::default() }
    }

    /// The same, looked for by [`Resolvers::Spared`].
    pub(crate) fn sparing(self) -> Self {
        Self { resolvers: Resolvers::Spared, ..self }
    }

    pub(crate) fn resolver(&self) -> Server<'a> {
        self.resolver
    }

    /// Whether only its own zone may tell of a name.
    pub(crate) fn is_spared(&self, name: &Name) -> bool {
        self.resolvers == Resolvers::Spared || self.subject == *name
    }

    /// The zone that `name` is in, if it has servers that may be asked.
    pub(crate) async fn of(&self, name: &Name) -> Option<Arc<Zone>> {
        let place = {
            let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
            if found.len() == MAX_ZONES && !found.contains_key(name) {
                return None;
            }
            Arc::clone(found.entry(name.clone()).or_default())
        };
        place.0.get_or_init(|| self.find(name)).await.clone()
    }

    async fn find(&self, name: &Name) -> Option<Arc<Zone>> {
        let first = usize::from(self.resolvers == Resolvers::Spared);
        let candidates = upwards(name)
            .skip(first)
            .filter(|name| ZONE_LABELS.contains(&name.iter().count()) && !name.is_wildcard());
        let answers = join_all(candidates.map(|name| self.servers_of(name))).await;
        let (name, mut servers) = answers.into_iter().find(|(_, servers)| !servers.is_empty())?;
        servers.sort();
        let turn = self.turn.checked_rem(servers.len()).unwrap_or(0);
        servers.rotate_left(turn);
        servers.truncate(MAX_SERVER_NAMES);
        let addresses = join_all(servers.iter().map(|server| self.address_of(server))).await;
        let port = self.config.zone_port;
        let mut servers: Vec<SocketAddr> = Vec::new();
        for address in addresses.into_iter().flatten() {
            let server = SocketAddr::new(address, port);
            if servers.len() < MAX_SERVERS && !servers.contains(&server) {
                servers.push(server);
            }
        }
        (!servers.is_empty()).then(|| Arc::new(Zone { name, servers }))
    }

    /// The names of the servers of a name that is a zone.
    async fn servers_of(&self, name: Name) -> (Name, Vec<Name>) {
        let Ok(answer) = self.resolver.ask(&name, RecordType::NS, Role::Resolver).await else {
            return (name, Vec::new());
        };
        let servers = answer.answers.into_iter().filter(|record| is_at(record, &name));
        let servers = servers.filter_map(|record| {
            if let RData::NS(server) = record.data { Some(server.0) } else { None }
        });
        let servers = servers.collect();
        (name, servers)
    }

    /// An address of a server to which something may be sent, IPv4 first: many nodes have no IPv6.
    /// A name server's name is no alias (RFC 2181 section 10.3), so none is followed.
    async fn address_of(&self, server: &Name) -> Option<IpAddr> {
        let (v4, v6) = tokio::join!(
            self.resolver.ask(server, RecordType::A, Role::Resolver),
            self.resolver.ask(server, RecordType::AAAA, Role::Resolver)
        );
        let answers = [v4, v6].into_iter().flatten();
        let records = answers.flat_map(|answer| answer.answers);
        let own = records.filter(|record| is_at(record, server));
        own.filter_map(|record| record.data.ip_addr()).find(|own| self.config.admits(*own))
    }
}

/// The addresses at a walk's end.
pub(crate) fn addresses(walk: &Walk) -> impl Iterator<Item = IpAddr> {
    let found = match &walk.end {
        End::Found(found) => found.as_slice(),
        End::Missing(_) => &[],
    };
    found.iter().filter_map(RData::ip_addr)
}
