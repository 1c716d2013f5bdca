//! Clients: curl and openssl as processes, and TLS by hand for what they would never do.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Command, Output, Stdio},
    sync::Arc,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

use super::{Edge, PATIENCE};

/// What curl got.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// `1.1` or `2`
    pub(crate) version: String,
    pub(crate) body: String,
    /// curl's exit code; 0 is success.
    pub(crate) exit: i32,
}

/// Asks the edge for `https://name/path`, with more of curl's options.
pub(crate) fn curl(edge: &Edge, name: &str, path: &str, options: &[&str]) -> Answer {
    let (address, roots) = (edge.https(), edge.roots());
    let output = Command::new("curl")
        .args(["--silent", "--max-time", &PATIENCE.as_secs().to_string(), "--noproxy", "*"])
        .args(["--connect-to", &format!("{name}:443:{}:{}", address.ip(), address.port())])
        .arg("--cacert")
        .arg(roots)
        .args(["--write-out", "\n%{http_code} %{http_version}"])
        .args(options)
        .arg(format!("https://{name}{path}"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, last) = text.rsplit_once('\n').unwrap();
    let (status, version) = last.split_once(' ').unwrap();
    Answer {
        status: status.parse().unwrap(),
        version: version.to_owned(),
        body: body.to_owned(),
        exit: output.status.code().unwrap(),
    }
}

/// Runs a command with nothing to read.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// Runs a command that reads `input`.
pub(crate) fn run_with_input(program: &str, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = command.spawn().unwrap();
    let mut stdin = running.stdin.take().unwrap();
    // One that ends without reading says why.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    running.wait_with_output().unwrap()
}

/// A TLS connection to `name` that offers one protocol by ALPN.
pub(crate) fn connect(
    edge: &Edge,
    name: &str,
    protocol: &str,
) -> StreamOwned<ClientConnection, TcpStream> {
    connect_after(edge, b"", name, protocol)
}

/// The same, after a few bytes that no TLS client sends.
pub(crate) fn connect_after(
    edge: &Edge,
    bytes: &[u8],
    name: &str,
    protocol: &str,
) -> StreamOwned<ClientConnection, TcpStream> {
    let mut config = ClientConfig::builder()
        .with_root_certificates(trusted(&edge.roots()))
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut tls = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut tcp = tcp(edge.https());
    tcp.write_all(bytes).unwrap();
    while tls.is_handshaking() {
        tls.complete_io(&mut tcp).unwrap();
    }
    StreamOwned::new(tls, tcp)
}

fn trusted(roots: &Path) -> RootCertStore {
    let mut store = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(roots).unwrap() {
        store.add(root.unwrap()).unwrap();
    }
    store
}

pub(crate) fn tcp(address: SocketAddr) -> TcpStream {
    let tcp = TcpStream::connect(address).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    tcp.set_nodelay(true).unwrap();
    tcp
}

/// Sends bytes over plain TCP and reads until the other side ends.
pub(crate) fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut tcp = tcp(address);
    tcp.write_all(bytes).unwrap();
    read_to_end(&mut tcp)
}

/// Reads until the other side ends, in whatever way. Fails where it doesn't.
pub(crate) fn read_to_end(stream: &mut impl Read) -> Vec<u8> {
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return all,
            Ok(count) => all.extend_from_slice(&buffer[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("the connection is still open after {PATIENCE:?}")
            }
            Err(_) => return all,
        }
    }
}
