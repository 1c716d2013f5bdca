//! Connections to origins for requests that ask for another protocol, as WebSockets do.
//!
//! pingora passes the end of the request on by a queue, beside which it reads the response. Where it reads
//! a 101 first, which an origin nearby answers within microseconds, it takes the end of the request for that
//! of the new protocol, and closes. So what is read after a write is read one turn later: by then the queue
//! has had its turn.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use pingora::{Error, ErrorType, OrErr, prelude::HttpPeer, protocols::l4::socket::SocketAddr};
use pingora_core::{
    connectors::l4::Connect,
    protocols::l4::{
        stream::Stream,
        virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream},
    },
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::overload::ConnectHook;

/// Has the request to `peer` get a connection of its own, which is not kept for another one. HTTP/2 has no such
/// requests (RFC 9113 section 8.6): where the peer speaks nothing else, it stays as it is.
pub(crate) fn set(peer: &mut HttpPeer, hook: &ConnectHook) {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let options = &mut peer.options;
    if options.alpn.get_min_http_version() > 1 {
        return;
    }
    options.set_http_version(1, 1);
    let limit = options.connection_timeout.unwrap_or(Duration::MAX);
    options.custom_l4 = Some(Arc::new(Hesitant { hook: Arc::clone(hook), limit }));
    // Without a descriptor that it could see, pingora can't tell one from another.
    options.idle_timeout = Some(Duration::ZERO);
    peer.group_key = NEXT.fetch_add(1, Ordering::Relaxed);
}

/// Connects.
struct Hesitant {
    hook: ConnectHook,
    limit: Duration,
}

impl std::fmt::Debug for Hesitant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hesitant").field("limit", &self.limit).finish_non_exhaustive()
    }
}

#[async_trait]
impl Connect for Hesitant {
    async fn connect(&self, address: &SocketAddr) -> pingora::Result<Stream> {
        let Some(address) = address.as_inet() else {
            return Error::e_explain(ErrorType::InternalError, "no address of an origin");
        };
        let socket = match address.is_ipv4() {
            true => TcpSocket::new_v4(),
            false => TcpSocket::new_v6(),
        };
        let socket = socket.or_err(ErrorType::InternalError, "no socket")?;
        (self.hook)(&socket)?;
        let stream = timeout(self.limit, socket.connect(*address)).await;
        let stream = stream.or_err(ErrorType::ConnectTimedout, "connecting to an origin")?;
        let stream = stream.map_err(|error| Error::because(kind(&error), "connecting", error))?;
        let stream = Hesitating { stream, has_written: false };
        Ok(VirtualSocketStream::new(Box::new(stream)).into())
    }
}

fn kind(error: &io::Error) -> ErrorType {
    const KINDS: [(io::ErrorKind, ErrorType); 4] = [
        (io::ErrorKind::ConnectionRefused, ErrorType::ConnectRefused),
        (io::ErrorKind::NetworkUnreachable, ErrorType::ConnectNoRoute),
        (io::ErrorKind::HostUnreachable, ErrorType::ConnectNoRoute),
        // No port is left: the node's own trouble.
        (io::ErrorKind::AddrNotAvailable, ErrorType::InternalError),
    ];
    let found = KINDS.into_iter().find(|(kind, _)| *kind == error.kind());
    found.map_or(ErrorType::ConnectError, |(_, kind)| kind)
}

/// A connection that is not read from in the turn in which something was written to it.
#[derive(Debug)]
struct Hesitating<S> {
    stream: S,
    has_written: bool,
}

impl<S: AsyncRead + Unpin> AsyncRead for Hesitating<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.has_written) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Hesitating<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.has_written = true;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.has_written = true;
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl VirtualSocket for Hesitating<TcpStream> {
    fn set_socket_option(&self, option: VirtualSockOpt) -> io::Result<()> {
        match option {
            VirtualSockOpt::NoDelay => self.stream.set_nodelay(true),
            // Others, as keep-alive, are not asked for.
            VirtualSockOpt::KeepAlive(_) | _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn what_is_read_after_a_write_is_read_a_turn_later() {
        let (own, mut other) = duplex(64);
        let mut stream = Hesitating { stream: own, has_written: false };
        other.write_all(b"abc").await.unwrap();
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).await.unwrap(), 1);
        stream.write_all(b"x").await.unwrap();
        {
            let mut read = Box::pin(stream.read(&mut byte));
            assert!(poll!(&mut read).is_pending());
            assert!(poll!(&mut read).is_ready());
        }
        assert_eq!(stream.read(&mut byte).await.unwrap(), 1);
        assert_eq!(&byte, b"c");
    }
}
