//! What is decided from a request's header alone.

use http::{Method, header};
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

/// Refuses a body whose length is not said once and plainly: a `Content-Length` beside a
/// `Transfer-Encoding`, more than one of them, a length that is not a number, a coding other than
/// `chunked`. A proxy and an origin that read such a header differently can be made to disagree on
/// where a request ends (RFC 9112 section 11.2). `raw` is an HTTP/1 header as it arrived, since
/// what was parsed has lost the length by then.
pub(crate) fn check_framing(request: &RequestHeader, raw: &[u8]) -> Result<(), Refusal> {
    let mut lengths = request.headers.get_all(header::CONTENT_LENGTH).iter();
    let mut codings = request.headers.get_all(header::TRANSFER_ENCODING).iter();
    // Origins that read `_` as `-` would see what nobody here has looked at.
    let is_disguised = ["content_length", "transfer_encoding"]
        .iter()
        .any(|name| request.headers.contains_key(*name));
    let is_plain = match (lengths.next(), codings.next()) {
        (None, None) => true,
        (Some(length), None) => is_number(length.as_bytes()) && lengths.next().is_none(),
        (None, Some(coding)) => {
            coding.as_bytes().eq_ignore_ascii_case(b"chunked")
                && codings.next().is_none()
                && !raw.split(|byte| *byte == b'\n').any(is_length)
        }
        (Some(_), Some(_)) => false,
    };
    (is_plain && !is_disguised).then_some(()).ok_or(Refusal::BadRequest)
}

fn is_number(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

fn is_length(line: &[u8]) -> bool {
    let name = header::CONTENT_LENGTH.as_str().as_bytes();
    line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
}

/// Refuses `TRACE`, which would show the client what its origin is told of it, and `CONNECT`.
pub(crate) fn check_method(request: &RequestHeader) -> Result<(), Refusal> {
    match request.method == Method::TRACE || request.method == Method::CONNECT {
        true => Err(Refusal::MethodNotAllowed),
        false => Ok(()),
    }
}

/// Refuses a `Connection` that names the field by which loops are found: it is the client's word
/// that it be forgotten. What else may be named there is taken out before ours is put in.
pub(crate) fn check_connection(request: &RequestHeader) -> Result<(), Refusal> {
    let values = request.headers.get_all(header::CONNECTION).iter();
    let mut names = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    match names.any(|name| name.trim_ascii().eq_ignore_ascii_case(b"cdn-loop")) {
        true => Err(Refusal::BadRequest),
        false => Ok(()),
    }
}

/// Refuses a target that is no path, no URL of the web, and no `*` of an `OPTIONS` (RFC 9112
/// section 3.2). Put behind an origin's own name, `@elsewhere` would be another server's URL.
pub(crate) fn check_target(request: &RequestHeader) -> Result<(), Refusal> {
    let target = request.raw_path();
    let starts_with = |scheme: &str| {
        target
            .get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme.as_bytes()))
    };
    let is_target = starts_with("/")
        || starts_with("http://")
        || starts_with("https://")
        || (target == b"*" && request.method == Method::OPTIONS);
    is_target.then_some(()).ok_or(Refusal::BadRequest)
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
    fn refuses_a_body_whose_length_is_not_said_once_and_plainly() {
        let check = |fields: &[(&'static str, &str)]| check_framing(&request("/", fields), b"");
        for fields in [("content-length", "3"), ("transfer-encoding", "Chunked")] {
            assert_eq!(check(&[fields]), Ok(()));
        }
        assert_eq!(check(&[]), Ok(()));
        let table: [&[(&str, &str)]; 12] = [
            &[("content_length", "3")],
            &[("transfer_encoding", "chunked")],
            &[("content-length", "3"), ("content-length", "3")],
            &[("content-length", "3, 3")],
            &[("content-length", "+3")],
            &[("content-length", "0x3")],
            &[("content-length", "")],
            &[("transfer-encoding", "chunked"), ("content-length", "3")],
            &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
            &[("transfer-encoding", "gzip, chunked")],
            &[("transfer-encoding", "identity")],
            &[("transfer-encoding", "x"), ("transfer-encoding", "chunked")],
        ];
        for fields in table {
            assert_eq!(check(fields), Err(Refusal::BadRequest), "{fields:?}");
        }
    }

    #[test]
    fn finds_a_length_that_the_parser_dropped_beside_a_coding() {
        let chunked = request("/", &[("transfer-encoding", "chunked")]);
        let raw: &[u8] = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(check_framing(&chunked, raw), Ok(()));
        let raw: &[u8] =
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\ncontent-LENGTH: 3\r\n\r\n";
        assert_eq!(check_framing(&chunked, raw), Err(Refusal::BadRequest));
    }

    #[test]
    fn refuses_methods_that_are_not_for_an_origin() {
        let check =
            |method| check_method(&RequestHeader::build(method, b"/", None).unwrap()).is_ok();
        assert!(check("GET") && check("QUERY") && check("PROPFIND"));
        assert!(!check("TRACE") && !check("CONNECT"));
    }

    #[test]
    fn refuses_to_forget_where_a_request_has_been() {
        let check = |value| check_connection(&request("/", &[("connection", value)]));
        assert_eq!(check("keep-alive, x-mine"), Ok(()));
        assert_eq!(check("close, CDN-Loop"), Err(Refusal::BadRequest));
    }

    #[test]
    fn takes_a_path_a_url_of_the_web_and_the_asterisk_of_options() {
        let check = |method: &str, target: &str| {
            let method: Method = method.parse().unwrap();
            check_target(&RequestHeader::build(method, target.as_bytes(), None).unwrap())
        };
        for target in ["/", "/a?b", "//a", "http://a.example/b", "https://a.example"] {
            assert_eq!(check("GET", target), Ok(()), "{target}");
        }
        assert_eq!(check("OPTIONS", "*"), Ok(()));
        for target in ["*", "x", "?x", "@evil.example/", "ET /", "ftp://a.example/"] {
            assert_eq!(check("GET", target), Err(Refusal::BadRequest), "{target}");
        }
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
