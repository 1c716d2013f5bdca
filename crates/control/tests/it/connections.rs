//! What slow and many connections do to the listener.

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

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_over_the_limit_waits_for_one_to_end() {
    let plane = Plane::start_with(json!({
        "api": {"listen": "127.0.0.1:0", "max_connections": 1, "header_timeout": "1h"}
    }))
    .await;
    let first = TcpStream::connect(plane.address).await.unwrap();
    let mut second = TcpStream::connect(plane.address).await.unwrap();
    second.write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut byte = [0];
    let waited =
        tokio::time::timeout(std::time::Duration::from_millis(300), second.peek(&mut byte));
    assert!(waited.await.is_err(), "answered over the limit");
    drop(first);
    within(second.read_exact(&mut byte)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_so_many_connections_until_it_shows_a_key() {
    let plane = Plane::start_with(json!({
        "api": {"listen": "127.0.0.1:0", "max_unproven_connections": 2, "header_timeout": "1h"}
    }))
    .await;
    let ask =
        format!("GET /api/Property HTTP/1.1\r\nHost: a\r\nX-API-Key: {}\r\n\r\n", plane.key());
    let admitted = async |request: &str| {
        let mut stream = TcpStream::connect(plane.address).await.unwrap();
        let mut start = [0; 12];
        // What is closed over the limit may take the request or not.
        let _ = within(stream.write_all(request.as_bytes())).await;
        within(stream.read_exact(&mut start)).await.ok().map(|_| stream)
    };
    let half_open = TcpStream::connect(plane.address).await.unwrap();
    let proven = [admitted(&ask).await, admitted(&ask).await, admitted(&ask).await];
    assert!(proven.iter().all(Option::is_some));
    let refused = ask.replace("X-API-Key", "X-Other");
    let unproven = admitted(&refused).await;
    assert!(unproven.is_some());

    assert!(admitted(&ask).await.is_none());

    drop(half_open);
    eventually(async || admitted(&ask).await.map(drop)).await;
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
