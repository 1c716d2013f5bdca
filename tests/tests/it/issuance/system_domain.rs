//! One certificate of a public CA for all system hostnames.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use landfall_tests::{DEADLINE, FLEET_DOMAIN, Fleet, Origin, wait_until};
use reqwest::{Certificate, Client, Method};
use serde_json::{Value, json};

use super::records::own_zone;

const NAME: &str = "shop.edge.test";

/// Asks an edge again and again on new connections until told to stop. Every answer is the origin's.
async fn load(client: &Client, url: &str, stop: &AtomicBool, answered: &AtomicU64) {
    while !stop.load(Ordering::Relaxed) {
        let answer = client.get(url).send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.text().await.expect("a body"), "shop");
        answered.fetch_add(1, Ordering::Relaxed);
    }
}

/// Adds `*.<system domain>` to a property, and leaves its challenges to the zone of challenges.
async fn add_wildcard(fleet: &mut Fleet, property: i64) -> String {
    let path = format!("/api/Property/{property}/hostname");
    let api = fleet.lab.api();
    let body = json!({"name": format!("*.{FLEET_DOMAIN}")});
    let added = api.must(Method::POST, &path, &body).await;
    let hostname = format!("{path}/{}", added["id"]);
    let target = added["challengeRecord"]["target"].as_str().unwrap();
    let zone = format!("* A 127.0.0.2\n* A 127.0.0.3\n_acme-challenge CNAME {target}.");
    fleet.set_zone(FLEET_DOMAIN, &zone).await;
    api.must(Method::POST, &format!("{hostname}/request-certificate"), &json!({})).await;
    hostname
}

/// Waits until an edge shows this certificate for the system hostname again.
async fn wait_until_shown(fleet: &Fleet, edge: usize, certificate: &str) {
    wait_until("the certificate of the internal CA is shown", DEADLINE, async || {
        let shown = fleet.certificate(edge, NAME, &[]).await?;
        (shown == certificate).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn system_hostnames_are_served_with_the_system_domains_wildcard_for_as_long_as_it_is_there() {
    let origin = Origin::start("shop").await;
    let mut fleet = own_zone().start().await;
    let api = fleet.lab.api();
    let property = api.create_property("shop", origin.address()).await;
    wait_until("the system hostname is served", DEADLINE, async || {
        fleet.certificate(1, NAME, &[]).await
    })
    .await;
    let internal = fleet.certificate(0, NAME, &[]).await.unwrap();
    let roots = [
        fleet.pebble.root(0).await,
        std::fs::read_to_string(fleet.lab.root_certificate()).unwrap(),
    ];
    let roots = roots.map(|root| Certificate::from_pem(root.as_bytes()).unwrap());
    let client = fleet.client(0, &fleet.pebble.root(0).await).tls_certs_only(roots);
    let client = client.pool_max_idle_per_host(0).build().unwrap();
    let url = fleet.url(0, NAME);
    let (stop, answered) = (AtomicBool::new(false), AtomicU64::new(0));

    let changing = async {
        let wildcard = add_wildcard(&mut fleet, property).await;
        fleet.wait_until_served_everywhere(NAME, "shop").await;
        // Of a property that comes later too, which counts as served by what is shown in its place.
        let late = api.create_property("late", origin.address()).await;
        fleet.wait_until_served_everywhere("late.edge.test", "shop").await;
        let path = format!("/api/Property/{late}/hostname");
        wait_until("its certificate counts as served", DEADLINE, async || {
            let hostnames = api.read(&path).await;
            hostnames.to_string().contains("\"certificateState\":\"active\"").then_some(())
        })
        .await;
        assert_eq!(fleet.pebble.log().matches("Added order").count(), 1);

        let deleted = api.send(Method::DELETE, &wildcard, &Value::Null).await;
        assert_eq!(deleted.status, 204);
        for edge in 0..fleet.edges() {
            wait_until_shown(&fleet, edge, &internal).await;
        }
        let so_far = answered.load(Ordering::Relaxed);
        wait_until("requests go on", DEADLINE, async || {
            (answered.load(Ordering::Relaxed) > so_far + 5).then_some(())
        })
        .await;
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(load(&client, &url, &stop, &answered), changing);
}
