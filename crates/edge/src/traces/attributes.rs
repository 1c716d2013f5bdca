//! What spans say, in the words of OpenTelemetry's semantic conventions.

use http::{Method, header};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use pingora::{http::RequestHeader, prelude::HttpPeer};
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_proxy::Session;

use super::span::{cipher, number, text, texts, tls_version, version};
use crate::request_id::REQUEST_ID;

/// The span's name, and what says the method. A method that clients make up is no name.
pub(super) fn method(method: &Method) -> (&'static str, Vec<KeyValue>) {
    const KNOWN: [&str; 9] =
        ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE"];
    let mut attributes = Vec::with_capacity(16);
    let known = KNOWN.iter().find(|known| **known == method.as_str());
    match known {
        Some(known) => attributes.push(text("http.request.method", known)),
        None => attributes.extend([
            text("http.request.method", "_OTHER"),
            text("http.request.method_original", method.as_str()),
        ]),
    }
    (known.copied().unwrap_or("HTTP"), attributes)
}

/// What is known of the origin that is tried.
pub(super) fn of_origin(request: &RequestHeader, peer: &HttpPeer) -> Vec<KeyValue> {
    let mut attributes = Vec::with_capacity(8);
    let scheme = match peer.is_tls() {
        true => "https",
        false => "http",
    };
    if let Some(address) = peer._address.as_inet() {
        let ip = address.ip().to_string();
        let name = if peer.sni.is_empty() { &ip } else { &peer.sni };
        let host = match peer.sni.is_empty() && address.is_ipv6() {
            true => format!("[{ip}]"),
            false => name.clone(),
        };
        let url = format!("{scheme}://{host}:{}{}", address.port(), request.uri.path());
        attributes.extend([
            text("server.address", name),
            number("server.port", address.port()),
            text("network.peer.address", &ip),
            number("network.peer.port", address.port()),
            text("url.full", &url),
        ]);
    }
    attributes
}

/// What is known of a request once it has ended, but for its method.
pub(super) fn of_request(session: &Session) -> Vec<KeyValue> {
    let mut attributes = Vec::with_capacity(16);
    let request = session.req_header();
    let tls = session.digest().and_then(|digest| digest.ssl_digest.as_deref());
    let scheme = if tls.is_some() { "https" } else { "http" };
    attributes.extend([
        text("url.scheme", scheme),
        text("url.path", request.uri.path()),
        text("network.protocol.version", version(request.version)),
    ]);
    if let Some((host, port)) = host(request, scheme) {
        attributes.extend([text("server.address", &host), number("server.port", port)]);
    }
    if let Some(client) = session.client_addr().and_then(SocketAddr::as_inet) {
        let ip = client.ip().to_canonical().to_string();
        attributes.extend([
            text("client.address", &ip),
            text("network.peer.address", &ip),
            number("network.peer.port", client.port()),
        ]);
    }
    if let Some(response) = session.response_written() {
        attributes.push(number("http.response.status_code", response.status.as_u16()));
        let id = response.headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
        attributes.extend(id.map(|id| texts("http.response.header.x-request-id", &[id])));
    }
    let agent = request.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    attributes.extend(agent.map(|agent| text("user_agent.original", agent)));
    if let Some(tls) = tls {
        attributes.extend([
            text("tls.protocol.name", "tls"),
            text("tls.protocol.version", &tls_version(&tls.version)),
            text("tls.cipher", &cipher(&tls.cipher)),
        ]);
    }
    attributes
}

/// What the client takes us for.
fn host(request: &RequestHeader, scheme: &str) -> Option<(String, u16)> {
    let field = || request.headers.get(header::HOST)?.to_str().ok()?.parse().ok();
    let authority = request.uri.authority().cloned().or_else(field)?;
    let default = if scheme == "https" { 443 } else { 80 };
    Some((authority.host().to_ascii_lowercase(), authority.port_u16().unwrap_or(default)))
}
