//! Origins by DNS name.

use std::net::SocketAddr;

use landfall_model::OriginPool;

use crate::support::{DnsServer, Edge, Origin, curl, wait_until};

/// Two origins at one port of two addresses of this host.
fn two() -> (Origin, Origin) {
    let first = Origin::start();
    let second = Origin::at(SocketAddr::from(([127, 0, 0, 2], first.address().port())));
    (first, second)
}

fn edge(dns: &DnsServer, more: &str) -> Edge {
    Edge::start(&format!("[upstream]\nresolvers = [\"{}\"]\n{more}", dns.address()))
}

fn pool(name: &str, origin: &Origin) -> OriginPool {
    OriginPool::of(format!("http://{name}:{}", origin.address().port()).parse().unwrap())
}

fn status(edge: &Edge, name: &str) -> u16 {
    curl(edge, name, "/", &[]).status
}

#[test]
fn a_name_is_looked_up_again_as_its_ttl_passes_and_used_while_the_dns_is_dead() {
    let (first, second) = two();
    let mut dns = DnsServer::start(&["shop A 127.0.0.1"]);
    let mut edge = edge(&dns, "");
    edge.serve_pool("shop.example", pool("shop.origins.test", &first));
    wait_until("the name is found", || status(&edge, "shop.example") == 200);
    assert_eq!(second.requests(), 0);

    dns.change(&["shop A 127.0.0.2"]);
    wait_until("the new address is used", || {
        assert_eq!(status(&edge, "shop.example"), 200);
        second.requests() > 0
    });

    dns.stop();
    wait_until("a look-up fails", || {
        edge.metric("landfall_upstream_lookups_total{result=\"failed\"}") >= 1.0
    });
    let before = second.requests();
    assert_eq!(status(&edge, "shop.example"), 200);
    assert_eq!(second.requests(), before + 1);
}

#[test]
fn a_name_that_is_rebound_to_an_address_inside_is_refused() {
    let (first, second) = two();
    let mut dns = DnsServer::start(&["shop A 127.0.0.2"]);
    let mut edge = edge(&dns, "allow_networks = [\"127.0.0.2\"]");
    edge.serve_pool("shop.example", pool("shop.origins.test", &first));
    wait_until("the name is found", || status(&edge, "shop.example") == 200);
    dns.change(&["shop A 127.0.0.1"]);
    wait_until("the new address is refused", || status(&edge, "shop.example") == 502);
    assert!(edge.metric("landfall_upstream_denied_addresses_total{reason=\"private\"}") >= 1.0);
    assert_eq!(first.connections(), 0);
    assert!(second.requests() > 0);
}

#[test]
fn several_addresses_are_used_and_one_that_is_dead_is_passed_over() {
    let (first, second) = two();
    let dns = DnsServer::start(&["shop A 127.0.0.1", "shop A 127.0.0.2", "shop A 127.0.0.3"]);
    let mut edge = edge(&dns, "");
    edge.serve_pool("shop.example", pool("shop.origins.test", &first));
    wait_until("the name is found", || status(&edge, "shop.example") == 200);
    for _ in 0..6 {
        assert_eq!(curl(&edge, "shop.example", "/", &["--data", "pay"]).status, 200);
    }
    assert!(first.requests() > 0 && second.requests() > 0);
}

#[test]
fn a_name_that_does_not_exist_is_a_bad_gateway() {
    let origin = Origin::start();
    let dns = DnsServer::start(&["shop A 127.0.0.1"]);
    let mut edge = edge(&dns, "");
    edge.serve_pool("shop.example", pool("shop.origins.test", &origin));
    edge.serve_pool("nobody.example", pool("nobody.origins.test", &origin));
    wait_until("the name is found", || status(&edge, "shop.example") == 200);
    wait_until("the other is not", || status(&edge, "nobody.example") == 502);
    edge.wait_for_metric("landfall_upstream_denied_addresses_total{reason=\"private\"}", 0.0);
}
