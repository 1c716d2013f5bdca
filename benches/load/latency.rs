//! Latency at a fixed rate, without coordinated omission: a request is due at its time whatever
//! became of those before it, and its latency counts from then.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use rustls::pki_types::CertificateDer;
use tokio::{
    sync::mpsc::{Receiver, Sender, channel},
    task::{JoinSet, spawn_blocking},
};

use super::{
    LoadError,
    client::{Client, Connection, Sessions},
    servers::{SMALL, SMALL_PATH},
    statistics::percentile,
};

/// Connections, which take the requests in turn.
const CONNECTIONS: usize = 64;
/// Requests of a connection that are due and not sent. More are failures: that server is at its
/// end.
const BEHIND: usize = 256;

/// The median and the 99th percentile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Latency {
    pub(super) p50: Duration,
    pub(super) p99: Duration,
}

/// Small requests at `rate` a second, for as long as `lasts`.
pub(super) async fn run(
    root: &CertificateDer<'static>,
    address: SocketAddr,
    rate: u32,
    lasts: Duration,
) -> Result<Latency, LoadError> {
    let client = Client::new(root, address, Sessions::Forget)?;
    let mut due = Vec::new();
    let mut running = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let mut connection = client.connect().await?;
        connection.get(SMALL_PATH, SMALL).await?;
        let (sender, receiver) = channel(BEHIND);
        due.push(sender);
        running.spawn(answer(connection, receiver));
    }
    let unsent = spawn_blocking(move || pace(&due, rate, lasts)).await?;
    let mut latencies = Vec::new();
    while let Some(of_connection) = running.join_next().await {
        latencies.extend(of_connection??);
    }
    let requests = u64::try_from(latencies.len()).unwrap_or(u64::MAX);
    if unsent > 0 {
        return Err(LoadError::Failures { failed: unsent, requests: requests + unsent });
    }
    let none = LoadError::Failures { failed: 0, requests: 0 };
    let p99 = percentile(&mut latencies, 99);
    let (Some(p50), Some(p99)) = (percentile(&mut latencies, 50), p99) else { return Err(none) };
    Ok(Latency { p50, p99 })
}

/// Says when each request is due. A thread's sleep is finer than the runtime's millisecond.
/// Returns how many found no room.
fn pace(due: &[Sender<Instant>], rate: u32, lasts: Duration) -> u64 {
    let start = Instant::now();
    let pause = Duration::from_secs(1) / rate.max(1);
    let mut unsent = 0;
    let mut at = start;
    for connection in due.iter().cycle() {
        at += pause;
        if at > start + lasts {
            break;
        }
        thread::sleep(at.saturating_duration_since(Instant::now()));
        unsent += u64::from(connection.try_send(at).is_err());
    }
    unsent
}

/// Sends what is due, and returns how long after it was due each answer was whole.
async fn answer(
    mut connection: Connection,
    mut due: Receiver<Instant>,
) -> Result<Vec<Duration>, LoadError> {
    let mut latencies = Vec::new();
    while let Some(at) = due.recv().await {
        connection.get(SMALL_PATH, SMALL).await?;
        latencies.push(at.elapsed());
    }
    Ok(latencies)
}
