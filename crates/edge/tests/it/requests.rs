//! How requests are routed, refused and passed on.

use std::io::Write;

use landfall_model::HostPattern;

use crate::support::{Edge, Origin, connect, curl, read_to_end, refusing_address};

/// Sends one HTTP/1.1 request by hand and gives back the whole answer.
fn raw(edge: &Edge, name: &str, request: &str) -> String {
    let mut stream = connect(edge, name, "http/1.1");
    stream.write_all(request.as_bytes()).unwrap();
    String::from_utf8_lossy(&read_to_end(&mut stream)).into_owned()
}

#[test]
fn proxies_http1_and_http2_over_kept_connections() {
    let (mut edge, origin) = (Edge::start(""), Origin::start());
    edge.serve("shop.example", origin.address());
    for (option, version) in [("--http1.1", "1.1"), ("--http2", "2"), ("--http1.1", "1.1")] {
        let answer = curl(&edge, "shop.example", "/path?query", &[option]);
        assert_eq!((answer.status, answer.version.as_str()), (200, version));
        assert!(answer.body.starts_with("GET /path?query HTTP/1.1\r\n"), "{}", answer.body);
        assert!(answer.body.to_lowercase().contains("\r\nhost: shop.example\r\n"));
    }
    assert_eq!(origin.connections(), 1);
    edge.wait_for_metric("landfall_requests_total{class=\"2xx\"}", 3.0);
    edge.wait_for_metric("landfall_upstream_duration_seconds_count", 3.0);
}

#[test]
fn passes_a_body_on_in_both_directions() {
    let (mut edge, origin) = (Edge::start(""), Origin::start());
    edge.serve("shop.example", origin.address());
    let body = "x".repeat(300_000);
    for option in ["--http1.1", "--http2"] {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &body).unwrap();
        let data = format!("@{}", file.path().display());
        let answer = curl(&edge, "shop.example", "/", &[option, "--data-binary", &data]);
        assert_eq!(answer.status, 200);
        assert!(answer.body.ends_with(&body), "{} bytes came back", answer.body.len());
    }
}

#[test]
fn tells_the_origin_who_asks_and_believes_no_client() {
    let (mut edge, origin) = (Edge::start(""), Origin::start());
    edge.serve("shop.example", origin.address());
    let claims = ["-H", "X-Forwarded-For: 10.0.0.1", "-H", "X_Forwarded_Proto: http"];
    for option in ["--http1.1", "--http2"] {
        let answer = curl(&edge, "shop.example", "/", &[&claims[..], &[option]].concat());
        let seen = answer.body.to_lowercase();
        assert!(seen.contains("\r\nx-forwarded-for: 127.0.0.1\r\n"), "{seen}");
        assert!(seen.contains("\r\nx-forwarded-proto: https\r\n"), "{seen}");
        assert!(seen.contains("\r\nx-forwarded-host: shop.example\r\n"), "{seen}");
        assert!(!seen.contains("10.0.0.1") && !seen.contains("x_forwarded"), "{seen}");
    }
}

#[test]
fn a_connection_header_that_would_strip_what_the_origin_is_told_is_refused() {
    let (mut edge, origin) = (Edge::start(""), Origin::start());
    edge.serve("shop.example", origin.address());
    for name in ["X-Forwarded-For", "X-Forwarded-Proto", "Host"] {
        let trick = format!("Connection: close, {name}");
        assert_eq!(curl(&edge, "shop.example", "/", &["--http1.1", "-H", &trick]).status, 400);
    }
    assert_eq!(origin.requests(), 0);
}

#[test]
fn a_header_that_an_origin_could_read_differently_is_refused() {
    let (mut edge, origin) = (Edge::start(""), Origin::start());
    edge.serve("shop.example", origin.address());
    let post = |fields: &str| format!("POST / HTTP/1.1\r\nHost: shop.example\r\n{fields}\r\n\r\nX");
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    for request in [
        post("Content-Length: 1, 1"),
        post("Content-Length: +1"),
        post("Transfer-Encoding: gzip, chunked"),
        post("Transfer-Encoding: x\r\nTransfer-Encoding: chunked"),
        get("@evil.example/"),
        get("x"),
        get("ET /"),
        get("ftp://shop.example/"),
    ] {
        let answer = raw(&edge, "shop.example", &request);
        assert!(answer.starts_with("HTTP/1.1 400 "), "{request} was answered {answer}");
    }
    assert_eq!(origin.requests(), 0);
}

