//! A client over TLS that says whether it resumed, and takes nothing but whole answers.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::{Buf, BytesMut};
use rustls::{
    ClientConfig, HandshakeKind, ProtocolVersion, RootCertStore,
    client::Resumption,
    pki_types::{CertificateDer, ServerName},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{LoadError, identity};

/// For a connection with its handshake, and for a response.
const LIMIT: Duration = Duration::from_secs(10);
/// The longest header of a response, in bytes.
const MAX_HEADER: usize = 16 * 1_024;

/// What a client does with sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sessions {
    /// Keeps none: every handshake is a full one.
    Forget,
    /// Keeps the latest, and resumes.
    Keep,
}

/// Connects to one server. Its sessions are its own.
pub(super) struct Client {
    connector: TlsConnector,
    address: SocketAddr,
}

/// A connection after its handshake.
pub(super) struct Connection {
    stream: TlsStream<TcpStream>,
    buffer: BytesMut,
}

impl Client {
    pub(super) fn new(
        root: &CertificateDer<'static>,
        address: SocketAddr,
        sessions: Sessions,
    ) -> Result<Self, LoadError> {
        let mut roots = RootCertStore::empty();
        roots.add(root.clone())?;
        let mut config = ClientConfig::builder_with_provider(identity::provider())
            .with_protocol_versions(rustls::DEFAULT_VERSIONS)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = match sessions {
            Sessions::Forget => Resumption::disabled(),
            Sessions::Keep => Resumption::in_memory_sessions(4),
        };
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), address })
    }

    /// Connects and completes a handshake of TLS 1.3.
    pub(super) async fn connect(&self) -> Result<Connection, LoadError> {
        let connecting = async {
            let tcp = TcpStream::connect(self.address).await?;
            tcp.set_nodelay(true)?;
            let name = ServerName::try_from(identity::NAME).map_err(io::Error::other)?;
            self.connector.connect(name, tcp).await
        };
        let what = "connect".to_owned();
        let stream = timeout(LIMIT, connecting).await;
        let stream = stream.map_err(|_| LoadError::Timeout { what, limit: LIMIT })?;
        let stream = stream.map_err(LoadError::client("connect"))?;
        match stream.get_ref().1.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => {}
            version => {
                let was = format!("{version:?}");
                return Err(LoadError::Handshake { was, expected: "TLS 1.3" });
            }
        }
        Ok(Connection { stream, buffer: BytesMut::new() })
    }

    /// Connects, asks for `path` and closes. `expected` is how the handshake has to be.
    pub(super) async fn visit(
        &self,
        path: &str,
        body: usize,
        expected: HandshakeKind,
    ) -> Result<(), LoadError> {
        let mut connection = self.connect().await?;
        match connection.stream.get_ref().1.handshake_kind() {
            Some(kind) if kind == expected => {}
            kind => {
                let expected = match expected {
                    HandshakeKind::Resumed => "resumed",
                    HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest => "full",
                };
                return Err(LoadError::Handshake { was: format!("{kind:?}"), expected });
            }
        }
        connection.get(path, body).await?;
        connection.stream.shutdown().await.map_err(LoadError::client("close"))
    }
}

impl Connection {
    /// Asks for `path` and reads the response, whose status must be 200 and whose body must have
    /// `body` bytes.
    pub(super) async fn get(&mut self, path: &str, body: usize) -> Result<(), LoadError> {
        let what = "read a response".to_owned();
        let exchange = timeout(LIMIT, self.exchange(path, body)).await;
        exchange.map_err(|_| LoadError::Timeout { what, limit: LIMIT })?
    }

    async fn exchange(&mut self, path: &str, body: usize) -> Result<(), LoadError> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", identity::NAME);
        let send = LoadError::client("send a request");
        self.stream.write_all(request.as_bytes()).await.map_err(send)?;
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end + 4;
            }
            self.read().await?;
        };
        let header = self.buffer.split_to(end);
        let length = body_length(&String::from_utf8_lossy(&header)).map_err(LoadError::Response)?;
        if length != body {
            return Err(LoadError::Response(format!("a body of {length} and not {body} bytes")));
        }
        let mut left = length;
        loop {
            let taken = left.min(self.buffer.len());
            self.buffer.advance(taken);
            left -= taken;
            if left == 0 {
                return Ok(());
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> Result<(), LoadError> {
        let read = self.stream.read_buf(&mut self.buffer).await;
        match read.map_err(LoadError::client("read a response"))? {
            0 => Err(LoadError::Response("it is cut short".into())),
            _ if self.buffer.len() > MAX_HEADER + super::servers::LARGE => {
                Err(LoadError::Response("it does not end".into()))
            }
            _ => Ok(()),
        }
    }
}

/// The length that the header of a 200 has, or what is wrong with it.
fn body_length(header: &str) -> Result<usize, String> {
    let mut lines = header.split("\r\n");
    let status = lines.next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        return Err(format!("{status:?}"));
    }
    let fields = lines.filter_map(|line| line.split_once(':'));
    let mut lengths = fields.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = lengths.next().and_then(|(_, value)| value.trim().parse().ok());
    length.ok_or_else(|| "no Content-Length".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_200_with_a_length_has_a_body() {
        let table = [
            ("HTTP/1.1 200 OK\r\nA: b\r\ncontent-length: 12\r\n\r\n", Ok(12)),
            ("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", Err("502")),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Err("no Content-Length")),
            ("", Err("\"\"")),
        ];
        for (header, expected) in table {
            match (body_length(header), expected) {
                (Ok(length), Ok(expected)) => assert_eq!(length, expected),
                (Err(fault), Err(expected)) => assert!(fault.contains(expected), "{fault}"),
                (was, expected) => panic!("{was:?} and not {expected:?}"),
            }
        }
    }
}
