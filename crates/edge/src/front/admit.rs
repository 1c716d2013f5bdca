//! Whether a connection is taken, before anything is read of it.

use std::sync::Arc;

use futures_util::FutureExt;
use pingora_core::protocols::{GetSocketDigest, l4::stream::Stream as TcpStream};
use tokio::{io::AsyncWriteExt, time::Instant};

use crate::admission::{Admission, Counted, Shed};

const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    Retry-After: 10\r\n\
    Content-Length: 0\r\n\
    Connection: close\r\n\r\n";

/// Takes one more connection, or says why not.
pub(super) fn one(admission: &Arc<Admission>, tcp: &TcpStream) -> Result<Counted, Shed> {
    let counted = admission.count()?;
    let digest = tcp.get_socket_digest();
    let address = digest.as_ref().and_then(|digest| digest.peer_addr()?.as_inet());
    match address {
        Some(address) => counted.admit(address.ip(), Instant::now()),
        // It is gone already.
        None => Ok(counted),
    }
}

/// Tells a client to come back, if that can be done without waiting.
pub(super) fn say_busy(tcp: &mut TcpStream) {
    let said = async {
        tcp.write_all(BUSY).await?;
        tcp.shutdown().await
    };
    // The client may be gone.
    let _ = said.now_or_never();
}
