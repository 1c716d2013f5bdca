//! The public listeners' first half: from an accepted connection to a stream of requests.
//!
//! pingora's own TLS listener has one configuration for all names. Here the ClientHello decides
//! which policy and which certificate a handshake gets, and the stream that results goes on to a
//! pingora HTTP app. pingora keeps the listening, the keep-alive, HTTP/2 and the drain.

mod alert;
mod handshake;
mod hello;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use landfall_certstore::Resolver;
use pingora_core::{
    apps::{HttpServerApp, ServerApp},
    protocols::{Stream, l4::stream::Stream as TcpStream},
    server::ShutdownWatch,
};
use tokio::time::Instant;

use crate::{
    config::Limits,
    connection::Connection,
    metrics::{Listener, Metrics},
    site::Site,
    stream::{ClientStream, Protocol},
};

/// What both listeners need.
pub(crate) struct FrontSettings {
    /// What a client may take.
    pub(crate) limits: Limits,
    /// How long open connections go on once the listener has closed.
    pub(crate) drain: Duration,
}

/// Completes TLS handshakes and hands the connections to `app`.
pub(crate) struct TlsFront<A> {
    app: Arc<A>,
    resolver: Resolver<Site>,
    metrics: Arc<Metrics>,
    settings: FrontSettings,
}

impl<A> TlsFront<A> {
    pub(crate) fn new(
        app: A,
        resolver: Resolver<Site>,
        metrics: Arc<Metrics>,
        settings: FrontSettings,
    ) -> Self {
        Self { app: Arc::new(app), resolver, metrics, settings }
    }
}

#[async_trait]
impl<A: HttpServerApp + Send + Sync + 'static> ServerApp for TlsFront<A> {
    async fn process_new(
        self: &Arc<Self>,
        stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        let tcp = tcp(stream)?;
        let _open = self.metrics.connection_opened(Listener::Https);
        let started = Instant::now();
        let limits = &self.settings.limits;
        let (stream, outcome) = handshake::accept(tcp, &self.resolver, limits).await;
        self.metrics.handshake_ended(outcome, started.elapsed());
        ServerApp::process_new(&self.app, Box::new(stream?), shutdown).await
    }

    async fn cleanup(&self) {
        drain(&self.settings, &*self.app).await;
    }
}

/// Hands plain HTTP connections to `app`.
pub(crate) struct PlainFront<A> {
    app: Arc<A>,
    listener: Listener,
    metrics: Arc<Metrics>,
    settings: FrontSettings,
}

impl<A> PlainFront<A> {
    pub(crate) fn new(
        app: A,
        listener: Listener,
        metrics: Arc<Metrics>,
        settings: FrontSettings,
    ) -> Self {
        Self { app: Arc::new(app), listener, metrics, settings }
    }
}

#[async_trait]
impl<A: HttpServerApp + Send + Sync + 'static> ServerApp for PlainFront<A> {
    async fn process_new(
        self: &Arc<Self>,
        stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        let tcp = tcp(stream)?;
        let _open = self.metrics.connection_opened(self.listener);
        let limits = &self.settings.limits;
        let stream = ClientStream::new(tcp, Protocol::Http1, Connection::plain(), limits);
        ServerApp::process_new(&self.app, Box::new(stream), shutdown).await
    }

    async fn cleanup(&self) {
        drain(&self.settings, &*self.app).await;
    }
}

/// A plain listener yields nothing else.
fn tcp(stream: Stream) -> Option<TcpStream> {
    stream.into_any().downcast::<TcpStream>().ok().map(|tcp| *tcp)
}

/// Idle connections that were cut at once would fail the requests that are on their way to them.
async fn drain<A: HttpServerApp + Sync>(settings: &FrontSettings, app: &A) {
    tokio::time::sleep(settings.drain).await;
    app.http_cleanup().await;
}
