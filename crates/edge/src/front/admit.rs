//! Whether a connection is taken, and whom it is from.

use std::{net::SocketAddr, sync::Arc};

use futures_util::FutureExt;
use landfall_model::Network;
use pingora_core::protocols::{GetSocketDigest, l4::stream::Stream as TcpStream};
use tokio::{io::AsyncWriteExt, time::Instant};

use super::{FrontSettings, proxy_protocol};
use crate::{
    admission::{Admission, Counted},
    cut::Cut,
};

const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    Retry-After: 10\r\n\
    Content-Length: 0\r\n\
    Connection: close\r\n\r\n";

/// What decides about the connections of the public listeners.
#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) admission: Arc<Admission>,
    /// Whose connections start with a PROXY header.
    pub(crate) proxies: Arc<[Network]>,
}

/// A connection that was taken.
pub(super) struct Taken {
    /// Holds its place.
    pub(super) counted: Counted,
    /// Whom it is from, where its load balancer says so.
    pub(super) client: Option<SocketAddr>,
}

/// Why a connection was not taken.
pub(super) enum NotTaken {
    /// For a limit.
    Shed,
    /// For a PROXY header that is missing, malformed or late.
    Header,
}

impl Gate {
    /// Takes one more connection. Reads nothing of one that isn't a load balancer's.
    pub(super) async fn take(
        &self,
        tcp: &mut TcpStream,
        settings: &FrontSettings,
    ) -> Result<Taken, NotTaken> {
        self.admission.check_room(tcp).map_err(|_| NotTaken::Shed)?;
        let counted = self.admission.count().map_err(|_| NotTaken::Shed)?;
        let digest = tcp.get_socket_digest();
        let peer = digest.as_ref().and_then(|digest| digest.peer_addr()?.as_inet().copied());
        // Without one it is gone already.
        let Some(peer) = peer else { return Ok(Taken { counted, client: None }) };
        let client = match proxy_protocol::is_due(&self.proxies, peer.ip()) {
            true => client(tcp, settings).await?,
            false => None,
        };
        let from = client.unwrap_or(peer).ip();
        let counted = counted.admit(from, Instant::now()).map_err(|_| NotTaken::Shed)?;
        Ok(Taken { counted, client })
    }
}

async fn client(
    tcp: &mut TcpStream,
    settings: &FrontSettings,
) -> Result<Option<SocketAddr>, NotTaken> {
    let timeout = settings.limits.handshake_timeout;
    match tokio::time::timeout(timeout, proxy_protocol::read(tcp)).await {
        Ok(Ok(client)) => return Ok(client),
        Ok(Err(error)) => tracing::debug!(cause = ?error, "{error}"),
        Err(_) => tracing::debug!("a load balancer's PROXY header did not arrive in time"),
    }
    settings.metrics.connection_cut(Cut::ProxyHeader);
    Err(NotTaken::Header)
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
