//! Origins over TLS and HTTP/2.

use std::io::{BufRead, BufReader, Read, Write};

use landfall_model::{Der, OriginName, OriginPool, OriginProtocol};

use crate::support::{Edge, SecureOrigin, connect, curl, run};

/// A pool of one origin at an address, with roots of its own.
fn pool(origin: &SecureOrigin, ca: Vec<Der>) -> OriginPool {
    let url = format!("https://{}", origin.address).parse().unwrap();
    OriginPool { ca, ..OriginPool::of(url) }
}

fn status(edge: &Edge, name: &str) -> u16 {
    curl(edge, name, "/", &[]).status
}

#[test]
fn an_origins_certificate_is_verified() {
    let origin = SecureOrigin::tls("origin.example", &["http/1.1"]);
    let fixed = OriginName::Fixed("origin.example".parse().unwrap());
    let own = || vec![origin.root.clone()];
    let mut edge = Edge::start("[upstream]\neject_after = 1000");
    edge.serve_pool("good.example", OriginPool { sni: fixed.clone(), ..pool(&origin, own()) });
    assert_eq!(status(&edge, "good.example"), 200);
    assert_eq!(origin.names(), [Some("origin.example".to_owned())]);

    // Another root, another name, the address in the place of a name.
    edge.serve_pool("root.example", OriginPool { sni: fixed, ..pool(&origin, Vec::new()) });
    edge.serve_pool(
        "name.example",
        OriginPool { sni: OriginName::Request, ..pool(&origin, own()) },
    );
    edge.serve_pool("address.example", pool(&origin, own()));
    for name in ["root.example", "name.example", "address.example"] {
        assert_eq!(status(&edge, name), 502, "{name}");
    }
    assert_eq!(origin.requests(), 1);
    assert!(edge.metric("landfall_upstream_failures_total{reason=\"tls\"}") >= 3.0);

    edge.serve_pool("blind.example", OriginPool { verify: false, ..pool(&origin, own()) });
    assert_eq!(status(&edge, "blind.example"), 200);
    // Nobody goes over the connection that somebody else chose not to verify, or has verified.
    for name in ["root.example", "name.example", "address.example"] {
        assert_eq!(status(&edge, name), 502, "{name}");
    }
}

#[test]
fn an_origin_at_an_address_is_verified_by_it() {
    let origin = SecureOrigin::tls("127.0.0.1", &["http/1.1"]);
    let mut edge = Edge::start("");
    edge.serve_pool("shop.example", pool(&origin, vec![origin.root.clone()]));
    assert_eq!(status(&edge, "shop.example"), 200);
    // An address is no name for SNI (RFC 6066 section 3).
    assert_eq!(origin.names(), [None]);
}

#[test]
fn the_nodes_roots_can_be_a_file() {
    let origin = SecureOrigin::tls("127.0.0.1", &["http/1.1"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    let text = std::process::Command::new("openssl")
        .args(["x509", "-inform", "DER", "-out"])
        .arg(&file)
        .args(["-in", "/dev/stdin"])
        .stdin(std::process::Stdio::piped())
        .spawn();
    let mut openssl = text.unwrap();
    std::io::Write::write_all(&mut openssl.stdin.take().unwrap(), &origin.root.0).unwrap();
    assert!(openssl.wait().unwrap().success());
    let mut edge = Edge::start(&format!("[upstream]\nca_file = {:?}", file.to_str().unwrap()));
    edge.serve_pool("shop.example", pool(&origin, Vec::new()));
    assert_eq!(status(&edge, "shop.example"), 200);
}

#[test]
fn the_clients_hostname_can_be_the_sni() {
    let origin = SecureOrigin::tls("shop.example", &["http/1.1"]);
    let mut edge = Edge::start("");
    let pool = pool(&origin, vec![origin.root.clone()]);
    edge.serve_pool("shop.example", OriginPool { sni: OriginName::Request, ..pool });
    assert_eq!(status(&edge, "shop.example"), 200);
    assert_eq!(origin.names(), [Some("shop.example".to_owned())]);
}

#[test]
fn http2_is_spoken_where_it_is_wanted_over_one_connection() {
    let origin = SecureOrigin::tls("127.0.0.1", &["h2", "http/1.1"]);
    let mut edge = Edge::start("");
    for (name, protocol, expected) in [
        ("two.example", OriginProtocol::Http2, "HTTP/2 https://two.example/"),
        ("auto.example", OriginProtocol::Auto, "HTTP/2 https://auto.example/"),
        ("one.example", OriginProtocol::Http1, "GET / HTTP/1.1"),
    ] {
        let pool = pool(&origin, vec![origin.root.clone()]);
        edge.serve_pool(name, OriginPool { protocol, ..pool });
        for _ in 0..2 {
            let answer = curl(&edge, name, "/", &[]);
            assert_eq!(answer.status, 200, "{name}");
            assert!(answer.body.starts_with(expected), "{}", answer.body);
        }
    }
    assert_eq!(origin.connections(), 3);
}

#[test]
fn an_origin_that_only_speaks_http1_is_spoken_to_where_the_protocol_is_open() {
    let origin = SecureOrigin::tls("127.0.0.1", &["http/1.1"]);
    let mut edge = Edge::start("");
    let pool = pool(&origin, vec![origin.root.clone()]);
    edge.serve_pool("shop.example", OriginPool { protocol: OriginProtocol::Auto, ..pool });
    assert_eq!(status(&edge, "shop.example"), 200);
}

#[test]
fn http2_without_tls_takes_trailers_through_and_refused_requests_again() {
    let origin = SecureOrigin::plain_http2();
    let mut edge = Edge::start("");
    let url = format!("http://{}", origin.address).parse().unwrap();
    let pool = OriginPool { protocol: OriginProtocol::Http2, ..OriginPool::of(url) };
    edge.serve_pool("shop.example", pool);
    // Even a POST: the origin says that it did nothing with it.
    let answer = curl(&edge, "shop.example", "/refused", &["--data", "pay"]);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(origin.requests(), 2);
    let url = format!("https://{}/trailers", edge.https());
    let nghttp = ["--verbose", "--no-verify-peer", "--header=:authority: shop.example", &url];
    let answer = run("nghttp", &nghttp);
    let answer = String::from_utf8_lossy(&answer.stdout).into_owned();
    assert!(answer.contains("HTTP/2 http://shop.example/trailers"), "{answer}");
    assert!(answer.contains("grpc-status: 0"), "{answer}");
}

#[test]
fn each_of_many_upgrades_over_tls_stays_open_though_the_origin_answers_at_once() {
    let origin = SecureOrigin::tls("127.0.0.1", &["h2", "http/1.1"]);
    let mut edge = Edge::start("");
    let pool = pool(&origin, vec![origin.root.clone()]);
    edge.serve_pool("shop.example", OriginPool { protocol: OriginProtocol::Auto, ..pool });
    let request = "GET /chat HTTP/1.1\r\nHost: shop.example\r\nConnection: Upgrade\r\n\
                   Upgrade: websocket\r\n\r\n";
    for number in 0..100 {
        let mut stream = BufReader::new(connect(&edge, "shop.example", "http/1.1"));
        stream.get_mut().write_all(request.as_bytes()).unwrap();
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            assert_ne!(stream.read_line(&mut line).unwrap(), 0, "{number}");
        }
        stream.get_mut().write_all(b"hello").unwrap();
        let mut echo = [0; 5];
        stream.read_exact(&mut echo).unwrap_or_else(|error| panic!("{number}: {error}"));
        assert_eq!(&echo, b"hello");
    }
}
