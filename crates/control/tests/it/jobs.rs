//! Certificates that are asked for: what becomes of a job, and how its owner sees it.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use reqwest::StatusCode;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use crate::support::{Plane, database, eventually, hostname_record};

const ASK: &str = "INSERT INTO job \
    (hostname_id, property_id, issuer, state, lane, choice, next_at, created_at) \
    SELECT id, property_id, internal, 0, 1, '', unixepoch(), unixepoch() FROM hostname WHERE name = ";

/// A plane whose internal CA issues for verified hostnames, and a pending hostname's path.
async fn with_pending_hostname(scope: &str) -> (Plane, String) {
    let ca = json!({"internal_ca": {"external_hostnames": scope}});
    let plane = Plane::start_with(ca).await;
    let property = plane.property("shop").await;
    let path = plane.hostname(&property, "www.customer.test").await;
    (plane, path)
}

async fn execute(directory: &Path, statements: &[&str]) {
    let mut database = database(directory).await;
    for statement in statements {
        sqlx::query(sqlx::AssertSqlSafe(*statement)).execute(&mut database).await.unwrap();
    }
}

/// Makes the hostname active and asks for its certificate.
async fn activate(plane: &Plane) {
    let ask = format!("{ASK}'www.customer.test'");
    let activate = "UPDATE hostname SET status = 1 WHERE name = 'www.customer.test'";
    execute(plane.dir.path(), &[activate, &ask]).await;
}

async fn explain(plane: &Plane, path: &str) -> Value {
    let (status, body) = plane.get(&format!("{path}/explain")).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    body
}

/// Waits until the newest job is in `state`, and answers what explains the hostname then.
async fn job_is(plane: &Plane, path: &str, state: &str) -> Value {
    eventually(async || {
        let body = explain(plane, path).await;
        (body["jobs"][0]["state"] == state).then_some(body)
    })
    .await
}

