//! The listener's connections: how many, of whom, and how long each may take.

use std::{sync::Arc, time::Duration};

use axum::{Extension, Router, middleware::AddExtension};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};
use tower_layer::Layer;

use crate::{
    api::SharedApp,
    peer::{Peer, Unproven},
};

/// How long to wait before accepting again after the system refused to.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The connections that are open, at most as many as the config allows.
pub(super) struct Connections {
    app: SharedApp,
    unproven: Arc<Unproven>,
    permits: Arc<Semaphore>,
    tasks: JoinSet<()>,
    graceful: GracefulShutdown,
}

impl Connections {
    /// None yet.
    pub(super) fn new(app: SharedApp) -> Self {
        let permits = Arc::new(Semaphore::new(app.limits.max_connections));
        let unproven = Arc::new(Unproven::new(app.limits.max_unproven_connections));
        Self { app, unproven, permits, tasks: JoinSet::new(), graceful: GracefulShutdown::new() }
    }

    /// Accepts for as long as it is polled. Over the limit, connections wait in the backlog.
    pub(super) async fn accept(&mut self, listener: TcpListener, router: Router) -> &'static str {
        loop {
            let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else {
                return "accept connections";
            };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(_) = self.tasks.join_next() => continue,
            };
            match accepted {
                Ok((stream, peer)) => match self.unproven.admit(peer.ip()) {
                    Some(peer) => {
                        let router = Extension(peer).layer(router.clone());
                        self.serve(stream, router, permit);
                    }
                    None => {
                        self.app.metrics.connections_refused.inc();
                        tracing::debug!(%peer, "too many connections without a key");
                    }
                },
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn serve(
        &mut self,
        stream: TcpStream,
        router: AddExtension<Router, Peer>,
        permit: OwnedSemaphorePermit,
    ) {
        // Answers are written whole: waiting to fill a segment only delays them.
        let _ = stream.set_nodelay(true);
        // A client that asks and never reads is cut by the system: nothing else would, since hyper
        // has no limit for a write.
        let unread = self.app.limits.request_timeout;
        let _ = SockRef::from(&stream).set_tcp_user_timeout(Some(unread));
        // HTTP/1.1 alone: telling it from HTTP/2 would wait for a first byte without a limit.
        let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.app.limits.header_timeout);
        let service = TowerToHyperService::new(router);
        let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
        let watched = self.graceful.watch(connection);
        let open = self.app.metrics.connections.clone();
        self.tasks.spawn(async move {
            open.inc();
            if let Err(error) = watched.await {
                tracing::debug!(%error, "a connection ended early");
            }
            open.dec();
            drop(permit);
        });
    }

    /// Lets requests in progress end within `limit`, then cuts the others.
    pub(super) async fn drain(mut self, limit: Duration) {
        if tokio::time::timeout(limit, self.graceful.shutdown()).await.is_err() {
            tracing::warn!(?limit, "cutting requests that are still in progress");
        }
        self.tasks.shutdown().await;
    }
}
