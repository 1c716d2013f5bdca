//! Which addresses may be origins.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use landfall_model::{Network, network::is_public};

/// Which addresses may be origins: public ones and those that the operator allows, and never the
/// operators' own listener. (A request that comes back to the edge's other listeners is told from
/// its header.) Asked right before each connection, with the very address that is
/// connected to: what DNS says in between can't matter.
#[derive(Debug)]
pub(super) struct Access {
    allowed: Vec<Network>,
    admin: SocketAddr,
}

/// Why an address may not be an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// It is not public and not allowed.
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
}

impl Access {
    pub(super) fn new(allowed: Vec<Network>, admin: SocketAddr) -> Self {
        Self { allowed, admin }
    }

    pub(super) fn check(&self, address: SocketAddr) -> Result<(), Denied> {
        let ip = address.ip().to_canonical();
        // A connection to the unspecified address arrives at this host.
        let may = is_public(ip) || (!ip.is_unspecified() && self.is_allowed(ip));
        if !may {
            return Err(Denied::Private);
        }
        let is_admin = self.admin.port() == address.port()
            && match self.admin.ip().is_unspecified() {
                true => is_local(ip),
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

/// Whether the address is one of this host's: only those can be bound to.
fn is_local(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
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
