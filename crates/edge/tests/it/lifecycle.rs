//! How the server starts and ends.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Ipv6Addr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use async_trait::async_trait;
use landfall_edge::{
    EdgeError,
    metrics::Metrics,
    server::{Parts, build},
};
use pingora_core::{server::ShutdownWatch, services::background::BackgroundService};

use crate::support::{Built, Edge, Origin, config, connect, exchange, read_to_end, wait_until};

#[test]
fn an_address_in_use_is_an_error_before_anything_runs() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(directory.path(), "");
    config.listen.https = vec![taken.local_addr().unwrap()];
    let (_publisher, resolver) = Edge::empty_store();
    let parts = Parts {
        challenges: Arc::default(),
        resolver,
        properties: Arc::default(),
        readiness: Arc::default(),
        metrics: Arc::new(Metrics::new().unwrap()),
    };
    let error = build(&config, parts).err().unwrap();
    assert!(matches!(error, EdgeError::Bind { address, .. } if address == config.listen.https[0]));
}

#[test]
fn listens_on_every_ipv4_and_every_ipv6_address_at_the_same_port() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(directory.path(), "");
    let (_publisher, resolver) = Edge::empty_store();
    let port = TcpListener::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port();
    config.listen.https =
        vec![(Ipv4Addr::UNSPECIFIED, port).into(), (Ipv6Addr::UNSPECIFIED, port).into()];
    let parts = Parts {
        challenges: Arc::default(),
        resolver,
        properties: Arc::default(),
        readiness: Arc::default(),
        metrics: Arc::new(Metrics::new().unwrap()),
    };
    let server = build(&config, parts).map_err(|error| format!("{error:?}")).unwrap();
    assert_eq!(server.addresses().https, config.listen.https);
}

#[test]
fn a_request_in_flight_is_answered_after_the_stop() {
    let more = "[upstream]\nread_timeout = \"900ms\"\n[server]\nthreads = 1\ndrain = \"3s\"";
    let (mut edge, origin) = (Edge::start(more), Origin::start());
    edge.serve("shop.example", origin.address());
    let mut stream = connect(&edge, "shop.example", "http/1.1");
    stream.write_all(b"GET /silent HTTP/1.1\r\nHost: shop.example\r\n\r\n").unwrap();
    wait_until("the origin has the request", || origin.requests() == 1);
    edge.stop();
    wait_until("new connections are refused", || {
        std::net::TcpStream::connect(edge.https()).is_err()
    });
    let mut status = [0; 12];
    stream.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 504");
}

/// Panics at its first starts, as many as it says.
struct Panics(AtomicU32);

#[async_trait]
impl BackgroundService for Panics {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let left = self.0.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
        assert!(left.is_err(), "a defect");
        let _ = shutdown.wait_for(|is_stopping| *is_stopping).await;
    }
}

struct Returns;

#[async_trait]
impl BackgroundService for Returns {
    async fn start(&self, _shutdown: ShutdownWatch) {}
}

#[test]
fn a_service_that_ends_by_itself_ends_the_server() {
    let mut built = Built::new("");
    built.server.add_background("returns", Returns);
    let error = built.start().wait().unwrap_err();
    assert!(matches!(error, EdgeError::ServiceStopped { service } if service == "returns"));
}

fn livez(edge: &Edge) -> String {
    let request = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    String::from_utf8(exchange(edge.addresses.admin, request)).unwrap()
}

#[test]
fn a_service_that_panics_is_counted_and_started_again() {
    let mut built = Built::new("");
    built.server.add_background("panics", Panics(AtomicU32::new(1)));
    let mut edge = built.start();
    edge.wait_for_metric("landfall_task_restarts_total{task=\"panics\"}", 1.0);
    assert!(livez(&edge).starts_with("HTTP/1.1 200"));
    edge.stop();
    edge.wait().unwrap();
}

