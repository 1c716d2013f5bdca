//! What a hostname's owner decides.

use std::io::Write;

use landfall_model::{ClientAuth, ClientAuthMode, Der, TlsPolicy};

use crate::support::{Edge, Origin, Scripted, connect, curl, exchange, read_to_end};

fn plain(edge: &Edge, request: &str) -> String {
    String::from_utf8_lossy(&exchange(edge.http(), request.as_bytes())).into_owned()
}

fn page(fields: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/html\r\n{fields}\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

#[test]
fn plain_http_is_proxied_where_its_owner_wants_it() {
    let (mut edge, origin) = (Edge::start(""), Origin::start());
    edge.serve_http("shop.example", origin.address(), r#"{"httpsRedirect":false}"#);
    let request = "GET /a HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n";
    let answer = plain(&edge, request);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let seen = answer.to_lowercase();
    assert!(seen.contains("\r\nx-forwarded-proto: http\r\n"), "{seen}");
    assert!(seen.contains(";proto=http\r\n"), "{seen}");
}

#[test]
fn plain_http_is_never_a_way_around_client_certificates() {
    let (mut edge, origin) = (Edge::start(""), Origin::start());
    let key = rcgen::KeyPair::generate().unwrap();
    let root = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
    let auth = ClientAuth { mode: ClientAuthMode::Required, ca: vec![Der(root.der().to_vec())] };
    let policy = TlsPolicy { client_auth: Some(auth), ..TlsPolicy::default() };
    edge.serve_http_with("shop.example", origin.address(), r#"{"httpsRedirect":false}"#, policy);
    let request = "GET /a HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n";
    let answer = plain(&edge, request);
    assert!(answer.starts_with("HTTP/1.1 308 "), "{answer}");
    assert_eq!(origin.requests(), 0);
}

#[test]
fn an_open_connection_does_not_outlive_a_change_of_client_certificates() {
    let (mut edge, origin) = (Edge::start(""), Origin::start());
    edge.serve("shop.example", origin.address());
    let mut stream = connect(&edge, "shop.example", "http/1.1");
    let key = rcgen::KeyPair::generate().unwrap();
    let root = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
    let auth = ClientAuth { mode: ClientAuthMode::Required, ca: vec![Der(root.der().to_vec())] };
    let policy = TlsPolicy { client_auth: Some(auth), ..TlsPolicy::default() };
    edge.serve_with("shop.example", origin.address(), policy);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n").unwrap();
    let answer = read_to_end(&mut stream);
    assert!(answer.starts_with(b"HTTP/1.1 421 "), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(origin.requests(), 0);
}

#[test]
fn strict_transport_security_is_the_hostnames_and_over_tls_alone() {
    let origin = Scripted::answering(page("Strict-Transport-Security: max-age=1\r\n", "ok"));
    let mut edge = Edge::start("");
    let policy = r#"{"httpsRedirect":false,"hsts":{"maxAge":600,"includeSubdomains":true}}"#;
    edge.serve_http("shop.example", origin.address(), policy);
    edge.serve("own.example", origin.address());
    for option in ["--http1.1", "--http2"] {
        let answer = curl(&edge, "shop.example", "/", &[option, "--include"]).body.to_lowercase();
        let expected = "\r\nstrict-transport-security: max-age=600; includesubdomains\r\n";
        assert!(answer.contains(expected), "{answer}");
        assert!(!answer.contains("max-age=1\r\n"), "{answer}");
        let answer = curl(&edge, "own.example", "/", &[option, "--include"]).body.to_lowercase();
        assert!(answer.contains("\r\nstrict-transport-security: max-age=1\r\n"), "{answer}");
    }
    let request = "GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n";
    assert!(!plain(&edge, request).contains("max-age=600"));
}

#[test]
fn headers_are_edited_both_ways() {
    let origin = Scripted::answering(page("Server: origin\r\nX-Frame-Options: DENY\r\n", "ok"));
    let mut edge = Edge::start("");
    let policy = r#"{"requestHeaders":[{"name":"X-Tenant","value":"7"},{"name":"Cookie"}],
        "responseHeaders":[{"name":"Server"},{"name":"X-Frame-Options","value":"SAMEORIGIN"}]}"#;
    edge.serve_http("shop.example", origin.address(), policy);
    for option in ["--http1.1", "--http2"] {
        let sent = [option, "--include", "-H", "X-Tenant: 8", "-H", "Cookie: a=1"];
        let answer = curl(&edge, "shop.example", "/", &sent).body.to_lowercase();
        assert!(!answer.contains("server:"), "{answer}");
        assert!(answer.contains("x-frame-options: sameorigin\r\n"), "{answer}");
        let seen = origin.headers().pop().unwrap();
        assert!(seen.contains("\r\nx-tenant: 7\r\n") && !seen.contains("x-tenant: 8"), "{seen}");
        assert!(!seen.contains("cookie"), "{seen}");
    }
}

#[test]
fn a_body_that_says_that_it_is_too_large_reaches_no_origin() {
    let mut edge = Edge::start("[http]\nmax_body = \"2KiB\"");
    let origin = Origin::start();
    edge.serve("shop.example", origin.address());
    edge.serve_http("small.example", origin.address(), r#"{"maxBody":10}"#);
    edge.serve_http("large.example", origin.address(), r#"{"maxBody":10000}"#);
    let status = |name: &str, length: usize, option: &str| {
        let body = "x".repeat(length);
        curl(&edge, name, "/", &[option, "-H", "Expect:", "--data", &body]).status
    };
    for option in ["--http1.1", "--http2"] {
        assert_eq!(status("small.example", 10, option), 200);
        assert_eq!(status("small.example", 11, option), 413);
        assert_eq!(status("shop.example", 2049, option), 413);
        assert_eq!(status("large.example", 9000, option), 200);
    }
    assert_eq!(origin.requests(), 4);
}

#[test]
fn a_body_that_grows_too_large_is_cut_off() {
    let mut edge = Edge::start("");
    let origin = Origin::start();
    edge.serve_http("small.example", origin.address(), r#"{"maxBody":1000}"#);
    let mut stream = connect(&edge, "small.example", "http/1.1");
    let chunk = format!("64\r\n{}\r\n", "x".repeat(100));
    let header = "POST / HTTP/1.1\r\nHost: small.example\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(header.as_bytes()).unwrap();
    stream.write_all(chunk.repeat(11).as_bytes()).unwrap();
    let answer = String::from_utf8(read_to_end(&mut stream)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "x".repeat(100_000)).unwrap();
    let upload = ["-X", "POST", "-H", "Content-Length:", "-T", file.path().to_str().unwrap()];
    let answer = curl(&edge, "small.example", "/", &[&upload[..], &["--http2"]].concat());
    assert_eq!(answer.status, 413, "{answer:?}");
}

#[test]
fn responses_are_compressed_as_their_clients_take_them() {
    let body = "Hello, hello, hello. ".repeat(2_000);
    let origin = Scripted::answering(page("ETag: \"1\"\r\n", &body));
    let mut edge = Edge::start("");
    edge.serve_http("shop.example", origin.address(), r#"{"compression":true}"#);
    edge.serve("plain.example", origin.address());
    for option in ["--http1.1", "--http2"] {
        for (accepted, expected) in
            [("gzip", "gzip"), ("br;q=1, gzip;q=0.5", "br"), ("zstd", "zstd")]
        {
            let accept = format!("Accept-Encoding: {accepted}");
            let size = [
                "--output",
                "/dev/null",
                "--write-out",
                "%{size_download} %header{content-encoding} %header{vary} %header{etag} %header{content-length}\n%{http_code} %{http_version}",
            ];
            let options = [&size[..], &["-H", &accept, option]].concat();
            let answer = curl(&edge, "shop.example", "/", &options);
            let (size, fields) = answer.body.split_once(' ').unwrap();
            assert!(size.parse::<usize>().unwrap() < 2_000, "{answer:?}");
            assert_eq!(fields.to_lowercase(), format!("{expected} accept-encoding w/\"1\" "));
        }
        let answer = curl(&edge, "shop.example", "/", &[option, "--compressed"]);
        assert!(answer.body == body, "{} bytes, exit {}, {option}", answer.body.len(), answer.exit);
        let answer = curl(&edge, "shop.example", "/", &[option, "--include"]).body.to_lowercase();
        assert!(answer.contains("\r\nvary: accept-encoding\r\n"), "{}", &answer[..300]);
        assert!(answer.contains("\r\netag: \"1\"\r\n"), "{}", &answer[..300]);
        let sent = ["-H", "Accept-Encoding: gzip", option, "--include"];
        let answer = curl(&edge, "plain.example", "/", &sent).body.to_lowercase();
        assert!(!answer.contains("content-encoding") && !answer.contains("vary"));
    }
}

#[test]
fn a_part_of_a_response_is_never_compressed() {
    let origin = Scripted::answering(format!(
        "HTTP/1.1 206 Partial Content\r\nConnection: close\r\nContent-Type: text/html\r\n\
                 Content-Range: bytes 0-999/2000\r\nContent-Length: 1000\r\n\r\n{}",
        "x".repeat(1000)
    ));
    let mut edge = Edge::start("");
    edge.serve_http("shop.example", origin.address(), r#"{"compression":true}"#);
    let sent = ["-H", "Accept-Encoding: gzip", "-H", "Range: bytes=0-999", "-H", "If-Range: \"1\""];
    let answer = curl(&edge, "shop.example", "/", &sent);
    assert_eq!((answer.status, answer.body.len()), (206, 1000));
    let seen = origin.headers().pop().unwrap();
    assert!(
        seen.contains("\r\nrange: bytes=0-999\r\n") && seen.contains("\r\nif-range: \"1\"\r\n")
    );
}
