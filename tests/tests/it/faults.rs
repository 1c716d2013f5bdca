//! What fails around an edge, and that it serves on.

use std::{
    fs,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use landfall_tests::{DEADLINE, Lab, Origin, wait_until};
use serde_json::Value;

#[tokio::test]
async fn serves_on_when_the_control_plane_is_killed_and_catches_up_when_it_is_back() {
    let origin = Origin::start("shop").await;
    let mut lab = Lab::start().await;
    let property = lab.api().create_property("shop", origin.address()).await;
    lab.wait_until_served(0, "shop.lab.localhost", "shop").await;

    lab.control().kill().await;

    for _ in 0..20 {
        assert_eq!(lab.get(0, "shop.lab.localhost", "/").await.unwrap().text, "shop");
    }
    wait_until("the edge says what is wrong", DEADLINE, async || {
        let readyz = lab.read_admin(0, "/readyz").await.ok()?;
        (readyz.status == 200 && readyz.text.contains("can't be reached")).then_some(())
    })
    .await;
    lab.control().start();
    lab.wait_until_control_is_ready().await;
    lab.api().add_hostname(property, "back.lab.localhost").await;
    lab.wait_until_served(0, "back.lab.localhost", "shop").await;
}

#[tokio::test]
async fn starts_from_disk_when_the_control_plane_cannot_even_be_resolved() {
    let origin = Origin::start("shop").await;
    let mut lab = Lab::start().await;
    lab.api().create_property("shop", origin.address()).await;
    lab.wait_until_served(0, "shop.lab.localhost", "shop").await;
    lab.edge(0).stop().await;
    lab.control().stop().await;
    let config = fs::read_to_string(lab.edge_config(0)).unwrap();
    let url = format!("http://{}", lab.control_address());
    fs::write(lab.edge_config(0), config.replace(&url, "http://control.invalid:8081")).unwrap();

    lab.edge(0).start();

    lab.wait_until_edge_is_ready(0).await;
    lab.wait_until_served(0, "shop.lab.localhost", "shop").await;
    let readyz = lab.read_admin(0, "/readyz").await.unwrap().text;
    assert!(readyz.contains("last-known-good state from disk"), "{readyz}");
    assert!(readyz.contains("s ago"), "{readyz}");
    assert!(lab.metric(0, "landfall_feed_lag_seconds", "").await.unwrap() >= 0.0);
}

/// Adds and removes hostnames until told to stop; says which was added last.
async fn churn(lab: &Lab, property: i64, changes: &AtomicU64, stop: &AtomicBool) -> String {
    let mut number = 0;
    loop {
        let name = format!("churn{number}.lab.localhost");
        let hostname = lab.api().add_hostname(property, &name).await;
        changes.fetch_add(1, Ordering::Relaxed);
        if stop.load(Ordering::Relaxed) {
            return name;
        }
        if number % 3 == 0 {
            lab.api().remove_hostname(property, hostname).await;
            changes.fetch_add(1, Ordering::Relaxed);
        }
        number += 1;
    }
}

#[tokio::test]
async fn fifty_kills_during_a_stream_of_changes_leave_a_database_that_opens_and_serves() {
    let origin = Origin::start("shop").await;
    let mut lab = Lab::start().await;
    let property = lab.api().create_property("shop", origin.address()).await;
    lab.wait_until_served(0, "shop.lab.localhost", "shop").await;
    let (changes, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let mut edge = lab.take_edge(0);

    let kills = async {
        for kill in 0..50 {
            // A different moment each time: after another number of changes.
            let from = changes.load(Ordering::Relaxed);
            wait_until("changes go on", DEADLINE, async || {
                (changes.load(Ordering::Relaxed) >= from + kill % 7).then_some(())
            })
            .await;
            edge.kill().await;
            edge.start();
            lab.wait_until_edge_is_ready(0).await;
            assert_eq!(lab.get(0, "shop.lab.localhost", "/").await.unwrap().text, "shop");
        }
        stop.store(true, Ordering::Relaxed);
    };
    let (last, ()) = tokio::join!(churn(&lab, property, &changes, &stop), kills);

    lab.wait_until_served(0, &last, "shop").await;
    assert!(!edge.log().contains("damaged"), "{}", edge.log());
    let hostnames = lab.metric(0, "landfall_store_hostnames", "").await.unwrap();
    assert_eq!(hostnames, count_hostnames(&lab, property).await);
}

#[allow(clippy::cast_precision_loss, reason = "a few hundred")]
async fn count_hostnames(lab: &Lab, property: i64) -> f64 {
    let (mut count, mut cursor) = (0, String::new());
    loop {
        let path = format!("/api/Property/{property}/hostname?limit=100{cursor}");
        let page = lab.api().read(&path).await;
        count += page["items"].as_array().unwrap().len();
        let Value::String(next) = &page["nextCursor"] else { return count as f64 };
        cursor = format!("&cursor={next}");
    }
}

#[tokio::test]
async fn serves_on_when_the_disk_is_full_says_so_and_recovers_by_itself() {
    let origin = Origin::start("shop").await;
    let mut lab = Lab::builder().edge_disk("6m").start().await;
    let property = lab.api().create_property("shop", origin.address()).await;
    lab.wait_until_served(0, "shop.lab.localhost", "shop").await;

    lab.edge(0).fill_disk().await;
    let mut number = 0;
    wait_until("the edge can't write", DEADLINE, async || {
        number += 1;
        lab.api().add_hostname(property, &format!("full{number}.lab.localhost")).await;
        (lab.metric(0, "landfall_state_writable", "").await? < 0.5).then_some(())
    })
    .await;

    let last = format!("full{number}.lab.localhost");
    assert_eq!(lab.get(0, "shop.lab.localhost", "/").await.unwrap().text, "shop");
    let full = lab.metric(0, "landfall_feed_failures_total", "reason=\"disk_full\"").await;
    assert!(full.unwrap() >= 1.0);
    assert!(lab.edge(0).log().contains("database or disk is full"));
    let readyz = lab.read_admin(0, "/readyz").await.unwrap();
    assert_eq!(readyz.status, 200);
    assert!(readyz.text.contains("disk is full"), "{}", readyz.text);
    lab.edge(0).free_disk().await;
    lab.wait_until_served(0, &last, "shop").await;
    assert_eq!(lab.metric(0, "landfall_state_writable", "").await, Some(1.0));
}
