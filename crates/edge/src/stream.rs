//! A client's byte stream as pingora takes it.
//!
//! Over TLS or over plain TCP it adds what pingora's streams lack: a deadline for the whole of a
//! request's header, and small writes gathered until the flush, so that a response's header and
//! its body leave as one record and one system call.

mod frames;
mod header;

use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use async_trait::async_trait;
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType, l4::stream::Stream as TcpStream,
    raw_connect::ProxyDigest, tls::SslDigest,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    time::{Instant, Sleep},
};
use tokio_rustls::server::TlsStream;

use crate::{config::Limits, connection::Connection};
pub(crate) use header::Protocol;
use header::{Cut, HeaderWait};

/// How much is gathered before it is written, in bytes. A response of one packet fits.
const GATHERED: usize = 4096;

/// What carries the bytes.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Unpin + Send + Sync + 'static {
    fn tcp(&self) -> &TcpStream;
    fn tls_digest(&self) -> Option<Arc<SslDigest>>;
}

impl Transport for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }

    fn tls_digest(&self) -> Option<Arc<SslDigest>> {
        None
    }
}

impl Transport for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }

    fn tls_digest(&self) -> Option<Arc<SslDigest>> {
        let tls = self.get_ref().1;
        let suite = tls.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
        let version = tls.protocol_version().and_then(|version| version.as_str());
        let (suite, version) = (suite.unwrap_or_default(), version.unwrap_or_default());
        Some(Arc::new(SslDigest::new(suite, version, None, None, Vec::new())))
    }
}

/// A client's byte stream.
pub(crate) struct ClientStream<T> {
    transport: T,
    protocol: Protocol,
    proxy_digest: Arc<ProxyDigest>,
    tls_digest: Option<Arc<SslDigest>>,
    header: HeaderWait,
    timer: Option<Pin<Box<Sleep>>>,
    gathered: Vec<u8>,
}

impl<T: Transport> ClientStream<T> {
    pub(crate) fn new(
        transport: T,
        protocol: Protocol,
        connection: Connection,
        limits: &Limits,
    ) -> Self {
        let connection = Arc::new(connection);
        let header = HeaderWait::new(protocol, &connection, limits, Instant::now());
        // The digest wants a response, as of a CONNECT proxy. There is none.
        let response = Box::new(http::Response::new(()).into_parts().0.into());
        Self {
            protocol,
            proxy_digest: Arc::new(ProxyDigest::new(response, Some(Box::new(connection)))),
            tls_digest: transport.tls_digest(),
            header,
            timer: None,
            gathered: Vec::new(),
            transport,
        }
    }

    /// Ready once the client has run out of time.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.header.deadline(Instant::now()) else {
            self.timer = None;
            return Poll::Pending;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(cx)
    }

    fn poll_write_gathered(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut written = 0;
        let result = loop {
            let rest = self.gathered.get(written..).unwrap_or_default();
            if rest.is_empty() {
                break Poll::Ready(Ok(()));
            }
            match Pin::new(&mut self.transport).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => written += count,
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        self.gathered.drain(..written);
        result
    }

    fn has_room_for(&self, len: usize) -> bool {
        self.gathered.len() + len <= GATHERED
    }
}

impl<T: Transport> AsyncRead for ClientStream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.transport).poll_read(cx, buffer);
        if result.is_pending() {
            ready!(self.poll_deadline(cx));
            return Poll::Ready(Err(cut(Cut::Late)));
        }
        let arrived = buffer.filled().get(before..).unwrap_or_default();
        if let Err(reason) = self.header.received(arrived) {
            return Poll::Ready(Err(cut(reason)));
        }
        result
    }
}

impl<T: Transport> AsyncWrite for ClientStream<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.has_room_for(bytes.len()) {
            ready!(self.poll_write_gathered(cx))?;
        }
        if bytes.len() > GATHERED {
            return Pin::new(&mut self.transport).poll_write(cx, bytes);
        }
        self.gathered.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let len = slices.iter().map(|slice| slice.len()).sum();
        if !self.has_room_for(len) {
            ready!(self.poll_write_gathered(cx))?;
        }
        if len > GATHERED {
            return Pin::new(&mut self.transport).poll_write_vectored(cx, slices);
        }
        slices.iter().for_each(|slice| self.gathered.extend_from_slice(slice));
        Poll::Ready(Ok(len))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_gathered(cx))?;
        // Most connections are idle most of the time: an empty buffer keeps no memory.
        self.gathered = Vec::new();
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_gathered(cx))?;
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}

fn cut(reason: Cut) -> io::Error {
    match reason {
        Cut::Late => io::Error::new(io::ErrorKind::TimedOut, reason),
        Cut::Oversized => io::Error::new(io::ErrorKind::InvalidData, reason),
    }
}

impl<T> fmt::Debug for ClientStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientStream").field("protocol", &self.protocol).finish_non_exhaustive()
    }
}

#[async_trait]
impl<T: Transport> Shutdown for ClientStream<T> {
    async fn shutdown(&mut self) {
        // The peer may be gone already, and nothing is left to say to it.
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

impl<T: Transport> UniqueID for ClientStream<T> {
    fn id(&self) -> UniqueIDType {
        self.transport.tcp().id()
    }
}

impl<T: Transport> Ssl for ClientStream<T> {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.tls_digest.clone()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        Some(match self.protocol {
            Protocol::Http1 => ALPN::H1,
            Protocol::Http2 => ALPN::H2,
        })
    }
}

impl<T: Transport> GetTimingDigest for ClientStream<T> {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.transport.tcp().get_timing_digest()
    }
}

impl<T: Transport> GetProxyDigest for ClientStream<T> {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        Some(Arc::clone(&self.proxy_digest))
    }
}

impl<T: Transport> GetSocketDigest for ClientStream<T> {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.transport.tcp().get_socket_digest()
    }
}

impl<T> Peek for ClientStream<T> {}
