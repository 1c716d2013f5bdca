//! What a request that failed is answered with, and what is logged of it.

use landfall_certstore::Entry;
use pingora::{Error, ErrorSource, ErrorType};
use tracing::field::display;

use super::Request;
use crate::{cut::Cut, reason, refusal::Refusal, upstream::Upstreams};

/// An error that is answered with `refusal`.
pub(super) fn status(refusal: Refusal) -> Box<Error> {
    Error::new(ErrorType::HTTPStatus(refusal.status().as_u16()))
}

/// What to answer. `None` where nobody is left to read it.
pub(super) fn refusal(error: &Error) -> Option<Refusal> {
    use ErrorType::{
        ConnectionClosed, HTTPStatus, ReadError, ReadTimedout, WriteError, WriteTimedout,
    };
    let kind = error.etype();
    if let Some(refusal) = Cut::refusal(error) {
        return Some(refusal);
    }
    match error.esource() {
        // Ours: see `status`.
        _ if matches!(kind, HTTPStatus(502)) => Some(Refusal::BadGateway),
        _ if matches!(kind, HTTPStatus(503)) => Some(Refusal::Overloaded),
        ErrorSource::Upstream => Some(if is_timeout(kind) {
            Refusal::GatewayTimeout
        } else if matches!(kind, ErrorType::InternalError) {
            // This node is out of sockets or descriptors.
            Refusal::Overloaded
        } else {
            Refusal::BadGateway
        }),
        ErrorSource::Downstream => {
            if matches!(kind, ReadTimedout) {
                return Some(Refusal::RequestTimeout);
            }
            let is_gone = matches!(
                kind,
                ReadError
                    | WriteError
                    | WriteTimedout
                    | ConnectionClosed
                    | ErrorType::H2Error
                    | ErrorType::InvalidH2
            );
            (!is_gone).then_some(Refusal::BadRequest)
        }
        ErrorSource::Internal | ErrorSource::Unset => Some(Refusal::Internal),
    }
}

fn is_timeout(kind: &ErrorType) -> bool {
    matches!(
        kind,
        ErrorType::ConnectTimedout
            | ErrorType::TLSHandshakeTimedout
            | ErrorType::ReadTimedout
            | ErrorType::WriteTimedout
    )
}

/// Logs what an operator can act on: an origin's failure. A client's own is no news. Clients can
/// cause as many as they like, so that not each of them is worth a warning.
pub(super) fn log(
    error: &Error,
    refusal: Option<Refusal>,
    request: &Request,
    upstreams: &Upstreams,
) {
    let status = refusal.map(|refusal| refusal.status().as_u16());
    let (id, reason) = (request.id.as_str(), reason::of(error));
    let entry = request.entry.as_deref();
    let hostname = entry.map(Entry::name).map(display);
    let is_clients_own = status.is_some_and(|status| status < 500);
    if is_clients_own || *error.esource() == ErrorSource::Downstream {
        tracing::debug!(id, hostname, status, reason, "a client's request failed by its own doing");
        return;
    }
    let property = entry.map(|entry| entry.route().route().property.0);
    let origin = request.exchange.origin().map(display);
    let address = request.exchange.address().map(display);
    if let Some(suppressed) = upstreams.may_log() {
        let cause = reason::cause(error);
        tracing::warn!(
            id,
            hostname,
            property,
            origin,
            address,
            status,
            reason,
            cause,
            suppressed,
            "a request failed at its origin"
        );
    } else {
        tracing::debug!(
            id,
            hostname,
            property,
            origin,
            address,
            status,
            reason,
            "a request failed at its origin"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_have_the_status_that_says_whose_fault_it_is() {
        let table = [
            (ErrorType::ConnectTimedout, ErrorSource::Upstream, Some(504)),
            (ErrorType::ReadTimedout, ErrorSource::Upstream, Some(504)),
            (ErrorType::ConnectRefused, ErrorSource::Upstream, Some(502)),
            (ErrorType::InvalidHTTPHeader, ErrorSource::Upstream, Some(502)),
            (ErrorType::ConnectionClosed, ErrorSource::Upstream, Some(502)),
            (ErrorType::ReadTimedout, ErrorSource::Downstream, Some(408)),
            (ErrorType::InvalidHTTPHeader, ErrorSource::Downstream, Some(400)),
            (ErrorType::ConnectionClosed, ErrorSource::Downstream, None),
            (ErrorType::InternalError, ErrorSource::Internal, Some(500)),
            (ErrorType::InternalError, ErrorSource::Upstream, Some(503)),
            (ErrorType::HTTPStatus(502), ErrorSource::Unset, Some(502)),
            (ErrorType::HTTPStatus(503), ErrorSource::Upstream, Some(503)),
        ];
        for (kind, source, expected) in table {
            let mut error = Error::new(kind.clone());
            error.esource = source.clone();
            let answered = refusal(&error).map(|refusal| refusal.status().as_u16());
            assert_eq!(answered, expected, "{kind:?} of {source:?}");
        }
    }
}
