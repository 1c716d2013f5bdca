//! Behind a load balancer, and beside one.

use std::io::{Read, Write};

use crate::support::{Edge, Recorder, connect_after, exchange, read_to_end, tcp};

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n";
const V2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f\xc0\0\x02\x07\xc6\x33\x64\x01\x12\x67\x01\xbb\x04\0\0";
const V2_LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n";

fn serving(from: &str, limits: &str) -> (Edge, Recorder) {
    let more = format!("[limits]\nhandshake_timeout = \"500ms\"\n{limits}");
    let listen = format!("proxy_protocol_from = [{from}]");
    let (mut edge, origin) = (Edge::listening(&listen, &more), Recorder::start());
    edge.serve("shop.example", origin.address());
    (edge, origin)
}

#[test]
fn the_client_that_the_load_balancer_names_is_the_one_that_counts() {
    let (edge, origin) = serving("\"127.0.0.0/8\"", "");
    for (header, client) in [(V1, "192.0.2.7"), (V2, "192.0.2.7"), (V2_LOCAL, "127.0.0.1")] {
        let mut stream = connect_after(&edge, header, "shop.example", "http/1.1");
        stream.write_all(REQUEST).unwrap();
        let answer = String::from_utf8(read_to_end(&mut stream)).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let seen = origin.take_seen().to_lowercase();
        assert!(seen.contains(&format!("\r\nx-forwarded-for: {client}\r\n")), "{seen}");
        let plain = exchange(edge.http(), &[header, REQUEST].concat());
        assert!(plain.starts_with(b"HTTP/1.1 308 "), "{}", String::from_utf8_lossy(&plain));
    }
}

#[test]
fn the_client_has_the_limits_of_its_own_address() {
    let (edge, _origin) = serving("\"127.0.0.0/8\"", "connections_per_address = 1");
    let mut one = connect_after(&edge, V1, "shop.example", "http/1.1");
    let mut same = tcp(edge.https());
    same.write_all(V2).unwrap();
    assert!(read_to_end(&mut same).is_empty());
    let other = b"PROXY TCP4 192.0.2.8 198.51.100.1 4711 443\r\n";
    drop(connect_after(&edge, other, "shop.example", "http/1.1"));
    one.write_all(REQUEST).unwrap();
    assert!(read_to_end(&mut one).starts_with(b"HTTP/1.1 200 "));
    assert!((edge.metric("landfall_connections_shed_total{reason=\"address\"}") - 1.0).abs() < 0.1);
}

#[test]
fn a_load_balancer_that_sends_none_or_a_malformed_one_is_cut() {
    let (edge, origin) = serving("\"127.0.0.1\"", "");
    let long = [b"PROXY ".as_slice(), &[b'x'; 200]].concat();
    let cases: [&[u8]; 6] = [
        REQUEST,
        b"PROXY TCP4 192.0.2.999 198.51.100.1 4711 443\r\n",
        &long,
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
        // Late.
        b"PROXY TCP4 192.0.2.7",
    ];
    for (index, case) in cases.iter().enumerate() {
        let address = if index % 2 == 0 { edge.http() } else { edge.https() };
        assert!(exchange(address, case).is_empty(), "{}", case.escape_ascii());
    }
    edge.wait_for_metric("landfall_cuts_total{reason=\"proxy_header\"}", 6.0);
    assert_eq!(origin.complete(), 0);
}

#[test]
fn anyone_else_who_sends_one_is_refused() {
    let (edge, origin) = serving("\"10.0.0.0/8\"", "");
    for header in [V1, V2] {
        let answer = exchange(edge.http(), &[header, REQUEST].concat());
        assert!(answer.starts_with(b"HTTP/1.1 400 "), "{}", answer.escape_ascii());
        let mut stream = tcp(edge.https());
        stream.write_all(header).unwrap();
        let mut alert = Vec::new();
        let _ = stream.read_to_end(&mut alert);
        assert!(!alert.starts_with(b"\x16"), "a handshake was begun");
    }
    assert_eq!(origin.complete(), 0);
}
