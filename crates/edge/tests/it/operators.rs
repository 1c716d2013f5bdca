//! The operators' listener.

use landfall_edge::readiness::Serving;

use crate::support::{Edge, exchange};

fn ask(edge: &Edge, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let answer = exchange(edge.addresses.admin, request.as_bytes());
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn is_alive_at_once_and_ready_with_a_state() {
    let edge = Edge::start("");
    assert!(ask(&edge, "/livez").starts_with("HTTP/1.1 200 "));
    let answer = ask(&edge, "/readyz");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("no state was loaded yet"), "{answer}");
    edge.readiness.update(|state| state.serving = Serving::LastKnownGood);
    let answer = ask(&edge, "/readyz");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("the last-known-good state from disk"), "{answer}");
}

#[test]
fn shows_metrics_that_name_no_hostname() {
    let mut edge = Edge::start("");
    edge.serve("shop.example", "127.0.0.1:1".parse().unwrap());
    let answer = ask(&edge, "/metrics");
    assert!(answer.contains("\nlandfall_store_hostnames 1\n"), "{answer}");
    assert!(answer.contains("# TYPE landfall_store_cache_hits_total counter\n"), "{answer}");
    assert!(!answer.contains("shop.example"), "{answer}");
}

#[test]
fn answers_nothing_else() {
    let edge = Edge::start("");
    assert!(ask(&edge, "/").starts_with("HTTP/1.1 404 "));
}
