//! The name of a request, by which its client, its origin and the logs speak of it.

use std::fmt;

use data_encoding::HEXLOWER;
use http::{HeaderName, HeaderValue};
use pingora::http::RequestHeader;

/// The field that carries it, towards the origin and towards the client.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The most bytes of an id that is not ours.
const MAX_LEN: usize = 128;

/// The name of a request: visible ASCII without quotes and backslashes.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    /// 128 random bits in hexadecimal.
    pub(crate) fn random() -> Self {
        let mut bits = [0; 16];
        // Without randomness the process could do no TLS either.
        let _ = aws_lc_rs::rand::fill(&mut bits);
        let mut text = [0; 32];
        HEXLOWER.encode_mut(&bits, &mut text);
        Self(HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("0")))
    }

    /// The id that a trusted peer gave it, where there is exactly one and it can be written
    /// anywhere as it is.
    pub(crate) fn given(request: &RequestHeader) -> Option<Self> {
        let mut ids = request.headers.get_all(REQUEST_ID).iter();
        let id = ids.next().filter(|id| is_plain(id.as_bytes()))?;
        ids.next().is_none().then(|| Self(id.clone()))
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    pub(crate) fn to_value(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn is_plain(id: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\');
    (1..=MAX_LEN).contains(&id.len()) && id.iter().all(is_plain)
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    fn given(ids: &[&str]) -> Option<String> {
        let mut request = RequestHeader::build(Method::GET, b"/", None).unwrap();
        for id in ids {
            request.append_header("X-Request-Id", *id).unwrap();
        }
        RequestId::given(&request).map(|id| id.to_string())
    }

    #[test]
    fn random_ids_are_128_bits_and_differ() {
        let id = RequestId::random();
        assert_eq!(id.as_str().len(), 32);
        assert!(id.as_str().bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_ne!(id, RequestId::random());
    }

    #[test]
    fn an_id_is_taken_where_it_can_be_written_anywhere() {
        let longest = "x".repeat(MAX_LEN);
        for id in ["1", "01J-abc:/+=._", longest.as_str()] {
            assert_eq!(given(&[id]).as_deref(), Some(id));
        }
        let too_long = "x".repeat(MAX_LEN + 1);
        for id in ["", "a b", "a\"b", "a\\b", "é", too_long.as_str()] {
            assert_eq!(given(&[id]), None, "{id}");
        }
        assert_eq!(given(&["1", "2"]), None);
        assert_eq!(given(&[]), None);
    }
}
