//! The public listeners' first half: from an accepted connection to a stream of requests.
//!
//! pingora's own TLS listener has one configuration for all names. Here the ClientHello decides
//! which policy and which certificate a handshake gets, and the stream that results goes on to a
//! pingora HTTP app. pingora keeps the listening, the keep-alive, HTTP/2 and the drain.

mod admit;
mod alert;
mod handshake;
mod hello;
mod proxy_protocol;
mod serve;
mod warnings;

use std::sync::Arc;

use async_trait::async_trait;
use landfall_certstore::Resolver;
use landfall_model::LookupName;
use pingora_core::{
    apps::{HttpServerApp, ServerApp},
    protocols::{Stream, l4::stream::Stream as TcpStream},
    server::ShutdownWatch,
};
use tokio::time::Instant;

use crate::{
    challenges::Challenges,
    config::Limits,
    connection::Connection,
    metrics::{Listener, Metrics},
    patience::Patience,
    site::Site,
    stream::Protocol,
};
pub(crate) use admit::Gate;
use admit::{NotTaken, Taken};
use serve::{Ready, serve};

/// What the listeners need.
#[derive(Clone)]
pub(crate) struct FrontSettings {
    /// What a client may take.
    pub(crate) limits: Limits,
    /// Who is served where a client names no hostname, or an unknown one.
    pub(crate) default_hostname: Option<LookupName>,
    /// Where connections are counted.
    pub(crate) metrics: Arc<Metrics>,
    /// What CAs ask for.
    pub(crate) challenges: Arc<Challenges>,
    /// How long idle connections are kept once the server closes its listeners.
    pub(crate) patience: Arc<Patience>,
}

/// Completes TLS handshakes and hands the connections to `app`.
pub(crate) struct TlsFront<A> {
    app: Arc<A>,
    resolver: Resolver<Site>,
    gate: Gate,
    settings: FrontSettings,
}

impl<A> TlsFront<A> {
    pub(crate) fn new(
        app: A,
        resolver: Resolver<Site>,
        gate: Gate,
        settings: FrontSettings,
    ) -> Self {
        Self { app: Arc::new(app), resolver, gate, settings }
    }
}

#[async_trait]
impl<A: HttpServerApp + Send + Sync + 'static> ServerApp for TlsFront<A> {
    async fn process_new(
        self: &Arc<Self>,
        stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        let mut tcp = tcp(stream)?;
        let settings = &self.settings;
        // Shed without a word: an alert would be more work than the client was.
        let Taken { counted, client } = self.gate.take(&mut tcp, settings).await.ok()?;
        let _open = (counted, settings.metrics.connection_opened(Listener::Https));
        let started = Instant::now();
        let accepted = handshake::accept(tcp, &self.resolver, settings).await;
        let (ready, outcome) = accepted;
        settings.metrics.handshake_ended(outcome, started.elapsed());
        let ready = Ready { client, ..ready? };
        serve(&self.app, ready, settings, shutdown).await;
        None
    }
}

/// Who may come to a plain listener.
pub(crate) enum Door {
    /// Whom the limits admit.
    Public(Gate),
    /// Operators, whom clients' limits never keep out.
    Operators,
}

impl Door {
    fn listener(&self) -> Listener {
        match self {
            Self::Public(_) => Listener::Http,
            Self::Operators => Listener::Admin,
        }
    }
}

/// Hands plain HTTP connections to `app`.
pub(crate) struct PlainFront<A> {
    app: Arc<A>,
    door: Door,
    settings: FrontSettings,
}

impl<A> PlainFront<A> {
    pub(crate) fn new(app: A, door: Door, settings: FrontSettings) -> Self {
        Self { app: Arc::new(app), door, settings }
    }
}

#[async_trait]
impl<A: HttpServerApp + Send + Sync + 'static> ServerApp for PlainFront<A> {
    async fn process_new(
        self: &Arc<Self>,
        stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        let mut transport = tcp(stream)?;
        let (counted, client) = match &self.door {
            Door::Public(gate) => match gate.take(&mut transport, &self.settings).await {
                Ok(Taken { counted, client }) => (Some(counted), client),
                Err(NotTaken::Shed) => {
                    admit::say_busy(&mut transport);
                    return None;
                }
                Err(NotTaken::Header) => return None,
            },
            Door::Operators => (None, None),
        };
        let _open = (counted, self.settings.metrics.connection_opened(self.door.listener()));
        let (protocol, connection) = (Protocol::Http1, Connection::plain());
        let ready = Ready { transport, protocol, connection, client };
        serve(&self.app, ready, &self.settings, shutdown).await;
        None
    }
}

/// A plain listener yields nothing else.
fn tcp(stream: Stream) -> Option<TcpStream> {
    stream.into_any().downcast::<TcpStream>().ok().map(|tcp| *tcp)
}
