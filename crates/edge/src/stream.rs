//! A client's byte stream as pingora takes it.
//!
//! Over TLS or over plain TCP it adds what pingora's streams lack: a strict reader of HTTP/1,
//! deadlines for whatever a client owes, and small writes gathered until the flush, so that a
//! response's header and its body leave as one record and one system call.

mod frames;
mod http1;
mod http2;
mod pace;
mod refusing;
mod requests;
mod sending;
mod timer;
mod transport;

use std::{
    fmt, io,
    net::SocketAddr,
    os::fd::AsRawFd,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pingora_core::protocols::{
    GetSocketDigest, SocketDigest, raw_connect::ProxyDigest, tls::SslDigest,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use crate::{config::Limits, connection::Connection, cut::Cut, metrics::Metrics};
pub(crate) use http1::Fault;
use http2::Http2;
use refusing::Refusing;
use requests::{Failure, Http1};
use sending::Sending;
pub(crate) use transport::Transport;

/// Which protocol the client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// A client's byte stream.
pub(crate) struct ClientStream<T: Transport> {
    transport: T,
    protocol: Protocol,
    proxy_digest: Arc<ProxyDigest>,
    tls_digest: Option<Arc<SslDigest>>,
    socket_digest: Option<Arc<SocketDigest>>,
    reading: Reading,
    sending: Sending,
    metrics: Arc<Metrics>,
}

/// The reading half.
#[derive(Debug)]
enum Reading {
    Http1(Box<Http1>),
    Http2(Box<Http2>),
    Refusing(Box<Refusing>),
    /// The connection is at its end.
    Over,
}

impl<T: Transport> ClientStream<T> {
    pub(crate) fn new(
        transport: T,
        protocol: Protocol,
        connection: Arc<Connection>,
        limits: &Limits,
        metrics: Arc<Metrics>,
    ) -> Self {
        let now = Instant::now();
        let reading = match protocol {
            Protocol::Http1 => {
                Reading::Http1(Box::new(Http1::new(Arc::clone(&connection), limits, now)))
            }
            Protocol::Http2 => Reading::Http2(Box::new(Http2::new(limits, now))),
        };
        // The digest wants a response, as of a CONNECT proxy. There is none.
        let response = Box::new(http::Response::new(()).into_parts().0.into());
        Self {
            protocol,
            proxy_digest: Arc::new(ProxyDigest::new(response, Some(Box::new(connection)))),
            tls_digest: transport.tls_digest(),
            socket_digest: transport.tcp().get_socket_digest(),
            reading,
            sending: Sending::new(limits),
            metrics,
            transport,
        }
    }

    /// Makes `client` the one whom the stream is from, if there is one.
    pub(crate) fn on_behalf_of(mut self, client: Option<SocketAddr>) -> Self {
        let Some(client) = client else { return self };
        let digest = SocketDigest::from_raw_fd(self.transport.tcp().as_raw_fd());
        // Not set yet.
        let _ = digest.peer_addr.set(Some(client.into()));
        self.socket_digest = Some(Arc::new(digest));
        self
    }

    fn fail(&mut self, failure: Failure) -> Option<io::Error> {
        match failure {
            Failure::Io(error) => Some(error),
            Failure::Cut(cut) => {
                self.reading = Reading::Over;
                Some(self.cut(cut))
            }
            Failure::Refuse(fault) => {
                self.metrics.connection_cut(fault.into());
                let refusing = Refusing::new(fault, Instant::now());
                self.reading = Reading::Refusing(Box::new(refusing));
                None
            }
        }
    }

    fn cut(&self, cut: Cut) -> io::Error {
        self.metrics.connection_cut(cut);
        cut.into_io()
    }
}

impl<T: Transport> AsyncRead for ClientStream<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let transport = &mut this.transport;
        let read = match &mut this.reading {
            Reading::Http1(http1) => ready!(http1.poll_read(transport, cx, buffer)),
            Reading::Http2(http2) => ready!(http2.poll_read(transport, cx, buffer)),
            Reading::Refusing(refusing) => {
                ready!(refusing.poll(transport, cx));
                this.reading = Reading::Over;
                Ok(())
            }
            Reading::Over => Ok(()),
        };
        match read.map_err(|failure| this.fail(failure)) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(Some(error)) => Poll::Ready(Err(error)),
            Err(None) => Pin::new(this).poll_read(cx, buffer),
        }
    }
}

impl<T: Transport> AsyncWrite for ClientStream<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(this.sending.poll_write(&mut this.transport, cx, bytes));
        Poll::Ready(written.map_err(|failure| this.sending_failed(failure)))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(this.sending.poll_write_vectored(&mut this.transport, cx, slices));
        Poll::Ready(written.map_err(|failure| this.sending_failed(failure)))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = ready!(this.sending.poll_flush(&mut this.transport, cx));
        Poll::Ready(flushed.map_err(|failure| this.sending_failed(failure)))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let closed = ready!(this.sending.poll_shutdown(&mut this.transport, cx));
        Poll::Ready(closed.map_err(|failure| this.sending_failed(failure)))
    }
}

impl<T: Transport> ClientStream<T> {
    fn sending_failed(&self, failure: sending::Failure) -> io::Error {
        match failure {
            sending::Failure::Io(error) => error,
            sending::Failure::Cut(cut) => self.cut(cut),
        }
    }
}

/// What is gathered is sent, as far as that can be done without waiting: a client that sees nothing
/// of a response that breaks off takes its request for one that nobody has seen.
impl<T: Transport> Drop for ClientStream<T> {
    fn drop(&mut self) {
        self.sending.send_at_once(&mut self.transport);
    }
}

impl<T: Transport> fmt::Debug for ClientStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientStream").field("protocol", &self.protocol).finish_non_exhaustive()
    }
}
