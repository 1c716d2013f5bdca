//! What clients and origins are told, and what neither is believed.

use std::io::Write;

use crate::support::{Edge, Origin, Scripted, connect, curl, exchange, read_to_end};

/// Sends one HTTP/1.1 request by hand and gives back the whole answer.
fn raw(edge: &Edge, name: &str, request: &str) -> String {
    let mut stream = connect(edge, name, "http/1.1");
    stream.write_all(request.as_bytes()).unwrap();
    String::from_utf8_lossy(&read_to_end(&mut stream)).into_owned()
}

fn field<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    answer.lines().find_map(|line| {
        let (found, value) = line.split_once(": ")?;
        found.eq_ignore_ascii_case(name).then_some(value.trim_end())
    })
}

#[test]
fn an_origin_is_told_the_truth_whatever_the_client_claims() {
    let (mut edge, origin) = (Edge::start("[http]\ncdn_id = \"fleet-1\""), Origin::start());
    edge.serve("shop.example", origin.address());
    let claims = [
        "X-Forwarded-For: 10.0.0.1",
        "X_Real_IP: 10.0.0.1",
        "Forwarded: for=10.0.0.1",
        "True-Client-IP: 10.0.0.1",
        "X-Original-URL: /10.0.0.1",
        "Client-Cert: :10.0.0.1:",
        "X-Client-Cert-Subject: CN=10.0.0.1",
        "X-Request-Id: 10.0.0.1",
        "Via: 1.1 before",
        "CDN-Loop: before",
    ];
    let claims: Vec<_> = claims.iter().flat_map(|claim| ["-H", claim]).collect();
    for (option, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let options = [&claims[..], &[option]].concat();
        let seen = curl(&edge, "shop.example", "/", &options).body.to_lowercase();
        assert!(!seen.contains("10.0.0.1"), "{seen}");
        for line in [
            "forwarded: for=127.0.0.1;host=\"shop.example\";proto=https",
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-proto: https",
            "x-forwarded-host: shop.example",
            "x-real-ip: 127.0.0.1",
            "via: 1.1 before",
            &format!("via: {version} fleet-1"),
            "cdn-loop: before",
            "cdn-loop: fleet-1",
        ] {
            assert!(seen.contains(&format!("\r\n{line}\r\n")), "{line} is not in {seen}");
        }
        assert_eq!(field(&seen, "x-request-id").unwrap().len(), 32);
    }
}

#[test]
fn a_request_has_one_id_for_its_client_its_origin_and_its_error() {
    let (mut edge, origin) = (Edge::start(""), Origin::start());
    edge.serve("shop.example", origin.address());
    for option in ["--http1.1", "--http2"] {
        let answer = curl(&edge, "shop.example", "/", &[option, "--include"]).body;
        let (header, seen) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(field(header, "x-request-id"), field(seen, "x-request-id"), "{answer}");
        let answer = curl(&edge, "shop.example", "/hangup", &[option, "--include"]).body;
        let id = field(&answer, "x-request-id").unwrap();
        assert!(answer.ends_with(&format!("\nRequest id: {id}\n")), "{answer}");
    }
}

#[test]
fn the_id_of_a_trusted_peer_is_taken_over_and_of_others_not() {
    let trusting = Edge::start("[http]\ntrusted_peers = [\"127.0.0.0/8\"]");
    for (mut edge, is_taken) in [(trusting, true), (Edge::start(""), false)] {
        let origin = Origin::start();
        edge.serve("shop.example", origin.address());
        let seen = curl(&edge, "shop.example", "/", &["-H", "X-Request-Id: of-the-peer"]).body;
        assert_eq!(seen.contains("of-the-peer"), is_taken, "{seen}");
    }
}

