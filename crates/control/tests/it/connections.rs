//! What slow and many connections do to the listener.

use std::time::Duration;

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{Plane, eventually, within};

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_drips_is_cut_at_its_deadline() {
    let plane = Plane::start_with(json!({
        "api": {"listen": "127.0.0.1:0", "header_timeout": "200ms"}
    }))
    .await;
    for sent in ["", "GET /livez HTTP/1.1\r\nHost: a\r\n"] {
        let mut stream = TcpStream::connect(plane.address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // The server ends it: nothing more is sent.
        let _ = within(stream.read_to_end(&mut answer)).await;
        assert!(!String::from_utf8_lossy(&answer).contains("200 OK"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_never_comes_is_cut_at_the_request_timeout() {
    let plane = Plane::start_with(json!({
        "api": {"listen": "127.0.0.1:0", "request_timeout": "200ms"}
    }))
    .await;
    let mut stream = TcpStream::connect(plane.address).await.unwrap();
    let head = format!(
        "POST /api/Property HTTP/1.1\r\nHost: a\r\nX-API-Key: {}\r\n\
         Content-Type: application/json\r\nContent-Length: 10\r\n\r\n",
        plane.key()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    within(stream.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 503");
}

/// A plane with these limits, on which a connection that is silent stays.
async fn plane(limits: &[(&str, u32)]) -> Plane {
    let mut api = json!({"listen": "127.0.0.1:0", "header_timeout": "1h"});
    for (name, limit) in limits {
        api[*name] = json!(limit);
    }
    Plane::start_with(json!({ "api": api })).await
}

/// An open connection, and how its first request was answered.
struct Answered {
    status: u16,
    headers: String,
    stream: TcpStream,
}

impl Answered {
    /// Whether the server ends the connection.
    async fn ends(mut self) -> bool {
        let mut rest = Vec::new();
        within(self.stream.read_to_end(&mut rest)).await.is_ok()
    }
}

/// Asks over a connection of its own. `None`: it was closed without an answer.
async fn ask(plane: &Plane, path: &str, header: &str) -> Option<Answered> {
    let mut stream = TcpStream::connect(plane.address).await.unwrap();
    // What makes way for another may take the request or not.
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n{header}\r\n");
    let _ = within(stream.write_all(request.as_bytes())).await;
    let mut headers = Vec::new();
    while !headers.ends_with(b"\r\n\r\n") {
        headers.push(within(stream.read_u8()).await.ok()?);
    }
    let headers = String::from_utf8(headers).unwrap().to_ascii_lowercase();
    let status = headers.split(' ').nth(1).unwrap().parse().unwrap();
    Some(Answered { status, headers, stream })
}

fn key(key: &str) -> String {
    format!("X-API-Key: {key}\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_over_the_limit_takes_the_place_of_one_without_a_key() {
    let plane = plane(&[("max_connections", 1), ("reserved_connections", 0)]).await;
    let mut first = TcpStream::connect(plane.address).await.unwrap();
    let mut second = ask(&plane, "/api/Property", &key(plane.key())).await.unwrap();
    assert_eq!(second.status, 200);
    assert!(!matches!(within(first.read(&mut [0])).await, Ok(1..)), "still there");

    // What has shown a key stays, and more wait until it ends.
    let mut third = TcpStream::connect(plane.address).await.unwrap();
    third.write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut byte = [0];
    let waited = tokio::time::timeout(Duration::from_millis(300), third.peek(&mut byte));
    assert!(waited.await.is_err(), "answered over the limit");
    second.stream.shutdown().await.unwrap();
    drop(second);
    within(third.read_exact(&mut byte)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_connection_without_a_key_makes_way_for_the_newest_of_its_address() {
    let plane = plane(&[("max_unproven_connections", 2)]).await;
    let own = key(plane.key());
    let mut half_open = Vec::new();
    for _ in 0..4 {
        half_open.push(TcpStream::connect(plane.address).await.unwrap());
    }
    // However many say nothing, who has a key comes in, and stays.
    let first = ask(&plane, "/api/Property", &own).await.unwrap();
    let second = ask(&plane, "/api/Property", &own).await.unwrap();
    assert_eq!((first.status, second.status), (200, 200));
    let mut cut = half_open.remove(0);
    assert!(!matches!(within(cut.read(&mut [0])).await, Ok(1..)), "still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keys_of_one_property_leave_connections_for_everybody_else() {
    let plane = plane(&[("max_connections_per_property", 2)]).await;
    let mut keys = Vec::new();
    for name in ["one", "two"] {
        let path = plane.property(name).await;
        let id: u64 = path.rsplit('/').next().unwrap().parse().unwrap();
        for label in ["a", "b"] {
            let body = json!({"name": label, "scope": "read", "property": id});
            let (status, made) = plane.post("/api/Key", &body).await;
            assert_eq!(status.as_u16(), 201, "{made}");
            keys.push((path.clone(), key(made["key"].as_str().unwrap())));
        }
    }
    let mut open = Vec::new();
    for (path, own) in &keys[..2] {
        open.push(ask(&plane, path, own).await.unwrap());
    }
    assert!(open.iter().all(|answered| answered.status == 200));
    let (path, own) = &keys[1];
    let refused = ask(&plane, path, own).await.unwrap();
    assert_eq!(refused.status, 429);
    assert!(refused.headers.contains("connection: close"), "{}", refused.headers);
    assert!(refused.headers.contains("retry-after: "), "{}", refused.headers);
    assert!(refused.ends().await);

    let (path, other) = &keys[2];
    assert_eq!(ask(&plane, path, other).await.unwrap().status, 200);
    drop(open);
    let (path, own) = &keys[0];
    eventually(async || {
        let answered = ask(&plane, path, own).await.unwrap();
        (answered.status == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_leave_connections_for_pops_and_health_checks() {
    let limits = [("max_connections", 8), ("reserved_connections", 4)];
    let plane = plane(&limits).await;
    let pop = plane.pop("a").await;
    let token = format!("Authorization: Bearer {}\r\n", pop.enrolment.token.as_str());
    let own = key(plane.key());
    let mut open = Vec::new();
    for _ in 0..4 {
        open.push(ask(&plane, "/api/Property", &own).await.unwrap());
    }
    assert!(open.iter().all(|answered| answered.status == 200));
    // With so many more that come and say nothing, all are taken.
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(plane.address).await.unwrap());
    }
    assert_eq!(ask(&plane, "/api/Property", &own).await.unwrap().status, 429);
    assert_eq!(ask(&plane, "/livez", "").await.unwrap().status, 200);
    assert_eq!(ask(&plane, "/readyz", "").await.unwrap().status, 200);
    let snapshot = ask(&plane, "/feed/v1/snapshot", &token).await.unwrap();
    assert_eq!(snapshot.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_so_many_connections_with_keys_and_its_pops_have_more() {
    let plane = plane(&[("max_connections_per_address", 1)]).await;
    let pop = plane.pop("a").await;
    let token = format!("Authorization: Bearer {}\r\n", pop.enrolment.token.as_str());
    let own = key(plane.key());
    let first = ask(&plane, "/api/Property", &own).await.unwrap();
    assert_eq!(first.status, 200);
    let refused = ask(&plane, "/api/Property", &own).await.unwrap();
    assert_eq!(refused.status, 429);
    assert!(refused.ends().await);
    assert_eq!(ask(&plane, "/feed/v1/snapshot", &token).await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_asks_too_much_loses_its_connection() {
    let plane = plane(&[("rate_limit", 1), ("rate_burst", 1)]).await;
    let own = key(plane.key());
    let first = ask(&plane, "/api/Property", &own).await.unwrap();
    assert_eq!(first.status, 200);
    assert!(!first.headers.contains("connection: close"), "{}", first.headers);
    let refused = ask(&plane, "/api/Property", &own).await.unwrap();
    assert_eq!(refused.status, 429);
    assert!(refused.headers.contains("connection: close"), "{}", refused.headers);
    assert!(refused.ends().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_asks_and_never_reads_is_cut() {
    let plane = Plane::start_with(json!({
        "api": {"listen": "127.0.0.1:0", "request_timeout": "500ms", "header_timeout": "1h"}
    }))
    .await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(plane.address).await.unwrap();
    let requests = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1_000);
    let ask = async { while stream.write_all(requests.as_bytes()).await.is_ok() {} };
    within(ask).await;
}
