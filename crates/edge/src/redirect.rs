//! The plain HTTP listener: it sends clients of served hostnames to TLS, and serves nothing.

use std::num::NonZeroU16;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use landfall_certstore::Resolver;
use landfall_model::LookupName;
use pingora::http::RequestHeader;

use crate::{
    answer::{self, Answer},
    config::Limits,
    refusal::Refusal,
    request,
    site::Site,
};

/// Answers every request itself.
pub(crate) struct Redirect {
    resolver: Resolver<Site>,
    limits: Limits,
    /// Where TLS is served, unless it is on 443.
    port: Option<NonZeroU16>,
}

impl Redirect {
    /// `https_port` is what clients connect to for TLS.
    pub(crate) fn new(resolver: Resolver<Site>, limits: Limits, https_port: u16) -> Self {
        let port = NonZeroU16::new(https_port).filter(|port| port.get() != 443);
        Self { resolver, limits, port }
    }

    async fn location(&self, header: &RequestHeader) -> Result<HeaderValue, Refusal> {
        request::check_size(header, &self.limits)?;
        let name = request::authority(header)?;
        match self.resolver.find_or_load(&name).await {
            Some(_) => location(&name, self.port, header),
            None => Err(Refusal::Misdirected),
        }
    }
}

#[async_trait]
impl Answer for Redirect {
    async fn answer(&self, request: &RequestHeader) -> Response<Bytes> {
        match self.location(request).await {
            Ok(location) => redirect(location),
            Err(refusal) => answer::refused(refusal),
        }
    }
}

fn redirect(location: HeaderValue) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    response.headers_mut().insert(header::LOCATION, location);
    response
}

/// The same resource over TLS. Only the path and the query are the client's words.
fn location(
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
