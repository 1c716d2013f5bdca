//! What is changed in an origin's response header.

use http::{HeaderValue, StatusCode, Version, header};
use landfall_model::Scheme;
use pingora::http::{RequestHeader, ResponseHeader};

use super::{edits, hop_by_hop};
use crate::{
    identity::Identity,
    refusal::Refusal,
    request_id::{REQUEST_ID, RequestId},
    rules::Rules,
};

/// The `Strict-Transport-Security` of a hostname, where the request came over TLS (RFC 6797
/// section 7.2).
pub(super) fn hsts(rules: Option<&Rules>, scheme: Scheme) -> Option<HeaderValue> {
    rules?.hsts.clone().filter(|_| scheme == Scheme::Https)
}

/// What the origin was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// An answer.
    Answer,
    /// An answer, or another protocol.
    Upgrade,
}

/// What is known of the request that a response is for.
pub(super) struct Answered<'a> {
    /// What the client sent.
    pub(super) request: &'a RequestHeader,
    /// How it came.
    pub(super) scheme: Scheme,
    /// Its name.
    pub(super) id: &'a RequestId,
    /// Its hostname's.
    pub(super) rules: Option<&'a Rules>,
}

/// Refuses an answer that its readers could see end in different places (RFC 9112 section 6.3),
/// and one that changes to a protocol that nobody has asked for (RFC 9110 section 15.2.2): what
/// comes after either could be taken for another response.
pub(super) fn check(response: &ResponseHeader, asked: Asked) -> Result<(), Refusal> {
    let mut codings = response.headers.get_all(header::TRANSFER_ENCODING).iter();
    let is_coding = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    let mut lengths = response.headers.get_all(header::CONTENT_LENGTH).iter();
    let is_length = |length: &HeaderValue| length.as_bytes().iter().all(u8::is_ascii_digit);
    let is_plain = codings.next().is_none_or(is_coding)
        && lengths.next().is_none_or(is_length)
        && codings.next().is_none()
        && lengths.next().is_none();
    let is_expected = response.status != StatusCode::SWITCHING_PROTOCOLS || asked == Asked::Upgrade;
    (is_plain && is_expected).then_some(()).ok_or(Refusal::BadGateway)
}

/// Makes early hints and the like ours: they end with their header, and say nothing of a body.
pub(super) fn edit_hint(response: &mut ResponseHeader) {
    hop_by_hop::remove(response);
    remove_framing(response);
}

fn remove_framing(response: &mut ResponseHeader) {
    response.remove_header(&header::TRANSFER_ENCODING);
    response.remove_header(&header::CONTENT_LENGTH);
}

/// Makes an origin's final response ours.
pub(super) fn edit(
    response: &mut ResponseHeader,
    answered: &Answered<'_>,
    identity: &Identity,
) -> pingora::Result<()> {
    hop_by_hop::remove(response);
    if response.status == StatusCode::NO_CONTENT {
        // Neither may be there (RFC 9110 section 8.6, RFC 9112 section 6.1).
        remove_framing(response);
    }
    response.append_header(header::VIA, identity.via(response.version))?;
    response.insert_header(REQUEST_ID, answered.id.to_value())?;
    // Each hop speaks for itself (RFC 9110 section 2.5): an origin's 1.0 is no reason to end the
    // client's connection.
    if response.version == Version::HTTP_10 {
        response.set_version(Version::HTTP_11);
    }
    if answered.request.version == Version::HTTP_10 {
        // Its end is the connection's (RFC 9112 section 6.1).
        response.remove_header(&header::TRANSFER_ENCODING);
    }
    if let Some(rules) = answered.rules {
        edits::apply(&rules.response_edits, response)?;
    }
    if let Some(hsts) = hsts(answered.rules, answered.scheme) {
        response.insert_header(header::STRICT_TRANSPORT_SECURITY, hsts)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::Method;
    use landfall_model::HttpPolicy;

    use super::*;
    use crate::identity::CdnId;

    fn edited(policy: &str, scheme: Scheme, version: Version) -> ResponseHeader {
        let policy: HttpPolicy = serde_json::from_str(policy).unwrap();
        let rules = Rules::new(&policy);
        let mut request = RequestHeader::build(Method::GET, b"/", None).unwrap();
        request.set_version(version);
        let mut response = ResponseHeader::build(200, None).unwrap();
        for (name, value) in [
            ("server", "origin/1"),
            ("via", "1.1 cache"),
            ("strict-transport-security", "max-age=1"),
            ("transfer-encoding", "chunked"),
            ("x-request-id", "of the origin"),
        ] {
            response.insert_header(name, value).unwrap();
        }
        let id = RequestId::random();
        let answered = Answered { request: &request, scheme, id: &id, rules: Some(&rules) };
        let identity = Identity::new(CdnId::new("fleet").unwrap());
        edit(&mut response, &answered, &identity).unwrap();
        assert_eq!(response.headers["x-request-id"], id.as_str());
        response
    }

    #[test]
    fn a_promise_of_tls_is_made_over_tls_alone() {
        let policy = r#"{"hsts":{"maxAge":60}}"#;
        let response = edited(policy, Scheme::Https, Version::HTTP_11);
        assert_eq!(response.headers["strict-transport-security"], "max-age=60");
        let response = edited(policy, Scheme::Http, Version::HTTP_11);
        assert_eq!(response.headers["strict-transport-security"], "max-age=1");
    }

    #[test]
    fn the_hostnames_edits_are_made() {
        let policy = r#"{"responseHeaders":[{"name":"server"},{"name":"x-a","value":"1"}]}"#;
        let response = edited(policy, Scheme::Https, Version::HTTP_11);
        assert!(!response.headers.contains_key("server"));
        assert_eq!(response.headers["x-a"], "1");
        let via: Vec<_> = response.headers.get_all("via").iter().collect();
        assert_eq!(via, ["1.1 cache", "1.1 fleet"]);
    }

    #[test]
    fn an_http10_client_gets_no_chunks() {
        let response = edited("{}", Scheme::Https, Version::HTTP_10);
        assert!(!response.headers.contains_key("transfer-encoding"));
        let response = edited("{}", Scheme::Https, Version::HTTP_11);
        assert!(response.headers.contains_key("transfer-encoding"));
    }
}
