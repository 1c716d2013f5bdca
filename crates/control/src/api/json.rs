//! Reads JSON, and says in words of this API what is wrong with it and where.
//!
//! What is no JSON, or can be understood in two ways, is malformed (400). What is JSON and not what
//! is expected is invalid (422), and the problem's `field` is where, as a JSON pointer (RFC 6901).

use std::fmt;

use http::StatusCode;
use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeOwned, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value, error::Category};
use serde_path_to_error::{Path, Segment};

use super::problem::Problem;

/// The longest pointer in a problem, in bytes. A client's own words may be in it.
const MAX_POINTER: usize = 256;
/// How much of a client's own value is quoted, in characters.
const MAX_QUOTED: usize = 32;

/// Reads a body.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let Strict(value) = serde_json::from_slice(bytes).map_err(|error| malformed(&error))?;
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = pointer_of(error.path());
        invalid(&path, error.inner())
    })
}

/// What is wrong with a value at `pointer`.
pub(crate) fn invalid(pointer: &str, error: &serde_json::Error) -> Problem {
    let message = error.to_string();
    // At the place of the object, where the field is not.
    let missing = quoted_after(&message, "missing field `");
    let pointer = match missing {
        Some(field) => format!("{pointer}/{}", escaped(field)),
        None => pointer.to_owned(),
    };
    let status = StatusCode::UNPROCESSABLE_ENTITY;
    Problem::new(status, "invalid_field", "The request is invalid", explain(&message)).at(&pointer)
}

pub(crate) fn malformed(error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    let what = match error.classify() {
        Category::Data => without_place(&text).to_owned(),
        Category::Eof => "it ends too early".to_owned(),
        Category::Io | Category::Syntax => without_place(&text).to_owned(),
    };
    let (line, column) = (error.line(), error.column());
    let detail = format!("The body can't be read at line {line} column {column}: {what}.");
    Problem::new(StatusCode::BAD_REQUEST, "invalid_json", "The body is not proper JSON", detail)
}

/// Where a path leads, as a JSON pointer.
pub(crate) fn pointer_of(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path.iter() {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => pointer.push_str(&format!("/{}", escaped(key))),
            Segment::Enum { variant } => pointer.push_str(&format!("/{}", escaped(variant))),
            Segment::Unknown => {}
        }
    }
    pointer.truncate(pointer.floor_char_boundary(MAX_POINTER));
    pointer
}

/// RFC 6901 section 3.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn quoted_after<'a>(message: &'a str, before: &str) -> Option<&'a str> {
    message.strip_prefix(before)?.split('`').next()
}

/// The parser's own words without where it was.
fn without_place(message: &str) -> &str {
    message.rsplit_once(" at line ").map_or(message, |(message, _)| message)
}

/// Puts the parser's words into those of this API.
fn explain(message: &str) -> String {
    let message = without_place(message);
    if let Some(field) = quoted_after(message, "missing field `") {
        return format!("Expected a field `{field}`.");
    }
    if let Some(rest) = message.strip_prefix("unknown field ") {
        return match rest.rsplit_once(", expected ") {
            Some((field, expected)) => {
                format!("There is no field {}; expected {expected}.", cut(field))
            }
            None => format!("There is no such field: {}.", cut(rest)),
        };
    }
    if let Some((got, expected)) =
        message.strip_prefix("unknown variant ").and_then(|rest| rest.rsplit_once(", expected "))
    {
        return format!("Expected {expected}, got {}.", cut(got));
    }
    let mismatch = message
        .strip_prefix("invalid type: ")
        .or_else(|| message.strip_prefix("invalid value: "))
        .or_else(|| message.strip_prefix("invalid length "));
    match mismatch.and_then(|rest| rest.rsplit_once(", expected ")) {
        Some((got, expected)) => format!("Expected {}, got {}.", wanted(expected), given(got)),
        None => format!("{message}."),
    }
}

fn wanted(expected: &str) -> String {
    match expected {
        "a map" => "an object".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "u8" => format!("a whole number from 0 to {}", u8::MAX),
        "u16" => format!("a whole number from 0 to {}", u16::MAX),
        "u32" => format!("a whole number from 0 to {}", u32::MAX),
        "u64" => "a whole number from 0".to_owned(),
        "i64" => "a whole number".to_owned(),
        "f64" => "a number".to_owned(),
        _ if expected.starts_with("struct ") => "an object".to_owned(),
        _ if expected.starts_with("enum ") || expected.starts_with("variant ") => {
            "one of the words that the documentation names".to_owned()
        }
        _ => expected.to_owned(),
    }
}

