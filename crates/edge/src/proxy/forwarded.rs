//! What an origin is told of the client and of the way that the request took. Never what the
//! client says of itself.

use std::net::IpAddr;

use data_encoding::BASE64;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use landfall_model::Scheme;
use pingora::http::RequestHeader;

use crate::{
    client_certificate::ClientCertificate,
    identity::{CDN_LOOP, Identity},
    request_id::{REQUEST_ID, RequestId},
};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
const CLIENT_CERT_SUBJECT: HeaderName = HeaderName::from_static("x-client-cert-subject");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Fields that only a proxy says, and that origins believe: who the client is, what it asked for,
/// which certificate it showed. `Proxy` is among them since CGI programs find it as `HTTP_PROXY`,
/// and send their own requests there.
const CLAIMS: &[&str] = &[
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "client-cert",
    "client-cert-chain",
    "fastly-client-ip",
    "forwarded",
    "proxy",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-original-host",
    "x-original-url",
    "x-real-ip",
    "x-request-id",
    "x-rewrite-url",
];
/// What the names of more such fields start with.
const CLAIM_PREFIXES: &[&str] = &["x-forwarded", "x-client-cert", "x-ssl-client", "ssl-client"];

/// What is true of a request.
pub(super) struct Told<'a> {
    /// The client's address.
    pub(super) client: Option<IpAddr>,
    /// How it came.
    pub(super) scheme: Scheme,
    /// What the client sent.
    pub(super) request: &'a RequestHeader,
    /// Its name.
    pub(super) id: &'a RequestId,
    /// What the client proved to be.
    pub(super) certificate: Option<&'a ClientCertificate>,
}

/// Removes every claim about forwarding and sets ours.
pub(super) fn set(
    header: &mut RequestHeader,
    told: &Told<'_>,
    identity: &Identity,
) -> pingora::Result<()> {
    remove_claims(header);
    let proto = match told.scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
    };
    let host = host(told.request);
    let client = told.client.map(|client| client.to_canonical());
    header.insert_header(header::FORWARDED, forwarded(client, host.as_ref(), proto))?;
    if let Some(client) = client {
        let client = HeaderValue::try_from(client.to_string()).unwrap_or(UNKNOWN);
        header.insert_header(FORWARDED_FOR, client.clone())?;
        header.insert_header(REAL_IP, client)?;
    }
    header.insert_header(FORWARDED_PROTO, HeaderValue::from_static(proto))?;
    if let Some(host) = host {
        header.insert_header(FORWARDED_HOST, host)?;
    }
    header.insert_header(REQUEST_ID, told.id.to_value())?;
    header.append_header(header::VIA, identity.via(told.request.version))?;
    header.append_header(CDN_LOOP, identity.cdn_loop())?;
    match told.certificate {
        Some(certificate) => set_certificate(header, certificate),
        None => Ok(()),
    }
}

/// The certificate as a byte sequence (RFC 9440 section 2.1), and its subject for people.
fn set_certificate(
    header: &mut RequestHeader,
    certificate: &ClientCertificate,
) -> pingora::Result<()> {
    header.insert_header(CLIENT_CERT, format!(":{}:", BASE64.encode(certificate.der())))?;
    match HeaderValue::from_str(certificate.subject()) {
        Ok(subject) => header.insert_header(CLIENT_CERT_SUBJECT, subject),
        Err(_) => Ok(()),
    }
}

/// RFC 7239 section 6.
const UNKNOWN: HeaderValue = HeaderValue::from_static("unknown");

/// One element (RFC 7239 section 4). What isn't a token is quoted: an IPv6 address in its brackets,
/// a host that may have a port.
fn forwarded(client: Option<IpAddr>, host: Option<&HeaderValue>, proto: &str) -> HeaderValue {
    let mut element = match client {
        Some(IpAddr::V4(client)) => format!("for={client};"),
        Some(IpAddr::V6(client)) => format!("for=\"[{client}]\";"),
        None => "for=unknown;".to_owned(),
    };
    if let Some(host) = host.and_then(|host| host.to_str().ok()) {
        // It has been read as a name with a port: there is nothing to escape.
        element.extend(["host=\"", host, "\";"]);
    }
    element.extend(["proto=", proto]);
    HeaderValue::try_from(element).unwrap_or(UNKNOWN)
}

/// The host as the client wrote it.
fn host(request: &RequestHeader) -> Option<HeaderValue> {
    let of_target = || HeaderValue::from_str(request.uri.authority()?.as_str()).ok();
    request.headers.get(header::HOST).cloned().or_else(of_target)
}

