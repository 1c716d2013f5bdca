//! How the server starts and ends.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Ipv6Addr, TcpListener},
    sync::Arc,
};

use async_trait::async_trait;
use landfall_edge::{
    EdgeError,
    metrics::Metrics,
    server::{Parts, build},
};
use pingora_core::{server::ShutdownWatch, services::background::BackgroundService};

use crate::support::{Built, Edge, Origin, config, connect, exchange, wait_until};

#[test]
fn an_address_in_use_is_an_error_before_anything_runs() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(directory.path(), "");
    config.listen.https = vec![taken.local_addr().unwrap()];
    let (_publisher, resolver) = Edge::empty_store();
    let parts = Parts {
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

struct Panics;

#[async_trait]
impl BackgroundService for Panics {
    async fn start(&self, _shutdown: ShutdownWatch) {
        panic!("a defect");
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
    let mut built = Built::new("");
    built.server.add_background("panics", Panics);
    let error = built.start().wait().unwrap_err();
    assert!(matches!(error, EdgeError::ServiceStopped { service } if service == "panics"));
}

#[test]
fn it_ends_without_error_when_it_is_told_to() {
    let mut edge = Edge::start("");
    let request = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert!(exchange(edge.addresses.admin, request).starts_with(b"HTTP/1.1 200"));
    edge.stop();
    edge.wait().unwrap();
}
