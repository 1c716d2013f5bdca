//! Which origin a request goes to, and what becomes of it where one fails.

use std::{
    io::Write,
    net::SocketAddr,
    time::{Duration, Instant},
};

use landfall_model::{Balance, HealthCheck, OriginName, OriginPool, PathRoute, Route};

use crate::support::{Edge, Origin, connect, curl, read_to_end, refusing_address, wait_until};

/// A pool of these, by address and scheme.
fn pool(origins: &[SocketAddr]) -> OriginPool {
    OriginPool::with(
        origins.iter().map(|address| landfall_model::Origin::from(*address).into()).collect(),
    )
}

#[test]
fn an_address_that_is_not_public_is_refused_unless_it_is_allowed() {
    let origin = Origin::start();
    let mut edge = Edge::start("[upstream]\nallow_networks = []");
    edge.serve("shop.example", origin.address());
    let answer = curl(&edge, "shop.example", "/", &[]);
    assert_eq!(answer.status, 502);
    assert!(!answer.body.contains("127.0.0.1"), "{}", answer.body);
    assert_eq!(origin.connections(), 0);
    edge.wait_for_metric("landfall_upstream_denied_addresses_total{reason=\"private\"}", 1.0);
}

#[test]
fn the_operators_listener_is_never_an_origin() {
    let mut edge = Edge::start("");
    edge.serve("shop.example", edge.addresses.admin);
    assert_eq!(curl(&edge, "shop.example", "/metrics", &[]).status, 502);
    edge.wait_for_metric("landfall_upstream_denied_addresses_total{reason=\"admin\"}", 1.0);
}

#[test]
fn origins_take_turns() {
    let (first, second) = (Origin::start(), Origin::start());
    let mut edge = Edge::start("");
    edge.serve_pool("shop.example", pool(&[first.address(), second.address()]));
    for _ in 0..6 {
        assert_eq!(curl(&edge, "shop.example", "/", &[]).status, 200);
    }
    assert_eq!((first.requests(), second.requests()), (3, 3));
}

#[test]
fn a_dead_origin_costs_no_request_whatever_its_method() {
    let origin = Origin::start();
    let mut edge = Edge::start("");
    edge.serve_pool("shop.example", pool(&[refusing_address(), origin.address()]));
    for _ in 0..10 {
        assert_eq!(curl(&edge, "shop.example", "/", &["--data", "pay"]).status, 200);
    }
    assert_eq!(origin.requests(), 10);
    // It was tried until it was left out.
    assert!(edge.metric("landfall_upstream_ejections_total") >= 1.0);
    let retries = edge.metric("landfall_upstream_retries_total");
    assert!((1.0..=4.0).contains(&retries), "{retries} retries");
}

#[test]
fn a_request_that_may_be_repeated_goes_to_another_origin_and_a_post_arrives_once() {
    let (first, second) = (Origin::start(), Origin::start());
    let mut edge = Edge::start("[upstream]\ntries = 2");
    edge.serve_pool("shop.example", pool(&[first.address(), second.address()]));
    assert_eq!(curl(&edge, "shop.example", "/hangup", &[]).status, 502);
    assert_eq!((first.requests(), second.requests()), (1, 1));
    assert_eq!(curl(&edge, "shop.example", "/hangup", &["--data", "pay"]).status, 502);
    assert_eq!(first.requests() + second.requests(), 3);
    let put = ["--request", "PUT", "--data", "state"];
    assert_eq!(curl(&edge, "shop.example", "/hangup", &put).status, 502);
    assert_eq!(first.requests() + second.requests(), 5);
}

#[test]
fn retries_have_a_budget() {
    let origin = Origin::start();
    let mut edge = Edge::start("[upstream]\neject_after = 1000");
    edge.serve_pool("shop.example", pool(&[origin.address()]));
    let mut stream = connect(&edge, "shop.example", "http/1.1");
    drop(stream.write_all(b""));
    for _ in 0..20 {
        curl(&edge, "shop.example", "/hangup", &[]);
    }
    assert!(edge.metric("landfall_upstream_retries_over_budget_total") >= 1.0);
    assert!(origin.requests() < 50, "{} requests for 20", origin.requests());
}

#[test]
fn more_requests_than_may_be_are_told_to_come_again() {
    let origin = Origin::start();
    let mut edge = Edge::start("[upstream]\nconnections = 1");
    edge.serve("shop.example", origin.address());
    let mut waiting = connect(&edge, "shop.example", "http/1.1");
    waiting.write_all(b"GET /silent HTTP/1.1\r\nHost: shop.example\r\n\r\n").unwrap();
    edge.wait_for_metric("landfall_upstream_requests_in_flight", 1.0);
    let mut other = connect(&edge, "shop.example", "http/1.1");
    other.write_all(b"GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n").unwrap();
    let answer = String::from_utf8(read_to_end(&mut other)).unwrap().to_lowercase();
    assert!(answer.starts_with("http/1.1 503 "), "{answer}");
    assert!(answer.contains("\r\nretry-after: "), "{answer}");
    drop(waiting);
    edge.wait_for_metric("landfall_upstream_requests_in_flight", 0.0);
    assert_eq!(curl(&edge, "shop.example", "/", &[]).status, 200);
}

