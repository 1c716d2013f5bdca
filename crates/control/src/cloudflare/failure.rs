//! Refusals and failures, with the numbers that the API documents.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::{api::problem::Problem, service::ServiceError};

/// Says to the official clients whether sending a request again may do.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// A refusal or failure as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    status: StatusCode,
    code: u16,
    message: String,
    /// The field that it is about, as a JSON pointer (RFC 6901).
    pointer: Option<String>,
}

impl Failure {
    pub(super) fn new(status: StatusCode, code: u16, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), pointer: None }
    }

    /// A request that can't be carried out.
    pub(super) fn invalid(code: u16, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// The same for a field that the API documents, named as in `ssl.settings.http2`.
    pub(super) fn field(code: u16, field: &str, message: impl Into<String>) -> Self {
        Self::at(code, &format!("/{}", field.replace('.', "/")), message)
    }

    /// The same for what a JSON pointer (RFC 6901) leads to.
    pub(super) fn at(code: u16, pointer: &str, message: impl Into<String>) -> Self {
        Self { pointer: Some(pointer.to_owned()), ..Self::invalid(code, message) }
    }

    /// As it stands among the errors of an answer.
    pub(super) fn shown(&self) -> Value {
        let (code, message) = (self.code, &self.message);
        match &self.pointer {
            None => json!({"code": code, "message": message}),
            Some(at) => json!({"code": code, "message": message, "source": {"pointer": at}}),
        }
    }
}

impl From<ServiceError> for Failure {
    fn from(error: ServiceError) -> Self {
        Self::from(&Problem::from(error))
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::from(&problem)
    }
}

impl From<&Problem> for Failure {
    fn from(problem: &Problem) -> Self {
        let status = problem.status();
        let not_found = |code, message| Self::new(StatusCode::NOT_FOUND, code, message);
        match problem.resource() {
            Some("hostname") => return not_found(1436, "The custom hostname was not found."),
            Some("property") => return not_found(7003, "The zone was not found."),
            Some("fallback origin") => return not_found(1551, "There is no fallback origin."),
            Some(_) | None => {}
        }
        let (status, code) = told_as(status, problem.code());
        Self::new(status, code, problem.detail())
    }
}

/// The status and number that a problem is told with. What the API has no number for gets the
/// status added to 10000, as its own gateway does it.
fn told_as(status: StatusCode, code: &str) -> (StatusCode, u16) {
    let bad = |code| (StatusCode::BAD_REQUEST, code);
    match code {
        "invalid_json" | "body_incomplete" => bad(1400),
        "invalid_metadata" => bad(1401),
        "private_key_refused" => bad(1434),
        "hostname_taken" => (StatusCode::CONFLICT, 1406),
        "invalid_name" | "name_is_ip_address" | "name_has_one_label" | "name_too_long" => bad(1407),
        "hostname_reserved" | "not_in_dns" | "name_is_no_host" => bad(1409),
        "public_suffix" => bad(1410),
        "invalid_route" | "invalid_origins" | "origin_not_public" => bad(1415),
        "certificate_missing" => bad(1427),
        "private_key_mismatch" => bad(1429),
        "too_many_hostnames" | "too_many_claims" => (StatusCode::FORBIDDEN, 1404),
        "system_hostname" => (StatusCode::CONFLICT, 1439),
        "certificate_count" => bad(1434),
        "certificates_of_one_key_type" => bad(1441),
        "chain_too_long" | "chain_out_of_order" | "chain_signature_invalid" => bad(1441),
        "name_not_covered" => bad(1446),
        "signature_too_weak" => bad(1447),
        "unauthorized" => (status, 10_000),
        "insufficient_scope" => (status, 9_109),
        "internal" => (status, 1500),
        code if code.starts_with("private_key_") => bad(1428),
        code if code.starts_with("certificate_") || code.starts_with("key_") => bad(1426),
        _ => match status {
            StatusCode::UNPROCESSABLE_ENTITY | StatusCode::BAD_REQUEST => bad(1434),
            StatusCode::NOT_FOUND => (status, 7_000),
            other => (other, 10_000 + other.as_u16()),
        },
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let errors = [self.shown()];
        let body = json!({"success": false, "errors": errors, "messages": [], "result": null});
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        match self.status {
            StatusCode::UNAUTHORIZED => {
                let bearer = HeaderValue::from_static("Bearer");
                headers.insert(header::WWW_AUTHENTICATE, bearer);
            }
            // The clients send a request again after it, and it would be refused again.
            StatusCode::CONFLICT => {
                headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            }
            _ => {}
        }
        response
    }
}
