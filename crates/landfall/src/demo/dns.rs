//! The demo's DNS: a server for the system domain and for a customer's zone, one record of which the demo
//! changes. All is in one zone, the root, so that any other name does not exist.

use std::{
    fmt, io,
    net::{SocketAddr, TcpListener, UdpSocket},
    sync::Arc,
    time::Duration,
};

use hickory_server::{
    Server,
    net::runtime::TokioRuntimeProvider,
    proto::{
        rr::{LowerName, Name},
        serialize::txt::Parser,
    },
    store::in_memory::InMemoryZoneHandler,
    zone_handler::{AxfrPolicy, Catalog, ZoneType},
};

use super::{DemoError, LOOPBACK, SYSTEM_DOMAIN, customer};

/// How often a free port is looked for that is free for TCP as well as for UDP.
const MAX_TRIES: usize = 16;
/// How long a TCP connection may say nothing.
const TCP_TIMEOUT: Duration = Duration::from_secs(5);
/// How many answers may wait in a TCP connection.
const TCP_ANSWERS: usize = 16;

/// What the server listens on: questions that come before it starts wait for it.
pub(super) struct Sockets {
    udp: UdpSocket,
    tcp: TcpListener,
}

impl Sockets {
    /// Binds the port for UDP and TCP; 0 takes a free one. Returns its number.
    pub(super) fn bind(port: u16) -> io::Result<(u16, Self)> {
        let mut tries = 1;
        loop {
            match Self::bind_both(port) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    if port != 0 || tries == MAX_TRIES {
                        return Err(error);
                    }
                    tries += 1;
                }
                bound => return bound,
            }
        }
    }

    fn bind_both(port: u16) -> io::Result<(u16, Self)> {
        let udp = UdpSocket::bind(SocketAddr::new(LOOPBACK, port))?;
        let address = udp.local_addr()?;
        let tcp = TcpListener::bind(address)?;
        udp.set_nonblocking(true)?;
        tcp.set_nonblocking(true)?;
        Ok((address.port(), Self { udp, tcp }))
    }
}

/// What the customer's zone says of the hostname.
#[derive(Clone, Copy, Debug)]
pub(super) enum CustomerRecord {
    /// It leads to where the site was served before (RFC 5737: an address that nobody has).
    BeforeTheMove,
    /// It leads to the property's system hostname.
    Moved,
}

impl fmt::Display for CustomerRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, property) = (customer::SITE.visit, customer::SITE.property);
        match self {
            Self::BeforeTheMove => write!(f, "{name}. A 192.0.2.10"),
            Self::Moved => write!(f, "{name}. CNAME {property}.{SYSTEM_DOMAIN}."),
        }
    }
}

/// The server, which ends with this value.
pub(super) struct Dns {
    zone: Arc<InMemoryZoneHandler>,
    server: Server<Catalog>,
}

impl Dns {
    /// Starts the server with this record of the customer's.
    ///
    /// # Errors
    /// [`DemoError::Dns`] and [`DemoError::Zone`].
    pub(super) async fn start(sockets: Sockets, record: CustomerRecord) -> Result<Self, DemoError> {
        let (root, policy) = (Name::root(), AxfrPolicy::Deny);
        let apex = LowerName::new(&root);
        let zone = InMemoryZoneHandler::<TokioRuntimeProvider>::empty;
        let zone = Arc::new(zone(root, ZoneType::Primary, policy));
        let mut catalog = Catalog::new();
        catalog.upsert(apex, vec![zone.clone()]);
        let mut dns = Self { zone, server: Server::new(catalog) };
        dns.publish(record).await?;
        dns.listen(sockets).map_err(|source| DemoError::Dns { source })?;
        Ok(dns)
    }

    fn listen(&mut self, Sockets { udp, tcp }: Sockets) -> io::Result<()> {
        self.server.register_socket(tokio::net::UdpSocket::from_std(udp)?);
        let tcp = tokio::net::TcpListener::from_std(tcp)?;
        self.server.register_listener(tcp, TCP_TIMEOUT, TCP_ANSWERS);
        Ok(())
    }

    /// Changes the customer's record.
    ///
    /// # Errors
    /// [`DemoError::Zone`].
    pub(super) async fn publish(&self, record: CustomerRecord) -> Result<(), DemoError> {
        let parsed = Parser::new(zone_file(record), None, Some(Name::root())).parse();
        let (_, records) = parsed.map_err(|source| DemoError::Zone { source: Box::new(source) })?;
        let records = records.into_iter().map(|(key, set)| (key, Arc::new(set)));
        *self.zone.records_mut().await = records.collect();
        Ok(())
    }

    /// Waits until the server ends, which it should not.
    pub(super) async fn ended(&mut self) -> DemoError {
        match self.server.block_until_done().await {
            Ok(()) => DemoError::DnsEnded,
            Err(error) => DemoError::Dns { source: io::Error::other(error) },
        }
    }
}

/// The zone in the form of RFC 1035 section 5. `mine.customer.test` leads to the property too, for whoever
/// tries a hostname of their own. Properties' own names stand beside the wildcard: of a
/// name that a wildcard alone covers the server says that it has no other types by denying the name.
fn zone_file(record: CustomerRecord) -> String {
    format!(
        "$TTL 1
. IN SOA ns.{SYSTEM_DOMAIN}. nobody.{SYSTEM_DOMAIN}. 1 3600 600 86400 1
. IN NS ns.{SYSTEM_DOMAIN}.
ns.{SYSTEM_DOMAIN}. IN A {LOOPBACK}
shop.{SYSTEM_DOMAIN}. IN A {LOOPBACK}
blog.{SYSTEM_DOMAIN}. IN A {LOOPBACK}
*.{SYSTEM_DOMAIN}. IN A {LOOPBACK}
mine.customer.test. IN CNAME {}.{SYSTEM_DOMAIN}.
{}
",
        customer::SITE.property,
        record.to_string().replacen(". ", ". IN ", 1)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_a_port_for_both_protocols() {
        let (port, sockets) = Sockets::bind(0).unwrap();
        assert_ne!(port, 0);
        assert_eq!(sockets.udp.local_addr().unwrap(), sockets.tcp.local_addr().unwrap());
        let error = Sockets::bind(port).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[tokio::test]
    async fn replaces_the_customers_record_by_another_type() {
        let (_, sockets) = Sockets::bind(0).unwrap();
        let dns = Dns::start(sockets, CustomerRecord::BeforeTheMove).await.unwrap();
        dns.publish(CustomerRecord::Moved).await.unwrap();
        let records = dns.zone.records().await;
        let own = records.values().filter(|set| set.name().to_string() == "www.customer.test.");
        let types: Vec<String> = own.map(|set| set.record_type().to_string()).collect();
        assert_eq!(types, ["CNAME"]);
    }
}
