//! More connections than there may be.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use socket2::{Domain, Socket, Type};

use crate::support::{Edge, Origin, PATIENCE, connect, exchange, read_to_end, tcp};

fn serving(limits: &str) -> Edge {
    let mut edge = Edge::start(&format!("[limits]\n{limits}"));
    edge.serve("shop.example", Origin::start().address());
    edge
}

fn shed(edge: &Edge, reason: &str) -> f64 {
    edge.metric(&format!("landfall_connections_shed_total{{reason=\"{reason}\"}}"))
}

/// A connection from one address of this machine to another.
fn from(source: &str, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&format!("{source}:0").parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn is_served(stream: &mut (impl Read + Write)) -> bool {
    let request = b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n";
    let mut status = [0; 12];
    stream.write_all(request).is_ok()
        && stream.read_exact(&mut status).is_ok()
        && &status == b"HTTP/1.1 200"
}

#[test]
fn the_connection_above_the_limit_is_closed_and_the_others_go_on() {
    let edge = serving("connections = 2");
    let mut one = connect(&edge, "shop.example", "http/1.1");
    let mut two = connect(&edge, "shop.example", "http/1.1");
    assert!(read_to_end(&mut tcp(edge.https())).is_empty());
    assert!((shed(&edge, "total") - 1.0).abs() < 0.1);
    assert!(is_served(&mut one));
    drop(one);
    edge.wait_for_metric("landfall_open_connections{listener=\"https\"}", 1.0);
    let mut three = connect(&edge, "shop.example", "http/1.1");
    assert!(is_served(&mut two) && is_served(&mut three));
}

#[test]
fn a_plain_client_above_the_limit_is_told_to_come_back() {
    let edge = serving("connections = 1");
    let _one = connect(&edge, "shop.example", "http/1.1");
    // The answer is lost where the request arrives after it: nothing is sent.
    let answer = String::from_utf8(exchange(edge.http(), b"")).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("Retry-After: 10\r\n") && answer.contains("Connection: close\r\n"));
}

#[test]
fn an_address_and_a_network_have_limits_of_their_own() {
    let edge = serving("connections_per_address = 2\nconnections_per_prefix = 3");
    let open: Vec<_> = ["127.0.0.2", "127.0.0.2", "127.0.0.3"]
        .into_iter()
        .map(|source| from(source, edge.https()))
        .collect();
    edge.wait_for_metric("landfall_open_connections{listener=\"https\"}", 3.0);
    assert!(read_to_end(&mut from("127.0.0.2", edge.https())).is_empty());
    assert!(read_to_end(&mut from("127.0.0.4", edge.https())).is_empty());
    assert!((shed(&edge, "prefix") - 2.0).abs() < 0.1);
    // Another network.
    let other = [from("127.0.1.2", edge.https()), from("127.0.1.2", edge.https())];
    edge.wait_for_metric("landfall_open_connections{listener=\"https\"}", 5.0);
    assert!(read_to_end(&mut from("127.0.1.2", edge.https())).is_empty());
    assert!((shed(&edge, "address") - 1.0).abs() < 0.1);
    drop((open, other));
    edge.wait_for_metric("landfall_open_connections{listener=\"https\"}", 0.0);
    let _back = from("127.0.0.2", edge.https());
    edge.wait_for_metric("landfall_open_connections{listener=\"https\"}", 1.0);
}

#[test]
fn an_address_that_connects_too_often_is_shed() {
    let edge = serving("handshakes_per_address = 1\nhandshake_burst = 3");
    for _ in 0..20 {
        // An alert, or nothing.
        exchange(edge.https(), b"not TLS");
    }
    let rate = shed(&edge, "rate");
    assert!((10.0..=17.0).contains(&rate), "{rate} were shed");
}

#[test]
fn operators_come_in_whatever_clients_do() {
    let edge = serving("connections = 1\nhandshakes_per_address = 1\nhandshake_burst = 1");
    let _one = connect(&edge, "shop.example", "http/1.1");
    for _ in 0..10 {
        let request = b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        assert!(exchange(edge.addresses.admin, request).starts_with(b"HTTP/1.1 200 "));
    }
}
