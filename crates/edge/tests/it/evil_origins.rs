//! Origins whose answers could be read in two ways, or as more than one (RFC 9112 section 11.1).

use std::io::{BufRead, BufReader, Read, Write};

use crate::support::{Edge, Scripted, connect, curl, read_to_end};

fn served(origin: &Scripted) -> Edge {
    let mut edge = Edge::start("");
    edge.serve("shop.example", origin.address());
    edge
}

/// All that an HTTP/1 client gets for its request.
fn raw(edge: &Edge, request: &str) -> String {
    let mut stream = connect(edge, "shop.example", "http/1.1");
    stream.write_all(request.as_bytes()).unwrap();
    String::from_utf8_lossy(&read_to_end(&mut stream)).into_owned()
}

#[test]
fn a_response_with_an_ambiguous_end_is_a_bad_gateway() {
    let chunks = "\r\n\r\n5\r\nhello\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    let table = [
        "Content-Length: 3\r\nContent-Length: 5\r\n\r\nhello",
        "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        "Content-Length: 5, 5\r\n\r\nhello",
        "Content-Length: +5\r\n\r\nhello",
        "Content-Length:\r\n\r\nhello",
        "Transfer-Encoding: gzip\r\n\r\nhello",
        &format!("Transfer-Encoding: gzip, chunked{chunks}"),
        &format!("Transfer-Encoding: chunked, gzip{chunks}"),
        &format!("Transfer-Encoding: xchunked{chunks}"),
        &format!("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked{chunks}"),
    ];
    for fields in table {
        let origin = Scripted::answering(format!("HTTP/1.1 200 OK\r\n{fields}"));
        let edge = served(&origin);
        for option in ["--http1.1", "--http2"] {
            let answer = curl(&edge, "shop.example", "/", &[option]);
            assert_eq!(answer.status, 502, "{fields}");
            assert!(!answer.body.contains("hello"), "{fields}: {answer:?}");
        }
    }
}

#[test]
fn another_protocol_than_was_asked_for_is_a_bad_gateway() {
    let origin = Scripted::answering(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    );
    let edge = served(&origin);
    for option in ["--http1.1", "--http2"] {
        assert_eq!(curl(&edge, "shop.example", "/", &[option]).status, 502);
    }
    for fields in [
        // Not said to be of this connection, and such as nobody is asked for.
        "Upgrade: websocket",
        "Connection: upgrade\r\nUpgrade: h2c",
        "Connection: upgrade\r\nUpgrade: TLS/1.2",
        "Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c",
    ] {
        let request = format!(
            "GET / HTTP/1.1\r\nHost: shop.example\r\n{fields}\r\n\r\n\
             GET /smuggled HTTP/1.1\r\nHost: shop.example\r\n\r\n"
        );
        let answer = raw(&edge, &request);
        assert!(answer.starts_with("HTTP/1.1 502 "), "{fields}: {answer}");
        assert!(!answer.contains("evil"), "{fields}: {answer}");
        let seen = origin.headers().pop().unwrap();
        assert!(!seen.contains("upgrade"), "{fields}: {seen}");
    }
    assert_eq!(origin.headers().len(), 6);
}

#[test]
fn informational_answers_say_nothing_of_a_connection_or_a_body() {
    let origin = Scripted::answering(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x-hop\r\nX-Hop: 1\r\n\
         Keep-Alive: timeout=5\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let edge = served(&origin);
    let request = "GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n";
    let answer = raw(&edge, request);
    assert!(answer.starts_with("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP"), "{answer}");
    // HTTP/1.0 has none: the first header is the answer's.
    let answer = raw(&edge, &request.replace("1.1", "1.0"));
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nok"), "{answer}");
}

#[test]
fn an_origin_that_never_comes_to_its_answer_is_a_bad_gateway() {
    let origin = Scripted::start(|mut exchange| {
        let hint = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
        while exchange.stream.get_mut().write_all(hint).is_ok() {}
    });
    let edge = served(&origin);
    let request = "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n";
    let answer = raw(&edge, request);
    assert!(answer.contains("\r\n\r\nHTTP/1.1 502 "), "{answer}");
    assert_eq!(curl(&edge, "shop.example", "/", &["--http2"]).status, 502);
}

#[test]
fn an_answer_without_content_says_nothing_of_its_length() {
    for fields in ["Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"]
    {
        let origin = Scripted::answering(format!("HTTP/1.1 204 No Content\r\n{fields}"));
        let edge = served(&origin);
        let request = "GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n";
        let answer = raw(&edge, request).to_lowercase();
        assert!(answer.starts_with("http/1.1 204 ") && answer.ends_with("\r\n\r\n"), "{answer}");
        assert!(!answer.contains("content-length") && !answer.contains("transfer"), "{answer}");
    }
}

#[test]
fn a_field_that_http2_has_no_place_for_costs_no_response() {
    let origin = Scripted::answering(
        "HTTP/1.1 200 OK\r\nTE: gzip\r\nKeep-Alive: 1\r\nProxy-Connection: x\r\nUpgrade: h2c\r\n\
         Content-Length: 2\r\n\r\nok",
    );
    let answer = curl(&served(&origin), "shop.example", "/", &["--http2"]);
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
}

#[test]
fn the_start_of_a_response_that_breaks_off_arrives() {
    let origin = Scripted::answering("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
    let edge = served(&origin);
    let mut stream = BufReader::new(connect(&edge, "shop.example", "http/1.1"));
    stream.get_mut().write_all(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n").unwrap();
    let mut first = String::new();
    stream.read_line(&mut first).unwrap();
    // Without it clients take the request for one that nobody has seen, and send it again.
    assert_eq!(first, "HTTP/1.1 200 OK\r\n");
    let mut rest = Vec::new();
    // The end is one without close_notify.
    let _ = stream.read_to_end(&mut rest);
    assert!(!String::from_utf8_lossy(&rest).ends_with("hello\n"));
}
