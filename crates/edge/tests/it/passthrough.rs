//! What goes through the edge as it comes: protocols, streams, informational answers.

use std::{
    io::{BufRead, BufReader, Read, Write},
    sync::{Mutex, mpsc},
};

use crate::support::{Edge, PATIENCE, Scripted, connect, curl, read_to_end};

fn served(origin: &Scripted) -> Edge {
    let mut edge = Edge::start("");
    edge.serve("shop.example", origin.address());
    edge
}

/// Reads a header up to its empty line.
fn header(stream: &mut impl BufRead) -> String {
    let mut header = String::new();
    while !header.ends_with("\r\n\r\n") {
        assert_ne!(stream.read_line(&mut header).unwrap(), 0, "the end after {header:?}");
    }
    header
}

fn chunked(pieces: &[&str]) -> String {
    let chunk = |piece: &&str| format!("{:x}\r\n{piece}\r\n", piece.len());
    pieces.iter().map(chunk).collect()
}

/// Changes to whichever protocol is asked for, and repeats what it is sent.
fn echoing() -> Scripted {
    Scripted::start(|mut exchange| {
        let header = exchange.header.to_lowercase();
        let wanted = header.lines().find_map(|line| line.strip_prefix("upgrade: "));
        assert!(header.contains("\r\nconnection: upgrade\r\n"), "{header}");
        exchange.send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {}\r\n\r\n",
            wanted.unwrap()
        ));
        let mut bytes = [0; 5];
        while exchange.stream.read_exact(&mut bytes).is_ok() {
            exchange.send(bytes);
        }
    })
}

