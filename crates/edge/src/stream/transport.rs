//! What carries a client's bytes, and what pingora asks a stream for beside them.

use std::sync::Arc;

use async_trait::async_trait;
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType, l4::stream::Stream as TcpStream,
    raw_connect::ProxyDigest, tls::SslDigest,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_rustls::server::TlsStream;

use super::{ClientStream, Protocol};

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
        self.socket_digest.clone()
    }
}

impl<T: Transport> Peek for ClientStream<T> {}
