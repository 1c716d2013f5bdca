//! The answers that are ours and not an origin's: a status, a few plain words, and the request's
//! id by which an operator finds out more.

mod accept;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use pingora::http::{RequestHeader, ResponseHeader};

use crate::request_id::{REQUEST_ID, RequestId};
use accept::Format;

/// When a client may come again that was sent away for want of room, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");
/// The methods that are passed on, as far as they have a meaning everywhere.
const ALLOWED: HeaderValue =
    HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");

/// Why a request is answered here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The request has no usable authority (RFC 9110 section 7.2).
    BadRequest,
    /// `TRACE` would show what is set here, `CONNECT` would make a tunnel.
    MethodNotAllowed,
    /// The client was silent in the middle of its request.
    RequestTimeout,
    /// The body has more bytes than the hostname takes (RFC 9110 section 15.5.14).
    ContentTooLarge,
    /// The hostname is not this connection's, or is not served here (RFC 9110 section 15.5.20).
    Misdirected,
    /// The header has too many bytes or fields (RFC 6585 section 5).
    HeaderTooLarge,
    /// It is our fault.
    Internal,
    /// There is no room for it now.
    Overloaded,
    /// The origin can't be reached, or answers with something that isn't HTTP.
    BadGateway,
    /// The origin is silent.
    GatewayTimeout,
    /// The request has been here before (RFC 8586).
    LoopDetected,
}

impl Refusal {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::ContentTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::HeaderTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            Self::BadGateway => StatusCode::BAD_GATEWAY,
            Self::GatewayTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::LoopDetected => StatusCode::LOOP_DETECTED,
        }
    }

    /// Words for the client. They say nothing of what is inside.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::BadRequest => "The request is malformed.",
            Self::MethodNotAllowed => "This method is not allowed.",
            Self::RequestTimeout => "The request did not arrive in time.",
            Self::ContentTooLarge => "The request body is too large.",
            Self::Misdirected => "This hostname is not served on this connection.",
            Self::HeaderTooLarge => "The request header is too large.",
            Self::Internal => "The edge failed to handle the request.",
            Self::Overloaded => "The edge has no room for the request now.",
            Self::BadGateway => "The origin could not be reached.",
            Self::GatewayTimeout => "The origin did not answer in time.",
            Self::LoopDetected => "The request came back to the edge that sent it on.",
        }
    }

    /// The header and the body of the answer, in the form that the request asks for.
    pub(crate) fn response(
        self,
        request: &RequestHeader,
        id: &RequestId,
    ) -> pingora::Result<(ResponseHeader, Bytes)> {
        let (content_type, body) = match Format::of(request) {
            Format::Text => ("text/plain; charset=utf-8", self.plain(id)),
            Format::Json => ("application/problem+json", self.problem(id)),
        };
        let mut header = ResponseHeader::build(self.status(), Some(6))?;
        header.insert_header(header::CONTENT_TYPE, content_type)?;
        header.insert_header(header::CACHE_CONTROL, "no-store")?;
        header.insert_header(header::CONTENT_LENGTH, body.len())?;
        header.insert_header(REQUEST_ID, id.to_value())?;
        if self.status() == StatusCode::SERVICE_UNAVAILABLE {
            header.insert_header(header::RETRY_AFTER, RETRY_AFTER)?;
        }
        if self == Self::MethodNotAllowed {
            header.insert_header(header::ALLOW, ALLOWED)?;
        }
        Ok((header, body.into()))
    }

    /// The answer's body as text.
    pub(crate) fn plain(self, id: &RequestId) -> String {
        format!("{}\nRequest id: {id}\n", self.text())
    }

    /// RFC 9457. Neither our words nor an id have anything in them that JSON would escape.
    fn problem(self, id: &RequestId) -> String {
        let status = self.status();
        format!(
            r#"{{"title":"{}","status":{},"detail":"{}","requestId":"{id}"}}"#,
            status.canonical_reason().unwrap_or_default(),
            status.as_u16(),
            self.text()
        )
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    fn answered(refusal: Refusal, accept: &str) -> (ResponseHeader, String) {
        let mut request = RequestHeader::build(Method::GET, b"/", None).unwrap();
        request.insert_header("accept", accept).unwrap();
        let mut with_id = request.clone();
        with_id.insert_header("x-request-id", "abc").unwrap();
        let id = RequestId::given(&with_id).unwrap();
        let (header, body) = refusal.response(&request, &id).unwrap();
        (header, String::from_utf8(body.to_vec()).unwrap())
    }

    #[test]
    fn an_answer_is_text_with_the_requests_id() {
        let (header, body) = answered(Refusal::BadGateway, "*/*");
        assert_eq!(header.status, 502);
        assert_eq!(header.headers["x-request-id"], "abc");
        assert_eq!(header.headers["content-length"], body.len().to_string());
        assert_eq!(body, "The origin could not be reached.\nRequest id: abc\n");
    }

    #[test]
    fn an_answer_is_a_problem_where_json_is_asked_for() {
        let (header, body) = answered(Refusal::LoopDetected, "application/json");
        assert_eq!(header.headers["content-type"], "application/problem+json");
        let problem: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(problem["status"], 508);
        assert_eq!(problem["title"], "Loop Detected");
        assert_eq!(problem["requestId"], "abc");
    }

    #[test]
    fn a_method_that_is_not_allowed_is_told_which_are() {
        let (header, _) = answered(Refusal::MethodNotAllowed, "*/*");
        assert!(header.headers["allow"].to_str().unwrap().contains("GET, HEAD"));
    }
}
