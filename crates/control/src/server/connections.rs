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
    peer::{Peer, Peers},
};

/// How long to wait before accepting again after the system refused to.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The connections that are open, at most as many as the config allows.
pub(super) struct Connections {
    app: SharedApp,
    peers: Arc<Peers>,
    permits: Arc<Semaphore>,
    tasks: JoinSet<()>,
    graceful: GracefulShutdown,
}

impl Connections {
    /// None yet.
    pub(super) fn new(app: SharedApp) -> Self {
        let limits = app.limits.connections;
        let permits = Arc::new(Semaphore::new(limits.in_all));
        let peers = Peers::new(limits, app.metrics.connections_dropped.clone());
        Self { app, peers, permits, tasks: JoinSet::new(), graceful: GracefulShutdown::new() }
    }

    /// Accepts for as long as it is polled.
    pub(super) async fn accept(&mut self, listener: TcpListener, router: Router) -> &'static str {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(_) = self.tasks.join_next() => continue,
            };
            match accepted {
                Ok((stream, address)) => {
                    let Some(permit) = self.room().await else {
                        return "accept connections";
                    };
                    let peer = self.peers.admit(address.ip());
                    let router = Extension(peer.clone()).layer(router.clone());
                    self.serve(stream, router, (peer, permit));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// A place for one more connection. Where all are taken, the oldest of those that showed no key or
    /// token makes way; without any of those, the new one waits, and others in the backlog behind it.
    async fn room(&self) -> Option<OwnedSemaphorePermit> {
        let permits = Arc::clone(&self.permits);
        match Arc::clone(&permits).try_acquire_owned() {
            Ok(permit) => Some(permit),
            Err(_) => {
                self.peers.make_room();
                permits.acquire_owned().await.ok()
            }
        }
    }

    fn serve(
        &mut self,
        stream: TcpStream,
        router: AddExtension<Router, Peer>,
        (peer, permit): (Peer, OwnedSemaphorePermit),
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
            tokio::select! {
                ended = watched => if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended early");
                },
                () = peer.cut() => {
                    tracing::debug!(?peer, "a connection that showed no key made way for another");
                }
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
