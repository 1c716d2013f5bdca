//! What stands in the zone: a label for each hostname, and the values that CAs look for there.

use data_encoding::BASE64URL_NOPAD;

/// The length of a hostname's public id.
const LABEL_LEN: usize = 32;

/// A hostname's own label in the zone of challenges: its public id, which nobody can guess and which no
/// other hostname ever has. Whoever gets the name later has another one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ChallengeLabel(String);

impl ChallengeLabel {
    /// The label of the hostname with this public id; none where it is not one.
    pub(crate) fn parse(public_id: &str) -> Option<Self> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let fits = public_id.len() == LABEL_LEN && public_id.bytes().all(is_digit);
        fits.then(|| Self(public_id.to_owned()))
    }

    /// As it is written.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The value of a TXT record that proves a name to a CA: the base64url of a SHA-256.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TxtValue(String);

impl TxtValue {
    /// Of the SHA-256 of a key authorization (RFC 8555 section 8.4); none where it is not 32 bytes.
    pub(crate) fn of_digest(digest: &[u8]) -> Option<Self> {
        (digest.len() == 32).then(|| Self(BASE64URL_NOPAD.encode(digest)))
    }

    /// As it is written; none where it is not one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::of_digest(&BASE64URL_NOPAD.decode(text.as_bytes()).ok()?)
    }

    /// As it is written.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_a_public_id() {
        assert!(ChallengeLabel::parse("0123456789abcdef0123456789abcdef").is_some());
        for bad in
            ["", "0123", "0123456789ABCDEF0123456789abcdef", "0123456789abcdef.123456789abcdef"]
        {
            assert_eq!(ChallengeLabel::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_value_is_the_base64url_of_a_digest() {
        let value = TxtValue::of_digest(&[0xfb; 32]).unwrap();
        assert_eq!(value.as_str(), "-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s");
        assert_eq!(TxtValue::parse(value.as_str()), Some(value));
        assert_eq!(TxtValue::of_digest(&[0; 31]), None);
        for bad in ["", "a b", "-_v7", "-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s="] {
            assert_eq!(TxtValue::parse(bad), None, "{bad}");
        }
    }
}
