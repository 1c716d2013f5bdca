//! The lines that requests leave behind.

use std::{fs, path::Path};

use serde_json::Value;

use crate::support::{Edge, Origin, curl, exchange, wait_until};

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    // The last one may not be whole yet.
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn wait_for_lines(path: &Path, count: usize) -> Vec<Value> {
    wait_until("the lines are written", || lines(path).len() >= count);
    lines(path)
}

fn logging(path: &Path, more: &str) -> Edge {
    Edge::start(&format!("[access_log]\npath = \"{}\"\n{more}", path.display()))
}

#[test]
fn a_request_leaves_a_line_without_its_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let (mut edge, origin) = (logging(&path, "sample.2xx = 1.0"), Origin::start());
    edge.serve("*.apps.example", origin.address());
    let secrets = ["-H", "Authorization: Bearer s3cret", "-H", "Cookie: s3cret", "-A", "me/1"];
    for option in ["--http1.1", "--http2"] {
        let options = [&secrets[..], &[option, "--data", "body", "--include"]].concat();
        let answer = curl(&edge, "one.apps.example", "/a/b?token=s3cret", &options);
        assert_eq!(answer.status, 200);
        let count = if option == "--http2" { 2 } else { 1 };
        let line = wait_for_lines(&path, count).pop().unwrap();
        assert_eq!(line["http.request.method"], "POST");
        assert_eq!(line["url.path"], "/a/b");
        assert_eq!(line["url.scheme"], "https");
        assert_eq!(line["server.address"], "one.apps.example");
        assert_eq!(line["client.address"], "127.0.0.1");
        assert_eq!(line["network.protocol.version"], answer.version);
        assert_eq!(line["tls.protocol.version"], "1.3");
        assert_eq!(line["user_agent.original"], "me/1");
        assert_eq!(line["http.response.status_code"], 200);
        assert_eq!(line["http.request.body.size"], 4);
        assert!(line["http.response.body.size"].as_u64().unwrap() > 100, "{line}");
        assert_eq!(line["landfall.hostname"], "*.apps.example");
        assert_eq!(line["landfall.property"], 1);
        assert_eq!(line["landfall.origin.address"], origin.address().to_string());
        assert!(line["landfall.origin.duration"].as_f64().is_some(), "{line}");
        let id = line["landfall.request.id"].as_str().unwrap();
        assert!(answer.body.to_lowercase().contains(&format!("x-request-id: {id}\r\n")));
    }
    assert!(!fs::read_to_string(&path).unwrap().contains("s3cret"));
}

#[test]
fn successes_are_left_out_and_failures_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let (mut edge, origin) = (logging(&path, ""), Origin::start());
    edge.serve("shop.example", origin.address());
    assert_eq!(curl(&edge, "shop.example", "/", &[]).status, 200);
    assert_eq!(curl(&edge, "shop.example", "/hangup", &[]).status, 502);
    edge.serve("denied.example", "10.0.0.1:80".parse().unwrap());
    assert_eq!(curl(&edge, "denied.example", "/", &[]).status, 502);
    assert_eq!(curl(&edge, "shop.example", "/", &["-H", "Host: other.example"]).status, 421);
    exchange(edge.http(), b"GET /x HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n");
    let lines = wait_for_lines(&path, 4);
    let statuses: Vec<_> =
        lines.iter().map(|line| line["http.response.status_code"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [502, 502, 421, 308]);
    assert_eq!(lines[0]["error.type"], "closed");
    assert_eq!(lines[1]["error.type"], "denied");
    assert_eq!(lines[3]["url.scheme"], "http");
    edge.wait_for_metric("landfall_access_log_lines_total", 4.0);
}

#[test]
fn a_log_that_was_moved_away_begins_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let edge = logging(&path, "");
    let request = b"GET / HTTP/1.1\r\nHost: no.example\r\nConnection: close\r\n\r\n";
    exchange(edge.http(), request);
    wait_for_lines(&path, 1);
    let moved = folder.path().join("access.log.1");
    fs::rename(&path, &moved).unwrap();
    exchange(edge.http(), request);
    wait_for_lines(&path, 1);
    assert_eq!(lines(&moved).len(), 1);
}

#[test]
fn a_log_that_cannot_be_written_costs_lines_and_no_request() {
    let mut edge = logging(Path::new("/dev/full"), "sample.2xx = 1.0");
    let origin = Origin::start();
    edge.serve("shop.example", origin.address());
    assert_eq!(curl(&edge, "shop.example", "/", &[]).status, 200);
    edge.wait_for_metric("landfall_access_log_dropped_total{reason=\"write\"}", 1.0);
    assert_eq!(curl(&edge, "shop.example", "/", &[]).status, 200);
}

#[test]
fn more_than_is_allowed_in_a_second_is_dropped_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let edge = logging(&path, "max_per_second = 1");
    let request = "GET / HTTP/1.1\r\nHost: no.example\r\nConnection: close\r\n\r\n";
    wait_until("a second has had more than one", || {
        exchange(edge.http(), request.as_bytes());
        edge.metric("landfall_access_log_dropped_total{reason=\"rate\"}") > 0.0
    });
}

#[test]
fn a_stop_is_no_failure_however_soon_the_log_has_nothing_left_to_write() {
    let directory = tempfile::tempdir().unwrap();
    for _ in 0..10 {
        let mut edge = logging(&directory.path().join("access.log"), "");
        edge.stop();
        edge.wait().unwrap();
    }
}
