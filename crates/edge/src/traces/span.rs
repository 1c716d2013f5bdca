//! Spans as they travel.

use std::{
    borrow::Cow,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use http::Version;
use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, ArrayValue, KeyValue, any_value::Value},
    trace::v1::{Status, status::StatusCode},
};
use pingora::{Error, ErrorSource};

use crate::reason;

/// The most bytes of one attribute: what clients send is never kept at any length.
const MAX_TEXT: usize = 512;

/// Times of one request, which never go back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    began: u64,
    at: Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let began = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        Self { began, at: Instant::now() }
    }

    /// When it started, in nanoseconds since 1970.
    pub(super) fn began(self) -> u64 {
        self.began
    }

    /// Nanoseconds since 1970.
    pub(super) fn now(self) -> u64 {
        let passed = u64::try_from(self.at.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.began.saturating_add(passed)
    }
}

pub(super) fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, cut(value))
}

/// The values of a header field.
pub(super) fn texts(key: &str, values: &[&str]) -> KeyValue {
    let values = values.iter().map(|value| AnyValue { value: Some(cut(value)) }).collect();
    attribute(key, Value::ArrayValue(ArrayValue { values }))
}

fn cut(value: &str) -> Value {
    let end = value.floor_char_boundary(MAX_TEXT);
    Value::StringValue(value.get(..end).unwrap_or_default().to_owned())
}

pub(super) fn number(key: &str, value: impl Into<i64>) -> KeyValue {
    attribute(key, Value::IntValue(value.into()))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    let value = Some(AnyValue { value: Some(value) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

/// Which end of a request a span is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// What we are to a client.
    Server,
    /// What we are to an origin.
    Client,
}

/// How a request ended, for the `error.type` attribute and the span's status.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) error_type: Option<Cow<'static, str>>,
    is_failure: bool,
}

impl Outcome {
    /// A status that is an error at this side says most; else it is the error's reason. That a
    /// client went away is an error and no failure of ours.
    pub(super) fn of(side: Side, status: Option<u16>, error: Option<&Error>) -> Self {
        let first_error = match side {
            Side::Server => 500,
            Side::Client => 400,
        };
        match status.filter(|status| *status >= first_error) {
            Some(status) => Self { error_type: Some(status.to_string().into()), is_failure: true },
            None => Self {
                is_failure: error.is_some_and(|error| *error.esource() != ErrorSource::Downstream),
                error_type: error.map(reason::of).map(Cow::Borrowed),
            },
        }
    }

    pub(super) fn status(&self) -> Option<Status> {
        let code = StatusCode::Error as i32;
        self.is_failure.then(|| Status { code, ..Status::default() })
    }
}

/// The version as `network.protocol.version` has it.
pub(super) fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}

/// The version as `tls.protocol.version` has it, from `TLSv1_3`.
pub(super) fn tls_version(name: &str) -> String {
    name.trim_start_matches("TLSv").replace('_', ".")
}

/// The cipher suite as IANA names it, from `TLS13_AES_128_GCM_SHA256`.
pub(super) fn cipher(name: &str) -> Cow<'_, str> {
    match name.strip_prefix("TLS13_") {
        Some(rest) => format!("TLS_{rest}").into(),
        None => name.into(),
    }
}

#[cfg(test)]
mod tests {
    use pingora::ErrorType;

    use super::*;

    #[test]
    fn an_outcome_says_what_went_wrong_and_whether_it_was_ours() {
        use ErrorSource::{Downstream, Upstream};
        use Side::{Client, Server};
        let error = |kind: ErrorType, source: ErrorSource| {
            let mut error = Error::new(kind);
            error.esource = source;
            error
        };
        let refused = error(ErrorType::ConnectRefused, Upstream);
        let gone = error(ErrorType::WriteError, Downstream);
        let made = error(ErrorType::HTTPStatus(413), Downstream);
        let table = [
            (Server, Some(200), None, None, false),
            (Server, Some(404), None, None, false),
            (Server, Some(500), None, Some("500"), true),
            (Server, Some(502), Some(&refused), Some("502"), true),
            (Server, Some(200), Some(&refused), Some("connect_refused"), true),
            (Server, None, Some(&gone), Some("client_gone"), false),
            (Server, Some(413), Some(&made), Some("content_too_large"), false),
            (Client, Some(304), None, None, false),
            (Client, Some(404), None, Some("404"), true),
            (Client, None, Some(&refused), Some("connect_refused"), true),
            (Client, Some(200), Some(&gone), Some("client_gone"), false),
        ];
        for (side, status, error, error_type, is_failure) in table {
            let outcome = Outcome::of(side, status, error.map(|error| &**error));
            let expected = Outcome { error_type: error_type.map(Cow::from), is_failure };
            assert_eq!(outcome, expected, "{side:?} {status:?}");
            assert_eq!(outcome.status().is_some(), is_failure);
        }
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let most = "x".repeat(MAX_TEXT);
        let one_less = "x".repeat(MAX_TEXT - 1);
        assert_ne!(text("key", &most), text("key", &one_less));
        assert_eq!(text("key", &format!("{most}x")), text("key", &most));
        assert_eq!(text("key", &format!("{one_less}é")), text("key", &one_less));
    }

    #[test]
    fn tls_is_named_as_the_conventions_name_it() {
        assert_eq!(tls_version("TLSv1_3"), "1.3");
        assert_eq!(tls_version("TLSv1_2"), "1.2");
        assert_eq!(cipher("TLS13_AES_128_GCM_SHA256"), "TLS_AES_128_GCM_SHA256");
        let tls12 = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256";
        assert_eq!(cipher(tls12), tls12);
    }

    #[test]
    fn a_clock_does_not_go_back() {
        let clock = Clock::start();
        assert!(clock.now() >= clock.began());
    }
}
