//! What an origin is told of the client. Never what the client says of itself.

use std::net::IpAddr;

use http::{HeaderName, HeaderValue, header};
use pingora::http::RequestHeader;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Removes every claim about forwarding and sets ours.
pub(super) fn set(header: &mut RequestHeader, client: Option<IpAddr>) -> pingora::Result<()> {
    let claims = header.headers.keys().filter(|name| is_claim(name.as_str()));
    for name in claims.cloned().collect::<Vec<_>>() {
        header.remove_header(&name);
    }
    if let Some(client) = client {
        header.insert_header(FORWARDED_FOR, client.to_canonical().to_string())?;
    }
    header.insert_header(FORWARDED_PROTO, HeaderValue::from_static("https"))?;
    if let Some(host) = header.headers.get(header::HOST).cloned() {
        header.insert_header(FORWARDED_HOST, host)?;
    }
    Ok(())
}

/// Many origins read `_` and `-` in a field's name as the same.
fn is_claim(name: &str) -> bool {
    let is_prefix = |prefix: &str| {
        let mut name = name.bytes();
        prefix.bytes().all(|expected| match name.next() {
            Some(b'_') => expected == b'-',
            found => found == Some(expected),
        })
    };
    // CGI programs would find `Proxy` as HTTP_PROXY, and send their own requests there.
    is_prefix("x-forwarded") || is_prefix("x-real-ip") || matches!(name, "forwarded" | "proxy")
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    fn sent(fields: &[(&'static str, &'static str)], client: &str) -> RequestHeader {
        let mut header = RequestHeader::build(Method::GET, b"/", None).unwrap();
        for (name, value) in fields {
            header.append_header(*name, *value).unwrap();
        }
        set(&mut header, Some(client.parse().unwrap())).unwrap();
        header
    }

    #[test]
    fn the_clients_claims_are_replaced_in_every_spelling() {
        let claims = [
            ("host", "shop.example:8443"),
            ("X-Forwarded-For", "10.0.0.1"),
            ("x-forwarded-for", "10.0.0.2"),
            ("X_Forwarded_For", "10.0.0.3"),
            ("x-forwarded_proto", "http"),
            ("x-forwarded-server", "evil"),
            ("X-Real-IP", "10.0.0.4"),
            ("forwarded", "for=10.0.0.5"),
            ("Proxy", "http://10.0.0.6"),
            ("x-forward", "kept"),
        ];
        let header = sent(&claims, "192.0.2.9");
        let mut fields: Vec<_> = header
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        fields.sort();
        let expected = [
            "host: shop.example:8443",
            "x-forward: kept",
            "x-forwarded-for: 192.0.2.9",
            "x-forwarded-host: shop.example:8443",
            "x-forwarded-proto: https",
        ];
        assert_eq!(fields, expected);
    }

    #[test]
    fn an_ipv4_client_of_an_ipv6_listener_is_told_as_ipv4() {
        let header = sent(&[("host", "shop.example")], "::ffff:192.0.2.9");
        assert_eq!(header.headers.get("x-forwarded-for").unwrap(), "192.0.2.9");
    }
}
