//! Clients that send a header slowly, or not at all.

use std::{
    io::{Read, Write},
    time::{Duration, Instant},
};

use crate::support::{Edge, Origin, PATIENCE, connect, exchange, read_to_end, run, tcp};

const LIMITS: &str = "[limits]\nheader_timeout = \"300ms\"\nidle_timeout = \"1h\"";
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

fn serving(limits: &str) -> Edge {
    let mut edge = Edge::start(limits);
    edge.serve("shop.example", Origin::start().address());
    edge
}

/// Writes a byte every 20 ms until the edge ends the connection, and says how long that took.
fn drip(stream: &mut impl Write) -> Duration {
    let started = Instant::now();
    while stream.write_all(b"x").and_then(|()| stream.flush()).is_ok() {
        assert!(started.elapsed() < PATIENCE, "the connection is still open");
        std::thread::sleep(Duration::from_millis(20));
    }
    started.elapsed()
}

#[test]
fn a_dripped_http1_header_is_cut_at_the_deadline() {
    let edge = serving(LIMITS);
    let mut stream = connect(&edge, "shop.example", "http/1.1");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: shop.example\r\nX: ").unwrap();
    let took = drip(&mut stream);
    assert!(took > Duration::from_millis(200), "cut after {took:?}");
    edge.wait_for_metric("landfall_open_connections{listener=\"https\"}", 0.0);
}

#[test]
fn the_second_header_of_a_connection_has_a_deadline_too() {
    let edge = serving(LIMITS);
    let mut stream = connect(&edge, "shop.example", "http/1.1");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n").unwrap();
    let mut first = [0; 15];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: shop.example\r\nX: ").unwrap();
    drip(&mut stream);
    edge.wait_for_metric("landfall_open_connections{listener=\"https\"}", 0.0);
}

#[test]
fn a_header_that_stops_is_cut_at_the_deadline() {
    let edge = serving(LIMITS);
    let mut stream = connect(&edge, "shop.example", "http/1.1");
    stream.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    assert!(read_to_end(&mut stream).is_empty());
}

#[test]
fn an_http2_preface_that_never_comes_is_cut_at_the_deadline() {
    let edge = serving(LIMITS);
    let mut stream = connect(&edge, "shop.example", "h2");
    read_to_end(&mut stream);
    edge.wait_for_metric("landfall_open_connections{listener=\"https\"}", 0.0);
}

#[test]
fn a_dripped_http2_header_block_is_cut_at_the_deadline() {
    let edge = serving(LIMITS);
    let mut stream = connect(&edge, "shop.example", "h2");
    stream.write_all(&[PREFACE, SETTINGS].concat()).unwrap();
    // A HEADERS frame of 16,000 bytes, of which few come.
    stream.write_all(&[0, 0x3e, 0x80, 1, 4, 0, 0, 0, 1]).unwrap();
    drip(&mut stream);
    edge.wait_for_metric("landfall_open_connections{listener=\"https\"}", 0.0);
}

#[test]
fn idle_connections_outlive_the_header_deadline() {
    let edge = serving(LIMITS);
    let mut http1 = connect(&edge, "shop.example", "http/1.1");
    let mut http2 = connect(&edge, "shop.example", "h2");
    http2.write_all(&[PREFACE, SETTINGS].concat()).unwrap();
    // A connection that is cut shows that the deadline of the older ones has passed.
    let mut cut = connect(&edge, "shop.example", "http/1.1");
    cut.write_all(b"GET /").unwrap();
    read_to_end(&mut cut);
    http1.write_all(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n").unwrap();
    let mut first = [0; 15];
    http1.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    assert!((edge.metric("landfall_open_connections{listener=\"https\"}") - 2.0).abs() < 0.1);
}

#[test]
fn idle_connections_end_at_the_idle_timeout() {
    let edge = serving("[limits]\nidle_timeout = \"300ms\"");
    let mut http1 = connect(&edge, "shop.example", "http/1.1");
    let mut http2 = connect(&edge, "shop.example", "h2");
    http2.write_all(&[PREFACE, SETTINGS].concat()).unwrap();
    read_to_end(&mut http1);
    read_to_end(&mut http2);
}

#[test]
fn a_slow_response_outlives_the_header_deadline() {
    let mut edge =
        Edge::start("[limits]\nheader_timeout = \"100ms\"\n[upstream]\nread_timeout = \"600ms\"");
    edge.serve("shop.example", Origin::start().address());
    let mut stream = connect(&edge, "shop.example", "http/1.1");
    stream.write_all(b"GET /silent HTTP/1.1\r\nHost: shop.example\r\n\r\n").unwrap();
    let answer = read_to_end(&mut stream);
    assert!(answer.starts_with(b"HTTP/1.1 504 "), "{}", String::from_utf8_lossy(&answer));
}

#[test]
fn a_header_that_goes_on_for_ever_is_cut_by_size() {
    let edge = serving("[limits]\nheader_size = \"2KiB\"\nheader_timeout = \"1h\"");
    let mut stream = connect(&edge, "shop.example", "http/1.1");
    let endless = [b"GET / HTTP/1.1\r\nX: ".as_slice(), &[b'x'; 64 << 10]].concat();
    // The edge may end the connection before all of it is written.
    let _ = stream.write_all(&endless);
    read_to_end(&mut stream);
}

#[test]
fn a_dripped_header_over_plain_http_is_cut_at_the_deadline() {
    let edge = serving(LIMITS);
    exchange(edge.http(), b"GET / HTTP/1.1\r\n");
    edge.wait_for_metric("landfall_open_connections{listener=\"http\"}", 0.0);
}

#[test]
fn a_dripped_header_to_the_operators_listener_is_cut_at_the_deadline() {
    let edge = serving(LIMITS);
    let mut stream = tcp(edge.addresses.admin);
    stream.write_all(b"GET /livez HTTP/1.1\r\nX: ").unwrap();
    drip(&mut stream);
}

#[test]
fn a_thousand_http2_requests_are_served_under_the_deadlines() {
    let edge = serving(LIMITS);
    let address = format!("--connect-to={}", edge.https());
    let arguments = ["-n1000", "-c4", "-m16", &address, "https://shop.example/"];
    let output = run("h2load", &arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("1000 succeeded, 0 failed"), "{text}");
    assert!(text.contains("status codes: 1000 2xx"), "{text}");
}
