use std::{
    net::{IpAddr, SocketAddr, SocketAddrV6},
    time::Duration,
};

use landfall_model::{Hostname, Network, network::is_public};

/// Who is asked, and for how long.
#[derive(Clone, Debug)]
pub struct DnsConfig {
    /// The resolvers, those to ask first in front; two are asked at a time, and those past the eighth
    /// never. One that is listed again is left out: it is no second witness. None: the system's, from
    /// `/etc/resolv.conf`.
    pub resolvers: Vec<SocketAddr>,
    /// The domain of ours under which names that nobody has asked for show whether a resolver is
    /// alive. None: the root's name servers do, which one that is cut off may remember.
    pub probe: Option<Hostname>,
    /// Whether zones' own servers are asked where a resolver's answer would be held against a
    /// hostname, or resolvers differ.
    pub zone_servers: ZoneServers,
    /// For one verification in all.
    pub timeout: Duration,
    /// The port of zones' own servers.
    pub zone_port: u16,
    /// The port that ownership tokens are fetched from.
    pub http_port: u16,
    /// The most sockets that are open at once, for all checks.
    pub sockets: usize,
    /// Besides public addresses, where zones' own servers and hosts with ownership tokens may be.
    pub allowed_networks: Vec<Network>,
}

impl Default for DnsConfig {
    fn default() -> Self {
        Self {
            resolvers: Vec::new(),
            probe: None,
            zone_servers: ZoneServers::Asked,
            timeout: Duration::from_secs(5),
            zone_port: 53,
            http_port: 80,
            sockets: 4096,
            allowed_networks: Vec::new(),
        }
    }
}

impl DnsConfig {
    /// Whether an address that somebody's DNS names may be sent anything.
    pub(crate) fn admits(&self, address: IpAddr) -> bool {
        is_public(address) || self.allowed_networks.iter().any(|network| network.contains(address))
    }
}

/// The port of DNS servers (RFC 1035 section 4.2).
const PORT: u16 = 53;

/// A text that names no DNS server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an address such as \"192.0.2.53\" or \"[2001:db8::53]:53\", got {0:?}")]
pub struct ServerAddressError(String);

/// Reads where a DNS server is: an address, with or without a port.
///
/// # Errors
/// Where it is none.
pub fn server_address(text: &str) -> Result<SocketAddr, ServerAddressError> {
    let alone = || text.parse().map(|address: IpAddr| SocketAddr::new(address, PORT));
    text.parse().or_else(|_| alone()).map_err(|_| ServerAddressError(text.to_owned()))
}

/// A resolver's one form: an IPv4 address in its IPv6 form is the same resolver.
pub fn canonical_resolver(resolver: SocketAddr) -> SocketAddr {
    match (resolver.ip().to_canonical(), resolver) {
        // Its zone is a part of a link-local address (RFC 4007 section 6).
        (IpAddr::V6(_), SocketAddr::V6(own)) => {
            SocketAddrV6::new(*own.ip(), own.port(), 0, own.scope_id()).into()
        }
        (address, _) => SocketAddr::new(address, resolver.port()),
    }
}

/// Whether zones' own servers are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZoneServers {
    /// They are, to get past what resolvers remember.
    Asked,
    /// Resolvers alone are.
    NotAsked,
}

/// Why nothing can be verified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DnsError {
    /// The system's resolvers can't be read.
    #[error("/etc/resolv.conf can't be read for the system's resolvers")]
    SystemResolvers(#[source] hickory_resolver::net::NetError),
    /// There are none.
    #[error("no resolver: none is configured, and /etc/resolv.conf names none")]
    NoResolver,
}
