//! Which challenge proves a name.

use landfall_tests::{
    CUSTOMER_ZONE, DEADLINE, Fleet, FleetBuilder, Origin, free_ports, wait_until,
};
use reqwest::Method;
use serde_json::json;

const NAME: &str = "www.customer.test";

/// The fleet, once it serves the hostname under pebble's certificate.
async fn served(builder: FleetBuilder) -> (Fleet, Origin) {
    let origin = Origin::start("shop").await;
    let mut fleet = builder.start().await;
    fleet.set_zone(CUSTOMER_ZONE, "www CNAME shop.edge.test.").await;
    let api = fleet.lab.api();
    let property = api.create_property("shop", origin.address()).await;
    api.add_hostname(property, NAME).await;
    fleet.wait_until_served_everywhere(NAME, "shop").await;
    (fleet, origin)
}

/// Handshakes in which edges have answered TLS-ALPN-01: our own, and the CA's.
async fn challenge_handshakes(fleet: &Fleet) -> f64 {
    let mut all = 0.0;
    for edge in 0..fleet.edges() {
        let own = fleet.lab.metric(edge, "landfall_handshakes_total", "result=\"challenge\"").await;
        all += own.unwrap_or(0.0);
    }
    all
}

#[tokio::test]
async fn a_name_is_proven_by_tls_alpn_01_where_the_operator_says_so() {
    let builder = Fleet::builder(3).control_setting("issuance.method", "tls-alpn-01");

    let (fleet, _origin) = served(builder).await;

    let log = fleet.pebble.log();
    assert!(!log.contains("Attempting to validate w/ HTTP"), "{log}");
    assert!(challenge_handshakes(&fleet).await >= 4.0, "three edges by us, and one by the CA");
}

#[tokio::test]
async fn a_name_is_proven_by_tls_alpn_01_where_port_80_is_closed() {
    let [closed] = free_ports();
    let builder = Fleet::builder(2);
    let [_, https] = builder.ports();
    let builder =
        builder.pebble_ports(closed, https).edge_setting("issuance.http_port", i64::from(closed));

    let (fleet, _origin) = served(builder).await;

    // That HTTP-01 does not work was seen by ourselves: the CA has counted no failure.
    let log = fleet.pebble.log();
    assert!(!log.contains("Attempting to validate w/ HTTP"), "{log}");
    assert_eq!(log.matches("Added order").count(), 1);
    assert!(challenge_handshakes(&fleet).await >= 3.0);
}

#[tokio::test]
async fn a_hostname_has_a_certificate_for_each_kind_of_key_that_it_asks_for() {
    let mut fleet = Fleet::start(1).await;
    fleet.set_zone(CUSTOMER_ZONE, "www CNAME shop.edge.test.").await;
    let api = fleet.lab.api();
    let property = api.create_property("shop", "127.0.0.1:9".parse().unwrap()).await;
    let body = json!({"name": NAME, "managedCertificate": {"keyTypes": ["ecdsa", "rsa"]}});
    api.must(Method::POST, &format!("/api/Property/{property}/hostname"), &body).await;

    let shown = async |algorithm| fleet.certificate(0, NAME, &["-sigalgs", algorithm]).await;
    let (ecdsa, rsa) = wait_until("both are served", DEADLINE, async || {
        Some((shown("ECDSA+SHA256").await?, shown("RSA-PSS+SHA256").await?))
    })
    .await;

    assert_ne!(ecdsa, rsa);
    assert_eq!(fleet.pebble.log().matches("Issued certificate").count(), 2);
}
