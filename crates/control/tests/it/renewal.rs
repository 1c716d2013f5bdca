//! Certificates of the internal CA come back by themselves.

use reqwest::StatusCode;
use sqlx::{Connection, SqliteConnection};

use crate::support::{Plane, eventually, hostname_record};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_or_missing_is_issued_and_published() {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    let due = plane.hostname(&property, "due.shop.edge.test").await;
    let missing = plane.hostname(&property, "missing.shop.edge.test").await;
    let fresh = plane.hostname(&property, "fresh.shop.edge.test").await;
    let pending = plane.hostname(&property, "www.customer.test").await;
    let before = plane.get(&due).await.1["certificates"][0]["fingerprint"].clone();
    let untouched = plane.get(&fresh).await.1;

    let plane = plane
        .restart(async |dir| {
            let url = format!("sqlite://{}", dir.join("state/control.db").display());
            let mut database = SqliteConnection::connect(&url).await.unwrap();
            for statement in [
                "UPDATE certificate SET renew_at = unixepoch() - 1 WHERE hostname_id = 2",
                "DELETE FROM certificate WHERE hostname_id = 3",
            ] {
                sqlx::query(statement).execute(&mut database).await.unwrap();
            }
            database.close().await.unwrap();
        })
        .await;

    let renewed = async |path: &str| {
        let (status, hostname) = plane.get(path).await;
        assert_eq!(status, StatusCode::OK);
        let fingerprint = hostname["certificates"][0]["fingerprint"].clone();
        (fingerprint.is_string() && fingerprint != before).then_some(())
    };
    eventually(async || renewed(&due).await).await;
    eventually(async || renewed(&missing).await).await;
    assert_eq!(plane.get(&fresh).await.1, untouched);
    assert!(plane.get(&pending).await.1["certificates"].as_array().unwrap().is_empty());
    let pop = plane.pop("pop-1").await;
    let records = pop.records(pop.epoch().await, 0).await;
    assert_eq!(hostname_record(&records, "missing.shop.edge.test").certificates.len(), 1);
}
