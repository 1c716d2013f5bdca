//! Versions of objects: `ETag` tells one, and `If-Match` makes a change depend on it (RFC 9110
//! sections 8.8.3 and 13.1.1).

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, header};
use serde::Serialize;

use super::problem::Problem;
use crate::call::Expected;

/// Reads `If-Match`: one entity tag of ours, or `*`.
pub(crate) fn expected(headers: &HeaderMap) -> Result<Expected, Problem> {
    let mut values = headers.get_all(header::IF_MATCH).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(Expected::Any),
        (Some(value), None) => parse(value.as_bytes()).ok_or_else(refused),
        (Some(_), Some(_)) => Err(refused()),
    }
}

/// Refuses the header where there is no version that a request could depend on.
pub(crate) fn refuse(headers: &HeaderMap) -> Result<(), Problem> {
    if !headers.contains_key(header::IF_MATCH) {
        return Ok(());
    }
    let detail = "What this makes or changes has no version before.";
    Err(Problem::bad_header("If-Match", "if_match_not_supported", detail))
}

fn refused() -> Problem {
    let detail = "Expected one entity tag, as an earlier answer's `ETag` has it, or `*`.";
    Problem::bad_header("If-Match", "invalid_if_match", detail)
}

fn parse(value: &[u8]) -> Option<Expected> {
    let text = std::str::from_utf8(value).ok()?.trim();
    if text == "*" {
        return Some(Expected::Any);
    }
    // A weak tag never matches (RFC 9110 section 8.8.3.2), and neither does one that is not ours.
    let (tag, is_weak) = match text.strip_prefix("W/") {
        Some(tag) => (tag, true),
        None => (text, false),
    };
    let opaque = tag.strip_prefix('"')?.strip_suffix('"')?;
    if opaque.bytes().any(|b| b == b'"' || b <= b' ' || b == 0x7f) {
        return None;
    }
    let version = opaque.parse().ok().filter(|version: &i64| version.to_string() == opaque);
    Some(match version {
        Some(version) if !is_weak => Expected::Version(version),
        Some(_) | None => Expected::Never,
    })
}

/// An object as it is answered, with its version as entity tag (RFC 9110 section 8.8.3).
pub(crate) struct Tagged<T> {
    pub(crate) version: i64,
    pub(crate) body: T,
}

impl<T: Serialize> IntoResponse for Tagged<T> {
    fn into_response(self) -> Response {
        ([(header::ETAG, entity_tag(self.version))], Json(self.body)).into_response()
    }
}

fn entity_tag(version: i64) -> String {
    format!("\"{version}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_one_entity_tag_or_a_star() {
        let table = [
            ("*", Some(Expected::Any)),
            (" * ", Some(Expected::Any)),
            ("\"7\"", Some(Expected::Version(7))),
            ("W/\"7\"", Some(Expected::Never)),
            ("\"+7\"", Some(Expected::Never)),
            ("\"07\"", Some(Expected::Never)),
            ("\"abc\"", Some(Expected::Never)),
            ("\"99999999999999999999\"", Some(Expected::Never)),
            ("", None),
            ("7", None),
            ("\"7", None),
            ("\"7\", \"8\"", None),
            ("\"a b\"", None),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text.as_bytes()), expected, "{text}");
        }
        assert_eq!(parse(b"\xff"), None);
        assert_eq!(parse(entity_tag(12).as_bytes()), Some(Expected::Version(12)));
    }
}
