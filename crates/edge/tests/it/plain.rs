//! The plain HTTP listener.

use std::io::{Read, Write};

use crate::support::{Edge, Origin, curl, exchange, read_to_end, tcp};

fn ask(edge: &Edge, request: &str) -> String {
    String::from_utf8_lossy(&exchange(edge.http(), request.as_bytes())).into_owned()
}

#[test]
fn sends_served_hostnames_to_tls() {
    let mut edge = Edge::start("");
    edge.serve("*.apps.example", Origin::start().address());
    let port = edge.https().port();
    let request = "GET /a?b HTTP/1.1\r\nHost: One.apps.example\r\nConnection: close\r\n\r\n";
    let answer = ask(&edge, request).to_lowercase();
    assert!(answer.starts_with("http/1.1 308 "), "{answer}");
    assert!(
        answer.contains(&format!("location: https://one.apps.example:{port}/a?b\r\n")),
        "{answer}"
    );
}

#[test]
fn names_the_port_that_clients_find_tls_at() {
    let mut edge = Edge::start("[http]\nhttps_port = 443");
    edge.serve("shop.example", Origin::start().address());
    let request = "GET /a HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n";
    let answer = ask(&edge, request).to_lowercase();
    assert!(answer.contains("location: https://shop.example/a\r\n"), "{answer}");
}

#[test]
fn refuses_hostnames_that_are_not_served() {
    let edge = Edge::start("");
    let request = "GET / HTTP/1.1\r\nHost: nobody.example\r\nConnection: close\r\n\r\n";
    let answer = ask(&edge, request);
    assert!(answer.starts_with("HTTP/1.1 421 "), "{answer}");
}

#[test]
fn a_name_that_is_not_verified_serves_nothing_without_a_certificate() {
    let (mut edge, origin) = (Edge::start(""), Origin::start());
    edge.serve_pending("shop.example", origin.address(), r#"{"httpsRedirect":false}"#);
    edge.serve_pending("*.apps.example", origin.address(), r#"{"httpsRedirect":true}"#);
    for name in ["shop.example", "one.apps.example"] {
        let request = format!("GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
        let answer = ask(&edge, &request);
        assert!(answer.starts_with("HTTP/1.1 421 "), "{answer}");
        assert!(!answer.to_lowercase().contains("\r\nlocation:"), "{answer}");
    }
    assert_eq!(origin.requests(), 0);
    assert_eq!(curl(&edge, "shop.example", "/", &[]).status, 200);
    assert_eq!(origin.requests(), 1);

    edge.serve_http("shop.example", origin.address(), r#"{"httpsRedirect":false}"#);
    let request = "GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n";
    assert!(ask(&edge, request).starts_with("HTTP/1.1 200 "));
}

#[test]
fn refuses_what_is_malformed_or_too_large() {
    let edge = Edge::start("[limits]\nheader_count = 5");
    let answer = ask(&edge, "GET / HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let answer = ask(&edge, "GET / HTTP/1.0\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let answer = ask(&edge, "GET / HTTP/1.1\r\nHost: a.example\r\nHost: a.example\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let many = "A: 1\r\n".repeat(10);
    let answer = ask(&edge, &format!("GET / HTTP/1.1\r\nConnection: close\r\n{many}\r\n"));
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[test]
fn a_redirected_connection_is_kept_and_an_http10_one_is_not() {
    let mut edge = Edge::start("");
    edge.serve("shop.example", Origin::start().address());
    let kept = "GET /one HTTP/1.1\r\nHost: shop.example\r\n\r\n";
    let last = "HEAD /two HTTP/1.0\r\nHost: shop.example\r\n\r\n";
    let mut tcp = tcp(edge.http());
    tcp.write_all(kept.as_bytes()).unwrap();
    let mut status = [0; 12];
    tcp.read_exact(&mut status).unwrap();
    tcp.write_all(last.as_bytes()).unwrap();
    let answers = String::from_utf8(read_to_end(&mut tcp)).unwrap();
    assert_eq!(&status, b"HTTP/1.1 308");
    assert!(answers.contains("/one\r\n") && answers.contains("/two\r\n"), "{answers}");
}
