//! Where plain HTTP is sent to.

use std::num::NonZeroU16;

use http::HeaderValue;
use landfall_model::LookupName;
use pingora::http::RequestHeader;

use crate::refusal::Refusal;

/// The same resource over TLS, which is served at `port` unless that is 443. Only the path and
/// the query are the client's words.
pub(crate) fn location(
    name: &LookupName,
    port: Option<NonZeroU16>,
    header: &RequestHeader,
) -> Result<HeaderValue, Refusal> {
    let target = header.uri.path_and_query().map_or("/", |target| target.as_str());
    // `*` is no resource (RFC 9110 section 7.1).
    let target = if target.starts_with('/') { target } else { "/" };
    let location = match port {
        Some(port) => format!("https://{name}:{port}{target}"),
        None => format!("https://{name}{target}"),
    };
    HeaderValue::try_from(location).map_err(|_| Refusal::BadRequest)
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    fn at(target: &str, port: u16) -> String {
        let header = RequestHeader::build(Method::GET, target.as_bytes(), None).unwrap();
        let name = LookupName::from_sni("shop.example").unwrap();
        let port = NonZeroU16::new(port).filter(|port| port.get() != 443);
        location(&name, port, &header).unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn keeps_the_path_and_the_query_and_names_an_unusual_port() {
        assert_eq!(at("/a%20b?c=d", 443), "https://shop.example/a%20b?c=d");
        assert_eq!(at("/", 8443), "https://shop.example:8443/");
        assert_eq!(at("*", 443), "https://shop.example/");
        assert_eq!(at("//evil.example/", 443), "https://shop.example//evil.example/");
    }
}
