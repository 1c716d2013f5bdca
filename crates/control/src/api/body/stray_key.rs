//! Finds private keys where none belongs, before anything of a body is kept or quoted.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::{
    api::{json, problem::Problem},
    certificate::private_key,
};

/// Refuses JSON that has a private key in a text or in a name, however it is escaped. Fields called as
/// one of `for_keys` may have one.
///
/// Parsed, a key would be in texts that nobody wipes, and in the words of an error. So this looks at the
/// texts as the parser reads them, and copies none.
pub(crate) fn refuse_private_keys(json: &[u8], for_keys: &[&str]) -> Result<(), Problem> {
    let mut parser = serde_json::Deserializer::from_slice(json);
    match (Scan { for_keys }).deserialize(&mut parser) {
        Ok(Found::Nothing) => Ok(()),
        Ok(Found::PrivateKey) => Err(Problem::private_key()),
        Err(error) => Err(json::malformed(&error)),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    PrivateKey,
}

impl Found {
    fn or(self, other: Self) -> Self {
        match self {
            Self::Nothing => other,
            Self::PrivateKey => self,
        }
    }
}

fn look(text: &str) -> Found {
    match private_key::is_in(text) {
        true => Found::PrivateKey,
        false => Found::Nothing,
    }
}

/// Looks at a value with all that is in it.
#[derive(Clone, Copy)]
struct Scan<'a> {
    for_keys: &'a [&'a str],
}

impl<'de> DeserializeSeed<'de> for Scan<'_> {
    type Value = Found;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Scan<'_> {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Found, E> {
        Ok(Found::Nothing)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Found, E> {
        Ok(Found::Nothing)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Found, E> {
        Ok(Found::Nothing)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Found, E> {
        Ok(Found::Nothing)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Found, E> {
        Ok(Found::Nothing)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Found, E> {
        Ok(look(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Found, A::Error> {
        let mut found = Found::Nothing;
        while let Some(item) = items.next_element_seed(self)? {
            found = found.or(item);
        }
        Ok(found)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Found, A::Error> {
        let mut found = Found::Nothing;
        while let Some(name) = fields.next_key_seed(ScanName(self))? {
            let value = fields.next_value_seed(self)?;
            found = found.or(match name {
                Name::ForKeys => Found::Nothing,
                Name::Other(own) => own.or(value),
            });
        }
        Ok(found)
    }
}

/// Looks at a field's name.
struct ScanName<'a>(Scan<'a>);

enum Name {
    /// Of a field that may have a private key.
    ForKeys,
    Other(Found),
}

impl<'de> DeserializeSeed<'de> for ScanName<'_> {
    type Value = Name;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Name, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for ScanName<'_> {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Name, E> {
        Ok(match self.0.for_keys.contains(&name) {
            true => Name::ForKeys,
            false => Name::Other(look(name)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_key_is_found_wherever_it_is_and_however_it_is_escaped() {
        let refused = |json: &str| {
            refuse_private_keys(json.as_bytes(), &["key"]).map_err(|problem| problem.code()).err()
        };
        for json in [
            r#""-----BEGIN PRIVATE KEY-----""#,
            r#"{"a": [1, {"b": "x RSA PRIVATE KEY----- x"}]}"#,
            r#"{"a": "PRIVATE\u0020KEY-----"}"#,
            r#"{"\u0050RIVATE KEY-----": 1}"#,
            r#"{"keys": "EC PRIVATE KEY-----", "key": ""}"#,
            r#"{"a": "begin private\tkey"}"#,
            r#"{"a": "MC4CAQAwBQYDK2VwBCIEIPyo\nT6zZ"}"#,
        ] {
            assert_eq!(refused(json), Some("private_key_refused"), "{json}");
        }
        for json in [r#"{"key": "PRIVATE KEY-----"}"#, r#"{"a": "PUBLIC KEY-----"}"#, "7", "null"] {
            assert_eq!(refused(json), None, "{json}");
        }
        // What can't be read can't be looked at.
        for json in ["", "{", r#"{"a": 1e999, "b": "PRIVATE KEY-----"}"#] {
            assert_eq!(refused(json), Some("invalid_json"), "{json}");
        }
    }
}
