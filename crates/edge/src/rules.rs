//! How a hostname's requests and responses are treated, ready for use: nothing of it is parsed or
//! allocated again for a request.

use http::{HeaderName, HeaderValue};
use landfall_model::{HeaderEdit, HttpPolicy};

/// An [`HttpPolicy`], ready for requests.
#[derive(Debug)]
pub(crate) struct Rules {
    /// Whether plain HTTP is sent to TLS.
    pub(crate) https_redirect: bool,
    /// `Strict-Transport-Security` of responses over TLS (RFC 6797 section 7.2).
    pub(crate) hsts: Option<HeaderValue>,
    /// What is changed in requests.
    pub(crate) request_edits: Vec<Edit>,
    /// What is changed in responses.
    pub(crate) response_edits: Vec<Edit>,
    /// The most bytes of a request body, unless it is the edge's own limit.
    pub(crate) max_body: Option<u64>,
    /// Whether responses are compressed.
    pub(crate) compression: bool,
}

/// A change of one field.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    Set(HeaderName, HeaderValue),
    Remove(HeaderName),
}

impl Rules {
    pub(crate) fn new(policy: &HttpPolicy) -> Self {
        let hsts = policy.hsts.and_then(|hsts| HeaderValue::try_from(hsts.to_string()).ok());
        Self {
            https_redirect: policy.https_redirect,
            hsts,
            request_edits: edits(&policy.request_headers),
            response_edits: edits(&policy.response_headers),
            max_body: policy.max_body,
            compression: policy.compression,
        }
    }
}

/// The policy's types hold nothing but valid names and values.
fn edits(edits: &[HeaderEdit]) -> Vec<Edit> {
    let edit = |edit: &HeaderEdit| {
        let name = HeaderName::try_from(edit.name.as_str()).ok()?;
        match &edit.value {
            Some(value) => Some(Edit::Set(name, HeaderValue::try_from(value.as_str()).ok()?)),
            None => Some(Edit::Remove(name)),
        }
    };
    edits.iter().filter_map(edit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_parsed_once() {
        let policy: HttpPolicy = serde_json::from_str(
            r#"{"hsts":{"maxAge":60},"requestHeaders":[{"name":"X-Tenant","value":"7"}],
                "responseHeaders":[{"name":"Server"}],"maxBody":9,"compression":true}"#,
        )
        .unwrap();
        let rules = Rules::new(&policy);
        assert!(rules.https_redirect && rules.compression);
        assert_eq!(rules.hsts.unwrap(), "max-age=60");
        assert_eq!(rules.max_body, Some(9));
        let name = HeaderName::from_static("x-tenant");
        assert_eq!(rules.request_edits, [Edit::Set(name, HeaderValue::from_static("7"))]);
        assert_eq!(rules.response_edits, [Edit::Remove(http::header::SERVER)]);
    }
}
