//! Asking the DNS. hickory appears in this file alone.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwapOption;
use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts},
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
};
use landfall_model::Hostname;
use tokio::time::Instant;

/// The most addresses of a name that are used.
pub(super) const MAX_ADDRESSES: usize = 8;
/// For one question to one server.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How often the system's list of servers is read again.
const REREAD: Duration = Duration::from_secs(60);

/// Asks the system's DNS servers, or those that the operator named.
pub(super) struct Lookup {
    servers: Vec<SocketAddr>,
    made: ArcSwapOption<Made>,
}

struct Made {
    at: Instant,
    resolver: TokioResolver,
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// One to [`MAX_ADDRESSES`].
    pub(super) addresses: Arc<[IpAddr]>,
    /// For how long, as the zone says.
    pub(super) ttl: Duration,
}

/// Why there is no address.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookupError {
    /// The DNS says that the name or its addresses do not exist.
    #[error("the name has no addresses")]
    Negative,
    /// The DNS did not answer, or says that it can't.
    #[error("the name can't be looked up")]
    Failed(#[source] NetError),
}

impl Lookup {
    pub(super) fn new(servers: Vec<SocketAddr>) -> Self {
        Self { servers, made: ArcSwapOption::empty() }
    }

    pub(super) async fn find(&self, name: &Hostname) -> Result<Found, LookupError> {
        let resolver = self.resolver().map_err(LookupError::Failed)?;
        // The dot keeps it from being searched in the node's own domains.
        let answer =
            resolver.lookup_ip(format!("{name}.")).await.map_err(|error| {
                match is_negative(&error) {
                    true => LookupError::Negative,
                    false => LookupError::Failed(error),
                }
            })?;
        let ttl = answer.as_lookup().answers().iter().map(|record| record.ttl).min();
        let addresses = usable(answer.iter().collect(), has_ipv6());
        match addresses.is_empty() {
            true => Err(LookupError::Negative),
            false => Ok(Found { addresses, ttl: Duration::from_secs(ttl.unwrap_or(0).into()) }),
        }
    }

    fn resolver(&self) -> Result<TokioResolver, NetError> {
        if let Some(made) = self.made.load().as_ref()
            && (!self.servers.is_empty() || made.at.elapsed() < REREAD)
        {
            return Ok(made.resolver.clone());
        }
        let mut builder = match self.servers.as_slice() {
            [] => TokioResolver::builder_tokio()?,
            servers => {
                let servers = servers.iter().copied().map(name_server).collect();
                let config = ResolverConfig::from_parts(None, Vec::new(), servers);
                TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            }
        };
        limit(builder.options_mut());
        let resolver = builder.build()?;
        let made = Made { at: Instant::now(), resolver: resolver.clone() };
        self.made.store(Some(made.into()));
        Ok(resolver)
    }
}

/// Whether the DNS says that there is nothing, and not that it can't tell.
fn is_negative(error: &NetError) -> bool {
    use hickory_resolver::proto::op::ResponseCode::{NXDomain, NoError};
    matches!(
        error,
        NetError::Dns(DnsError::NoRecordsFound(found))
            if matches!(found.response_code, NXDomain | NoError)
    )
}

fn limit(options: &mut ResolverOpts) {
    // What is known is kept by name, with our own bounds.
    options.cache_size = 0;
    options.timeout = TIMEOUT;
    options.attempts = 2;
    options.ip_strategy = hickory_resolver::config::LookupIpStrategy::Ipv4AndIpv6;
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
    for connection in &mut connections {
        connection.port = address.port();
    }
    NameServerConfig::new(address.ip(), true, connections)
}

/// In one order, so that answers that are shuffled are the same.
fn usable(mut addresses: Vec<IpAddr>, has_ipv6: bool) -> Arc<[IpAddr]> {
    if !has_ipv6 && addresses.iter().any(IpAddr::is_ipv4) {
        addresses.retain(IpAddr::is_ipv4);
    }
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(MAX_ADDRESSES);
    addresses.into()
}

/// Whether there is a route to the IPv6 internet. Sends nothing.
fn has_ipv6() -> bool {
    let socket = UdpSocket::bind("[::]:0");
    socket.and_then(|socket| socket.connect("[2000::1]:53")).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_in_one_order_and_bounded() {
        let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let shuffled: Vec<IpAddr> = parse(&["2001:db8::1", "192.0.2.9", "192.0.2.1", "192.0.2.9"]);
        let all: Vec<IpAddr> = parse(&["192.0.2.1", "192.0.2.9", "2001:db8::1"]);
        assert_eq!(*usable(shuffled.clone(), true), all[..]);
        assert_eq!(*usable(shuffled, false), all[..2]);
        assert_eq!(*usable(parse(&["2001:db8::1"]), false), all[2..]);
        let many = (0..100).map(|last| IpAddr::from([192, 0, 2, last])).collect();
        assert_eq!(usable(many, true).len(), MAX_ADDRESSES);
    }
}
