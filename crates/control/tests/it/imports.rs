//! Imports whose clients are slow, or want more than their share.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use crate::support::{Plane, answer, eventually, within};

const NDJSON: &str = "application/x-ndjson";

/// Sends the head of an import into a property, and once the body is read some of the `announced` bytes.
async fn begin(
    plane: &Plane,
    property: &str,
    announced: usize,
    body: &str,
    mut stream: TcpStream,
) -> TcpStream {
    let head = format!(
        "POST {property}/hostname/import HTTP/1.1\r\nHost: a\r\nX-API-Key: {}\r\n\
         Content-Type: {NDJSON}\r\nContent-Length: {announced}\r\nExpect: 100-continue\r\n\r\n",
        plane.key()
    );
    within(stream.write_all(head.as_bytes())).await.unwrap();
    let mut going_on = [0; 25];
    within(stream.read_exact(&mut going_on)).await.unwrap();
    assert_eq!(&going_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    within(stream.write_all(body.as_bytes())).await.unwrap();
    stream
}

async fn connect(plane: &Plane) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    // The system takes little of an answer that nobody reads.
    socket.set_recv_buffer_size(4_096).unwrap();
    socket.connect(plane.address).await.unwrap()
}

async fn import(plane: &Plane, property: &str, body: &str) -> (StatusCode, String) {
    let request = plane.request(Method::POST, &format!("{property}/hostname/import"));
    let response = request.header("content-type", NDJSON).body(body.to_owned()).send().await;
    let response = response.unwrap();
    (response.status(), response.text().await.unwrap())
}

async fn properties(plane: &Plane, count: usize) -> Vec<String> {
    let mut properties = Vec::new();
    for index in 0..count {
        properties.push(plane.property(&format!("p{index}")).await);
    }
    properties
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_never_come_and_answers_that_nobody_reads_hold_up_no_other_property() {
    let plane = Plane::start().await;
    let properties = properties(&plane, 13).await;
    let (slow, own) = properties.split_at(12);
    let unreadable = "x\n".repeat(10_000);
    let mut held = Vec::new();
    for (index, property) in slow.iter().enumerate() {
        let (announced, body) = match index % 2 {
            0 => (100, "{"),
            _ => (unreadable.len(), unreadable.as_str()),
        };
        let stream = connect(&plane).await;
        held.push(begin(&plane, property, announced, body, stream).await);
    }
    // The readers have the beginning of their answer.
    for stream in held.iter_mut().skip(1).step_by(2) {
        let mut start = [0; 12];
        within(stream.read_exact(&mut start)).await.unwrap();
        assert_eq!(&start, b"HTTP/1.1 200");
    }

    let (status, told) = import(&plane, &own[0], r#"{"name": "www.customer.test"}"#).await;

    assert_eq!(status, StatusCode::OK, "{told}");
    assert!(told.contains("created"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_property_has_one_import_at_a_time() {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    let line = r#"{"name": "www.customer.test"}"#;
    let first = begin(&plane, &property, line.len(), "{", connect(&plane).await).await;
    let second = async || import(&plane, &property, line).await;
    let (status, problem) = second().await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let problem: Value = serde_json::from_str(&problem).unwrap();
    assert_eq!(problem["code"], "too_many_imports");

    drop(first);

    eventually(async || (second().await.0 == StatusCode::OK).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_not_read_in_time_never_looks_whole() {
    let plane = Plane::start_with(json!({
        "api": {"listen": "127.0.0.1:0", "request_timeout": "1s"}
    }))
    .await;
    let property = plane.property("shop").await;
    // The answer quotes it: it takes more than the system's buffers have room for.
    let unreadable = format!("{{\"{}\": 1}}\n", "x".repeat(1_000)).repeat(10_000);
    let stream = connect(&plane).await;
    let mut stream = begin(&plane, &property, unreadable.len(), &unreadable, stream).await;
    // The property's place is free once nobody waits for the reader any more.
    eventually(async || {
        let (status, _) = import(&plane, &property, "x").await;
        (status == StatusCode::OK).then_some(())
    })
    .await;
    let mut told = Vec::new();
    // The system may have cut the connection already.
    let _ = within(stream.read_to_end(&mut told)).await;
    assert!(!told.ends_with(b"0\r\n\r\n"), "{} bytes", told.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_refuses_what_it_can_not_honour() {
    let plane = Plane::start_with(json!({
        "api": {"listen": "127.0.0.1:0", "max_body": "64KiB"}
    }))
    .await;
    let property = plane.property("shop").await;
    let path = format!("{property}/hostname/import");
    let line = r#"{"name": "www.customer.test"}"#.to_owned();
    let send = async |header: (&str, &str), body: String| {
        let request = plane.request(Method::POST, &path).header("content-type", NDJSON);
        let (status, problem) = answer(request.header(header.0, header.1).body(body)).await;
        (status.as_u16(), problem["code"].as_str().unwrap().to_owned())
    };
    let long = format!("{line}\n{}", "x".repeat(65_537));
    let table = [
        (("if-match", "\"1\""), line.clone(), (400, "if_match_not_supported")),
        (("idempotency-key", "a"), line, (400, "idempotency_not_supported")),
        (("x-other", "a"), long, (413, "line_too_long")),
    ];
    for (header, body, (status, code)) in table {
        assert_eq!(send(header, body).await, (status, code.to_owned()));
    }
    let (_, page) = plane.get(&format!("{property}/hostname?prefix=www")).await;
    assert!(page["items"].as_array().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_key_in_a_line_is_refused_however_it_is_escaped() {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    let body = r#"{"name": "a.test", "metadata": {"k": "-----BEGIN PRIVATE\u0020KEY-----"}}"#;
    let (_, told) = import(&plane, &property, body).await;
    assert!(told.contains("private_key_refused"), "{told}");
    assert!(!told.contains("BEGIN"), "{told}");
}
