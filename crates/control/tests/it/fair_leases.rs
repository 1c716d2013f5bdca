//! Nobody holds up all others: neither a CA's word to wait, nor agents that keep their jobs, nor one
//! property.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::{
    agents::{Scene, execute, explain, failed, lease, lease_one, report, scene},
    authorities::waits_for,
    support::{answer, eventually},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_ca_that_wants_years_of_rest_is_asked_again_after_an_hour_and_the_owner_is_told() {
    let Scene { plane, pop, hostname, .. } =
        scene(json!({"certificate_authorities": ["own"]})).await;
    let task = lease_one(&pop).await;
    let problem = json!({"trouble": "problem", "step": "order", "status": 503, "kind": "",
        "detail": "later", "retry_after": 4_000_000_000_i64});
    report(&pop, &task, json!({"news": "failed", "trouble": problem})).await;
    execute(&plane, "UPDATE job SET next_at = 0").await;
    waits_for(&plane, &pop, &hostname, "hold").await;
    let body = explain(&plane, &hostname).await;
    let summary = body["summary"].as_str().unwrap();
    assert!(summary.contains("the CA own is not asked again before 2"), "{body}");
    let next_at = time::OffsetDateTime::parse(
        body["nextAttemptAt"].as_str().unwrap(),
        &time::format_description::well_known::Rfc3339,
    );
    let wait = next_at.unwrap() - time::OffsetDateTime::now_utc();
    assert!(wait > time::Duration::minutes(50) && wait <= time::Duration::minutes(75), "{body}");
    execute(&plane, "UPDATE hold SET since = 0, until = 1").await;
    assert_eq!(lease_one(&pop).await["job"], task["job"]);
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_ends_whatever_its_agent_says() {
    let Scene { plane, pop, .. } = scene(json!({"lease": "5s"})).await;
    let task = lease_one(&pop).await;
    assert_eq!(report(&pop, &task, json!({"news": "alive"})).await["lease"], "held");
    execute(&plane, "UPDATE job SET leased_at = unixepoch() - 1201").await;
    report(&pop, &task, json!({"news": "alive"})).await;
    eventually(async || {
        let reply = report(&pop, &task, json!({"news": "alive"})).await;
        (reply["lease"] == "lost").then_some(())
    })
    .await;
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_a_refused_name_gets_an_attempt_a_day_after_the_last() {
    let scene = scene(json!({"certificate_authorities": ["own"]})).await;
    // Its DNS goes on answering.
    let (plane, pop, hostname) = (scene.plane, scene.pop, scene.hostname);
    let task = lease_one(&pop).await;
    report(&pop, &task, failed("rejectedIdentifier", "by policy", "order")).await;
    assert_eq!(explain(&plane, &hostname).await["jobs"][0]["state"], "cancelled");
    let ask = async || {
        let path = format!("{hostname}/request-certificate");
        let (status, body) = answer(plane.request(Method::POST, &path)).await;
        assert_eq!(status, StatusCode::OK, "{body}");
    };
    ask().await;
    assert!(lease(&pop, "agent-1", 0).await.is_empty(), "it was asked for today");
    execute(&plane, "UPDATE hold SET since = since - 90000").await;
    ask().await;
    let again = lease_one(&pop).await;
    assert_ne!(again["job"], task["job"]);
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_property_has_so_many_orders_that_wait_for_owners_and_no_more() {
    let Scene { plane, pop, hostname, .. } =
        scene(json!({"method": "dns-01", "rules": {"owners_orders": 1}})).await;
    // The job of another hostname, whose owner does nothing.
    execute(
        &plane,
        "PRAGMA foreign_keys = OFF; \
         UPDATE job SET hostname_id = -hostname_id, txt = '{}', next_at = 4000000000; \
         INSERT INTO job (hostname_id, property_id, issuer, state, lane, choice, next_at, \
             created_at) SELECT id, property_id, 0, 0, 1, '', 0, 0 FROM hostname",
    )
    .await;
    assert!(lease(&pop, "agent-1", 0).await.is_empty());
    let body = explain(&plane, &hostname).await;
    assert_eq!(body["jobs"][0]["waitingFor"], "owners_orders", "{body}");
    assert!(body["summary"].as_str().unwrap().contains("wait for the TXT records"), "{body}");
    execute(&plane, "UPDATE job SET txt = NULL").await;
    execute(&plane, "UPDATE job SET next_at = 0 WHERE hostname_id > 0").await;
    lease_one(&pop).await;
    plane.stop().await;
}
