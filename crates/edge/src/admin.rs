//! The operators' listener: liveness, readiness, metrics. It has no authentication, so it is
//! bound to an address of its own.

use std::{sync::Arc, time::SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};
use pingora::http::RequestHeader;
use tokio::time::Instant;

use crate::{
    answer::{self, Answer},
    metrics::Metrics,
    readiness::Readiness,
};

const PROMETHEUS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4");

/// Answers the admin listener.
pub(crate) struct Admin {
    readiness: Arc<Readiness>,
    metrics: Arc<Metrics>,
}

impl Admin {
    pub(crate) fn new(readiness: Arc<Readiness>, metrics: Arc<Metrics>) -> Self {
        Self { readiness, metrics }
    }

    fn respond(&self, method: &Method, path: &str) -> Response<Bytes> {
        match path {
            "/livez" | "/readyz" | "/metrics"
                if !matches!(method, &Method::GET | &Method::HEAD) =>
            {
                answer::text(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only\n")
            }
            "/livez" => self.alive(),
            "/readyz" => self.ready(),
            "/metrics" => self.metrics(),
            _ => answer::text(StatusCode::NOT_FOUND, "not found\n"),
        }
    }

    fn alive(&self) -> Response<Bytes> {
        let failing = self.metrics.tasks().failing(Instant::now());
        match failing.is_empty() {
            true => answer::text(StatusCode::OK, "ok\n"),
            false => {
                let text = format!("these tasks keep panicking: {}\n", failing.join(", "));
                answer::text(StatusCode::SERVICE_UNAVAILABLE, text)
            }
        }
    }

    fn ready(&self) -> Response<Bytes> {
        let report = self.readiness.report(SystemTime::now());
        match report.is_ready {
            true => answer::text(StatusCode::OK, report.text),
            false => answer::text(StatusCode::SERVICE_UNAVAILABLE, report.text),
        }
    }

    fn metrics(&self) -> Response<Bytes> {
        match self.metrics.render() {
            Ok(body) => {
                let mut response = answer::text(StatusCode::OK, body);
                response.headers_mut().insert(header::CONTENT_TYPE, PROMETHEUS);
                response
            }
            Err(error) => {
                tracing::error!(cause = ?error, "{error}");
                answer::text(StatusCode::INTERNAL_SERVER_ERROR, "metrics can't be encoded\n")
            }
        }
    }
}

#[async_trait]
impl Answer for Admin {
    async fn answer(&self, request: &RequestHeader) -> Response<Bytes> {
        self.respond(&request.method, request.uri.path())
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
        admin.respond(method, path).status().as_u16()
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
}
