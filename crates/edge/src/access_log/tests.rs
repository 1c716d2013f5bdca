use std::{
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use super::*;
use crate::config::Sink;

fn settings(path: &Path) -> AccessLogSettings {
    AccessLogSettings {
        sink: Sink::File(path.to_owned()),
        max_per_second: 100,
        queue_lines: 4,
        queue_size: 64 << 10,
        sample: [1.0, 1.0, 0.0, 0.5, 1.0, 1.0],
    }
}

fn record(path: &str) -> Record<'_> {
    Record {
        began: UNIX_EPOCH,
        id: "abc",
        client: Some("192.0.2.1".parse().unwrap()),
        client_port: Some(7),
        method: "GET",
        scheme: "https",
        host: Some("shop.example"),
        path,
        protocol: "http",
        version: "2",
        tls_version: None,
        tls_cipher: None,
        user_agent: Some("a \"quoted\"\nagent"),
        status: Some(502),
        error: Some("ConnectRefused"),
        received: 0,
        sent: 9,
        took: Duration::from_micros(1500),
        hostname: None,
        property: Some(3),
        origin: None,
        origin_took: None,
    }
}

fn dropped(registry: &Registry, reason: &str) -> f64 {
    let families = registry.gather();
    let family = families.iter().find(|own| own.name() == "landfall_access_log_dropped_total");
    let metrics = family.unwrap().get_metric();
    let of_reason = metrics.iter().find(|own| own.get_label()[0].value() == reason).unwrap();
    of_reason.get_counter().get_value()
}

#[test]
fn a_share_of_each_class_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let (log, _writer) = open(&settings(&folder.path().join("log")), &Registry::new()).unwrap();
    let ids: Vec<_> = (0..1000).map(|_| RequestId::random()).collect();
    let wanted = |status| ids.iter().filter(|id| log.wants(status, id)).count();
    assert_eq!((wanted(Some(200)), wanted(Some(404)), wanted(None)), (0, 1000, 1000));
    assert!((350..650).contains(&wanted(Some(302))), "{}", wanted(Some(302)));
    assert_eq!(wanted(Some(999)), 0);
}

#[test]
fn what_does_not_fit_is_dropped_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::new();
    let (log, _writer) = open(&settings(&folder.path().join("log")), &registry).unwrap();
    (0..6).for_each(|_| log.put(&record("/")));
    assert!((dropped(&registry, "queue") - 2.0).abs() < f64::EPSILON);
    (0..100).for_each(|_| log.put(&record("/")));
    assert!((dropped(&registry, "rate") - 6.0).abs() < f64::EPSILON);
    assert!(dropped(&registry, "write").abs() < f64::EPSILON);
}

#[test]
fn a_line_is_json_of_bounded_length() {
    let path = format!("/{}", "é".repeat(5_000));
    let line = serde_json::to_vec(&record(&path)).unwrap();
    assert!(line.len() < 3_000);
    let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
    assert_eq!(value["timestamp"], "1970-01-01T00:00:00Z");
    assert_eq!(value["http.response.status_code"], 502);
    assert_eq!(value["http.server.request.duration"], 0.0015);
    assert_eq!(value["user_agent.original"], "a \"quoted\"\nagent");
    assert!(value.get("tls.cipher").is_none());
}

#[test]
fn a_file_that_was_moved_away_is_opened_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (path, moved) = (folder.path().join("log"), folder.path().join("log.1"));
    let mut output = Output::open(Sink::File(path.clone())).unwrap();
    output.write(b"one\n").unwrap();
    std::fs::rename(&path, &moved).unwrap();
    output.write(b"two\n").unwrap();
    output.write(b"three\n").unwrap();
    assert_eq!(std::fs::read(moved).unwrap(), b"one\n");
    assert_eq!(std::fs::read(path).unwrap(), b"two\nthree\n");
}
