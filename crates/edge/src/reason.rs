//! Why a request failed, in words for operators.

use std::{error::Error as StdError, io};

use pingora::{Error, ErrorSource, ErrorType};

use crate::{cut::Cut, upstream::NoOrigin};

/// One word of few: for `reason` in the log, and `error.type` in the access log and in traces.
pub(crate) fn of(error: &Error) -> &'static str {
    if let Some(none) = error.root_cause().downcast_ref::<NoOrigin>() {
        return none.reason();
    }
    if let Some(cut) = Cut::of(error) {
        return cut.label();
    }
    match (error.etype(), error.esource()) {
        (ErrorType::Custom(own), _) => own,
        (ErrorType::HTTPStatus(413), _) => "content_too_large",
        (ErrorType::HTTPStatus(502), _) => "invalid_answer",
        (ErrorType::HTTPStatus(503), _) | (ErrorType::InternalError, ErrorSource::Upstream) => {
            "edge_exhausted"
        }
        (ErrorType::ReadTimedout | ErrorType::WriteTimedout, ErrorSource::Downstream) => {
            "client_timeout"
        }
        (ErrorType::InvalidHTTPHeader | ErrorType::H1Error, ErrorSource::Downstream) => {
            "client_invalid"
        }
        (_, ErrorSource::Downstream) => "client_gone",
        (kind, ErrorSource::Upstream) => of_origin(kind),
        (_, ErrorSource::Internal | ErrorSource::Unset) => "internal",
    }
}

fn of_origin(kind: &ErrorType) -> &'static str {
    use ErrorType::{
        BindError, ConnectError, ConnectNoRoute, ConnectRefused, ConnectTimedout, ConnectionClosed,
        HandshakeError, InvalidCert, ReadError, ReadTimedout, SocketError, TLSHandshakeFailure,
        TLSHandshakeTimedout, WriteError, WriteTimedout,
    };
    let table: [(&[ErrorType], &str); 9] = [
        (&[ConnectRefused], "connect_refused"),
        (&[ConnectTimedout], "connect_timeout"),
        (&[ConnectNoRoute], "no_route"),
        (&[ConnectError, SocketError, BindError], "connect"),
        (&[TLSHandshakeFailure, InvalidCert, HandshakeError], "tls"),
        (&[TLSHandshakeTimedout], "tls_timeout"),
        (&[ReadTimedout], "read_timeout"),
        (&[WriteTimedout], "write_timeout"),
        (&[ConnectionClosed, ReadError, WriteError], "closed"),
    ];
    let known = table.iter().find(|(kinds, _)| kinds.contains(kind));
    known.map_or("invalid_answer", |(_, word)| word)
}

/// What is known beyond that, as a sentence. Nothing of what a client or an origin sent is in it.
pub(crate) fn cause(error: &Error) -> String {
    let root = error.root_cause();
    let own = match root.downcast_ref::<Error>() {
        // pingora puts rustls' words into the context of an error without a cause.
        Some(root) => of_origin(root.etype()).eq("tls").then(|| context(root)).flatten(),
        None => Some(chain(root)),
    };
    own.unwrap_or_default()
}

fn context(error: &Error) -> Option<String> {
    let text = error.context.as_ref()?.as_str();
    Some(text.rsplit_once(" cause: ").map_or(text, |(_, last)| last).to_owned())
}

fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    // What an `io::Error` holds is already in its words.
    let mut next = if error.is::<io::Error>() { None } else { error.source() };
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_says_what_tls_says_and_nothing_that_an_origin_sent() {
        let context = "TLS connect() failed:  TLSHandshakeFailure context: tls connect error \
                       cause: invalid peer certificate: UnknownIssuer, SNI: o.example";
        let error = Error::explain(ErrorType::TLSHandshakeFailure, context).into_up();
        let error = error.more_context("Peer: 192.0.2.1:443");
        assert_eq!(of(&error), "tls");
        assert_eq!(cause(&error), "invalid peer certificate: UnknownIssuer, SNI: o.example");
        let error = Error::explain(ErrorType::InvalidHTTPHeader, "buf: Set-Cookie: s3cret");
        let error = error.into_up();
        assert_eq!((of(&error), cause(&error)), ("invalid_answer", String::new()));
        let refused = io::Error::new(io::ErrorKind::ConnectionRefused, "refused");
        let error = Error::because(ErrorType::ConnectRefused, "to 192.0.2.1", refused).into_up();
        assert_eq!((of(&error), cause(&error)), ("connect_refused", "refused".to_owned()));
        let error = NoOrigin::Unresolved.into_error();
        assert_eq!((of(&error), cause(&error)), ("unresolved", NoOrigin::Unresolved.to_string()));
    }
}