async fn event_kinds(plane: &Plane, path: &str) -> Vec<String> {
    let (_, events) = plane.get(&format!("{path}/events")).await;
    let items = events["items"].as_array().unwrap();
    items.iter().map(|event| event["kind"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_asked_for_is_issued_and_published() {
    let (plane, path) = with_pending_hostname("verified").await;
    assert_eq!(plane.get(&path).await.1["certificateState"], "pending_validation");

    activate(&plane).await;
    let body = job_is(&plane, &path, "done").await;

    assert_eq!(body["hostname"]["certificates"][0]["source"], "internal");
    assert_eq!(body["hostname"]["certificateState"], "pending_deployment");
    assert_eq!(event_kinds(&plane, &path).await[0], "certificate_issued");
    let pop = plane.pop("pop-1").await;
    let records = pop.records(pop.epoch().await, 0).await;
    assert_eq!(hostname_record(&records, "www.customer.test").certificates.len(), 1);
    let metrics = plane.client.get(plane.url("/metrics")).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(metrics.contains("landfall_job_attempts_total{result=\"issued\"} 1"), "{metrics}");
    assert!(metrics.contains("landfall_jobs{state=\"open\"} 0"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_agents_stays_open_and_says_so_until_a_certificate_is_uploaded() {
    let (plane, path) = with_pending_hostname("none").await;

    activate(&plane).await;
    let body = job_is(&plane, &path, "open").await;

    assert_eq!(body["jobs"][0]["waitingFor"], "agent");
    assert_eq!(body["hostname"]["certificateState"], "pending_issuance");
    assert!(body["summary"].as_str().unwrap().contains("is being issued"), "{body}");
    let pair = rcgen::generate_simple_self_signed(["www.customer.test".to_owned()]).unwrap();
    let upload = json!({
        "certificate": pair.cert.pem(),
        "privateKey": pair.signing_key.serialize_pem(),
    });
    let (status, hostname) = plane.post(&format!("{path}/certificate"), &upload).await;
    assert_eq!(status, StatusCode::OK, "{hostname}");
    let body = explain(&plane, &path).await;
    assert_eq!(body["jobs"][0]["state"], "cancelled");
    assert_eq!(body["jobs"][0]["cancelledBecause"], "certificate_uploaded");
    let (status, _) = plane.delete(&format!("{path}/certificate")).await;
    assert_eq!(status, StatusCode::OK);
    let body = explain(&plane, &path).await;
    assert_eq!(
        (&body["jobs"][0]["state"], &body["jobs"][1]["state"]),
        (&json!("open"), &json!("cancelled"))
    );
    let expected = [
        "certificate_removed",
        "certificate_requested",
        "certificate_uploaded",
        "certificate_request_cancelled",
        "created",
    ];
    assert_eq!(event_kinds(&plane, &path).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostname_whose_dns_has_left_gets_no_certificate() {
    let (plane, path) = with_pending_hostname("verified").await;
    let leave = "UPDATE verification SET left_at = unixepoch()";
    execute(plane.dir.path(), &[leave]).await;

    activate(&plane).await;
    let body = job_is(&plane, &path, "cancelled").await;

    assert_eq!(body["jobs"][0]["cancelledBecause"], "dns_left");
    assert!(body["hostname"]["certificates"].as_array().unwrap().is_empty());
    let plane = plane.restart(async |_| {}).await;
    let body = explain(&plane, &path).await;
    assert_eq!(body["jobs"].as_array().unwrap().len(), 1, "{body}");
}

/// Puts a root in the place of the internal CA's that ended yesterday.
fn expire_ca(directory: &Path) {
    let state = directory.join("state");
    let key = std::fs::read_to_string(state.join("internal-ca.key")).unwrap();
    let key = KeyPair::from_pem(&key).unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.not_after = OffsetDateTime::now_utc() - Duration::DAY;
    let root = params.self_signed(&key).unwrap();
    std::fs::write(state.join("internal-ca.pem"), root.pem()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_ca_has_against_it_is_kept_and_tried_again_later() {
    let (plane, path) = with_pending_hostname("verified").await;
    let plane = plane.restart(async |directory| expire_ca(directory)).await;

    activate(&plane).await;
    let body = eventually(async || {
        let body = explain(&plane, &path).await;
        (body["jobs"][0]["failedAttempts"] == 1).then_some(body)
    })
    .await;

    let job = &body["jobs"][0];
    assert_eq!((&job["state"], &job["waitingFor"]), (&json!("open"), &json!("next_attempt")));
    assert!(job["error"].as_str().unwrap().contains("internal CA expired"), "{job}");
    assert_eq!(body["nextAttemptAt"], job["nextAttemptAt"]);
    assert!(job["nextAttemptAt"].as_str() > job["lastAttemptAt"].as_str(), "{job}");
    let (_, events) = plane.get(&format!("{path}/events?limit=1")).await;
    assert_eq!(events["items"][0]["kind"], "certificate_attempt_failed");
    assert_eq!(events["items"][0]["detail"]["attempt"], 1);

    execute(plane.dir.path(), &["UPDATE job SET attempts = 4"]).await;
    assert_eq!(plane.get(&path).await.1["certificateState"], "issuance_timed_out");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_always_fails_holds_up_no_other_and_one_put_off_for_a_year_is_done() {
    let plane = Plane::start().await;
    for name in ["broken", "ahead", "next"] {
        plane.property(name).await;
    }
    let asked = ["broken", "ahead", "next"].map(|name| format!("{ASK}'{name}.edge.test'"));
    let plane = plane
        .restart(async |dir| {
            execute(dir, &asked.each_ref().map(String::as_str)).await;
            let misdated =
                "UPDATE job SET next_at = iif(id = 1, 0, next_at + 31536000) WHERE id < 3";
            let unreadable = "UPDATE hostname SET route = '{' WHERE name = 'broken.edge.test'";
            execute(dir, &[misdated, unreadable]).await;
        })
        .await;
    let standing = async || {
        let query = "SELECT state, attempts, next_at > unixepoch() FROM job ORDER BY id";
        let mut rows = database(plane.dir.path()).await;
        sqlx::query_as::<_, (i64, i64, bool)>(query).fetch_all(&mut rows).await.unwrap()
    };
    eventually(async || {
        let standing = standing().await;
        let is_done = standing[1].0 == 1 && standing[2].0 == 1;
        (is_done && standing[0] == (0, 1, true)).then_some(())
    })
    .await;
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_a_clock_that_was_ahead_is_issued_anew() {
    let plane = Plane::start().await;
    plane.property("shop").await;
    let begins = async |plane: &Plane| {
        let mut rows = database(plane.dir.path()).await;
        let query = "SELECT not_before > unixepoch() FROM certificate";
        sqlx::query_scalar::<_, bool>(query).fetch_all(&mut rows).await.unwrap()
    };
    eventually(async || (begins(&plane).await == [false]).then_some(())).await;
    let plane = plane
        .restart(async |dir| {
            let ahead = "UPDATE certificate SET not_before = not_before + 31536000, \
                         not_after = not_after + 31536000, renew_at = renew_at + 31536000";
            execute(dir, &[ahead]).await;
        })
        .await;
    eventually(async || (begins(&plane).await == [false]).then_some(())).await;
    plane.stop().await;
}
