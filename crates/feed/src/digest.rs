//! One number for the whole state, kept up to date record by record.

use std::fmt;

use data_encoding::HEXLOWER;
use landfall_model::Revision;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::seal::sha256;

/// The digest of a set of (record id, revision): the exclusive or of their hashes. Two parties that
/// applied the same records have the same digest, in whatever order they did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateDigest([u8; 16]);

impl StateDigest {
    /// Adds a live record, or takes out one that was added.
    pub fn toggle(&mut self, id: &str, revision: Revision) {
        let mut input = Vec::with_capacity(id.len() + 9);
        input.extend_from_slice(id.as_bytes());
        input.push(0);
        input.extend_from_slice(&revision.0.to_be_bytes());
        for (own, other) in self.0.iter_mut().zip(sha256(&input)) {
            *own ^= other;
        }
    }

    /// The 16 bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// A digest of these 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Reads 32 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok().map(Self)
    }
}

impl fmt::Display for StateDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl Serialize for StateDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StateDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("expected 32 hexadecimal digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depends_on_what_is_there_and_not_on_the_order() {
        let mut one = StateDigest::default();
        one.toggle("a", Revision(1));
        one.toggle("b", Revision(2));
        one.toggle("a", Revision(1));
        one.toggle("a", Revision(3));
        let mut other = StateDigest::default();
        other.toggle("a", Revision(3));
        other.toggle("b", Revision(2));
        assert_eq!(one, other);
        assert_eq!(StateDigest::parse(&one.to_string()), Some(one));
        assert_ne!(one, StateDigest::default());
    }
}
