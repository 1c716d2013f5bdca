//! Fields that hold for one connection only (RFC 9110 section 7.6.1).
//!
//! pingora takes them out of requests, and puts those of a WebSocket handshake back. Here is the
//! rest: other upgrades, `TE: trailers`, and what origins say of their own connection.

use http::{HeaderName, HeaderValue, StatusCode, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");
const UPGRADE: HeaderValue = HeaderValue::from_static("upgrade");

/// Puts back what is to reach the origin of what the client said of its connection.
pub(super) fn restore(header: &mut RequestHeader, client: &RequestHeader) -> pingora::Result<()> {
    if header.version == Version::HTTP_2 {
        // gRPC servers want it; it is the one coding that HTTP/2 has (RFC 9113 section 8.2.2).
        let accepts = |value: &HeaderValue| has_token(value, "trailers");
        if client.headers.get_all(header::TE).iter().any(accepts) {
            header.insert_header(header::TE, TRAILERS)?;
        }
        return Ok(());
    }
    if let Some(protocol) = upgrade(client) {
        header.insert_header(header::CONNECTION, UPGRADE)?;
        header.insert_header(header::UPGRADE, protocol.clone())?;
    }
    Ok(())
}

/// The protocol that the client wants to change to, where that is one protocol and none that would
/// take the edge out of the way: over HTTP and TLS, requests would follow that nobody routes.
pub(crate) fn upgrade(client: &RequestHeader) -> Option<&HeaderValue> {
    let protocol = client.headers.get(header::UPGRADE)?;
    let nominates = |value: &HeaderValue| has_token(value, "upgrade");
    let is_asked = client.version == Version::HTTP_11
        && client.headers.get_all(header::CONNECTION).iter().any(nominates)
        && client.headers.get_all(header::UPGRADE).iter().count() == 1;
    let text = protocol.to_str().ok()?.to_ascii_lowercase();
    let name = text.split('/').next().unwrap_or_default();
    let is_other = !text.contains(',') && !matches!(name, "h2c" | "h2" | "h3" | "http" | "tls");
    (is_asked && is_other).then_some(protocol)
}

/// Whether a list has `token` as an element, with or without parameters.
pub(crate) fn has_token(value: &HeaderValue, token: &str) -> bool {
    let name = |element: &[u8]| {
        element.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii().to_vec()
    };
    let mut elements = value.as_bytes().split(|byte| *byte == b',');
    elements.any(|element| name(element).eq_ignore_ascii_case(token.as_bytes()))
}

/// Takes out what the origin says of its connection, but for the change to another protocol.
pub(super) fn remove(response: &mut ResponseHeader) {
    let nominated = |value: &HeaderValue| {
        let names = value.as_bytes().split(|byte| *byte == b',');
        names
            .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
            // Not those that pingora frames the body by.
            .filter(|name| !matches!(name, &header::TRANSFER_ENCODING | &header::CONTENT_LENGTH))
            .collect::<Vec<_>>()
    };
    let is_upgrade = response.status == StatusCode::SWITCHING_PROTOCOLS;
    let connection = response.headers.get_all(header::CONNECTION).iter();
    let names: Vec<_> = connection.flat_map(nominated).collect();
    for name in names.iter().filter(|name| !is_upgrade || **name != header::UPGRADE) {
        response.remove_header(name);
    }
    // A field of requests alone; HTTP/2 has no place for it in a response.
    response.remove_header(&header::TE);
    response.remove_header(&KEEP_ALIVE);
    response.remove_header(&PROXY_CONNECTION);
    if !is_upgrade {
        response.remove_header(&header::CONNECTION);
        response.remove_header(&header::UPGRADE);
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    fn request(fields: &[(&'static str, &'static str)]) -> RequestHeader {
        let mut header = RequestHeader::build(Method::GET, b"/", None).unwrap();
        for (name, value) in fields {
            header.append_header(*name, *value).unwrap();
        }
        header
    }

    #[test]
    fn an_upgrade_is_passed_on_unless_it_is_to_http_or_tls() {
        let asked =
            |protocol| request(&[("connection", "keep-alive, Upgrade"), ("upgrade", protocol)]);
        for protocol in ["websocket", "SPDY-like/1", "foo"] {
            let mut header = request(&[]);
            restore(&mut header, &asked(protocol)).unwrap();
            assert_eq!(header.headers["upgrade"], protocol);
            assert_eq!(header.headers["connection"], "upgrade");
        }
        for protocol in ["h2c", "H2C", "HTTP/2.0", "TLS/1.2", "foo, h2c", ""] {
            if !protocol.is_empty() {
                assert_eq!(upgrade(&asked(protocol)), None, "{protocol}");
            }
        }
        assert_eq!(upgrade(&request(&[("upgrade", "foo")])), None);
        let mut old = asked("foo");
        old.set_version(Version::HTTP_10);
        assert_eq!(upgrade(&old), None);
    }

    #[test]
    fn an_http2_origin_hears_that_trailers_are_taken() {
        let mut header = request(&[]);
        header.set_version(Version::HTTP_2);
        restore(&mut header, &request(&[("te", "gzip, Trailers;q=0.5")])).unwrap();
        assert_eq!(header.headers["te"], "trailers");
        let mut header = request(&[]);
        restore(&mut header, &request(&[("te", "trailers")])).unwrap();
        assert!(!header.headers.contains_key("te"));
    }

    #[test]
    fn what_an_origin_says_of_its_connection_ends_there() {
        let mut response = ResponseHeader::build(200, None).unwrap();
        for (name, value) in [
            ("connection", "keep-alive, X-Hop, Transfer-Encoding"),
            ("keep-alive", "timeout=5"),
            ("upgrade", "h2c"),
            ("te", "gzip"),
            ("x-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("x-kept", "1"),
        ] {
            response.append_header(name, value).unwrap();
        }
        remove(&mut response);
        let mut names: Vec<_> = response.headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["transfer-encoding", "x-kept"]);
        let mut response = ResponseHeader::build(101, None).unwrap();
        response.insert_header("connection", "Upgrade").unwrap();
        response.insert_header("upgrade", "websocket").unwrap();
        remove(&mut response);
        assert_eq!(response.headers.len(), 2);
    }
}
