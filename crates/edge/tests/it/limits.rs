//! Clients that take more than they may.

use std::io::Write;

use crate::support::{Edge, Origin, Recorder, connect, curl, read_to_end, run};

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

/// A POST over HTTP/2 whose body doesn't come: `:method POST`, and no end of the stream.
const POST: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\
    \0\0\x11\x01\x04\0\0\0\x01\x83\x87\x84\x01\x0cshop.example";

#[test]
fn a_silent_body_over_http2_loses_its_stream_and_not_its_connection() {
    let (edge, origin) = serving(
        "[limits]\nrequest_body_timeout = \"200ms\"\n[upstream]\nwrite_timeout = \"100ms\"",
    );
    let mut stream = connect(&edge, "shop.example", "h2");
    stream.write_all(POST).unwrap();
    edge.wait_for_metric("landfall_cuts_total{reason=\"body_timeout\"}", 1.0);
    assert!((edge.metric("landfall_open_connections{listener=\"https\"}") - 1.0).abs() < 0.1);
    assert_eq!(origin.complete(), 0);
    assert_eq!(curl(&edge, "shop.example", "/", &["--http2"]).status, 200);
}

#[test]
fn a_dripped_body_is_cut_over_both_protocols() {
    let (edge, origin) =
        serving("[limits]\nrequest_body_min_rate = \"1KiB\"\nrate_grace = \"300ms\"");
    let mut http2 = connect(&edge, "shop.example", "h2");
    http2.write_all(POST).unwrap();
    let mut http1 = connect(&edge, "shop.example", "http/1.1");
    let post = b"POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 100000\r\n\r\n";
    http1.write_all(post).unwrap();
    let cut = "landfall_cuts_total{reason=\"body_too_slow\"}";
    crate::support::wait_until("both are cut", || {
        // They may be closed already.
        let _ = http1.write_all(b"x");
        let _ = http2.write_all(b"\0\0\x01\0\0\0\0\0\x01x").and_then(|()| http2.flush());
        edge.metric(cut) > 1.5
    });
    let answer = String::from_utf8(read_to_end(&mut http1)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!(origin.complete(), 0);
}

#[test]
fn a_body_has_a_time_in_all() {
    let (edge, _origin) = serving(
        "[limits]\nrequest_body_total_timeout = \"300ms\"\n[upstream]\nwrite_timeout = \"100ms\"",
    );
    let mut http1 = connect(&edge, "shop.example", "http/1.1");
    let post = b"POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 100000\r\n\r\n";
    http1.write_all(post).unwrap();
    let answer = String::from_utf8(read_to_end(&mut http1)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    let mut http2 = connect(&edge, "shop.example", "h2");
    http2.write_all(POST).unwrap();
    edge.wait_for_metric("landfall_cuts_total{reason=\"body_timeout\"}", 2.0);
}

#[test]
fn a_client_that_reads_no_response_is_cut() {
    let more = "[limits]\nresponse_write_timeout = \"300ms\"";
    let (mut edge, origin) = (Edge::start(more), Origin::start());
    edge.serve("shop.example", origin.address());
    let mut stream = connect(&edge, "shop.example", "http/1.1");
    // The origin answers with what it gets: more than the sockets' buffers hold.
    let length = 64 << 20;
    let post = format!("POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(post.as_bytes()).unwrap();
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..64 {
        stream.write_all(&piece).unwrap();
    }
    edge.wait_for_metric("landfall_open_connections{listener=\"https\"}", 0.0);
}
