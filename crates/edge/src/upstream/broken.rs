//! How an exchange with an origin ended before its response began, and whether the request may be
//! sent again.

use http::header;
use pingora::{Error, ErrorSource, ErrorType};
use pingora_proxy::Session;

use super::metrics::Failure;

/// How an exchange ended before its response began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// The connection ended. The origin may have acted on the request.
    Closed,
    /// The origin says that it did not look at the request (RFC 9113 section 8.7).
    NotTaken,
    /// The origin was silent.
    Silent,
    /// What arrived is no HTTP.
    Nonsense,
}

impl Broken {
    /// `None` where it is not the origin's fault.
    pub(super) fn of(error: &Error) -> Option<Self> {
        if *error.esource() != ErrorSource::Upstream {
            return None;
        }
        let h2 = error.root_cause().downcast_ref::<h2::Error>();
        let is_refused = h2.is_some_and(|h2| {
            h2.is_remote()
                && ((h2.is_reset() && h2.reason() == Some(h2::Reason::REFUSED_STREAM))
                    || (h2.is_go_away() && h2.reason() == Some(h2::Reason::NO_ERROR)))
        });
        let kind = error.etype();
        let is_silent = matches!(kind, ErrorType::ReadTimedout | ErrorType::WriteTimedout);
        let is_closed = h2.is_some_and(h2::Error::is_io)
            || matches!(
                kind,
                ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError
            );
        Some(if is_refused {
            Self::NotTaken
        } else if is_silent {
            Self::Silent
        } else if is_closed {
            Self::Closed
        } else {
            Self::Nonsense
        })
    }

    pub(super) fn failure(self) -> Failure {
        match self {
            Self::Closed | Self::NotTaken => Failure::Closed,
            Self::Silent => Failure::Timeout,
            Self::Nonsense => Failure::Invalid,
        }
    }
}

/// Whether the origin may get it twice (RFC 9110 section 9.2.2), or can't have acted on it since
/// nothing of its body was sent.
pub(super) fn is_repeatable(session: &Session, error: &Error) -> bool {
    if session.req_header().method.is_idempotent() {
        return true;
    }
    let has_body =
        session.req_header().headers.get(header::CONTENT_LENGTH).is_some_and(|length| {
            length.as_bytes().iter().any(|digit| matches!(digit, b'1'..=b'9'))
        }) || session.req_header().headers.contains_key(header::TRANSFER_ENCODING);
    // What failed to be written may have arrived all the same.
    let is_unsent = session.upstream_body_bytes_sent() == Some(0)
        && !matches!(error.etype(), ErrorType::WriteError);
    has_body && is_unsent
}
