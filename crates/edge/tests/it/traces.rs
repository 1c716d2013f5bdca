//! Traces of requests, as a collector gets them.

use opentelemetry_proto::tonic::trace::v1::{Span, status::StatusCode};

use crate::support::{
    Collector, Edge, Mood, Origin, attribute, curl, exchange, refusing_address, wait_until,
};

const PARENT: &str = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// What an echoing origin was sent in a field; empty where it wasn't.
fn field(echo: &str, name: &str) -> String {
    let lower = echo.to_ascii_lowercase();
    let prefix = format!("{name}: ");
    let values: Vec<_> = lower.lines().filter_map(|line| line.strip_prefix(&prefix)).collect();
    assert!(values.len() <= 1, "{echo}");
    values.first().copied().unwrap_or_default().to_owned()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[track_caller]
fn assert_attributes(span: &Span, expected: &[(&str, &str)]) {
    for (key, value) in expected {
        assert_eq!(attribute(&span.attributes, key), *value, "{key} of {span:#?}");
    }
}

fn failed(span: &Span) -> bool {
    span.status.as_ref().is_some_and(|status| status.code == StatusCode::Error as i32)
}

#[test]
fn a_request_is_a_server_span_with_a_client_span_for_its_origin() {
    let (collector, origin) = (Collector::start(Mood::Takes), Origin::start());
    let mut edge = Edge::start(&collector.config(""));
    edge.serve("shop.example", origin.address());
    let port = origin.address().port().to_string();
    for (option, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let agent = ["-A", "tester/1", option];
        let echo = curl(&edge, "shop.example", "/path?secret=1", &agent).body;
        let spans = collector.wait_for(2);
        let (server, client) = (&spans[0], &spans[1]);
        assert_eq!((server.name.as_str(), client.name.as_str()), ("GET", "GET"));
        assert!(server.parent_span_id.is_empty());
        assert_eq!(client.parent_span_id, server.span_id);
        assert_eq!(client.trace_id, server.trace_id);
        let sent = format!("00-{}-{}-01", hex(&server.trace_id), hex(&client.span_id));
        assert_eq!(field(&echo, "traceparent"), sent);
        assert!(server.start_time_unix_nano <= client.start_time_unix_nano);
        assert!(client.start_time_unix_nano <= client.end_time_unix_nano);
        assert!(client.end_time_unix_nano <= server.end_time_unix_nano);
        let of_server = [
            ("http.request.method", "GET"),
            ("url.scheme", "https"),
            ("url.path", "/path"),
            ("server.address", "shop.example"),
            ("server.port", "443"),
            ("client.address", "127.0.0.1"),
            ("network.protocol.version", version),
            ("http.response.status_code", "200"),
            ("user_agent.original", "tester/1"),
            ("tls.protocol.version", "1.3"),
            ("http.response.header.x-request-id", &field(&echo, "x-request-id")),
            ("error.type", ""),
        ];
        assert_attributes(server, &of_server);
        assert!(attribute(&server.attributes, "tls.cipher").starts_with("TLS_"));
        let url = format!("http://127.0.0.1:{port}/path");
        let of_client = [
            ("http.request.method", "GET"),
            ("server.address", "127.0.0.1"),
            ("server.port", port.as_str()),
            ("url.full", url.as_str()),
            ("http.response.status_code", "200"),
            ("http.request.resend_count", ""),
            ("network.protocol.version", "1.1"),
            ("error.type", ""),
        ];
        assert_attributes(client, &of_client);
        assert!(!failed(server) && !failed(client));
        assert!(!format!("{spans:?}").contains("secret"));
    }
    let resource = collector.resource().attributes;
    assert_eq!(attribute(&resource, "service.name"), "landfall-edge");
    assert!(!attribute(&resource, "host.name").is_empty());
    edge.wait_for_metric("landfall_trace_spans_exported_total", 4.0);
}

#[test]
fn a_clients_own_context_is_replaced() {
    let (collector, origin) = (Collector::start(Mood::Takes), Origin::start());
    let mut edge = Edge::start(&collector.config(""));
    edge.serve("shop.example", origin.address());
    let claims = ["-H", PARENT, "-H", "tracestate: a=1"];
    let echo = curl(&edge, "shop.example", "/", &claims).body;
    assert!(field(&echo, "traceparent").ends_with("-01"), "{echo}");
    assert_eq!(field(&echo, "tracestate"), "");
    let spans = collector.wait_for(2);
    assert!(spans[0].parent_span_id.is_empty());
    assert!(!PARENT.contains(&hex(&spans[0].trace_id)));
}

#[test]
fn a_trusted_peers_context_is_gone_on_with() {
    let (collector, origin) = (Collector::start(Mood::Takes), Origin::start());
    let http = "[http]\ntrusted_peers = [\"127.0.0.0/8\"]";
    let mut edge = Edge::start(&format!("{http}\n{}", collector.config("sample = 0.0")));
    edge.serve("shop.example", origin.address());
    let echo = curl(&edge, "shop.example", "/", &["-H", PARENT, "-H", "tracestate: a=1"]).body;
    let spans = collector.wait_for(2);
    assert_eq!(hex(&spans[0].trace_id), &PARENT[16..48]);
    assert_eq!(hex(&spans[0].parent_span_id), &PARENT[49..65]);
    assert_eq!(spans[1].parent_span_id, spans[0].span_id);
    assert_eq!(spans[0].trace_state, "a=1");
    let sent = format!("00-{}-{}-01", &PARENT[16..48], hex(&spans[1].span_id));
    assert_eq!((field(&echo, "traceparent"), field(&echo, "tracestate")), (sent, "a=1".to_owned()));
    // It decides whether a trace is recorded, too.
    let skipped = PARENT.replace("-01", "-00");
    let echo = curl(&edge, "shop.example", "/", &["-H", &skipped]).body;
    assert!(field(&echo, "traceparent").ends_with("-00"), "{echo}");
    edge.stop();
    edge.wait().unwrap();
    assert_eq!(collector.spans(), []);
}

#[test]
fn a_request_that_is_not_sampled_is_not_recorded_and_its_origin_is_told() {
    let (collector, origin) = (Collector::start(Mood::Takes), Origin::start());
    let mut edge = Edge::start(&collector.config("sample = 0.0"));
    edge.serve("shop.example", origin.address());
    let echo = curl(&edge, "shop.example", "/", &["-H", PARENT]).body;
    let sent = field(&echo, "traceparent");
    assert!(sent.starts_with("00-") && sent.ends_with("-00"), "{sent}");
    assert!(!PARENT.contains(&sent[3..35]), "{sent}");
    edge.stop();
    edge.wait().unwrap();
    assert_eq!(collector.requests(), 0);
}

#[test]
fn without_a_collector_a_context_passes_as_it_came() {
    let (mut edge, origin) = (Edge::start(""), Origin::start());
    edge.serve("shop.example", origin.address());
    let echo = curl(&edge, "shop.example", "/", &["-H", PARENT, "-H", "tracestate: a=1"]).body;
    assert_eq!(format!("traceparent: {}", field(&echo, "traceparent")), PARENT);
    assert_eq!(field(&echo, "tracestate"), "a=1");
    assert_eq!(field(&curl(&edge, "shop.example", "/", &[]).body, "traceparent"), "");
}

#[test]
fn each_try_at_an_origin_is_a_span_that_says_why_it_failed() {
    let (collector, origin) = (Collector::start(Mood::Takes), Origin::start());
    let tries = "[upstream]\ntries = 2";
    let mut edge = Edge::start(&format!("{tries}\n{}", collector.config("")));
    edge.serve("shop.example", origin.address());
    edge.serve("gone.example", refusing_address());
    assert_eq!(curl(&edge, "gone.example", "/", &[]).status, 502);
    let spans = collector.wait_for(2);
    assert_attributes(&spans[0], &[("http.response.status_code", "502"), ("error.type", "502")]);
    assert_attributes(&spans[1], &[("error.type", "connect_refused")]);
    assert!(failed(&spans[0]) && failed(&spans[1]));
    // The second request comes on the connection that the first has left, and is sent again.
    curl(&edge, "shop.example", "/", &[]);
    collector.wait_for(2);
    assert_eq!(curl(&edge, "shop.example", "/hangup", &[]).status, 502);
    let spans = collector.wait_for(3);
    assert_ne!(spans[1].span_id, spans[2].span_id);
    assert_eq!(spans[1].parent_span_id, spans[2].parent_span_id);
    assert_attributes(&spans[1], &[("http.request.resend_count", "")]);
    assert_attributes(&spans[2], &[("http.request.resend_count", "1")]);
    assert!(failed(&spans[1]) && failed(&spans[2]));
}

#[test]
fn a_refused_request_has_no_client_span_and_is_no_failure_of_ours() {
    let collector = Collector::start(Mood::Takes);
    let mut edge = Edge::start(&collector.config(""));
    edge.serve("shop.example", refusing_address());
    let options = ["-X", "BREW", "-H", "Host: nobody.example"];
    assert_eq!(curl(&edge, "shop.example", "/", &options).status, 421);
    let spans = collector.wait_for(1);
    assert_eq!(spans[0].name, "HTTP");
    let expected = [
        ("http.request.method", "_OTHER"),
        ("http.request.method_original", "BREW"),
        ("http.response.status_code", "421"),
        ("error.type", ""),
    ];
    assert_attributes(&spans[0], &expected);
    assert!(!failed(&spans[0]));
}

#[test]
fn a_request_in_plain_is_traced_without_tls() {
    let collector = Collector::start(Mood::Takes);
    let mut edge = Edge::start(&collector.config(""));
    edge.serve("shop.example", refusing_address());
    let request = b"GET /path HTTP/1.0\r\nHost: shop.example:8080\r\n\r\n";
    assert!(exchange(edge.http(), request).starts_with(b"HTTP/1.1 308 "));
    let spans = collector.wait_for(1);
    let expected = [
        ("url.scheme", "http"),
        ("server.port", "8080"),
        ("network.protocol.version", "1.0"),
        ("http.response.status_code", "308"),
        ("tls.protocol.version", ""),
    ];
    assert_attributes(&spans[0], &expected);
}

#[test]
fn spans_wait_for_a_collector_that_is_busy() {
    let (collector, origin) = (Collector::start(Mood::Answers(503)), Origin::start());
    let mut edge = Edge::start(&collector.config(""));
    edge.serve("shop.example", origin.address());
    assert_eq!(curl(&edge, "shop.example", "/", &[]).status, 200);
    wait_until("it was asked twice", || collector.requests() >= 2);
    assert!(edge.metric("landfall_trace_export_failures_total{reason=\"status\"}") >= 1.0);
    collector.set(Mood::Takes);
    collector.wait_for(2);
    edge.wait_for_metric("landfall_trace_spans_exported_total", 2.0);
}

#[test]
fn what_a_collector_refuses_is_dropped_and_counted() {
    let (collector, origin) = (Collector::start(Mood::Answers(400)), Origin::start());
    let mut edge = Edge::start(&collector.config(""));
    edge.serve("shop.example", origin.address());
    let dropped = "landfall_trace_spans_dropped_total{reason=\"refused\"}";
    curl(&edge, "shop.example", "/", &[]);
    edge.wait_for_metric(dropped, 2.0);
    assert_eq!(collector.requests(), 1);
    collector.set(Mood::TakesLess);
    curl(&edge, "shop.example", "/", &[]);
    edge.wait_for_metric(dropped, 3.0);
    edge.wait_for_metric("landfall_trace_spans_exported_total", 1.0);
}

#[test]
fn requests_go_on_while_a_collector_is_silent_and_the_queue_is_full() {
    let (collector, origin) = (Collector::start(Mood::Silent), Origin::start());
    let mut edge = Edge::start(&collector.config("queue = 1\ntimeout = \"1h\""));
    edge.serve("shop.example", origin.address());
    curl(&edge, "shop.example", "/", &[]);
    wait_until("the collector holds a batch", || collector.requests() == 1);
    for _ in 0..3 {
        assert_eq!(curl(&edge, "shop.example", "/", &[]).status, 200);
    }
    // One request's spans wait, those of two have no room.
    edge.wait_for_metric("landfall_trace_spans_dropped_total{reason=\"queue_full\"}", 4.0);
}

#[test]
fn requests_go_on_while_there_is_no_collector() {
    let origin = Origin::start();
    let config = format!("[tracing]\nsample = 1.0\nendpoint = \"http://{}\"", refusing_address());
    let mut edge = Edge::start(&format!("{config}\ninterval = \"0s\""));
    edge.serve("shop.example", origin.address());
    for _ in 0..3 {
        assert_eq!(curl(&edge, "shop.example", "/", &[]).status, 200);
    }
    let failures = "landfall_trace_export_failures_total{reason=\"unreachable\"}";
    wait_until("a failure is counted", || edge.metric(failures) >= 1.0);
}

#[test]
fn a_slow_collector_is_given_up_at_the_timeout_and_asked_again() {
    let (collector, origin) = (Collector::start(Mood::Silent), Origin::start());
    let mut edge = Edge::start(&collector.config("timeout = \"100ms\""));
    edge.serve("shop.example", origin.address());
    curl(&edge, "shop.example", "/", &[]);
    let failures = "landfall_trace_export_failures_total{reason=\"timeout\"}";
    wait_until("a timeout is counted", || edge.metric(failures) >= 1.0);
    collector.set(Mood::Takes);
    collector.wait_for(2);
}

#[test]
fn what_is_left_at_the_end_is_sent_then() {
    let (collector, origin) = (Collector::start(Mood::Takes), Origin::start());
    let mut edge = Edge::start(&collector.config("interval = \"1h\""));
    edge.serve("shop.example", origin.address());
    curl(&edge, "shop.example", "/", &[]);
    edge.wait_for_metric("landfall_requests_total{class=\"2xx\"}", 1.0);
    assert_eq!(collector.requests(), 0);
    edge.stop();
    edge.wait().unwrap();
    collector.wait_for(2);
    assert_eq!(collector.requests(), 1);
}

#[test]
fn a_silent_collector_does_not_keep_the_edge_from_ending() {
    let (collector, origin) = (Collector::start(Mood::Silent), Origin::start());
    let mut edge = Edge::start(&collector.config("timeout = \"1h\""));
    edge.serve("shop.example", origin.address());
    curl(&edge, "shop.example", "/", &[]);
    wait_until("the collector holds a batch", || collector.requests() == 1);
    edge.stop();
    edge.wait().unwrap();
    edge.wait_for_metric("landfall_trace_spans_dropped_total{reason=\"shutdown\"}", 2.0);
}

#[test]
fn the_collector_gets_the_headers_of_the_file() {
    let (collector, origin) = (Collector::start(Mood::Takes), Origin::start());
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "Authorization: Bearer s3cret\n").unwrap();
    let key = format!("headers_file = \"{}\"", file.path().display());
    let mut edge = Edge::start(&collector.config(&key));
    edge.serve("shop.example", origin.address());
    curl(&edge, "shop.example", "/", &[]);
    collector.wait_for(2);
    let header = collector.header().to_ascii_lowercase();
    assert!(header.starts_with("post /v1/traces http/1.1\r\n"), "{header}");
    assert!(header.contains("\r\ncontent-type: application/x-protobuf\r\n"), "{header}");
    assert!(header.contains("\r\nauthorization: bearer s3cret\r\n"), "{header}");
}
