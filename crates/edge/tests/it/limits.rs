//! Clients that take more than they may.

use std::io::Write;

use crate::support::{Edge, Recorder, connect, read_to_end, run};

fn serving(more: &str) -> (Edge, Recorder) {
    let (mut edge, origin) = (Edge::start(more), Recorder::start());
    edge.serve("shop.example", origin.address());
    (edge, origin)
}

#[test]
fn an_http1_connection_ends_after_its_number_of_requests() {
    let (edge, origin) = serving("[limits]\nconnection_requests = 3");
    let mut stream = connect(&edge, "shop.example", "http/1.1");
    let request = "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n";
    stream.write_all(request.repeat(5).as_bytes()).unwrap();
    let answers = String::from_utf8(read_to_end(&mut stream)).unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200 ").count(), 3, "{answers}");
    assert_eq!(answers.to_lowercase().matches("connection: close").count(), 1, "{answers}");
    assert_eq!(origin.complete(), 3);
}

#[test]
fn an_http2_connection_gets_a_goaway_after_its_number_of_requests() {
    let (edge, _origin) = serving("[limits]\nconnection_requests = 10");
    let address = format!("--connect-to={}", edge.https());
    let output = run("h2load", &["-n100", "-c1", "-m1", &address, "https://shop.example/"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // h2load does not connect again.
    assert!(text.contains(" 10 succeeded,") || text.contains(" 11 succeeded,"), "{text}");
}

#[test]
fn an_idle_connection_ends_with_its_lifetime() {
    let (edge, _origin) = serving("[limits]\nconnection_lifetime = \"300ms\"");
    let mut http1 = connect(&edge, "shop.example", "http/1.1");
    let mut http2 = connect(&edge, "shop.example", "h2");
    http2.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    read_to_end(&mut http1);
    read_to_end(&mut http2);
}
