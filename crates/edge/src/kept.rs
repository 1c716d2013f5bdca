//! The proxy as the connections' streams want it called.

use std::sync::Arc;

use async_trait::async_trait;
use http::header;
use pingora_core::{
    apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream},
    protocols::http::{ServerSession, v2::server::H2Options},
    server::ShutdownWatch,
};

use crate::{
    body::BodyLimits, config::EdgeConfig, connection::Connection, keepalive, metrics::Metrics,
};

/// Leaves the waits for requests to the streams: pingora's own first one is of 60 seconds,
/// whatever the idle timeout says.
pub(crate) struct Kept<A> {
    inner: Arc<A>,
    requests: u32,
    body: BodyLimits,
    metrics: Arc<Metrics>,
}

impl<A> Kept<A> {
    pub(crate) fn new(app: A, config: &EdgeConfig, metrics: Arc<Metrics>) -> Self {
        Self {
            inner: Arc::new(app),
            requests: config.limits.connection_requests,
            body: BodyLimits::new(&config.limits, config.upstream.write_timeout),
            metrics,
        }
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
        if !session.is_http2() {
            // It counts its requests itself, and says so with the last answer.
            return self.inner.process_new_http(session, shutdown).await;
        }
        let connection = Connection::of(&session).map(Arc::clone);
        let _open = connection.map(|connection| connection.begin_stream(self.requests));
        let is_awaited = !session.is_body_done() && !is_grpc(&session);
        let request = self.inner.process_new_http(session, shutdown);
        if !is_awaited {
            return request.await;
        }
        self.body.watch(request).await.unwrap_or_else(|cut| {
            self.metrics.connection_cut(cut);
            None
        })
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

/// The two ends of a call may be silent for as long as they like.
fn is_grpc(session: &ServerSession) -> bool {
    let content = session.req_header().headers.get(header::CONTENT_TYPE);
    content.is_some_and(|content| content.as_bytes().starts_with(b"application/grpc"))
}
