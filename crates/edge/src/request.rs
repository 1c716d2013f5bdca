//! What is decided from a request's header alone.

use http::header;
use landfall_model::LookupName;
use pingora::http::RequestHeader;

use crate::{config::Limits, refusal::Refusal};

/// What a field takes beside its name and value: `: ` and the line's end.
const FIELD_OVERHEAD: usize = 4;

/// Refuses a header with more bytes or fields than are allowed.
pub(crate) fn check_size(request: &RequestHeader, limits: &Limits) -> Result<(), Refusal> {
    if request.headers.len() > limits.header_count {
        return Err(Refusal::HeaderTooLarge);
    }
    let fields = request.headers.iter();
    let field_len = |(name, value): (&header::HeaderName, &header::HeaderValue)| {
        name.as_str().len() + value.len() + FIELD_OVERHEAD
    };
    let len = request.raw_path().len() + fields.map(field_len).sum::<usize>();
    match len <= limits.header_size {
        true => Ok(()),
        false => Err(Refusal::HeaderTooLarge),
    }
}

/// Refuses a body whose length is said twice: a `Content-Length` beside a `Transfer-Encoding`, or
/// more than one. A proxy and an origin that read them differently can be made to disagree on
/// where a request ends (RFC 9112 section 11.2). `raw` is an HTTP/1 header as it arrived, since
/// what was parsed has lost the length by then.
pub(crate) fn check_framing(request: &RequestHeader, raw: &[u8]) -> Result<(), Refusal> {
    let lengths = request.headers.get_all(header::CONTENT_LENGTH).iter().count();
    let is_ambiguous = lengths > 1
        || (request.headers.contains_key(header::TRANSFER_ENCODING)
            && raw.split(|byte| *byte == b'\n').any(is_length));
    match is_ambiguous {
        true => Err(Refusal::BadRequest),
        false => Ok(()),
    }
}

fn is_length(line: &[u8]) -> bool {
    let name = header::CONTENT_LENGTH.as_str().as_bytes();
    line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
}

/// The hostname that a request is for, from its `Host` or `:authority` (RFC 9110 section 7.2,
/// RFC 9113 section 8.3.1). None, more than one, two that differ, and what isn't a name with an
/// optional port are refused.
pub(crate) fn authority(request: &RequestHeader) -> Result<LookupName, Refusal> {
    let mut hosts = request.headers.get_all(header::HOST).iter();
    let host = hosts.next().map(|value| value.to_str().ok().and_then(LookupName::from_authority));
    if hosts.next().is_some() {
        return Err(Refusal::BadRequest);
    }
    let target = request.uri.authority();
    let target = target.map(|authority| LookupName::from_authority(authority.as_str()));
    match (host, target) {
        (Some(Some(name)), None) | (None, Some(Some(name))) => Ok(name),
        (Some(Some(host)), Some(Some(target))) if host.as_str() == target.as_str() => Ok(host),
        _ => Err(Refusal::BadRequest),
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    fn request(target: &str, fields: &[(&'static str, &str)]) -> RequestHeader {
        let mut request = RequestHeader::build(Method::GET, target.as_bytes(), None).unwrap();
        for (name, value) in fields {
            request.append_header(*name, *value).unwrap();
        }
        request
    }

    fn http2(authority: &str, fields: &[(&'static str, &str)]) -> RequestHeader {
        let mut request = request("/", fields);
        request.set_uri(format!("https://{authority}/").parse().unwrap());
        request
    }

    #[test]
    fn takes_the_host_in_normal_form() {
        let table = [
            ("shop.example", "shop.example"),
            ("SHOP.Example.", "shop.example"),
            ("shop.example:8443", "shop.example"),
        ];
        for (host, expected) in table {
            let name = authority(&request("/", &[("host", host)])).unwrap();
            assert_eq!(name.as_str(), expected);
        }
    }

    #[test]
    fn refuses_a_missing_repeated_or_malformed_host() {
        let table: [&[(&str, &str)]; 7] = [
            &[],
            &[("host", "a.example"), ("host", "a.example")],
            &[("host", "")],
            &[("host", "a.example:port")],
            &[("host", "user@a.example")],
            &[("host", "[::1]")],
            &[("host", "a.example, b.example")],
        ];
        for fields in table {
            assert_eq!(authority(&request("/", fields)).unwrap_err(), Refusal::BadRequest);
        }
    }

    #[test]
    fn host_and_authority_must_name_the_same() {
        let name = authority(&http2("A.example:443", &[("host", "a.example")])).unwrap();
        assert_eq!(name.as_str(), "a.example");
        let name = authority(&http2("a.example", &[])).unwrap();
        assert_eq!(name.as_str(), "a.example");
        let differing = authority(&http2("a.example", &[("host", "b.example")]));
        assert_eq!(differing.unwrap_err(), Refusal::BadRequest);
    }

    #[test]
    fn refuses_a_body_whose_length_is_said_twice() {
        let chunked = request("/", &[("transfer-encoding", "chunked")]);
        let raw: &[u8] = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(check_framing(&chunked, raw), Ok(()));
        let raw: &[u8] =
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\ncontent-LENGTH: 3\r\n\r\n";
        assert_eq!(check_framing(&chunked, raw), Err(Refusal::BadRequest));
        let twice = request("/", &[("content-length", "3"), ("content-length", "3")]);
        assert_eq!(check_framing(&twice, b""), Err(Refusal::BadRequest));
        assert_eq!(check_framing(&request("/", &[("content-length", "3")]), b""), Ok(()));
    }

    #[test]
    fn refuses_a_header_past_either_limit() {
        let limits = crate::config::fixtures::limits("header_size = \"1KiB\"\nheader_count = 3");
        let check = |request: &RequestHeader| check_size(request, &limits);
        let fields = [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")];
        assert_eq!(check(&request("/", &fields[..3])), Ok(()));
        assert_eq!(check(&request("/", &fields)), Err(Refusal::HeaderTooLarge));
        let value = "x".repeat(1024 - 1 - 1 - FIELD_OVERHEAD);
        assert_eq!(check(&request("/", &[("a", &value)])), Ok(()));
        assert_eq!(check(&request("/p", &[("a", &value)])), Err(Refusal::HeaderTooLarge));
    }
}