fn given(got: &str) -> String {
    match got {
        "map" => "an object".to_owned(),
        "sequence" => "a list".to_owned(),
        "unit value" => "null".to_owned(),
        _ => got
            .strip_prefix("integer ")
            .or_else(|| got.strip_prefix("floating point "))
            .or_else(|| got.strip_prefix("boolean "))
            .or_else(|| got.strip_prefix("string "))
            .map_or_else(|| cut(got), |value| cut(&value.replace('`', ""))),
    }
}

/// The beginning of a quoted value, with its quotes: it may be anything, and meant for somebody else.
fn cut(quoted: &str) -> String {
    let quote = quoted.chars().next().filter(|first| matches!(first, '"' | '`'));
    let inner = quote.and_then(|quote| quoted.strip_prefix(quote)?.strip_suffix(quote));
    let (quote, inner) = (inner.and(quote), inner.unwrap_or(quoted));
    let Some((end, _)) = inner.char_indices().nth(MAX_QUOTED) else {
        return quoted.to_owned();
    };
    let (start, _) = inner.split_at(end);
    match quote {
        Some(quote) => format!("{quote}{start}…{quote}"),
        None => format!("{start}…"),
    }
}

/// A value in which no object has a key twice, and no text has a NUL.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value);
        number.map(Value::Number).ok_or_else(|| E::custom("a number is out of range"))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        self.visit_string(value.to_owned())
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Value, E> {
        match value.contains('\0') {
            false => Ok(Value::String(value)),
            true => Err(E::custom("a text has a NUL character")),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Strict(value)) = items.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some(key) = fields.next_key::<String>()? {
            if key.contains('\0') {
                return Err(de::Error::custom("a key has a NUL character"));
            }
            let Strict(value) = fields.next_value()?;
            if values.insert(key, value).is_some() {
                return Err(de::Error::custom("an object has a key twice"));
            }
        }
        Ok(Value::Object(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parsers_words_become_this_apis() {
        let table = [
            ("missing field `url` at line 1 column 5", "Expected a field `url`."),
            (
                "unknown field `x`, expected one of `a`, `b` at line 1 column 2",
                "There is no field `x`; expected one of `a`, `b`.",
            ),
            ("unknown variant `x`, expected `a` or `b`", "Expected `a` or `b`, got `x`."),
            ("invalid type: map, expected a sequence", "Expected a list, got an object."),
            ("invalid type: integer `5`, expected a string", "Expected a string, got 5."),
            (
                "invalid type: string \"5\", expected u16",
                "Expected a whole number from 0 to 65535, got \"5\".",
            ),
            ("invalid type: null, expected struct HttpSettings", "Expected an object, got null."),
            ("the origin has no host", "the origin has no host."),
        ];
        for (message, expected) in table {
            assert_eq!(explain(message), expected);
        }
    }

    #[test]
    fn of_a_long_value_the_beginning_is_quoted() {
        let long = "é".repeat(100);
        let start = format!("{}…", "é".repeat(32));
        let table = [
            (
                format!("unknown variant `{long}`, expected `a`"),
                format!("Expected `a`, got `{start}`."),
            ),
            (
                format!("invalid type: string \"{long}\", expected u16"),
                format!("Expected a whole number from 0 to 65535, got \"{start}\"."),
            ),
            (
                format!("unknown field `{long}`, expected `a` at line 1 column 2"),
                format!("There is no field `{start}`; expected `a`."),
            ),
        ];
        for (message, expected) in table {
            assert_eq!(explain(&message), expected);
        }
    }

    #[test]
    fn what_has_two_meanings_or_none_is_malformed() {
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        for bad in [
            "",
            "{",
            "{} {}",
            "{'a': 1}",
            r#"{"a": 1, "a": 2}"#,
            r#"{"a": {"b": 1, "b": 1}}"#,
            r#"{"a": "x\u0000y"}"#,
            r#"{"a\u0000": 1}"#,
            r#"{"a": 1e999}"#,
            "{\"a\": \"\u{1}\"}",
            &deep,
        ] {
            let problem = read::<Value>(bad.as_bytes()).unwrap_err();
            assert_eq!(problem.code(), "invalid_json", "{bad}");
        }
        assert!(read::<Value>(b"\xff").is_err());
        assert_eq!(read::<Value>(br#"{"a": [1, -2, 1.5, null, true, "x"]}"#).unwrap()["a"][1], -2);
    }
}
