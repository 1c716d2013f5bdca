//! What CAs ask for, answered for the names that are being validated.

use landfall_feed::record::{AlpnDigest, ValidationRecord};

use crate::support::{Edge, Origin, exchange, run};

const THUMBPRINT: &str = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";

fn validation(name: &str, alpn: Option<AlpnDigest>) -> ValidationRecord {
    let thumbprint = THUMBPRINT.parse().unwrap();
    ValidationRecord { name: name.parse().unwrap(), thumbprint, alpn, until: u64::MAX }
}

fn ask(edge: &Edge, method: &str, host: &str, path: &str) -> String {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    String::from_utf8_lossy(&exchange(edge.http(), request.as_bytes())).into_owned()
}

#[test]
fn answers_a_token_over_plain_http_for_a_name_that_is_validated_whether_or_not_it_is_served() {
    let mut edge = Edge::start("");
    edge.serve("shop.example", Origin::start().address());
    let path = "/.well-known/acme-challenge/evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA";
    assert!(ask(&edge, "GET", "shop.example", path).starts_with("HTTP/1.1 308 "));
    edge.challenges.insert(validation("shop.example", None));
    edge.challenges.insert(validation("new.example", None));
    let expected = format!("evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA.{THUMBPRINT}");
    for host in ["shop.example", "NEW.example", "new.example:80"] {
        let answer = ask(&edge, "GET", host, path);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.ends_with(&format!("\r\n\r\n{expected}")), "{answer}");
        let answer = ask(&edge, "HEAD", host, path);
        let length = format!("content-length: {}", expected.len());
        assert!(answer.to_lowercase().contains(&length), "{answer}");
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n"), "{answer}");
    }
    let metrics = String::from_utf8(edge.metrics.render().unwrap()).unwrap();
    assert!(metrics.contains("landfall_http_challenges_total 6\n"), "{metrics}");
    for (method, host, path) in [
        ("POST", "shop.example", path),
        ("GET", "shop.example", "/.well-known/acme-challenge/"),
        ("GET", "shop.example", "/.well-known/acme-challenge/a%2fb"),
        ("GET", "shop.example", "/.well-known/acme-challenge/../acme-challenge/a"),
    ] {
        let answer = ask(&edge, method, host, path);
        assert!(answer.starts_with("HTTP/1.1 308 "), "{method} {path}: {answer}");
    }
    assert!(ask(&edge, "GET", "other.example", path).starts_with("HTTP/1.1 421 "));
    edge.challenges.remove("shop.example");
    assert!(ask(&edge, "GET", "shop.example", path).starts_with("HTTP/1.1 308 "));
}

#[test]
fn shows_the_certificate_of_tls_alpn_01_to_who_asks_for_nothing_else() {
    let mut edge = Edge::start("");
    edge.serve("shop.example", Origin::start().address());
    edge.challenges.insert(validation("shop.example", Some(AlpnDigest([0xAB; 32]))));
    let connect = edge.https().to_string();
    let s_client = |alpn: &str| {
        let script = format!(
            "openssl s_client -connect {connect} -servername shop.example -alpn {alpn} </dev/null \
             2>&1 | openssl x509 -noout -text"
        );
        let shown = run("sh", &["-c", &script]);
        String::from_utf8_lossy(&shown.stdout).into_owned()
    };
    let shown = s_client("acme-tls/1");
    // id-pe-acmeIdentifier (RFC 8737 section 6.1), critical, an OCTET STRING of 32 bytes in it.
    assert!(shown.contains("1.3.6.1.5.5.7.1.31: critical"), "{shown}");
    assert!(shown.contains("DNS:shop.example"), "{shown}");
    assert!(!s_client("http/1.1,acme-tls/1").contains("1.3.6.1.5.5.7.1.31"));
    assert!(!s_client("http/1.1").contains("1.3.6.1.5.5.7.1.31"));
    let metrics = String::from_utf8(edge.metrics.render().unwrap()).unwrap();
    let line = "landfall_handshakes_total{result=\"challenge\",version=\"none\"} 1\n";
    assert!(metrics.contains(line), "{metrics}");
}