fn remove_claims(header: &mut RequestHeader) {
    for name in claims(&header.headers) {
        header.remove_header(&name);
    }
}

fn claims(headers: &HeaderMap) -> Vec<HeaderName> {
    headers.keys().filter(|name| is_claim(name.as_str())).cloned().collect()
}

/// Many origins read `_` and `-` in a field's name as the same.
fn is_claim(name: &str) -> bool {
    let same = |(found, expected): (u8, u8)| found == expected || (found, expected) == (b'_', b'-');
    let starts =
        |prefix: &&str| name.len() >= prefix.len() && name.bytes().zip(prefix.bytes()).all(same);
    let is = |claim: &&str| name.len() == claim.len() && starts(claim);
    CLAIMS.iter().any(is) || CLAIM_PREFIXES.iter().any(starts)
}

#[cfg(test)]
mod tests {
    use http::{Method, Version};

    use super::*;
    use crate::identity::CdnId;

    fn request(fields: &[(&'static str, &'static str)]) -> RequestHeader {
        let mut header = RequestHeader::build(Method::GET, b"/", None).unwrap();
        for (name, value) in fields {
            header.append_header(*name, *value).unwrap();
        }
        header
    }

    fn sent(request: &RequestHeader, client: &str) -> Vec<String> {
        let mut with_id = request.clone();
        with_id.insert_header("x-request-id", "id").unwrap();
        let told = Told {
            client: Some(client.parse().unwrap()),
            scheme: Scheme::Https,
            request,
            id: &RequestId::given(&with_id).unwrap(),
            certificate: None,
        };
        let mut header = request.clone();
        set(&mut header, &told, &Identity::new(CdnId::new("fleet").unwrap())).unwrap();
        let fields = header.headers.iter();
        let mut fields: Vec<_> =
            fields.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        fields.sort();
        fields
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
            ("X_Real_IP", "10.0.0.4"),
            ("forwarded", "for=10.0.0.5"),
            ("Proxy", "http://10.0.0.6"),
            ("True-Client-IP", "10.0.0.7"),
            ("X-Original-URL", "/admin"),
            ("X_Rewrite_URL", "/admin"),
            ("Client-Cert", ":AAAA:"),
            ("X-Client-Cert-Subject", "CN=admin"),
            ("X-SSL-Client-Verify", "SUCCESS"),
            ("X-Request-Id", "evil"),
            ("x-forward", "kept"),
            ("client-certificate", "kept"),
        ];
        let expected = [
            "cdn-loop: fleet",
            "client-certificate: kept",
            "forwarded: for=192.0.2.9;host=\"shop.example:8443\";proto=https",
            "host: shop.example:8443",
            "via: 1.1 fleet",
            "x-forward: kept",
            "x-forwarded-for: 192.0.2.9",
            "x-forwarded-host: shop.example:8443",
            "x-forwarded-proto: https",
            "x-real-ip: 192.0.2.9",
            "x-request-id: id",
        ];
        assert_eq!(sent(&request(&claims), "192.0.2.9"), expected);
    }

    #[test]
    fn an_ipv4_client_of_an_ipv6_listener_is_told_as_ipv4_and_ipv6_is_quoted() {
        let request = request(&[("host", "shop.example")]);
        let fields = sent(&request, "::ffff:192.0.2.9");
        assert!(fields.contains(&"x-forwarded-for: 192.0.2.9".to_owned()), "{fields:?}");
        let fields = sent(&request, "2001:db8::9");
        let expected = "forwarded: for=\"[2001:db8::9]\";host=\"shop.example\";proto=https";
        assert!(fields.contains(&expected.to_owned()), "{fields:?}");
    }

    #[test]
    fn those_before_stay_in_via_and_cdn_loop() {
        let mut request = request(&[("Via", "1.0 one"), ("CDN-Loop", "other;v=1")]);
        request.set_version(Version::HTTP_2);
        request.set_uri("https://shop.example/".parse().unwrap());
        let fields = sent(&request, "192.0.2.9");
        for field in [
            "via: 1.0 one",
            "via: 2 fleet",
            "cdn-loop: other;v=1",
            "cdn-loop: fleet",
            "x-forwarded-host: shop.example",
        ] {
            assert!(fields.contains(&field.to_owned()), "{field} is not in {fields:?}");
        }
    }
}
