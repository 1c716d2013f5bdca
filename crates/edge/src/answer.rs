//! Listeners that answer requests themselves: plain HTTP and the operators' one.
//!
//! pingora's own app for this keeps HTTP/1.0 connections open, closes malformed requests without
//! an answer and logs their bytes, secrets included.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};
use pingora::{ErrorType, http::RequestHeader};
use pingora_core::{
    apps::{HttpPersistentSettings, HttpServerApp, ReusedHttpStream},
    protocols::http::ServerSession,
    server::ShutdownWatch,
};

use crate::{connection::Connection, keepalive, refusal::Refusal};

/// The longest time for one write of an answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Maps a request to its answer. Request bodies are not read.
#[async_trait]
pub(crate) trait Answer: Send + Sync + 'static {
    async fn answer(&self, request: &RequestHeader) -> Response<Bytes>;
}

/// An answer of plain text.
pub(crate) fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The answer of a refusal.
pub(crate) fn refused(refusal: Refusal) -> Response<Bytes> {
    text(refusal.status(), format!("{}\n", refusal.text()))
}

/// Serves an [`Answer`] over HTTP/1.
pub(crate) struct Answering<A> {
    app: A,
}

impl<A: Answer> Answering<A> {
    pub(crate) fn new(app: A) -> Self {
        Self { app }
    }

    async fn respond(&self, session: &mut ServerSession) -> pingora::Result<()> {
        let response = self.app.answer(session.req_header()).await;
        let has_body = session.req_header().method != Method::HEAD;
        if response.status().is_client_error() || response.status().is_server_error() {
            session.set_keepalive(None);
        }
        write(session, response, has_body).await
    }
}

#[async_trait]
impl<A: Answer> HttpServerApp for Answering<A> {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        session.set_write_timeout(Some(WRITE_TIMEOUT));
        keepalive::wait_without_end(&mut session);
        match session.read_request().await {
            Ok(true) => {}
            Ok(false) => return None,
            Err(error) => {
                if matches!(error.etype(), ErrorType::InvalidHTTPHeader) {
                    // The client may be gone.
                    let _ = write(&mut session, refused(Refusal::BadRequest), true).await;
                }
                session.shutdown().await;
                return None;
            }
        }
        keepalive::end_as_asked(&mut session);
        if *shutdown.borrow() {
            session.set_keepalive(None);
        }
        let written = self.respond(&mut session).await;
        if let Some(connection) = Connection::of(&session) {
            connection.request_ended();
        }
        written.ok()?;
        let settings = HttpPersistentSettings::for_session(&session);
        let reusable = session.finish().await.ok()??;
        Some(ReusedHttpStream::from_reusable_stream(reusable, settings))
    }
}

async fn write(
    session: &mut ServerSession,
    response: Response<Bytes>,
    has_body: bool,
) -> pingora::Result<()> {
    let (mut parts, body) = response.into_parts();
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    session.write_response_header(Box::new(parts.into())).await?;
    let body = if has_body { body } else { Bytes::new() };
    session.write_response_body(body, true).await
}