#[test]
fn an_origin_gets_a_path_and_one_cookie() {
    let (mut edge, origin) = (Edge::start(""), Origin::start());
    edge.serve("shop.example", origin.address());
    let request = "GET http://shop.example/a?b HTTP/1.1\r\nHost: shop.example\r\n\
                   Connection: close\r\n\r\n";
    let answer = raw(&edge, "shop.example", request);
    assert!(answer.contains("\r\n\r\nGET /a?b HTTP/1.1\r\n"), "{answer}");
    for option in ["--http1.1", "--http2"] {
        let cookies = [option, "-H", "Cookie: a=1", "-H", "Cookie: b=2"];
        let seen = curl(&edge, "shop.example", "/", &cookies).body.to_lowercase();
        assert!(seen.contains("\r\ncookie: a=1; b=2\r\n"), "{seen}");
    }
}

#[test]
fn another_hostname_than_the_connections_is_misdirected() {
    let (mut edge, origin) = (Edge::start(""), Origin::start());
    edge.serve("shop.example", origin.address());
    edge.serve("blog.example", origin.address());
    for option in ["--http1.1", "--http2"] {
        for host in ["blog.example", "nobody.example"] {
            let header = format!("Host: {host}");
            let answer = curl(&edge, "shop.example", "/", &[option, "-H", &header]);
            assert_eq!(answer.status, 421, "{host} over {option}");
            assert!(
                answer
                    .body
                    .starts_with("This hostname is not served on this connection.\nRequest id: "),
                "{}",
                answer.body
            );
        }
    }
    assert_eq!(origin.requests(), 0);
}

#[test]
fn names_under_one_wildcard_share_a_connection() {
    let (mut edge, origin) = (Edge::start(""), Origin::start());
    edge.serve("*.apps.example", origin.address());
    edge.serve("own.apps.example", origin.address());
    let status =
        |host: &str| curl(&edge, "one.apps.example", "/", &["-H", &format!("Host: {host}")]).status;
    assert_eq!(status("two.apps.example"), 200);
    // It has an entry of its own, with another certificate.
    assert_eq!(status("own.apps.example"), 421);
    assert_eq!(status("apps.example"), 421);
}

