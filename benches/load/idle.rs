//! What an idle connection holds.

use std::{net::SocketAddr, time::Duration};

use rustls::pki_types::CertificateDer;
use tokio::{task::JoinSet, time::sleep};

use super::{
    LoadError,
    client::{Client, Connection, Sessions},
    servers::{SMALL, SMALL_PATH},
    usage::Tree,
};

/// Clients that open connections at once.
const CLIENTS: usize = 16;
/// Before memory is looked at, for what was begun to end.
const SETTLE: Duration = Duration::from_millis(500);

/// Bytes for each of `number` idle connections, after a request on each. The server is a fresh one
/// that has served a few requests.
pub(super) async fn run(
    root: &CertificateDer<'static>,
    address: SocketAddr,
    tree: Tree,
    number: usize,
) -> Result<f64, LoadError> {
    drop(open(root, address, 2 * CLIENTS).await?);
    sleep(SETTLE).await;
    let before = tree.memory();
    let connections = open(root, address, number).await?;
    sleep(SETTLE).await;
    let grown = tree.memory().saturating_sub(before);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let each = grown as f64 / connections.len().max(1) as f64;
    Ok(each)
}

async fn open(
    root: &CertificateDer<'static>,
    address: SocketAddr,
    number: usize,
) -> Result<Vec<Connection>, LoadError> {
    let mut running = JoinSet::new();
    for _ in 0..CLIENTS {
        let client = Client::new(root, address, Sessions::Forget)?;
        running.spawn(open_by(client, number / CLIENTS));
    }
    let mut connections = Vec::new();
    while let Some(opened) = running.join_next().await {
        connections.extend(opened??);
    }
    Ok(connections)
}

async fn open_by(client: Client, number: usize) -> Result<Vec<Connection>, LoadError> {
    let mut connections = Vec::new();
    for _ in 0..number {
        let mut connection = client.connect().await?;
        connection.get(SMALL_PATH, SMALL).await?;
        connections.push(connection);
    }
    Ok(connections)
}
