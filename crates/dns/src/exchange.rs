//! One question to one server, over UDP and, where the answer does not fit, TCP.

use std::{io, net::SocketAddr, time::Duration};

use hickory_resolver::{
    net::{
        runtime::TokioRuntimeProvider,
        udp::UdpClientStream,
        xfer::{DnsRequestSender, FirstAnswer},
    },
    proto::{
        op::{DnsRequest, DnsRequestOptions, Message, Query},
        rr::{Name, RecordType},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tracing::debug;

/// A question that is not answered is sent again after this, from another port; the answer to an
/// earlier one is still taken.
const RESEND: Duration = Duration::from_millis(800);
/// How often it is sent.
const SENDS: u8 = 4;

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

/// There was no answer, or none that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Silence;

/// Asks `server` for records of one type.
pub(crate) async fn ask(
    server: SocketAddr,
    name: &Name,
    kind: RecordType,
    role: Role,
    deadline: Instant,
) -> Result<Message, Silence> {
    let answer = timeout_at(deadline, exchange(server, request(name, kind, role))).await;
    answer.map_err(|_| Silence)?.map_err(|error| {
        debug!(%server, %name, %kind, %error, "a DNS server gave no answer");
        Silence
    })
}

fn request(name: &Name, kind: RecordType, role: Role) -> DnsRequest {
    let mut options = DnsRequestOptions::default();
    options.recursion_desired = role != Role::Authority;
    options.retry_interval = RESEND;
    let request = DnsRequest::from_query(Query::query(name.clone(), kind), options);
    let (mut message, options) = request.into_parts();
    message.metadata.checking_disabled = role == Role::ResolverUnchecked;
    DnsRequest::new(message, options)
}

async fn exchange(server: SocketAddr, request: DnsRequest) -> io::Result<Message> {
    let mut stream = UdpClientStream::builder(server, TokioRuntimeProvider::new())
        .with_max_retries(SENDS)
        // The caller's deadline is the only one.
        .with_timeout(Some(Duration::from_secs(3600)))
        .build();
    let answer = stream.send_message(request.clone()).first_answer().await;
    let answer = answer.map_err(io::Error::other)?.into_message();
    if answer.metadata.truncation { over_tcp(server, &request).await } else { Ok(answer) }
}

/// RFC 7766: a message behind its length.
async fn over_tcp(server: SocketAddr, request: &DnsRequest) -> io::Result<Message> {
    let bytes = request.to_vec().map_err(io::Error::other)?;
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    let mut stream = TcpStream::connect(server).await?;
    stream.write_all(&[&length.to_be_bytes()[..], &bytes].concat()).await?;
    let length = stream.read_u16().await?;
    let mut bytes = vec![0; usize::from(length)];
    stream.read_exact(&mut bytes).await?;
    let answer = Message::from_vec(&bytes).map_err(io::Error::other)?;
    if answer.metadata.id != request.metadata.id || answer.queries != request.queries {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "an answer to another question"));
    }
    Ok(answer)
}
