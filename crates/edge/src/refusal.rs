//! The answers that are ours and not an origin's: a status and a few plain words.

use bytes::Bytes;
use http::{StatusCode, header};
use pingora::http::ResponseHeader;

/// Why a request is answered here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The request has no usable authority (RFC 9110 section 7.2).
    BadRequest,
    /// The client was silent in the middle of its request.
    RequestTimeout,
    /// The hostname is not this connection's, or is not served here (RFC 9110 section 15.5.20).
    Misdirected,
    /// The header has too many bytes or fields (RFC 6585 section 5).
    HeaderTooLarge,
    /// It is our fault.
    Internal,
    /// The origin can't be reached, or answers with something that isn't HTTP.
    BadGateway,
    /// The origin is silent.
    GatewayTimeout,
}

impl Refusal {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::HeaderTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::BadGateway => StatusCode::BAD_GATEWAY,
            Self::GatewayTimeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// Words for the client. They say nothing of what is inside.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::BadRequest => "The request is malformed.\n",
            Self::RequestTimeout => "The request did not arrive in time.\n",
            Self::Misdirected => "This hostname is not served on this connection.\n",
            Self::HeaderTooLarge => "The request header is too large.\n",
            Self::Internal => "The edge failed to handle the request.\n",
            Self::BadGateway => "The origin could not be reached.\n",
            Self::GatewayTimeout => "The origin did not answer in time.\n",
        }
    }

    /// The header and the body of the answer.
    pub(crate) fn response(self) -> pingora::Result<(ResponseHeader, Bytes)> {
        let mut header = ResponseHeader::build(self.status(), Some(3))?;
        header.insert_header(header::CONTENT_TYPE, "text/plain; charset=utf-8")?;
        header.insert_header(header::CACHE_CONTROL, "no-store")?;
        header.insert_header(header::CONTENT_LENGTH, self.text().len())?;
        Ok((header, Bytes::from_static(self.text().as_bytes())))
    }
}
