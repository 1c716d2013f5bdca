//! An origin over TLS, HTTP/2 or both, with a certificate of its own.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{HeaderMap, Response};
use landfall_model::Der;
use rcgen::{CertificateParams, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
};
use tokio_rustls::TlsAcceptor;

/// Answers with what it saw: the protocol, the host, the SNI. Over HTTP/1.1 it changes to any other protocol. Over HTTP/2, `/refused` is refused
/// (RFC 9113 section 8.7) and `/trailers` has trailers.
pub(crate) struct SecureOrigin {
    pub(crate) address: SocketAddr,
    /// What its certificate is verified with.
    pub(crate) root: Der,
    seen: Arc<Seen>,
    /// Ends with this.
    _runtime: Runtime,
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    requests: AtomicUsize,
    names: Mutex<Vec<Option<String>>>,
}

impl SecureOrigin {
    /// Over TLS, with a certificate for `name`, speaking one of `protocols`.
    pub(crate) fn tls(name: &str, protocols: &[&str]) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let root = Der(certificate.der().to_vec());
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        landfall_edge::install_crypto();
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![CertificateDer::from(root.0.clone())], key)
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Self::start(root, Some(TlsAcceptor::from(Arc::new(config))))
    }

    /// HTTP/2 without TLS, with prior knowledge.
    pub(crate) fn plain_http2() -> Self {
        Self::start(Der(Vec::new()), None)
    }

    fn start(root: Der, acceptor: Option<TlsAcceptor>) -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Seen>::default();
        let shared = Arc::clone(&seen);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                shared.connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(stream, acceptor.clone(), Arc::clone(&shared)));
            }
        });
        Self { address, root, seen, _runtime: runtime }
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn requests(&self) -> usize {
        self.seen.requests.load(Ordering::Relaxed)
    }

    /// The SNI of each connection that was made.
    pub(crate) fn names(&self) -> Vec<Option<String>> {
        self.seen.names.lock().unwrap().clone()
    }
}

async fn serve(stream: TcpStream, acceptor: Option<TlsAcceptor>, seen: Arc<Seen>) {
    let Some(acceptor) = acceptor else {
        return http2(stream, &seen).await;
    };
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let tls = stream.get_ref().1;
    let is_http2 = tls.alpn_protocol() == Some(b"h2");
    seen.names.lock().unwrap().push(tls.server_name().map(str::to_owned));
    match is_http2 {
        true => http2(stream, &seen).await,
        false => http1(stream, &seen).await,
    }
}

async fn http1(mut stream: impl AsyncRead + AsyncWrite + Unpin, seen: &Seen) {
    let mut header = Vec::new();
    while let Ok(byte) = stream.read_u8().await {
        header.push(byte);
        if !header.ends_with(b"\r\n\r\n") {
            continue;
        }
        seen.requests.fetch_add(1, Ordering::Relaxed);
        if String::from_utf8_lossy(&header).to_lowercase().contains("\r\nupgrade: ") {
            return echo(stream).await;
        }
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", header.len());
        header.splice(0..0, head.into_bytes());
        if stream.write_all(&header).await.is_err() {
            return;
        }
        header.clear();
    }
}

/// Changes to the protocol that is asked for, and repeats what it is sent.
async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let answer =
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    if stream.write_all(answer).await.is_err() {
        return;
    }
    let (mut from, mut to) = tokio::io::split(stream);
    let _ = tokio::io::copy(&mut from, &mut to).await;
}

async fn http2(stream: impl AsyncRead + AsyncWrite + Unpin, seen: &Seen) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let before = seen.requests.fetch_add(1, Ordering::Relaxed);
        if request.uri().path() == "/refused" && before == 0 {
            respond.send_reset(h2::Reason::REFUSED_STREAM);
            continue;
        }
        let body = Bytes::from(format!("HTTP/2 {}", request.uri()));
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        let has_trailers = request.uri().path() == "/trailers";
        stream.send_data(body, !has_trailers).unwrap();
        if has_trailers {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().unwrap());
            stream.send_trailers(trailers).unwrap();
        }
    }
}