#[test]
fn a_property_that_is_not_known_yet_is_told_to_come_again() {
    let mut edge = Edge::start("");
    edge.serve_route("shop.example", Route::to(landfall_model::PropertyId(99)));
    assert_eq!(curl(&edge, "shop.example", "/", &[]).status, 503);
}

#[test]
fn the_longest_path_wins_and_a_change_of_the_property_holds_at_once() {
    let (all, api, v2) = (Origin::start(), Origin::start(), Origin::start());
    let mut edge = Edge::start("");
    let path = |prefix: &str, origin: &Origin| PathRoute {
        prefix: prefix.parse().unwrap(),
        origins: pool(&[origin.address()]).origins,
    };
    let property = edge.property(pool(&[all.address()]));
    let route =
        Route { paths: vec![path("/api", &api), path("/api/v2", &v2)], ..Route::to(property) };
    edge.serve_route("shop.example", route.checked().unwrap());
    for target in ["/", "/apis", "/api", "/api/v1", "/api/v2", "/api/v2/x"] {
        assert_eq!(curl(&edge, "shop.example", target, &[]).status, 200);
    }
    assert_eq!((all.requests(), api.requests(), v2.requests()), (2, 2, 2));
    let named = OriginPool { host_header: OriginName::Origin, ..pool(&[all.address()]) };
    edge.change_property(property, named);
    for (target, origin) in [("/", &all), ("/api", &api)] {
        let seen = curl(&edge, "shop.example", target, &[]).body.to_lowercase();
        assert!(seen.contains(&format!("\r\nhost: {}\r\n", origin.address())), "{seen}");
        assert!(seen.contains("\r\nx-forwarded-host: shop.example\r\n"), "{seen}");
    }
}

#[test]
fn a_health_check_takes_an_origin_out_and_puts_it_back() {
    let (good, bad) = (Origin::start(), Origin::start());
    let mut edge = Edge::start("");
    let check = HealthCheck {
        path: "/healthy".parse().unwrap(),
        interval_s: 1,
        timeout_s: 1,
        expected_status: None,
        unhealthy_after: 1,
        healthy_after: 1,
    };
    let mut both = pool(&[good.address(), bad.address()]);
    both.health_check = Some(HealthCheck { path: "/hangup".parse().unwrap(), ..check.clone() });
    both.balance = Balance::LeastConnections;
    let property = edge.property(both);
    edge.serve_route("shop.example", Route::to(property));
    // Both are out, so that both are tried.
    assert_eq!(curl(&edge, "shop.example", "/", &[]).status, 200);
    edge.wait_for_metric("landfall_upstream_origins{state=\"unhealthy\"}", 2.0);
    assert_eq!(curl(&edge, "shop.example", "/", &[]).status, 200);

    let mut well = pool(&[good.address(), refusing_address()]);
    well.health_check = Some(check);
    edge.serve_pool("blog.example", well);
    assert_eq!(curl(&edge, "blog.example", "/", &[]).status, 200);
    edge.wait_for_metric("landfall_upstream_origins{state=\"unhealthy\"}", 3.0);
    wait_until("a check succeeds", || {
        edge.metric("landfall_upstream_checks_total{result=\"ok\"}") >= 1.0
    });

    // What the property has no more is checked no more, whether there are requests or not.
    edge.change_property(property, pool(&[good.address()]));
    edge.wait_for_metric("landfall_upstream_origins{state=\"unhealthy\"}", 1.0);
    edge.wait_for_metric("landfall_upstream_pools", 1.0);
}

#[test]
fn the_time_for_a_whole_request_is_kept() {
    let origin = Origin::start();
    let mut edge = Edge::start("[upstream]\ntotal_timeout = \"300ms\"");
    edge.serve("shop.example", origin.address());
    let begun = Instant::now();
    assert_eq!(curl(&edge, "shop.example", "/silent", &[]).status, 504);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn hostnames_with_dead_origins_do_not_hurt_others() {
    let origin = Origin::start();
    let mut edge = Edge::start("");
    edge.serve("shop.example", origin.address());
    let dead = refusing_address();
    for number in 0..50 {
        edge.serve(&format!("dead{number}.example"), dead);
    }
    std::thread::scope(|scope| {
        let edge = &edge;
        for number in 0..50 {
            scope.spawn(move || {
                assert_eq!(curl(edge, &format!("dead{number}.example"), "/", &[]).status, 502);
            });
        }
        for _ in 0..10 {
            assert_eq!(curl(edge, "shop.example", "/", &[]).status, 200);
        }
    });
}
