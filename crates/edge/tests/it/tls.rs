//! How handshakes are answered.

use std::io::Write;

use landfall_model::{TlsPolicy, TlsVersion};

use crate::support::{Edge, Origin, connect, curl, exchange, read_to_end, run};

const UNRECOGNIZED_NAME: &[u8] = &[0x15, 3, 3, 0, 2, 2, 0x70];
const INTERNAL_ERROR: &[u8] = &[0x15, 3, 3, 0, 2, 2, 0x50];

/// A ClientHello's record header that announces more than will come.
fn hello_of(len: u16) -> Vec<u8> {
    let [high, low] = len.to_be_bytes();
    let [_, a, b, c] = (u32::from(len) - 4).to_be_bytes();
    vec![0x16, 3, 1, high, low, 1, a, b, c]
}

fn s_client(edge: &Edge, arguments: &[&str]) -> String {
    let address = edge.https().to_string();
    let mut all = vec!["s_client", "-connect", &address];
    all.extend_from_slice(arguments);
    let output = run("openssl", &all);
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

#[test]
fn an_unknown_sni_gets_the_unrecognized_name_alert() {
    let edge = Edge::start("");
    let text = s_client(&edge, &["-servername", "nobody.example"]);
    assert!(text.contains("unrecognized name"), "{text}");
    edge.wait_for_metric(
        "landfall_handshakes_total{result=\"unknown_name\",version=\"none\"}",
        1.0,
    );
    edge.wait_for_metric("landfall_open_connections{listener=\"https\"}", 0.0);
}

#[test]
fn a_client_without_sni_gets_the_unrecognized_name_alert() {
    let mut edge = Edge::start("");
    edge.serve("shop.example", Origin::start().address());
    let text = s_client(&edge, &["-noservername"]);
    assert!(text.contains("unrecognized name"), "{text}");
}

#[test]
fn a_hostname_without_a_certificate_is_refused_and_counted() {
    let mut edge = Edge::start("");
    edge.serve_without_certificate("shop.example", Origin::start().address());
    let text = s_client(&edge, &["-servername", "shop.example"]);
    assert!(text.contains("unrecognized name"), "{text}");
    edge.wait_for_metric(
        "landfall_handshakes_total{result=\"no_certificate\",version=\"none\"}",
        1.0,
    );
}

#[test]
fn a_certificate_that_does_not_open_fails_its_hostname_alone() {
    let mut edge = Edge::start("");
    let origin = Origin::start();
    edge.serve_unusable("broken.example", origin.address());
    edge.serve("shop.example", origin.address());
    let text = s_client(&edge, &["-servername", "broken.example"]);
    assert!(text.contains("internal error"), "{text}");
    assert_eq!(curl(&edge, "shop.example", "/", &[]).status, 200);
    edge.wait_for_metric(
        "landfall_handshakes_total{result=\"unusable_certificate\",version=\"none\"}",
        1.0,
    );
}

#[test]
fn a_wildcard_serves_each_name_one_label_below() {
    let mut edge = Edge::start("");
    edge.serve("*.apps.example", Origin::start().address());
    assert_eq!(curl(&edge, "one.apps.example", "/", &[]).status, 200);
    let text = s_client(&edge, &["-servername", "a.b.apps.example"]);
    assert!(text.contains("unrecognized name"), "{text}");
}

#[test]
fn the_policy_of_the_hostname_decides_on_versions_and_http2() {
    let mut edge = Edge::start("");
    let origin = Origin::start();
    let modern = TlsPolicy { min_version: TlsVersion::Tls13, http2: false, ..TlsPolicy::default() };
    edge.serve_with("modern.example", origin.address(), modern);
    let old = TlsPolicy { tls13: false, ..TlsPolicy::default() };
    edge.serve_with("old.example", origin.address(), old);
    assert_eq!(curl(&edge, "modern.example", "/", &[]).version, "1.1");
    assert_eq!(curl(&edge, "modern.example", "/", &["--tls-max", "1.2"]).exit, 35);
    assert_eq!(curl(&edge, "old.example", "/", &[]).version, "2");
    assert_eq!(curl(&edge, "old.example", "/", &["--tlsv1.3"]).exit, 35);
    edge.wait_for_metric("landfall_handshakes_total{result=\"ok\",version=\"1.2\"}", 1.0);
    edge.wait_for_metric("landfall_handshakes_total{result=\"ok\",version=\"1.3\"}", 1.0);
}

#[test]
fn an_oversized_client_hello_is_not_read_to_its_end() {
    let edge = Edge::start("[limits]\nclient_hello = \"1KiB\"\nhandshake_timeout = \"1h\"");
    let mut bytes = hello_of(16_000);
    bytes.resize(8_000, 0);
    let answer = exchange(edge.https(), &bytes);
    assert_ne!(answer, UNRECOGNIZED_NAME);
    assert_ne!(answer, INTERNAL_ERROR);
    edge.wait_for_metric(
        "landfall_handshakes_total{result=\"hello_too_large\",version=\"none\"}",
        1.0,
    );
}

#[test]
fn a_client_hello_that_never_ends_is_cut_at_the_handshake_timeout() {
    let edge = Edge::start("[limits]\nhandshake_timeout = \"300ms\"");
    exchange(edge.https(), &hello_of(500));
    edge.wait_for_metric("landfall_handshakes_total{result=\"timeout\",version=\"none\"}", 1.0);
}

#[test]
fn what_is_not_tls_is_refused() {
    let edge = Edge::start("");
    exchange(edge.https(), b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    edge.wait_for_metric("landfall_handshakes_total{result=\"refused\",version=\"none\"}", 1.0);
}

#[test]
fn a_certificate_is_parsed_once_for_many_handshakes() {
    let mut edge = Edge::start("");
    edge.serve("shop.example", Origin::start().address());
    for _ in 0..3 {
        let mut stream = connect(&edge, "shop.example", "http/1.1");
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n")
            .unwrap();
        assert!(read_to_end(&mut stream).starts_with(b"HTTP/1.1 200"));
    }
    edge.wait_for_metric("landfall_store_cache_misses_total", 1.0);
    edge.wait_for_metric("landfall_store_cache_hits_total", 2.0);
    edge.wait_for_metric("landfall_store_hostnames", 1.0);
}