#[test]
fn an_upgraded_connection_is_a_pipe_in_both_directions() {
    let origin = echoing();
    let edge = served(&origin);
    for protocol in ["websocket", "my-own/2"] {
        let mut stream = BufReader::new(connect(&edge, "shop.example", "http/1.1"));
        let request = format!(
            "GET /chat HTTP/1.1\r\nHost: shop.example\r\nConnection: keep-alive, Upgrade\r\n\
             Upgrade: {protocol}\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.get_mut().write_all(request.as_bytes()).unwrap();
        let answer = header(&mut stream).to_lowercase();
        assert!(answer.starts_with("http/1.1 101 "), "{answer}");
        assert!(answer.contains(&format!("\r\nupgrade: {protocol}\r\n")), "{answer}");
        for text in ["hello", "\0\r\n\r\n", "again"] {
            stream.get_mut().write_all(text.as_bytes()).unwrap();
            let mut echo = [0; 5];
            stream.read_exact(&mut echo).unwrap();
            assert_eq!(echo, text.as_bytes());
        }
        stream.get_mut().conn.send_close_notify();
        stream.get_mut().flush().unwrap();
        assert!(read_to_end(&mut stream).is_empty());
    }
}

#[test]
fn an_upgrade_to_http_is_not_asked_of_the_origin() {
    let origin = Scripted::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let edge = served(&origin);
    let upgrade = ["-H", "Connection: Upgrade, HTTP2-Settings", "-H", "Upgrade: h2c"];
    let options = [&upgrade[..], &["-H", "HTTP2-Settings: AAMAAABk", "--http1.1"]].concat();
    assert_eq!(curl(&edge, "shop.example", "/", &options).status, 200);
    let seen = origin.headers().pop().unwrap();
    assert!(!seen.contains("h2c") && !seen.contains("http2-settings"), "{seen}");
}

#[test]
fn an_event_arrives_before_the_next_one_is_sent() {
    let (next, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let origin = Scripted::start(move |mut exchange| {
        exchange.send(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
             Transfer-Encoding: chunked\r\n\r\n",
        );
        exchange.send(chunked(&["data: one\n\n"]));
        let _ = wait.lock().unwrap().recv_timeout(PATIENCE);
        exchange.send(chunked(&["data: two\n\n", ""]));
    });
    let mut edge = Edge::start("");
    edge.serve_http("shop.example", origin.address(), r#"{"compression":true}"#);
    let mut stream = BufReader::new(connect(&edge, "shop.example", "http/1.1"));
    let request = "GET / HTTP/1.1\r\nHost: shop.example\r\nAccept-Encoding: gzip\r\n\
                   Connection: close\r\n\r\n";
    stream.get_mut().write_all(request.as_bytes()).unwrap();
    header(&mut stream);
    let mut first = String::new();
    while !first.contains("data: one") {
        stream.read_line(&mut first).unwrap();
    }
    next.send(()).unwrap();
    let rest = String::from_utf8(read_to_end(&mut stream)).unwrap();
    assert!(rest.contains("data: two"), "{rest}");
}

#[test]
fn a_body_waits_for_the_origins_100_where_its_client_does() {
    let origin = Scripted::start(|mut exchange| {
        assert!(exchange.header.to_lowercase().contains("expect: 100-continue"));
        if exchange.header.starts_with("POST /polite ") {
            exchange.send("HTTP/1.1 100 Continue\r\n\r\n");
        }
        let mut body = [0; 4];
        if exchange.stream.read_exact(&mut body).is_ok() {
            exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\n");
            exchange.send(body);
        }
    });
    let edge = served(&origin);
    let mut stream = BufReader::new(connect(&edge, "shop.example", "http/1.1"));
    let request = "POST /polite HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 4\r\n\
                   Expect: 100-continue\r\nConnection: close\r\n\r\n";
    stream.get_mut().write_all(request.as_bytes()).unwrap();
    assert!(header(&mut stream).starts_with("HTTP/1.1 100 "));
    stream.get_mut().write_all(b"body").unwrap();
    let answer = String::from_utf8(read_to_end(&mut stream)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nbody"), "{answer}");
    // One that says nothing gets the body when the client is tired of waiting.
    let expect = ["--http1.1", "-H", "Expect: 100-continue", "--expect100-timeout", "0.2"];
    let answer = curl(&edge, "shop.example", "/mute", &[&expect[..], &["-d", "body"]].concat());
    assert_eq!((answer.status, answer.body.as_str()), (200, "body"));
}

#[test]
fn early_hints_come_early_over_http1() {
    let origin = Scripted::answering(
        "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
    );
    let edge = served(&origin);
    let include = |option| curl(&edge, "shop.example", "/", &[option, "--include"]).body;
    let answer = include("--http1.1").to_lowercase();
    let (hints, rest) = answer.split_once("\r\n\r\n").unwrap();
    assert!(hints.starts_with("http/1.1 103"), "{answer}");
    assert!(hints.contains("link: </style.css>; rel=preload"), "{answer}");
    assert!(rest.starts_with("http/1.1 200") && rest.ends_with("\r\n\r\nok"), "{answer}");
    // pingora has no informational responses over HTTP/2: the answer comes without them.
    let answer = include("--http2");
    assert!(answer.starts_with("HTTP/2 200") && answer.ends_with("\r\n\r\nok"), "{answer}");
}

#[test]
fn an_http10_client_gets_no_chunks_and_may_keep_its_connection() {
    let origin = Scripted::start(|mut exchange| {
        if exchange.header.starts_with("GET /chunked ") {
            exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            exchange.send(chunked(&["hello ", "world", ""]));
        } else {
            exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
        }
    });
    let edge = served(&origin);
    let mut stream = connect(&edge, "shop.example", "http/1.1");
    let request = "GET /chunked HTTP/1.0\r\nHost: shop.example\r\nConnection: keep-alive\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let answer = String::from_utf8(read_to_end(&mut stream)).unwrap();
    assert!(!answer.to_lowercase().contains("transfer-encoding"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nhello world"), "{answer}");
    let mut stream = BufReader::new(connect(&edge, "shop.example", "http/1.1"));
    for _ in 0..2 {
        let request = "GET / HTTP/1.0\r\nHost: shop.example\r\nConnection: keep-alive\r\n\r\n";
        stream.get_mut().write_all(request.as_bytes()).unwrap();
        let answer = header(&mut stream).to_lowercase();
        assert!(answer.contains("\r\nconnection: keep-alive\r\n"), "{answer}");
        stream.read_exact(&mut [0; 2]).unwrap();
    }
}

#[test]
fn what_has_no_body_has_none_whatever_its_origin_says() {
    let origin = Scripted::start(|mut exchange| {
        let status = match exchange.header.split(' ').nth(1).unwrap() {
            "/204" => "204 No Content\r\n",
            "/304" => "304 Not Modified\r\nETag: \"1\"\r\n",
            _ => "200 OK\r\nContent-Length: 1234\r\n",
        };
        exchange.send(format!("HTTP/1.1 {status}Connection: close\r\n\r\n"));
    });
    let edge = served(&origin);
    for option in ["--http1.1", "--http2"] {
        for (path, status) in [("/204", 204), ("/304", 304)] {
            let answer = curl(&edge, "shop.example", path, &[option]);
            assert_eq!((answer.status, answer.body.as_str(), answer.exit), (status, "", 0));
        }
        let answer = curl(&edge, "shop.example", "/", &[option, "--head"]);
        assert_eq!((answer.status, answer.exit), (200, 0));
        assert!(answer.body.to_lowercase().contains("content-length: 1234"), "{answer:?}");
    }
}

#[test]
fn large_bodies_go_through_both_ways_whole() {
    const LEN: u64 = 200 << 20;
    let origin = Scripted::start(|mut exchange| {
        let mut piece = vec![b'x'; 1 << 16];
        if exchange.header.starts_with("GET ") {
            exchange.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LEN}\r\n\r\n"));
            (0..LEN >> 16).for_each(|_| exchange.send(&piece));
        } else {
            let mut seen = 0;
            while seen < LEN {
                match exchange.stream.read(&mut piece) {
                    Ok(count @ 1..) => seen += count as u64,
                    Ok(0) | Err(_) => break,
                }
            }
            let text = seen.to_string();
            exchange.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", text.len()));
            exchange.send(text);
        }
    });
    let edge = served(&origin);
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(LEN).unwrap();
    let path = file.path().to_str().unwrap();
    for option in ["--http1.1", "--http2"] {
        let size = ["--output", "/dev/null", "--write-out", "%{size_download}\n%{http_code} x"];
        let answer = curl(&edge, "shop.example", "/", &[&size[..], &[option]].concat());
        assert_eq!((answer.status, answer.body), (200, LEN.to_string()));
        let upload = ["--upload-file", path, "-H", "Expect:", option];
        assert_eq!(curl(&edge, "shop.example", "/", &upload).body, LEN.to_string());
    }
}
