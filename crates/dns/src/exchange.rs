//! One question to one server, over UDP and, where the answer does not fit, TCP.

mod reading;

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use hickory_resolver::proto::{
    op::{DnsRequest, DnsRequestOptions, Message, Query},
    rr::{Name, RecordType},
    serialize::binary::DecodeError,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::{Instant, MissedTickBehavior, interval, timeout_at},
};
use tracing::debug;

use crate::sockets::Sockets;
use reading::{Reading, read};

/// A question that is not answered is sent again after this.
const RESEND: Duration = Duration::from_millis(800);
/// How often it is sent.
const SENDS: u8 = 4;
/// How many datagrams that are no answer are taken for one question. Who sends more is guessing the
/// question's id, which it can't over TCP.
const MAX_FOREIGN: u8 = 16;
/// The longest datagram that is taken, in bytes; more than is asked for (RFC 6891 section 6.2.3).
const MAX_DATAGRAM: usize = 4096;

/// Whom a question is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A resolver, which is to find the answer.
    Resolver,
    /// A resolver, which is not to validate it (RFC 4035 section 3.2.2).
    ResolverUnchecked,
    /// A zone's own server, which is to tell what it has.
    Authority,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// The server has none in time, or takes no question.
    Silence,
    /// It has one that can't be read.
    Unreadable,
    /// It could not be asked: a want of sockets or of a route here says nothing of the server.
    NotAsked,
}

/// A server, and how it is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Server<'a> {
    pub(crate) address: SocketAddr,
    /// Until when.
    pub(crate) deadline: Instant,
    pub(crate) sockets: &'a Sockets,
}

impl Server<'_> {
    /// Asks for records of one type.
    pub(crate) async fn ask(
        &self,
        name: &Name,
        kind: RecordType,
        role: Role,
    ) -> Result<Message, NoAnswer> {
        let Some(place) = self.sockets.take(self.deadline).await else {
            return Err(NoAnswer::NotAsked);
        };
        let exchange = exchange(self.address, request(name, kind, role));
        let answer = match timeout_at(self.deadline, exchange).await {
            Ok(answer) => answer.map_err(|failure| {
                let server = self.address;
                debug!(%server, %name, %kind, ?failure, "a DNS server gave no answer");
                failure.reason()
            }),
            Err(_) => Err(NoAnswer::Silence),
        };
        answer.map_err(|reason| match reason {
            // It had not the whole time.
            NoAnswer::Silence if place.was_waited_for() => NoAnswer::NotAsked,
            NoAnswer::Silence | NoAnswer::Unreadable | NoAnswer::NotAsked => reason,
        })
    }
}

fn request(name: &Name, kind: RecordType, role: Role) -> DnsRequest {
    let mut options = DnsRequestOptions::default();
    options.recursion_desired = role != Role::Authority;
    let request = DnsRequest::from_query(Query::query(name.clone(), kind), options);
    let (mut message, options) = request.into_parts();
    message.metadata.checking_disabled = role == Role::ResolverUnchecked;
    DnsRequest::new(message, options)
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the exchange failed")]
    Io(#[from] io::Error),
    #[error("the answer can't be read")]
    Unreadable(#[source] DecodeError),
    #[error("the answer is to another question")]
    Foreign,
}

impl Failure {
    fn reason(&self) -> NoAnswer {
        use io::ErrorKind::{
            BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, TimedOut,
            UnexpectedEof,
        };
        match self {
            Self::Unreadable(_) | Self::Foreign => NoAnswer::Unreadable,
            // What the other end does; all else is this node's.
            Self::Io(error)
                if [
                    BrokenPipe,
                    ConnectionAborted,
                    ConnectionRefused,
                    ConnectionReset,
                    TimedOut,
                    UnexpectedEof,
                ]
                .contains(&error.kind()) =>
            {
                NoAnswer::Silence
            }
            Self::Io(_) => NoAnswer::NotAsked,
        }
    }
}

async fn exchange(server: SocketAddr, request: DnsRequest) -> Result<Message, Failure> {
    let bytes = request.to_vec().map_err(io::Error::other)?;
    match over_udp(server, &request, &bytes).await? {
        Some(Reading::Answer(answer)) if !answer.metadata.truncation => Ok(*answer),
        Some(Reading::Answer(_) | Reading::Foreign) | None => {
            over_tcp(server, &request, &bytes).await
        }
        // Whoever guesses ids gets no further than this.
        Some(Reading::Unreadable(error)) => {
            over_tcp(server, &request, &bytes).await.map_err(|_| Failure::Unreadable(error))
        }
    }
}

/// The first datagram that may be the answer; `None` where too many came that are not.
async fn over_udp(
    server: SocketAddr,
    request: &Message,
    bytes: &[u8],
) -> Result<Option<Reading>, Failure> {
    // A port of the system's choice, which nobody else can know (RFC 5452 section 9.2); the system
    // takes what comes from the server alone.
    let own = match server {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(own).await?;
    socket.connect(server).await?;
    let (mut sent, mut foreign) = (0, 0);
    let mut sends = interval(RESEND);
    sends.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut buffer = vec![0; MAX_DATAGRAM];
    while foreign < MAX_FOREIGN {
        tokio::select! {
            _ = sends.tick(), if sent < SENDS => {
                socket.send(bytes).await?;
                sent += 1;
            }
            length = socket.recv(&mut buffer) => {
                match read(buffer.get(..length?).unwrap_or_default(), request) {
                    Reading::Foreign => foreign += 1,
                    reading @ (Reading::Answer(_) | Reading::Unreadable(_)) => {
                        return Ok(Some(reading));
                    }
                }
            }
        }
    }
    Ok(None)
}

/// RFC 7766: a message behind its length.
async fn over_tcp(server: SocketAddr, request: &Message, bytes: &[u8]) -> Result<Message, Failure> {
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    let mut stream = TcpStream::connect(server).await?;
    stream.write_all(&[&length.to_be_bytes()[..], bytes].concat()).await?;
    let length = stream.read_u16().await?;
    let mut bytes = vec![0; usize::from(length)];
    stream.read_exact(&mut bytes).await?;
    match read(&bytes, request) {
        Reading::Answer(answer) => Ok(*answer),
        Reading::Unreadable(error) => Err(Failure::Unreadable(error)),
        Reading::Foreign => Err(Failure::Foreign),
    }
}
