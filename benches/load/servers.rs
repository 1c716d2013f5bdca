//! The origin, and the two floors: each a process of its own, which this program becomes.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
};

use bytes::{Buf, BytesMut};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::Ticketer,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::NoServerSessionStorage,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use super::{LoadError, identity};

/// The path of a response of [`SMALL`] bytes.
pub(super) const SMALL_PATH: &str = "/small";
/// The path of a response of [`LARGE`] bytes.
pub(super) const LARGE_PATH: &str = "/large";
/// Bytes of a small response's body.
pub(super) const SMALL: usize = 1_024;
/// Bytes of a large response's body.
pub(super) const LARGE: usize = 1_024 * 1_024;
/// The longest header of a request, in bytes.
const MAX_HEADER: usize = 16 * 1_024;

static SMALL_RESPONSE: LazyLock<Vec<u8>> = LazyLock::new(|| response(SMALL));
static LARGE_RESPONSE: LazyLock<Vec<u8>> = LazyLock::new(|| response(LARGE));

/// What a process serves.
#[derive(Clone, Debug)]
pub(super) enum Role {
    /// Plain HTTP/1, from memory.
    Origin,
    /// The same over TLS.
    Memory { chain: PathBuf, key: PathBuf },
    /// TLS to a connection to the origin for each of the client's.
    Pipe { chain: PathBuf, key: PathBuf, origin: String },
}

impl Role {
    /// The words of the command line that make a process one.
    pub(super) fn words(&self) -> Vec<&str> {
        fn text(path: &Path) -> &str {
            path.to_str().unwrap_or_default()
        }
        match self {
            Self::Origin => vec!["serve", "origin"],
            Self::Memory { chain, key } => vec!["serve", "memory", text(chain), text(key)],
            Self::Pipe { chain, key, origin } => {
                vec!["serve", "pipe", text(chain), text(key), origin]
            }
        }
    }

    /// Reads what [`Self::words`] has made, without the first of them.
    pub(super) fn parse(words: &[String]) -> Option<Self> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match *words.as_slice() {
            ["origin"] => Some(Self::Origin),
            ["memory", chain, key] => Some(Self::Memory { chain: chain.into(), key: key.into() }),
            ["pipe", chain, key, origin] => {
                Some(Self::Pipe { chain: chain.into(), key: key.into(), origin: origin.into() })
            }
            _ => None,
        }
    }
}

/// Listens on a free port, says which on standard output, and serves until it is killed.
pub(super) async fn serve(role: Role) -> Result<(), LoadError> {
    let listening = LoadError::client("listen");
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(listening)?;
    let address = listener.local_addr().map_err(LoadError::client("listen"))?;
    let handler = Arc::new(Handler::new(role)?);
    println!("{address}");
    loop {
        let (stream, _) = listener.accept().await.map_err(LoadError::client("accept"))?;
        let handler = Arc::clone(&handler);
        // Ends with its connection. What fails is seen by the client, who counts it.
        tokio::spawn(async move { handler.handle(stream).await });
    }
}

enum Handler {
    Origin,
    Memory(TlsAcceptor),
    Pipe(TlsAcceptor, String),
}

impl Handler {
    fn new(role: Role) -> Result<Self, LoadError> {
        Ok(match role {
            Role::Origin => Self::Origin,
            Role::Memory { chain, key } => Self::Memory(acceptor(&chain, &key)?),
            Role::Pipe { chain, key, origin } => Self::Pipe(acceptor(&chain, &key)?, origin),
        })
    }

    async fn handle(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        match self {
            Self::Origin => answer(stream).await,
            Self::Memory(acceptor) => answer(acceptor.accept(stream).await?).await,
            Self::Pipe(acceptor, origin) => {
                let mut client = acceptor.accept(stream).await?;
                let mut upstream = TcpStream::connect(origin).await?;
                upstream.set_nodelay(true)?;
                copy_bidirectional(&mut client, &mut upstream).await.map(drop)
            }
        }
    }
}

fn acceptor(chain: &Path, key: &Path) -> Result<TlsAcceptor, LoadError> {
    let read = |path: &Path| fs::read(path).map_err(LoadError::file(path));
    let invalid = |path: &Path, error: rustls::pki_types::pem::Error| {
        LoadError::file(path)(io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
    };
    let chain_pem = read(chain)?;
    let certificates = CertificateDer::pem_slice_iter(&chain_pem).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|error| invalid(chain, error))?;
    let private =
        PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| invalid(key, error))?;
    let mut config = ServerConfig::builder_with_provider(identity::provider())
        .with_protocol_versions(rustls::DEFAULT_VERSIONS)?
        .with_no_client_auth()
        .with_single_cert(certificates, private)?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = Ticketer::new()?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Answers requests without a body until the client goes away.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let mut buffer = BytesMut::with_capacity(2_048);
    loop {
        let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
            let read = stream.read_buf(&mut buffer).await?;
            if read == 0 || buffer.len() > MAX_HEADER {
                return Ok(());
            }
            continue;
        };
        let is_large = buffer.strip_prefix(b"GET ").is_some_and(|rest| rest.starts_with(b"/large"));
        buffer.advance(end + 4);
        let response = if is_large { &LARGE_RESPONSE } else { &SMALL_RESPONSE };
        stream.write_all(response).await?;
        stream.flush().await?;
    }
}

fn response(body: usize) -> Vec<u8> {
    let header = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {body}\r\n\r\n"
    );
    let mut response = header.into_bytes();
    response.resize(response.len() + body, b'x');
    response
}
