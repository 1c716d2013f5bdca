//! The server: UDP and TCP, for one zone. An answer needs nothing but memory, so that a socket's questions
//! are answered one after the other, and nothing waits for anything but the network.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    answer::{Transport, Zone, truncated},
    clients::{Clients, Place},
    metrics::{Fate, ZoneMetrics},
};
use crate::{
    config::ServedConfig,
    error::ControlError,
    rate::{Buckets, Verdict, client_of},
};

/// The longest question: more than one with every option has.
const MAX_QUESTION: usize = 4_096;
/// The most questions of one TCP connection.
const MAX_QUESTIONS: usize = 1_000;
/// How many clients' pace is remembered.
const CLIENTS: usize = 65_536;
/// How long to wait after the system refused something, and before a task that failed is started again.
const PAUSE: Duration = Duration::from_millis(200);
/// How often a free port is looked for that is free for TCP as well as for UDP.
const MAX_TRIES: usize = 16;

/// The sockets, bound.
#[derive(Debug)]
pub(super) struct Server {
    sockets: Vec<(Arc<UdpSocket>, Arc<TcpListener>)>,
    served: Arc<Served>,
}

/// What all sockets share.
#[derive(Debug)]
struct Served {
    zone: watch::Receiver<Arc<Zone>>,
    pace: Buckets<IpAddr>,
    clients: Arc<Clients>,
    idle: Duration,
    longest: Duration,
    metrics: ZoneMetrics,
}

impl Server {
    /// Binds every address for UDP and TCP; questions wait until it runs.
    pub(super) async fn bind(
        config: &ServedConfig,
        zone: watch::Receiver<Arc<Zone>>,
        metrics: ZoneMetrics,
    ) -> Result<Self, ControlError> {
        let mut sockets = Vec::new();
        for &address in &config.listen {
            let bound = bind_both(address).await;
            let (udp, tcp) = bound.map_err(|source| ControlError::ListenDns { address, source })?;
            sockets.push((Arc::new(udp), Arc::new(tcp)));
        }
        let served = Served {
            zone,
            pace: Buckets::new(config.queries, CLIENTS),
            clients: Arc::new(Clients::new(
                config.max_connections,
                config.max_connections_per_client,
            )),
            idle: config.idle_timeout,
            longest: config.connection_timeout,
            metrics,
        };
        Ok(Self { sockets, served: Arc::new(served) })
    }

    /// Where it listens: the real port where port 0 was asked for.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().filter_map(|(udp, _)| udp.local_addr().ok()).collect()
    }

    /// Answers. What panics is counted and goes on: a question that does that to us does not stop the
    /// next ones. Ends where it can't be started again.
    pub(super) async fn run(self) {
        let mut tasks = JoinSet::new();
        for (udp, tcp) in self.sockets {
            let served = Arc::clone(&self.served);
            tasks.spawn(keep(served, move |served| answer_datagrams(served, Arc::clone(&udp))));
            let served = Arc::clone(&self.served);
            tasks.spawn(keep(served, move |served| accept(served, Arc::clone(&tcp))));
        }
        tasks.join_next().await;
    }
}

/// Both at one port.
async fn bind_both(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let mut tries = 1;
    loop {
        let tcp = TcpListener::bind(address).await?;
        match UdpSocket::bind(tcp.local_addr()?).await {
            Ok(udp) => return Ok((udp, tcp)),
            Err(error) if address.port() != 0 || tries == MAX_TRIES => return Err(error),
            Err(_) => tries += 1,
        }
    }
}

/// Starts a task again whenever it ends. Never ends.
async fn keep<F>(served: Arc<Served>, start: impl Fn(Arc<Served>) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        let mut task = JoinSet::new();
        task.spawn(start(Arc::clone(&served)));
        if let Some(Err(error)) = task.join_next().await {
            tracing::error!(%error, "a task that answers for the zone of challenges failed");
        }
        served.metrics.restarts.inc();
        sleep(PAUSE).await;
    }
}

async fn answer_datagrams(served: Arc<Served>, socket: Arc<UdpSocket>) {
    let mut buffer = [0; MAX_QUESTION];
    loop {
        let (length, peer) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                tracing::debug!(%error, "cannot receive a DNS query");
                sleep(PAUSE).await;
                continue;
            }
        };
        let question = buffer.get(..length).unwrap_or_default();
        if let Some(answer) = served.answer_datagram(question, peer, Instant::now())
            && let Err(error) = socket.send_to(&answer, peer).await
        {
            tracing::debug!(%error, "cannot send a DNS answer");
        }
    }
}

async fn accept(served: Arc<Served>, listener: Arc<TcpListener>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, address)) => {
                let Some(place) = served.clients.admit(address.ip()) else { continue };
                connections.spawn(converse(Arc::clone(&served), stream, place));
            }
            Err(error) => {
                tracing::debug!(%error, "cannot accept a DNS connection");
                sleep(PAUSE).await;
            }
        }
    }
}

/// Answers what comes over a connection (RFC 7766), until it has lasted long enough or its place is
/// another's.
async fn converse(served: Arc<Served>, stream: TcpStream, place: Place) {
    served.metrics.connections.inc();
    let end = place.end();
    tokio::select! {
        () = end.notified() => tracing::debug!("a DNS connection made room for another"),
        _ = timeout(served.longest, answer_stream(&served, stream, place)) => {}
    }
    served.metrics.connections.dec();
}

async fn answer_stream(served: &Served, mut stream: TcpStream, mut place: Place) {
    for _ in 0..MAX_QUESTIONS {
        match timeout(served.idle, served.exchange(&mut stream)).await {
            Ok(Ok(())) => place.has_asked(),
            Ok(Err(error)) => {
                tracing::debug!(%error, "a DNS connection ended");
                break;
            }
            Err(_) => break,
        }
    }
}

impl Served {
    fn answer_datagram(&self, question: &[u8], peer: SocketAddr, now: Instant) -> Option<Vec<u8>> {
        if peer.port() == 0 {
            return None;
        }
        if let Verdict::Refused { .. } = self.pace.take(client_of(peer.ip()), now) {
            self.metrics.query(Fate::Limited);
            return truncated(question);
        }
        self.answer(question, Transport::Udp)
    }

    fn answer(&self, question: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let zone = Arc::clone(&self.zone.borrow());
        let reply = zone.answer(question, transport);
        let fate = reply.as_ref().map_or(Fate::Ignored, |reply| Fate::Answered(reply.code));
        self.metrics.query(fate);
        Some(reply?.bytes)
    }

    /// One question and its answer.
    async fn exchange(&self, stream: &mut TcpStream) -> io::Result<()> {
        let length = usize::from(stream.read_u16().await?);
        if length > MAX_QUESTION {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a question is too long"));
        }
        let mut question = vec![0; length];
        stream.read_exact(&mut question).await?;
        let answer = self.answer(&question, Transport::Tcp);
        let answer = answer.ok_or_else(|| io::Error::other("there is no question"))?;
        let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
        let framed = [&length.to_be_bytes(), answer.as_slice()].concat();
        stream.write_all(&framed).await
    }
}
