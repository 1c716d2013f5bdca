//! Who a load balancer's connections are really from: the PROXY protocol, both versions.
//!
//! Taken from the operator's own networks alone, where it is required. From anyone else it is not
//! looked for, and is then neither TLS nor HTTP.

use std::net::{IpAddr, SocketAddr};

use landfall_model::Network;
use pingora_core::protocols::l4::stream::Stream as TcpStream;
use ppp::{v1, v2};
use tokio::io::AsyncReadExt;

/// `\r\n\r\n\0\r\nQUIT\n`
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// A header of the first version has at most as many bytes.
const MAX_V1: usize = 107;
/// And one of the second, with more extensions than any load balancer is known to send.
const MAX_V2: usize = 4096;

/// What is wrong with a header, for the debug log.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeaderError {
    #[error("the connection ended within the PROXY header")]
    Read(#[source] std::io::Error),
    #[error("the PROXY header is malformed")]
    V1(#[source] v1::BinaryParseError),
    #[error("the PROXY header is malformed")]
    V2(#[source] v2::ParseError),
    #[error("the PROXY header has {0} bytes")]
    TooLong(usize),
    #[error("the PROXY header is not for a TCP connection")]
    NotTcp,
}

/// Whether a connection from `peer` has to start with a header.
pub(super) fn is_due(networks: &[Network], peer: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(peer))
}

/// Reads the header and not a byte more. `None` where it names no client: the load balancer is
/// speaking for itself, as in its health checks.
pub(super) async fn read(tcp: &mut TcpStream) -> Result<Option<SocketAddr>, HeaderError> {
    let mut header = vec![0; SIGNATURE.len()];
    tcp.read_exact(&mut header).await.map_err(HeaderError::Read)?;
    match header == SIGNATURE {
        true => read_v2(tcp, header).await,
        false => read_v1(tcp, header).await,
    }
}

async fn read_v1(
    tcp: &mut TcpStream,
    mut header: Vec<u8>,
) -> Result<Option<SocketAddr>, HeaderError> {
    // What follows the line is the client's, so that it is read byte by byte.
    while !header.ends_with(b"\n") {
        if header.len() >= MAX_V1 || !header.starts_with(b"PROXY ") {
            return Err(HeaderError::TooLong(header.len()));
        }
        header.push(tcp.read_u8().await.map_err(HeaderError::Read)?);
    }
    v1_source(&header)
}

async fn read_v2(
    tcp: &mut TcpStream,
    mut header: Vec<u8>,
) -> Result<Option<SocketAddr>, HeaderError> {
    let mut rest = [0; 4];
    tcp.read_exact(&mut rest).await.map_err(HeaderError::Read)?;
    let [_, _, high, low] = rest;
    let len = usize::from(u16::from_be_bytes([high, low]));
    header.extend_from_slice(&rest);
    if len > MAX_V2 {
        return Err(HeaderError::TooLong(len));
    }
    let start = header.len();
    header.resize(start + len, 0);
    let rest = header.get_mut(start..).unwrap_or_default();
    tcp.read_exact(rest).await.map_err(HeaderError::Read)?;
    v2_source(&header)
}

fn v1_source(header: &[u8]) -> Result<Option<SocketAddr>, HeaderError> {
    let header = v1::Header::try_from(header).map_err(HeaderError::V1)?;
    Ok(match header.addresses {
        v1::Addresses::Tcp4(tcp) => Some((tcp.source_address, tcp.source_port).into()),
        v1::Addresses::Tcp6(tcp) => Some((tcp.source_address, tcp.source_port).into()),
        v1::Addresses::Unknown => None,
    })
}

fn v2_source(header: &[u8]) -> Result<Option<SocketAddr>, HeaderError> {
    let header = v2::Header::try_from(header).map_err(HeaderError::V2)?;
    let source = match (header.command, header.addresses) {
        (v2::Command::Local, _) | (_, v2::Addresses::Unspecified) => return Ok(None),
        (v2::Command::Proxy, v2::Addresses::IPv4(tcp)) => {
            (tcp.source_address, tcp.source_port).into()
        }
        (v2::Command::Proxy, v2::Addresses::IPv6(tcp)) => {
            (tcp.source_address, tcp.source_port).into()
        }
        (v2::Command::Proxy, v2::Addresses::Unix(_)) => return Err(HeaderError::NotTcp),
    };
    match header.protocol {
        v2::Protocol::Stream => Ok(Some(source)),
        v2::Protocol::Datagram | v2::Protocol::Unspecified => Err(HeaderError::NotTcp),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &len, rest].concat()
    }

    #[test]
    fn the_first_version_names_the_client_or_nobody() {
        let source = |text: &str| v1_source(text.as_bytes());
        let client = source("PROXY TCP4 192.0.2.1 198.51.100.1 4711 443\r\n").unwrap();
        assert_eq!(client, Some("192.0.2.1:4711".parse().unwrap()));
        let client = source("PROXY TCP6 2001:db8::1 2001:db8::2 4711 443\r\n").unwrap();
        assert_eq!(client, Some("[2001:db8::1]:4711".parse().unwrap()));
        assert_eq!(source("PROXY UNKNOWN\r\n").unwrap(), None);
        for malformed in [
            "PROXY TCP4 192.0.2.1 198.51.100.1 4711 443\n",
            "PROXY TCP4 192.0.2.999 198.51.100.1 4711 443\r\n",
            "PROXY TCP4 2001:db8::1 198.51.100.1 4711 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 4711 65536\r\n",
            "PROXY TCP4 192.0.2.1\r\n",
            "PROXY UDP4 192.0.2.1 198.51.100.1 4711 443\r\n",
            "GET / HTTP/1.1\r\n",
        ] {
            assert!(source(malformed).is_err(), "{malformed}");
        }
    }

    #[test]
    fn the_second_version_names_the_client_or_nobody() {
        let v4 = [192, 0, 2, 1, 198, 51, 100, 1, 0x12, 0x67, 1, 0xbb];
        assert_eq!(
            v2_source(&v2(0x21, 0x11, &v4)).unwrap(),
            Some("192.0.2.1:4711".parse().unwrap())
        );
        let with_tlv = [&v4[..], &[0x04, 0, 1, 7]].concat();
        assert!(v2_source(&v2(0x21, 0x11, &with_tlv)).unwrap().is_some());
        assert_eq!(v2_source(&v2(0x20, 0x00, &[])).unwrap(), None);
        assert_eq!(v2_source(&v2(0x20, 0x11, &v4)).unwrap(), None);
        assert_eq!(v2_source(&v2(0x21, 0x00, &[])).unwrap(), None);
        for (command, family, rest) in [
            (0x11, 0x11, &v4[..]),
            (0x22, 0x11, &v4[..]),
            (0x21, 0x12, &v4[..]),
            (0x21, 0x41, &v4[..]),
            (0x21, 0x11, &v4[..8]),
        ] {
            assert!(v2_source(&v2(command, family, rest)).is_err(), "{command} {family} {rest:?}");
        }
    }
}
