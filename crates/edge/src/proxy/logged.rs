//! What the access log says of a request.

use std::time::SystemTime;

use http::{HeaderValue, Method, Version, header};
use landfall_model::{HostPattern, Scheme};
use pingora::Error;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_proxy::Session;

use super::Request;
use crate::{
    access_log::{AccessLog, Record},
    reason,
};

/// Writes a request that has ended to the log, where the log wants it.
pub(super) fn write(log: &AccessLog, session: &Session, request: &Request, error: Option<&Error>) {
    let status = session.response_written().map(|response| response.status.as_u16());
    if !log.wants(status, &request.id) {
        return;
    }
    let header = session.req_header();
    let digest = session.digest();
    let tls = digest.and_then(|digest| digest.ssl_digest.as_deref());
    let client = session.client_addr().and_then(SocketAddr::as_inet);
    let text = |name| header.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let host = text(header::HOST).or_else(|| Some(header.uri.authority()?.as_str()));
    let hostname = request.entry.as_ref().map(|entry| entry.name()).map(HostPattern::to_string);
    let took = request.started.elapsed();
    log.put(&Record {
        began: SystemTime::now() - took,
        id: request.id.as_str(),
        client: client.map(|client| client.ip().to_canonical()),
        client_port: client.map(std::net::SocketAddr::port),
        method: method(&header.method),
        scheme: match request.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        },
        host,
        path: header.uri.path(),
        protocol: "http",
        version: version(header.version),
        tls_version: tls.map(|tls| tls_version(&tls.version)),
        tls_cipher: tls.map(|tls| &*tls.cipher),
        user_agent: text(header::USER_AGENT),
        status,
        error: error.map(reason::of),
        received: session.body_bytes_read() as u64,
        sent: session.body_bytes_sent() as u64,
        took,
        hostname: hostname.as_deref(),
        property: request.entry.as_ref().map(|entry| entry.route().route().property.0),
        origin: request.exchange.address(),
        origin_took: request.origin_took,
    });
}

/// A method that everybody knows, or that it is none of those.
fn method(method: &Method) -> &str {
    match *method {
        Method::GET
        | Method::HEAD
        | Method::POST
        | Method::PUT
        | Method::PATCH
        | Method::DELETE
        | Method::OPTIONS
        | Method::CONNECT
        | Method::TRACE => method.as_str(),
        _ => "_OTHER",
    }
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}

/// As the conventions have it, of rustls' name for it.
fn tls_version(name: &str) -> &str {
    match name {
        "TLSv1_2" => "1.2",
        "TLSv1_3" => "1.3",
        name => name,
    }
}
