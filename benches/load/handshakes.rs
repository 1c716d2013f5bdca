//! New connections, each with one handshake and one small request.

use std::{net::SocketAddr, time::Duration};

use rustls::{HandshakeKind, pki_types::CertificateDer};
use tokio::{task::JoinSet, time::Instant};

use super::{
    LoadError,
    client::{Client, Sessions},
    generators::Done,
    servers::{SMALL, SMALL_PATH},
};

/// Clients at once, each with sessions of its own.
const CLIENTS: usize = 16;

/// Handshakes for as long as `lasts`. With [`Sessions::Keep`] each of them resumes, but for a
/// client's first one, which is not counted.
pub(super) async fn run(
    root: &CertificateDer<'static>,
    address: SocketAddr,
    sessions: Sessions,
    lasts: Duration,
) -> Result<Done, LoadError> {
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let client = Client::new(root, address, sessions)?;
        if sessions == Sessions::Keep {
            client.visit(SMALL_PATH, SMALL, HandshakeKind::Full).await?;
        }
        clients.push(client);
    }
    let start = Instant::now();
    let mut running = JoinSet::new();
    for client in clients {
        running.spawn(until(client, kind(sessions), start + lasts));
    }
    let mut requests = 0;
    while let Some(count) = running.join_next().await {
        requests += count??;
    }
    Ok(Done { requests, seconds: start.elapsed().as_secs_f64() })
}

/// A number of handshakes, one after the other, after a first one that [`run`] would not count.
pub(super) async fn some(
    root: &CertificateDer<'static>,
    address: SocketAddr,
    sessions: Sessions,
    number: u64,
) -> Result<(), LoadError> {
    let client = Client::new(root, address, sessions)?;
    client.visit(SMALL_PATH, SMALL, HandshakeKind::Full).await?;
    for _ in 0..number {
        client.visit(SMALL_PATH, SMALL, kind(sessions)).await?;
    }
    Ok(())
}

fn kind(sessions: Sessions) -> HandshakeKind {
    match sessions {
        Sessions::Forget => HandshakeKind::Full,
        Sessions::Keep => HandshakeKind::Resumed,
    }
}

async fn until(client: Client, kind: HandshakeKind, end: Instant) -> Result<u64, LoadError> {
    let mut count = 0;
    while Instant::now() < end {
        client.visit(SMALL_PATH, SMALL, kind).await?;
        count += 1;
    }
    Ok(count)
}
