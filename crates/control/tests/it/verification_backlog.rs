//! A hundred thousand pending hostnames hold up nobody.

use reqwest::StatusCode;
use serde_json::json;
use sqlx::{Connection, SqliteConnection};

use crate::support::{
    Plane, eventually,
    responder::{Reply, Responder},
};

const BACKLOG: i64 = 100_000;
const AT_A_TIME: i64 = 64;

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_hostname_is_checked_while_a_hundred_thousand_wait_and_few_run_at_a_time() {
    let dns = Responder::start().await;
    // Each check of the backlog takes as long as one may.
    dns.set(".backlog.test", Reply::Silence);
    let plane = Plane::start_with(json!({
        "dns": {"resolvers": [dns.address.to_string()], "zone_servers": false, "timeout": "1s"},
        "verification": {"pending_checks": AT_A_TIME},
    }))
    .await;
    let pop = plane.pop("pop-1").await;
    pop.epoch().await;
    let property = plane.property("shop").await;
    let plane = plane.restart(async |dir| fill(&dir.join("state/control.db")).await).await;
    pop.at(&plane).epoch().await;
    eventually(async || (gauge(&plane, "landfall_verifications_running").await > 0).then_some(()))
        .await;
    eventually(async || {
        (gauge(&plane, "landfall_pops{state=\"active\"}").await == 1).then_some(())
    })
    .await;

    dns.point("www.shop.test", "192.0.2.1");
    let (status, created) =
        plane.post(&format!("{property}/hostname"), &json!({"name": "www.shop.test"})).await;
    assert_eq!(status, StatusCode::CREATED);
    let path = format!("{property}/hostname/{}", created["id"]);
    let mut most = 0;
    loop {
        most = most.max(gauge(&plane, "landfall_verifications_running").await);
        if plane.get(&path).await.1["status"] == "Active" {
            break;
        }
    }
    assert!(most <= AT_A_TIME + 1, "{most} checks ran at a time");
    let due = gauge(&plane, "landfall_verification_due{lane=\"pending\"}").await;
    assert!(due > BACKLOG / 2, "{due} are left");
    plane.stop().await;
}

async fn gauge(plane: &Plane, name: &str) -> i64 {
    let text = plane.client.get(plane.url("/metrics")).send().await.unwrap().text().await.unwrap();
    let mut values = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    values.next().unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
}

/// As if so many hostnames had been added and checked once.
async fn fill(database: &std::path::Path) {
    let url = format!("sqlite://{}", database.display());
    let mut database = SqliteConnection::connect(&url).await.unwrap();
    let hostnames = format!(
        "WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < {BACKLOG}) \
         INSERT INTO hostname (property_id, name, public_id, ssl_id, ownership_token, system, status, \
         internal, route, tls, metadata, wish, created_at) \
         SELECT property_id, 'h' || n || '.backlog.test', 'p' || n, 's' || n, 't', 0, 0, 0, route, tls, \
         metadata, wish, created_at FROM hostname, number WHERE hostname.id = 1"
    );
    let verifications = "INSERT INTO verification (hostname_id, lane, next_at, tries, since) \
                         SELECT id, 1, unixepoch() - 60, 1, unixepoch() - 60 FROM hostname WHERE id > 1";
    for statement in [hostnames.as_str(), verifications] {
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut database).await.unwrap();
    }
    database.close().await.unwrap();
}