#[test]
fn a_request_that_has_been_here_is_a_loop() {
    let (mut edge, origin) = (Edge::start("[http]\ncdn_id = \"fleet-1\""), Origin::start());
    edge.serve("shop.example", origin.address());
    for option in ["--http1.1", "--http2"] {
        let loops = ["-H", "CDN-Loop: other, fleet-1;x=y", option];
        assert_eq!(curl(&edge, "shop.example", "/", &loops).status, 508);
    }
    let hidden = ["--http1.1", "-H", "CDN-Loop: fleet-1", "-H", "Connection: CDN-Loop"];
    assert_eq!(curl(&edge, "shop.example", "/", &hidden).status, 400);
    assert_eq!(origin.requests(), 0);
    // The edge as its own origin: the second time it finds itself.
    edge.serve_http("loop.example", edge.http(), r#"{"httpsRedirect":false}"#);
    assert_eq!(curl(&edge, "loop.example", "/", &[]).status, 508);
}

#[test]
fn trace_and_connect_are_not_for_origins() {
    let (mut edge, origin) = (Edge::start(""), Origin::start());
    edge.serve("shop.example", origin.address());
    for option in ["--http1.1", "--http2"] {
        let answer = curl(&edge, "shop.example", "/", &[option, "-X", "TRACE", "--include"]);
        assert_eq!(answer.status, 405, "{answer:?}");
        assert!(field(&answer.body, "allow").unwrap().contains("GET"), "{answer:?}");
    }
    for target in ["shop.example:443", "/"] {
        let connect = format!("CONNECT {target} HTTP/1.1\r\nHost: shop.example\r\n\r\n");
        let answer = raw(&edge, "shop.example", &connect);
        assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
        assert!(field(&answer, "x-request-id").is_some(), "{answer}");
        assert!(field(&answer, "server").is_none(), "{answer}");
    }
    assert_eq!(origin.requests(), 0);
}

#[test]
fn an_error_is_json_for_those_who_ask_for_it_and_nothing_for_head() {
    let mut edge = Edge::start("");
    edge.serve("shop.example", "127.0.0.1:1".parse().unwrap());
    for option in ["--http1.1", "--http2"] {
        let json = ["-H", "Accept: application/json", option, "--include"];
        let answer = curl(&edge, "shop.example", "/", &json).body;
        let (header, body) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(field(header, "content-type"), Some("application/problem+json"));
        let problem: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(problem["status"], 502);
        assert_eq!(problem["requestId"], field(header, "x-request-id").unwrap());
        let head = curl(&edge, "shop.example", "/", &["--head", option]);
        assert!(head.body.ends_with("\r\n\r\n") && head.status == 502, "{head:?}");
    }
}

#[test]
fn what_is_malformed_is_answered_in_our_words_on_both_listeners() {
    let mut edge = Edge::start("");
    edge.serve("shop.example", "127.0.0.1:1".parse().unwrap());
    for request in [
        "GET / HTTP/1.1\r\nHost: shop.example\r\nbad field: 1\r\n\r\n",
        "GET / HTTP/9.9\r\nHost: shop.example\r\n\r\n",
        "\u{1}\u{2}\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: shop.example\r\n folded\r\n\r\n",
    ] {
        let plain = exchange(edge.http(), request.as_bytes());
        let plain = String::from_utf8_lossy(&plain).into_owned();
        for answer in [raw(&edge, "shop.example", request), plain] {
            assert!(answer.starts_with("HTTP/1.1 400 "), "{request:?} got {answer:?}");
            let id = field(&answer, "x-request-id").unwrap();
            assert!(answer.ends_with(&format!("Request id: {id}\n")), "{answer}");
            assert!(!answer.contains("Pingora"), "{answer}");
        }
    }
}

#[test]
fn what_an_origin_says_of_its_connection_ends_at_the_edge() {
    let origin = Scripted::answering(
        "HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=9\r\n\
         Upgrade: h2c\r\nX-Kept: 1\r\nContent-Length: 2\r\nX-Request-Id: mine\r\n\r\nok",
    );
    let mut edge = Edge::start("[http]\ncdn_id = \"fleet-1\"");
    edge.serve("shop.example", origin.address());
    for option in ["--http1.1", "--http2"] {
        let answer = curl(&edge, "shop.example", "/", &[option, "--include"]).body.to_lowercase();
        for name in ["x-hop", "keep-alive", "upgrade"] {
            assert_eq!(field(&answer, name), None, "{answer}");
        }
        assert_eq!(field(&answer, "x-kept"), Some("1"));
        assert_eq!(field(&answer, "via"), Some("1.1 fleet-1"));
        assert_ne!(field(&answer, "x-request-id"), Some("mine"));
        assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
    }
}
