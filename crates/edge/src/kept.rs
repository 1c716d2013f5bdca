//! The proxy as the connections' streams want it called.

use std::sync::Arc;

use async_trait::async_trait;
use pingora_core::{
    apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream},
    protocols::http::{ServerSession, v2::server::H2Options},
    server::ShutdownWatch,
};

use crate::{config::Limits, connection::Connection, keepalive};

/// Leaves the waits for requests to the streams: pingora's own first one is of 60 seconds,
/// whatever the idle timeout says.
pub(crate) struct Kept<A> {
    inner: Arc<A>,
    requests: u32,
}

impl<A> Kept<A> {
    pub(crate) fn new(app: A, limits: &Limits) -> Self {
        Self { inner: Arc::new(app), requests: limits.connection_requests }
    }
}

#[async_trait]
impl<A: HttpServerApp + Send + Sync + 'static> HttpServerApp for Kept<A> {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        keepalive::wait_without_end(&mut session);
        // HTTP/1 counts for itself, and says so with the last answer.
        let is_http2 = session.is_http2();
        let connection = Connection::of(&session).filter(|_| is_http2).map(Arc::clone);
        let _open = connection.map(|connection| connection.begin_stream(self.requests));
        self.inner.process_new_http(session, shutdown).await
    }

    fn h2_options(&self) -> Option<H2Options> {
        self.inner.h2_options()
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        self.inner.server_options()
    }

    async fn http_cleanup(&self) {
        self.inner.http_cleanup().await;
    }
}
