//! The operators' listener: liveness, readiness, metrics. It has no authentication, so it is
//! bound to an address of its own.

use std::{sync::Arc, time::SystemTime};

use async_trait::async_trait;
use http::{HeaderValue, Method, Response, StatusCode, Version, header};
use pingora_core::{apps::http_app::ServeHttp, protocols::http::ServerSession};

use crate::{metrics::Metrics, readiness::Readiness};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const PROMETHEUS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4");

/// Answers the admin listener.
pub(crate) struct Admin {
    readiness: Arc<Readiness>,
    metrics: Arc<Metrics>,
}

struct Answer {
    status: StatusCode,
    content_type: HeaderValue,
    body: Vec<u8>,
}

impl Admin {
    pub(crate) fn new(readiness: Arc<Readiness>, metrics: Arc<Metrics>) -> Self {
        Self { readiness, metrics }
    }

    fn answer(&self, method: &Method, path: &str) -> Answer {
        match path {
            "/livez" | "/readyz" | "/metrics"
                if !matches!(method, &Method::GET | &Method::HEAD) =>
            {
                Answer::text(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only\n")
            }
            "/livez" => Answer::text(StatusCode::OK, "ok\n"),
            "/readyz" => self.ready(),
            "/metrics" => self.metrics(),
            _ => Answer::text(StatusCode::NOT_FOUND, "not found\n"),
        }
    }

    fn ready(&self) -> Answer {
        let report = self.readiness.report(SystemTime::now());
        match report.is_ready {
            true => Answer::text(StatusCode::OK, report.text),
            false => Answer::text(StatusCode::SERVICE_UNAVAILABLE, report.text),
        }
    }

    fn metrics(&self) -> Answer {
        match self.metrics.render() {
            Ok(body) => Answer { status: StatusCode::OK, content_type: PROMETHEUS, body },
            Err(error) => {
                tracing::error!(cause = ?error, "{error}");
                Answer::text(StatusCode::INTERNAL_SERVER_ERROR, "metrics can't be encoded\n")
            }
        }
    }
}

impl Answer {
    fn text(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, content_type: TEXT, body: text.into().into_bytes() }
    }

    fn into_response(self, method: &Method) -> Response<Vec<u8>> {
        let len = self.body.len();
        let body = if method == Method::HEAD { Vec::new() } else { self.body };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, self.content_type);
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(len));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        if session.req_header().version != Version::HTTP_11 {
            // pingora keeps every connection, HTTP/1.0 ones too.
            session.set_keepalive(None);
        }
        let header = session.req_header();
        let answer = self.answer(&header.method, header.uri.path());
        answer.into_response(&header.method)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::readiness::Serving;

    fn admin() -> Admin {
        Admin::new(Arc::default(), Arc::new(Metrics::new().unwrap()))
    }

    fn status(admin: &Admin, method: &Method, path: &str) -> u16 {
        admin.answer(method, path).status.as_u16()
    }

    #[test]
    fn is_alive_before_it_is_ready() {
        let admin = admin();
        assert_eq!(status(&admin, &Method::GET, "/livez"), 200);
        assert_eq!(status(&admin, &Method::GET, "/readyz"), 503);
        admin.readiness.update(|state| state.serving = Serving::Feed);
        assert_eq!(status(&admin, &Method::GET, "/readyz"), 200);
    }

    #[test]
    fn answers_nothing_but_its_three_paths() {
        let admin = admin();
        assert_eq!(status(&admin, &Method::GET, "/metrics"), 200);
        assert_eq!(status(&admin, &Method::GET, "/"), 404);
        assert_eq!(status(&admin, &Method::GET, "/metrics/"), 404);
        assert_eq!(status(&admin, &Method::POST, "/metrics"), 405);
    }

    #[test]
    fn a_head_request_has_the_length_and_no_body() {
        let response = admin().answer(&Method::HEAD, "/livez").into_response(&Method::HEAD);
        assert_eq!(response.headers().get("content-length").unwrap(), "3");
        assert!(response.body().is_empty());
    }
}
