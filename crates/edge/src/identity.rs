//! What the edge calls itself towards other HTTP servers, and how it finds itself again.

use data_encoding::HEXLOWER;
use http::{HeaderName, HeaderValue, Version};
use landfall_feed::sign::VerifyingKey;
use pingora::http::RequestHeader;

/// The networks that a request has passed through (RFC 8586).
pub(crate) const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// A fleet's name: a token (RFC 9110 section 5.6.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CdnId(String);

impl CdnId {
    /// `None` where `text` is no token of at most 64 characters.
    pub fn new(text: &str) -> Option<Self> {
        let is_token =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let is_id = (1..=64).contains(&text.len()) && text.bytes().all(is_token);
        is_id.then(|| Self(text.to_owned()))
    }

    /// The same for all PoPs that hear one control plane, and another for others.
    pub fn of_feed(key: &VerifyingKey) -> Self {
        let digest = landfall_feed::seal::sha256(key.to_string().as_bytes());
        let start = digest.get(..8).unwrap_or_default();
        Self(format!("landfall-{}", HEXLOWER.encode(start)))
    }

    /// The token.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The values that a fleet's name is written in, made once.
#[derive(Debug)]
pub(crate) struct Identity {
    id: CdnId,
    cdn_loop: HeaderValue,
    via: [HeaderValue; 3],
}

impl Identity {
    pub(crate) fn new(id: CdnId) -> Self {
        // A token is a value; the fallback is never used.
        let value =
            |text: String| HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("1.1 -"));
        Self {
            cdn_loop: value(id.as_str().to_owned()),
            via: ["1.0", "1.1", "2"].map(|version| value(format!("{version} {}", id.as_str()))),
            id,
        }
    }

    /// What is added to `CDN-Loop`.
    pub(crate) fn cdn_loop(&self) -> HeaderValue {
        self.cdn_loop.clone()
    }

    /// What is added to `Via` for a message that came in `version` (RFC 9110 section 7.6.3).
    pub(crate) fn via(&self, version: Version) -> HeaderValue {
        let [http10, http11, http2] = &self.via;
        match version {
            Version::HTTP_10 => http10.clone(),
            Version::HTTP_2 => http2.clone(),
            _ => http11.clone(),
        }
    }

    /// Whether the request has passed through this fleet before (RFC 8586 section 2). What can't
    /// be read is somebody else's.
    pub(crate) fn has_seen(&self, request: &RequestHeader) -> bool {
        let values = request.headers.get_all(CDN_LOOP).iter();
        values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).any(|info| {
            let id = info.split(|byte| *byte == b';').next().unwrap_or_default();
            id.trim_ascii().eq_ignore_ascii_case(self.id.as_str().as_bytes())
        })
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    #[test]
    fn a_fleet_is_named_by_its_feed() {
        let key: VerifyingKey = crate::config::fixtures::KEY.parse().unwrap();
        let id = CdnId::of_feed(&key);
        assert_eq!(id, CdnId::of_feed(&key));
        assert!(CdnId::new(id.as_str()).is_some(), "{id:?}");
        assert_eq!(id.as_str().len(), "landfall-".len() + 16);
    }

    #[test]
    fn an_id_is_a_token() {
        let too_long = "x".repeat(65);
        for text in ["", "a b", "a,b", "a;b", "é", too_long.as_str()] {
            assert_eq!(CdnId::new(text), None, "{text}");
        }
    }

    #[test]
    fn finds_itself_among_the_networks_of_a_request() {
        let identity = Identity::new(CdnId::new("fleet-1").unwrap());
        let table = [
            (&["fleet-1"][..], true),
            (&["other, FLEET-1; hops=2"], true),
            (&["other", "a;b=c ,fleet-1"], true),
            (&["fleet-10"], false),
            (&["other; x=fleet-1"], false),
            (&[""], false),
            (&[], false),
        ];
        for (values, expected) in table {
            let mut request = RequestHeader::build(Method::GET, b"/", None).unwrap();
            for value in values {
                request.append_header("CDN-Loop", *value).unwrap();
            }
            assert_eq!(identity.has_seen(&request), expected, "{values:?}");
        }
    }

    #[test]
    fn says_in_which_version_a_message_came() {
        let identity = Identity::new(CdnId::new("fleet-1").unwrap());
        assert_eq!(identity.via(Version::HTTP_10), "1.0 fleet-1");
        assert_eq!(identity.via(Version::HTTP_11), "1.1 fleet-1");
        assert_eq!(identity.via(Version::HTTP_2), "2 fleet-1");
    }
}
