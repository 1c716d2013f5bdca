//! Many hostnames that wait hold up nobody.

use std::{path::Path, time::Instant};

use reqwest::StatusCode;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection};

use crate::support::{
    DEADLINE, Plane, Pop, database, eventually,
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
    let plane =
        plane.restart(async |dir| fill(dir, Backlog { lane: 1, hostnames: BACKLOG }).await).await;
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

/// Hostnames of the first property.
struct Backlog {
    lane: u8,
    hostnames: i64,
}

/// As if so many hostnames had been added, and come to be due in a lane a minute ago.
async fn fill(directory: &Path, Backlog { lane, hostnames }: Backlog) {
    let mut database = database(directory).await;
    let insert = format!(
        "WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < {hostnames}) \
         INSERT INTO hostname (property_id, name, public_id, ssl_id, ownership_token, system, status, \
         internal, route, tls, metadata, wish, created_at) \
         SELECT property_id, 'h' || n || '.backlog.test', 'p' || n, 's' || n, 't', 0, 0, 0, route, tls, \
         metadata, wish, created_at FROM hostname, number WHERE hostname.id = 1"
    );
    let verifications = format!(
        "INSERT INTO verification (hostname_id, property_id, lane, next_at, tries, since) \
         SELECT id, property_id, {lane}, unixepoch() - 60, 1, unixepoch() - 60 FROM hostname \
         WHERE name LIKE '%.backlog.test'"
    );
    for statement in [insert, verifications] {
        sqlx::query(AssertSqlSafe(statement)).execute(&mut database).await.unwrap();
    }
    database.close().await.unwrap();
}

/// A control plane whose lanes run eight checks at a time, and where those below `.backlog.test` take as
/// long as they may; and two properties.
async fn narrow() -> (Responder, Plane, Pop, [String; 2]) {
    let dns = Responder::start().await;
    dns.set(".backlog.test", Reply::Silence);
    let plane = Plane::start_with(json!({
        "dns": {"resolvers": [dns.address.to_string()], "zone_servers": false, "timeout": "1s"},
        "verification": {"fresh_checks": 8, "pending_checks": 8},
    }))
    .await;
    let pop = plane.pop("pop-1").await;
    pop.epoch().await;
    eventually(async || {
        (gauge(&plane, "landfall_pops{state=\"active\"}").await == 1).then_some(())
    })
    .await;
    let properties = [plane.property("many").await, plane.property("one").await];
    (dns, plane, pop, properties)
}

/// How many checks of the backlog have ended.
async fn ended(plane: &Plane, lane: &str) -> i64 {
    let name = "landfall_verification_checks_total";
    let text = plane.client.get(plane.url("/metrics")).send().await.unwrap().text().await.unwrap();
    let line = format!("{name}{{finding=\"timeout\",lane=\"{lane}\"}} ");
    text.lines().find_map(|own| own.strip_prefix(&line)).map_or(0, |count| count.parse().unwrap())
}

async fn active(plane: &Plane, path: &str) {
    eventually(async || (plane.get(path).await.1["status"] == "Active").then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_propertys_first_check_waits_for_none_of_anothers_thousand_slow_ones() {
    let (dns, plane, _pop, [_, one]) = narrow().await;
    dns.point("www.one.test", "192.0.2.1");
    let plane =
        plane.restart(async |dir| fill(dir, Backlog { lane: 0, hostnames: 1_000 }).await).await;
    // As many as one property may have.
    eventually(async || (gauge(&plane, "landfall_verifications_running").await == 6).then_some(()))
        .await;
    let before = ended(&plane, "fresh").await;
    let path = plane.hostname(&one, "www.one.test").await;
    active(&plane, &path).await;
    let meanwhile = ended(&plane, "fresh").await - before;
    assert!(meanwhile <= 12, "{meanwhile} others were checked first");
    assert!(gauge(&plane, "landfall_verification_due{lane=\"fresh\"}").await > 900);
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_propertys_later_check_takes_its_turn_among_anothers_thousand_slow_ones() {
    let (dns, plane, _pop, [_, one]) = narrow().await;
    let path = plane.hostname(&one, "www.one.test").await;
    eventually(async || {
        (plane.get(&path).await.1["verification"]["finding"] == "nx_domain").then_some(())
    })
    .await;
    dns.point("www.one.test", "192.0.2.1");
    let plane = plane
        .restart(async |dir| {
            fill(dir, Backlog { lane: 1, hostnames: 1_000 }).await;
            let due = "UPDATE verification SET next_at = unixepoch() WHERE hostname_id = \
                       (SELECT id FROM hostname WHERE name = 'www.one.test')";
            sqlx::query(due).execute(&mut database(dir).await).await.unwrap();
        })
        .await;
    active(&plane, &path).await;
    let meanwhile = ended(&plane, "pending").await;
    assert!(meanwhile <= 24, "{meanwhile} others were checked first");
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostname_whose_check_always_fails_backs_off_and_holds_up_no_other() {
    let (dns, plane, _pop, [_, one]) = narrow().await;
    dns.point("www.one.test", "192.0.2.1");
    let plane = plane
        .restart(async |dir| {
            fill(dir, Backlog { lane: 0, hostnames: 20 }).await;
            let unreadable = "UPDATE hostname SET route = '{' WHERE name LIKE '%.backlog.test'";
            sqlx::query(unreadable).execute(&mut database(dir).await).await.unwrap();
        })
        .await;
    let path = plane.hostname(&one, "www.one.test").await;
    active(&plane, &path).await;
    let mut database = database(plane.dir.path()).await;
    let put_off = "SELECT count(*) FROM verification WHERE unclear = 1 AND next_at > unixepoch()";
    let started = Instant::now();
    while sqlx::query_scalar::<_, i64>(put_off).fetch_one(&mut database).await.unwrap() < 20 {
        assert!(started.elapsed() < DEADLINE, "they are tried again and again");
    }
    assert_eq!(gauge(&plane, "landfall_verification_errors_total{lane=\"fresh\"}").await, 20);
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_was_a_year_ahead_keeps_no_hostname_waiting() {
    let (dns, plane, pop, [_, one]) = narrow().await;
    let path = plane.hostname(&one, "www.one.test").await;
    eventually(async || {
        (plane.get(&path).await.1["verification"]["finding"] == "nx_domain").then_some(())
    })
    .await;
    dns.point("www.one.test", "192.0.2.1");
    let plane = plane
        .restart(async |dir| {
            let mut database = database(dir).await;
            for statement in [
                "UPDATE verification SET next_at = next_at + 31536000, since = since + 31536000",
                "UPDATE pop SET seen_at = seen_at + 31536000",
            ] {
                sqlx::query(statement).execute(&mut database).await.unwrap();
            }
        })
        .await;
    let pops = "landfall_pops{state=\"unhealthy\"}";
    eventually(async || (gauge(&plane, pops).await == 1).then_some(())).await;
    pop.at(&plane).epoch().await;
    active(&plane, &path).await;
    plane.stop().await;
}
