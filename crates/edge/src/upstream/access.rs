//! Which addresses may be origins.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use landfall_model::{Network, PropertyId, network::is_public};
use nix::{ifaddrs::getifaddrs, sys::socket::SockaddrStorage};

use super::chores::{Chore, Next};

/// How long this host's own addresses are taken for what they were.
const OWN_FOR: Duration = Duration::from_secs(10);

/// Which addresses may be origins: public ones that are not this host's own, those that the operator
/// allows, and never the operators' own listener. A connection to an address of one's own passes by
/// what keeps the internet from this host's other listeners. (A request that comes back to the edge's
/// other listeners is told from its header.) Asked right before each connection, with the very address
/// that is connected to: what DNS says in between can't matter.
#[derive(Debug)]
pub(super) struct Access {
    allowed: Vec<Network>,
    admin: SocketAddr,
    /// This host's addresses, sorted.
    own: ArcSwap<Vec<IpAddr>>,
}

/// Why an address may not be an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// It is not public, or this host's own, and not allowed.
    Private,
    /// The operators' listener.
    Admin,
}

impl Denied {
    pub(super) const ALL: [Self; 2] = [Self::Private, Self::Admin];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Admin => "admin",
        }
    }

    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Private => {
                "it is not public, or it is this host's own, and not in upstream.allow_networks"
            }
            Self::Admin => "it is the operators' listener",
        }
    }
}

impl Access {
    pub(super) fn new(allowed: Vec<Network>, admin: SocketAddr) -> Self {
        let own = ArcSwap::from_pointee(interfaces().unwrap_or_default());
        Self { allowed, admin, own }
    }

    pub(super) fn check(&self, address: SocketAddr) -> Result<(), Denied> {
        self.decide(address, &self.own.load())
    }

    /// `own` are this host's addresses, sorted.
    fn decide(&self, address: SocketAddr, own: &[IpAddr]) -> Result<(), Denied> {
        let ip = address.ip().to_canonical();
        // A connection to the unspecified address arrives at this host.
        let is_own = ip.is_loopback() || own.binary_search(&ip).is_ok();
        let may = (is_public(ip) && !is_own) || (!ip.is_unspecified() && self.is_allowed(ip));
        if !may {
            return Err(Denied::Private);
        }
        let is_admin = self.admin.port() == address.port()
            && match self.admin.ip().is_unspecified() {
                true => is_own,
                false => self.admin.ip().to_canonical() == ip,
            };
        if is_admin { Err(Denied::Admin) } else { Ok(()) }
    }

    /// Where an IPv6 address leads to an IPv4 one by translation or a tunnel, both count as the
    /// address, and a network that was allowed for the one form is not allowed for the other.
    fn is_allowed(&self, ip: IpAddr) -> bool {
        self.allowed.iter().any(|network| network.contains(ip))
    }
}

#[async_trait]
impl Chore for Access {
    /// Addresses of interfaces may change; where the system can't say, they are what they were.
    async fn run(self: Arc<Self>) -> Next {
        if let Some(own) = interfaces() {
            self.own.store(Arc::new(own));
        }
        Next::After(OWN_FOR)
    }

    fn owner(&self) -> Option<PropertyId> {
        None
    }
}

/// This host's addresses, sorted. `None` where the system does not say.
fn interfaces() -> Option<Vec<IpAddr>> {
    let address = |storage: SockaddrStorage| {
        let v4 = storage.as_sockaddr_in().map(|own| IpAddr::from(own.ip()));
        v4.or_else(|| storage.as_sockaddr_in6().map(|own| IpAddr::from(own.ip())))
    };
    let found = getifaddrs().ok()?.filter_map(|interface| interface.address.and_then(address));
    let mut sorted: Vec<IpAddr> = found.map(|ip| ip.to_canonical()).collect();
    sorted.sort_unstable();
    sorted.dedup();
    Some(sorted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(allowed: &[&str], admin: &str, address: &str) -> Result<(), Denied> {
        let allowed = allowed.iter().map(|text| text.parse().unwrap()).collect();
        Access::new(allowed, admin.parse().unwrap()).check(address.parse().unwrap())
    }

    const ADMIN: &str = "127.0.0.1:9090";

    #[test]
    fn private_addresses_are_origins_only_where_they_are_allowed() {
        for address in [
            "127.0.0.1:80",
            "10.0.0.1:80",
            "169.254.169.254:80",
            "[::1]:80",
            "[::ffff:127.0.0.1]:80",
            "[64:ff9b::7f00:1]:80",
            "[2002:7f00:1::]:80",
            "[fd00::1]:80",
            "0.0.0.0:80",
        ] {
            assert_eq!(check(&[], ADMIN, address), Err(Denied::Private), "{address}");
        }
        assert_eq!(check(&[], ADMIN, "1.1.1.1:80"), Ok(()));
        assert_eq!(check(&[], ADMIN, "[2606:4700::1111]:80"), Ok(()));
        assert_eq!(check(&["10.0.0.0/8"], ADMIN, "10.1.2.3:80"), Ok(()));
        assert_eq!(check(&["10.0.0.0/8"], ADMIN, "[::ffff:10.1.2.3]:80"), Ok(()));
        assert_eq!(check(&["10.0.0.0/8"], ADMIN, "[64:ff9b::a01:203]:80"), Err(Denied::Private));
        assert_eq!(check(&["0.0.0.0/0"], ADMIN, "0.0.0.0:80"), Err(Denied::Private));
    }

    #[test]
    fn this_hosts_own_addresses_are_origins_only_where_they_are_allowed() {
        let own: [IpAddr; 2] = ["198.41.0.4".parse().unwrap(), "2606:4700::1111".parse().unwrap()];
        let decide = |allowed: &[&str], address: &str| {
            let allowed = allowed.iter().map(|text| text.parse().unwrap()).collect();
            let access = Access::new(allowed, ADMIN.parse().unwrap());
            access.decide(address.parse().unwrap(), &own)
        };
        for address in ["198.41.0.4:9100", "[::ffff:198.41.0.4]:9100", "[2606:4700::1111]:5432"] {
            assert_eq!(decide(&[], address), Err(Denied::Private), "{address}");
        }
        assert_eq!(decide(&[], "198.41.0.5:9100"), Ok(()));
        assert_eq!(decide(&["198.41.0.4"], "198.41.0.4:9100"), Ok(()));
    }

    #[test]
    fn the_interfaces_of_this_host_are_known() {
        assert!(interfaces().unwrap().contains(&IpAddr::from([127, 0, 0, 1])));
    }

    #[test]
    fn the_operators_listener_is_never_an_origin() {
        let allowed = ["127.0.0.0/8", "::/0"];
        assert_eq!(check(&allowed, ADMIN, "127.0.0.1:9090"), Err(Denied::Admin));
        assert_eq!(check(&allowed, ADMIN, "[::ffff:127.0.0.1]:9090"), Err(Denied::Admin));
        assert_eq!(check(&allowed, ADMIN, "127.0.0.2:9090"), Ok(()));
        assert_eq!(check(&allowed, ADMIN, "127.0.0.1:9091"), Ok(()));
        assert_eq!(check(&allowed, "0.0.0.0:9090", "127.0.0.2:9090"), Err(Denied::Admin));
        assert_eq!(check(&allowed, "[::]:9090", "[::1]:9090"), Err(Denied::Admin));
        // Another host's.
        assert_eq!(check(&allowed, "0.0.0.0:9090", "1.1.1.1:9090"), Ok(()));
    }
}
