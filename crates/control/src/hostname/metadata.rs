//! The owner's own keys and values.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The most keys.
pub(crate) const MAX_KEYS: usize = 64;
/// The longest key, in bytes.
pub(crate) const MAX_KEY_LEN: usize = 128;
/// The most bytes of all keys and values together.
pub(crate) const MAX_LEN: usize = 8_192;

/// The owner's own keys and values: kept, shown, and meaning nothing here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Metadata(pub(crate) BTreeMap<String, String>);

/// Why metadata can't be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MetadataError {
    #[error("there are {0} keys, {MAX_KEYS} are allowed")]
    TooManyKeys(usize),
    #[error("a key has {0} bytes, 1 to {MAX_KEY_LEN} are allowed")]
    KeyLength(usize),
    #[error("the keys and values have {0} bytes together, {MAX_LEN} are allowed")]
    TooLong(usize),
}

impl Metadata {
    /// Checks the sizes.
    pub(crate) fn checked(self) -> Result<Self, MetadataError> {
        if self.0.len() > MAX_KEYS {
            return Err(MetadataError::TooManyKeys(self.0.len()));
        }
        if let Some(key) = self.0.keys().find(|key| !(1..=MAX_KEY_LEN).contains(&key.len())) {
            return Err(MetadataError::KeyLength(key.len()));
        }
        match self.0.iter().map(|(key, value)| key.len() + value.len()).sum() {
            0..=MAX_LEN => Ok(self),
            len => Err(MetadataError::TooLong(len)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(pairs: &[(&str, &str)]) -> Metadata {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Metadata(pairs.iter().map(own).collect())
    }

    #[test]
    fn metadata_has_bounds() {
        let long = "x".repeat(MAX_LEN);
        assert!(metadata(&[("plan", "gold")]).checked().is_ok());
        assert_eq!(metadata(&[("", "a")]).checked(), Err(MetadataError::KeyLength(0)));
        assert_eq!(metadata(&[("a", &long)]).checked(), Err(MetadataError::TooLong(MAX_LEN + 1)));
        let keys: Vec<String> = (0..=MAX_KEYS).map(|number| number.to_string()).collect();
        let pairs: Vec<_> = keys.iter().map(|key| (key.as_str(), "")).collect();
        assert_eq!(metadata(&pairs).checked(), Err(MetadataError::TooManyKeys(MAX_KEYS + 1)));
    }
}