#[test]
fn a_hostname_that_is_deleted_is_misdirected_on_open_connections() {
    let (mut edge, origin) = (Edge::start(""), Origin::start());
    edge.serve("shop.example", origin.address());
    let mut stream = connect(&edge, "shop.example", "http/1.1");
    edge.publisher.remove(&"shop.example".parse::<HostPattern>().unwrap());
    stream.write_all(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n").unwrap();
    let answer = read_to_end(&mut stream);
    assert!(answer.starts_with(b"HTTP/1.1 421 "), "{}", String::from_utf8_lossy(&answer));
}

#[test]
fn a_change_of_route_holds_for_the_next_request() {
    let (mut edge, first, second) = (Edge::start(""), Origin::start(), Origin::start());
    edge.serve("shop.example", first.address());
    assert_eq!(curl(&edge, "shop.example", "/", &[]).status, 200);
    edge.serve("shop.example", second.address());
    assert_eq!(curl(&edge, "shop.example", "/", &[]).status, 200);
    assert_eq!((first.requests(), second.requests()), (1, 1));
}

#[test]
fn a_request_without_a_usable_host_or_with_two_lengths_is_malformed() {
    let (mut edge, origin) = (Edge::start(""), Origin::start());
    edge.serve("shop.example", origin.address());
    let table = [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: shop.example\r\nHost: shop.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: shop.example:x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        "GET https://blog.example/ HTTP/1.1\r\nHost: shop.example\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 5\r\n\
         Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 2\r\n\
         Content-Length: 2\r\n\r\nab",
    ];
    for request in table {
        let answer = raw(&edge, "shop.example", request);
        assert!(answer.starts_with("HTTP/1.1 400 "), "{request:?} got {answer:?}");
    }
    assert_eq!(origin.requests(), 0);
}

#[test]
fn a_header_past_a_limit_is_answered_with_431() {
    let (mut edge, origin) =
        (Edge::start("[limits]\nheader_size = \"2KiB\"\nheader_count = 20"), Origin::start());
    edge.serve("shop.example", origin.address());
    let large = format!("X-Large: {}", "x".repeat(2100));
    let many: Vec<String> = (0..30).map(|number| format!("X-{number}: 1")).collect();
    let many: Vec<&str> = many.iter().flat_map(|field| ["-H", field.as_str()]).collect();
    assert_eq!(curl(&edge, "shop.example", "/", &["--http1.1", "-H", &large]).status, 431);
    for option in ["--http1.1", "--http2"] {
        let answer = curl(&edge, "shop.example", "/", &[&many[..], &[option]].concat());
        assert_eq!(answer.status, 431, "over {option}");
    }
    assert_eq!(curl(&edge, "shop.example", "/", &["--http2", "-H", &large]).status, 431);
    assert_eq!(origin.requests(), 0);
}

#[test]
fn an_origin_that_is_gone_or_breaks_off_is_a_bad_gateway() {
    let (mut edge, origin) = (Edge::start(""), Origin::start());
    edge.serve("shop.example", origin.address());
    edge.serve("gone.example", refusing_address());
    for option in ["--http1.1", "--http2"] {
        let answer = curl(&edge, "gone.example", "/", &[option]);
        assert_eq!((answer.status, answer.exit), (502, 0));
        assert!(
            answer.body.starts_with("The origin could not be reached.\nRequest id: "),
            "{}",
            answer.body
        );
        assert_eq!(curl(&edge, "shop.example", "/hangup", &[option]).status, 502);
    }
}

#[test]
fn a_silent_origin_is_a_gateway_timeout_and_a_post_arrives_once() {
    let (mut edge, origin) = (Edge::start("[upstream]\nread_timeout = \"300ms\""), Origin::start());
    edge.serve("shop.example", origin.address());
    let answer = curl(&edge, "shop.example", "/silent", &["--data", "pay"]);
    assert_eq!(answer.status, 504);
    assert!(
        answer.body.starts_with("The origin did not answer in time.\nRequest id: "),
        "{}",
        answer.body
    );
    assert_eq!(origin.requests(), 1);
}

#[test]
fn a_response_that_breaks_off_is_seen_as_broken() {
    let (mut edge, origin) = (Edge::start(""), Origin::start());
    edge.serve("shop.example", origin.address());
    for option in ["--http1.1", "--http2"] {
        let answer = curl(&edge, "shop.example", "/cut", &[option]);
        assert_ne!(answer.exit, 0, "over {option}: {answer:?}");
    }
}

#[test]
fn a_refusal_of_head_has_no_body_and_of_a_post_comes_whole() {
    let (mut edge, origin) = (Edge::start(""), Origin::start());
    edge.serve("shop.example", origin.address());
    let host = ["-H", "Host: nobody.example"];
    for option in ["--http1.1", "--http2"] {
        let head = curl(&edge, "shop.example", "/", &[&host[..], &["--head", option]].concat());
        assert_eq!((head.status, head.exit), (421, 0), "{head:?}");
        let post = [&host[..], &["--data", "some", option]].concat();
        let post = curl(&edge, "shop.example", "/", &post);
        assert_eq!((post.status, post.exit), (421, 0), "{post:?}");
    }
}

#[test]
fn a_connection_ends_where_its_client_wants_it_to() {
    let (mut edge, origin) = (Edge::start(""), Origin::start());
    edge.serve("shop.example", origin.address());
    let table = [
        "GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: x\r\nConnection: y, Close\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: shop.example\r\n\r\n",
    ];
    for request in table {
        let answer = raw(&edge, "shop.example", request);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

#[test]
fn a_kept_connection_ends_at_the_idle_timeout() {
    let (mut edge, origin) = (Edge::start("[limits]\nidle_timeout = \"1s\""), Origin::start());
    edge.serve("shop.example", origin.address());
    let answer = raw(&edge, "shop.example", "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[test]
fn a_silent_request_body_ends_the_request() {
    let (mut edge, origin) =
        (Edge::start("[limits]\nrequest_body_timeout = \"300ms\""), Origin::start());
    edge.serve("shop.example", origin.address());
    let request = "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 10\r\n\r\nhalf";
    let answer = raw(&edge, "shop.example", request);
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}
