//! How a hostname's requests and responses are treated.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, de};

/// The most header edits in one direction.
pub const MAX_HEADER_EDITS: usize = 64;

/// How a hostname's requests and responses are treated.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpPolicy {
    /// Whether plain HTTP is answered with a redirect (308) to TLS. Default: yes. Otherwise its
    /// requests go to the origins as those over TLS do.
    pub https_redirect: bool,
    /// `Strict-Transport-Security` for responses over TLS (RFC 6797). Default: as the origin says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hsts: Option<Hsts>,
    /// What is changed in requests before an origin gets them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub request_headers: Vec<HeaderEdit>,
    /// What is changed in responses before the client gets them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub response_headers: Vec<HeaderEdit>,
    /// The largest request body in bytes; a larger one is answered with 413. Default: the edge's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_body: Option<u64>,
    /// Whether responses that aren't compressed are: gzip, brotli or zstd, as the client takes
    /// it. Default: no.
    pub compression: bool,
}

impl Default for HttpPolicy {
    fn default() -> Self {
        Self {
            https_redirect: true,
            hsts: None,
            request_headers: Vec::new(),
            response_headers: Vec::new(),
            max_body: None,
            compression: false,
        }
    }
}

/// `Strict-Transport-Security` (RFC 6797 section 6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hsts {
    /// In seconds. 0 takes an earlier promise back.
    pub max_age: u32,
    /// Whether it holds for names below this one too. Default: no.
    #[serde(default)]
    pub include_subdomains: bool,
    /// Whether browsers may build it in. Default: no.
    #[serde(default)]
    pub preload: bool,
}

impl fmt::Display for Hsts {
    /// The field's value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "max-age={}", self.max_age)?;
        f.write_str(if self.include_subdomains { "; includeSubDomains" } else { "" })?;
        f.write_str(if self.preload { "; preload" } else { "" })
    }
}

/// A change of a header: the field is set to the value, or removed where there is none.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HeaderEdit {
    /// Which field.
    pub name: FieldName,
    /// What it is set to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<FieldValue>,
}

/// A field's name that its owner may change: a token in lower case (RFC 9110 section 5.1), neither
/// part of the message's framing nor one that the edge sets itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct FieldName(String);

/// A field's value: visible ASCII, spaces and tabs between, at most 4 KiB (RFC 9110 section 5.5).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct FieldValue(String);

/// Why a text can't be part of a header edit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FieldError {
    /// No token.
    #[error(
        "`{0}` is not a header field's name (RFC 9110 section 5.1), or longer than 128 characters"
    )]
    Name(String),
    /// A field that is not its owner's to change.
    #[error("the field `{0}` is set by the edge, or part of the message's framing")]
    Reserved(String),
    /// Bytes that a value cannot have.
    #[error(
        "a header field's value has up to 4096 visible ASCII characters, spaces and tabs between them"
    )]
    Value,
}

/// Framing, and what the edge tells of the client and of itself.
const RESERVED: &[&str] = &[
    "cdn-loop",
    "client-cert",
    "client-cert-chain",
    "connection",
    "content-encoding",
    "content-length",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-client-cert-subject",
    "x-real-ip",
    "x-request-id",
];

impl FieldName {
    /// The name in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FieldName {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, FieldError> {
        let is_token =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if !(1..=128).contains(&text.len()) || !text.bytes().all(is_token) {
            return Err(FieldError::Name(text.to_owned()));
        }
        let name = text.to_ascii_lowercase();
        // Many origins read `_` as `-`.
        let plain = name.replace('_', "-");
        match RESERVED.contains(&plain.as_str()) || plain.starts_with("x-forwarded") {
            true => Err(FieldError::Reserved(name)),
            false => Ok(Self(name)),
        }
    }
}

impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FieldValue {
    /// The value.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FieldValue {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, FieldError> {
        let is_value = |byte: u8| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t');
        let is_trimmed = text.trim() == text;
        match text.len() <= 4_096 && is_trimmed && text.bytes().all(is_value) {
            true => Ok(Self(text.to_owned())),
            false => Err(FieldError::Value),
        }
    }
}

impl<'de> Deserialize<'de> for FieldName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for FieldValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// Why a policy can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HttpPolicyError {
    /// More edits than there may be.
    #[error("a hostname has at most {MAX_HEADER_EDITS} header edits in each direction, got {0}")]
    TooManyEdits(usize),
    /// Preloading has conditions.
    #[error("`preload` needs `includeSubdomains` and a `maxAge` of at least 31536000 (one year)")]
    Preload,
}

impl HttpPolicy {
    /// Checks counts and combinations.
    ///
    /// # Errors
    /// The first [`HttpPolicyError`].
    pub fn checked(self) -> Result<Self, HttpPolicyError> {
        for edits in [&self.request_headers, &self.response_headers] {
            if edits.len() > MAX_HEADER_EDITS {
                return Err(HttpPolicyError::TooManyEdits(edits.len()));
            }
        }
        let may_preload = |hsts: Hsts| hsts.include_subdomains && hsts.max_age >= 31_536_000;
        match self.hsts.is_some_and(|hsts| hsts.preload && !may_preload(hsts)) {
            true => Err(HttpPolicyError::Preload),
            false => Ok(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_is_not_the_owners_is_refused() {
        for name in
            ["Host", "X-Forwarded-For", "x_forwarded_for", "Via", "content-length", "X-Request-Id"]
        {
            assert!(matches!(name.parse::<FieldName>(), Err(FieldError::Reserved(_))), "{name}");
        }
        for name in ["", "a b", "a:", "é", "x\r\n"] {
            assert!(matches!(name.parse::<FieldName>(), Err(FieldError::Name(_))), "{name}");
        }
        assert_eq!("X-Frame-Options".parse::<FieldName>().unwrap().as_str(), "x-frame-options");
    }

    #[test]
    fn a_value_cannot_split_a_header() {
        for value in ["a\r\nb", "a\nb", "a\0b", " a", "a ", "é"] {
            assert_eq!(value.parse::<FieldValue>(), Err(FieldError::Value), "{value:?}");
        }
        assert!("max-age=1; a\tb".parse::<FieldValue>().is_ok());
        assert!("".parse::<FieldValue>().is_ok());
    }

    #[test]
    fn missing_and_unknown_fields_are_the_default() {
        let policy: HttpPolicy = serde_json::from_str(r#"{"later":1}"#).unwrap();
        assert_eq!(policy, HttpPolicy::default());
    }

    #[test]
    fn strict_transport_security_is_written_as_browsers_read_it() {
        let hsts = Hsts { max_age: 63_072_000, include_subdomains: true, preload: true };
        assert_eq!(hsts.to_string(), "max-age=63072000; includeSubDomains; preload");
        let policy = HttpPolicy { hsts: Some(hsts), ..HttpPolicy::default() };
        assert!(policy.checked().is_ok());
        let short = Hsts { max_age: 300, ..hsts };
        let policy = HttpPolicy { hsts: Some(short), ..HttpPolicy::default() };
        assert_eq!(policy.checked(), Err(HttpPolicyError::Preload));
    }
}