#[test]
fn a_service_that_keeps_panicking_fails_liveness_by_name() {
    let mut built = Built::new("");
    built.server.add_background("panics", Panics(AtomicU32::new(u32::MAX)));
    let edge = built.start();
    wait_until("liveness fails", || livez(&edge).starts_with("HTTP/1.1 503"));
    assert!(livez(&edge).contains("panics"));
}

#[test]
fn the_operators_listener_outlives_the_others() {
    let mut edge = Edge::start("[server]\nthreads = 1\ndrain = \"1h\"");
    let origin = Origin::start();
    edge.serve("shop.example", origin.address());
    let mut stream = connect(&edge, "shop.example", "http/1.1");
    stream.write_all(b"GET /silent HTTP/1.1\r\nHost: shop.example\r\n\r\n").unwrap();
    wait_until("the origin has the request", || origin.requests() == 1);
    edge.stop();
    wait_until("new connections are refused", || {
        std::net::TcpStream::connect(edge.https()).is_err()
    });
    assert!(livez(&edge).starts_with("HTTP/1.1 200"));
    let readyz = exchange(
        edge.addresses.admin,
        b"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    );
    let readyz = String::from_utf8(readyz).unwrap();
    assert!(readyz.starts_with("HTTP/1.1 503") && readyz.contains("stopping: yes"), "{readyz}");
    drop(stream);
    edge.wait().unwrap();
}

#[test]
fn it_ends_without_error_when_it_is_told_to() {
    let mut edge = Edge::start("");
    let request = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert!(exchange(edge.addresses.admin, request).starts_with(b"HTTP/1.1 200"));
    edge.stop();
    edge.wait().unwrap();
}

#[test]
fn it_ends_as_soon_as_nothing_is_open() {
    let mut edge = Edge::start("[server]\nthreads = 1\ndrain = \"1h\"");
    edge.serve("shop.example", Origin::start().address());
    // Two that are idle, and would be for a minute.
    let mut http1 = connect(&edge, "shop.example", "http/1.1");
    let mut http2 = connect(&edge, "shop.example", "h2");
    http2.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    edge.wait_for_metric("landfall_open_connections{listener=\"https\"}", 2.0);
    edge.stop();
    let goaway = read_to_end(&mut http2);
    // Type 7 after a length of 8 bytes, on stream 0.
    let is_there = goaway.windows(9).any(|frame| frame == [0, 0, 8, 7, 0, 0, 0, 0, 0]);
    assert!(is_there, "{}", goaway.escape_ascii());
    assert!(read_to_end(&mut http1).is_empty());
    edge.wait().unwrap();
}

#[test]
fn an_answer_during_the_drain_ends_its_connection() {
    let more = "[upstream]\nread_timeout = \"900ms\"\n[server]\nthreads = 1\ndrain = \"1h\"";
    let (mut edge, origin) = (Edge::start(more), Origin::start());
    edge.serve("shop.example", origin.address());
    let mut stream = connect(&edge, "shop.example", "http/1.1");
    stream.write_all(b"GET /silent HTTP/1.1\r\nHost: shop.example\r\n\r\n").unwrap();
    wait_until("the origin has the request", || origin.requests() == 1);
    edge.stop();
    let answer = String::from_utf8(read_to_end(&mut stream)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    assert!(answer.to_lowercase().contains("connection: close\r\n"), "{answer}");
    edge.wait().unwrap();
}

#[test]
fn it_ends_at_the_end_of_the_drain_whatever_is_open() {
    let (mut edge, origin) =
        (Edge::start("[server]\nthreads = 1\ndrain = \"300ms\""), Origin::start());
    edge.serve("shop.example", origin.address());
    let mut stream = connect(&edge, "shop.example", "http/1.1");
    stream.write_all(b"GET /silent HTTP/1.1\r\nHost: shop.example\r\n\r\n").unwrap();
    wait_until("the origin has the request", || origin.requests() == 1);
    edge.stop();
    edge.wait().unwrap();
    read_to_end(&mut stream);
}
