//! Which CA is asked: chosen by hostnames and properties, in the operator's order, at the CA's pace.

use reqwest::StatusCode;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::{
    agents::{
        NAME, Scene, execute, explain, failed, group, issued, lease, lease_one, report, scene,
    },
    support::{Plane, Pop, database, eventually},
};

/// Settings with a third CA, which hostnames can choose by its well-known name.
fn three() -> Value {
    json!({"certificate_authorities": ["own", "other", "lets_encrypt"]})
}

fn property_of(hostname: &str) -> &str {
    hostname.split_once("/hostname/").unwrap().0
}

/// The CA of the one job, which is nobody's again from then on.
async fn next_authority(plane: &Plane, pop: &Pop) -> Value {
    let task = lease_one(pop).await;
    execute(plane, "UPDATE job SET leased_until = NULL, next_at = 0").await;
    task["authority"]["name"].clone()
}

/// Nobody gets the job, and it is said why.
pub(crate) async fn waits_for(plane: &Plane, pop: &Pop, hostname: &str, reason: &str) {
    eventually(async || {
        assert!(lease(pop, "agent-1", 0).await.is_empty());
        let body = explain(plane, hostname).await;
        (body["jobs"][0]["waitingFor"] == reason).then_some(())
    })
    .await;
}

/// A CA's limit of orders, until so many seconds from now.
fn too_many(seconds: i64) -> Value {
    let retry_after = OffsetDateTime::now_utc().unix_timestamp() + seconds;
    let mut news = failed("rateLimited", "too many new orders recently", "order");
    news["trouble"]["status"] = json!(429);
    news["trouble"]["retry_after"] = json!(retry_after);
    news
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostnames_ca_goes_before_its_propertys_and_that_before_the_operators() {
    let Scene { plane, pop, hostname, .. } = scene(three()).await;
    let property = property_of(&hostname);
    let of_property = |name: Value| json!({"certificateAuthority": name});
    let of_hostname = |name: Value| json!({"managedCertificate": {"authority": name}});
    assert_eq!(next_authority(&plane, &pop).await, "own");
    let (path, null) = (property.to_owned(), Value::Null);
    let steps = [
        (&path, of_property(json!("other")), "other"),
        (&hostname, of_hostname(json!("lets_encrypt")), "lets_encrypt"),
        (&path, of_property(json!("own")), "lets_encrypt"),
        (&path, of_property(json!("other")), "lets_encrypt"),
        (&hostname, of_hostname(json!("own")), "own"),
        (&hostname, of_hostname(null.clone()), "other"),
        (&path, of_property(null), "own"),
    ];
    for (path, patch, expected) in steps {
        let (status, body) = plane.patch(path, &patch).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        if let Some(chosen) = patch.get("certificateAuthority") {
            assert_eq!(body["certificateAuthority"], *chosen);
        }
        assert_eq!(next_authority(&plane, &pop).await, expected, "{path} {patch}");
    }
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_property_is_created_with_a_ca_that_the_operator_has_configured() {
    let Scene { plane, pop, .. } = scene(three()).await;
    let head = pop.head(pop.epoch().await).await;
    let create = |authority: &str| {
        json!({"name": "two", "origins": [{"url": "http://origin.test"}],
        "certificateAuthority": authority})
    };
    let (status, problem) = plane.post("/api/Property", &create("elsewhere")).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(problem["code"], "authority_not_configured");
    assert_eq!(problem["field"], "/certificateAuthority");
    let (status, problem) = plane.post("/api/Property", &create("No Name")).await;
    assert_eq!(
        (status, &problem["field"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("/certificateAuthority")),
        "{problem}"
    );
    let (status, property) = plane.post("/api/Property", &create("other")).await;
    assert_eq!(status, StatusCode::CREATED, "{property}");
    assert_eq!(property["certificateAuthority"], "other");
    let path = format!("/api/Property/{}", property["id"]);
    let made = pop.head(pop.epoch().await).await;
    assert!(made > head);
    let (status, problem) = plane.patch(&path, &json!({"certificateAuthority": "elsewhere"})).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
    let (_, property) = plane.patch(&path, &json!({"certificateAuthority": null})).await;
    assert_eq!(property["certificateAuthority"], Value::Null);
    assert_eq!(pop.head(pop.epoch().await).await, made, "edges are told nothing of it");
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_served_stays_until_its_renewal_by_the_new_ca() {
    let Scene { plane, pop, hostname, .. } = scene(json!({})).await;
    let task = lease_one(&pop).await;
    assert_eq!(report(&pop, &task, issued(&group(&plane), NAME)).await["lease"], "ended");
    let chosen = json!({"certificateAuthority": "other"});
    let (status, _) = plane.patch(property_of(&hostname), &chosen).await;
    assert_eq!(status, StatusCode::OK);
    let body = explain(&plane, &hostname).await;
    assert_eq!(
        (body["jobs"].as_array().unwrap().len(), &body["jobs"][0]["state"]),
        (1, &json!("done"))
    );
    execute(&plane, "UPDATE certificate SET poll_at = NULL, renew_at = unixepoch() - 1").await;
    let plane = plane.restart(async |_| {}).await;
    let pop = pop.at(&plane);
    let task = lease_one(&pop).await;
    assert_eq!(task["authority"]["name"], "other");
    assert!(task["replaces"].as_object().is_none_or(serde_json::Map::is_empty), "{task}");
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_ca_is_done_by_the_one_that_is_chosen_then() {
    let Scene { plane, pop, hostname, .. } = scene(json!({})).await;
    let property = property_of(&hostname);
    plane.patch(property, &json!({"certificateAuthority": "own"})).await;
    let task = lease_one(&pop).await;
    assert_eq!(report(&pop, &task, too_many(86_400)).await["lease"], "ended");
    execute(
        &plane,
        "UPDATE job SET next_at = 0, attempted_at = attempted_at - 720, \
         asked_at = asked_at - 720",
    )
    .await;
    waits_for(&plane, &pop, &hostname, "hold").await;
    execute(&plane, "UPDATE job SET next_at = unixepoch() + 86400").await;
    plane.patch(property, &json!({"certificateAuthority": "other"})).await;
    assert_eq!(lease_one(&pop).await["authority"]["name"], "other");
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_for_a_ca_that_is_no_longer_configured_says_so_and_holds_up_no_other() {
    let Scene { plane, pop, hostname, .. } = scene(json!({})).await;
    execute(&plane, "UPDATE property SET authority = 'gone'").await;
    execute(&plane, "UPDATE job SET choice = 'gone'").await;
    waits_for(&plane, &pop, &hostname, "no_authority").await;
    plane.patch(property_of(&hostname), &json!({"certificateAuthority": null})).await;
    assert_eq!(lease_one(&pop).await["authority"]["name"], "own");
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_failed_three_times_is_rehearsed_before_it_is_issued() {
    let Scene { plane, pop, hostname, .. } = scene(json!({
        "certificate_authorities": ["own"],
        "authority": {
            "own": {"directory": "https://ca.test/directory", "staging": "rehearsal",
                "profile": "tlsserver"},
            "rehearsal": {"directory": "https://staging.test/directory"},
        },
    }))
    .await;
    for _ in 0..3 {
        let task = lease_one(&pop).await;
        assert_eq!(task["authority"]["name"], "own");
        assert_eq!(task["authority"]["profile"], "tlsserver");
        let wrong = failed("unauthorized", "Invalid response: 404", "validation");
        assert_eq!(report(&pop, &task, wrong).await["lease"], "ended");
        execute(&plane, "UPDATE job SET next_at = 0").await;
    }
    let rehearsal = lease_one(&pop).await;
    assert_eq!(rehearsal["authority"]["directory"], "https://staging.test/directory");
    assert_eq!(rehearsal["authority"].get("profile"), None);
    let issued = issued(&group(&plane), NAME);
    assert_eq!(report(&pop, &rehearsal, issued.clone()).await["lease"], "ended");
    let body = explain(&plane, &hostname).await;
    assert!(body["hostname"]["certificates"][0].is_null(), "{body}");
    assert_eq!(body["jobs"][0]["state"], "open");

    let task = lease_one(&pop).await;
    assert_eq!(task["authority"]["name"], "own");
    assert_eq!(report(&pop, &task, issued).await["lease"], "ended");
    let body = explain(&plane, &hostname).await;
    assert_eq!(body["hostname"]["certificates"][0]["source"], "authority", "{body}");
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_ca_is_asked_where_the_first_is_on_hold_for_longer_than_patience_lasts() {
    let Scene { plane, pop, hostname, .. } = scene(json!({})).await;
    let task = lease_one(&pop).await;
    assert_eq!(report(&pop, &task, too_many(300)).await["lease"], "ended");
    execute(&plane, "UPDATE job SET next_at = unixepoch()").await;
    waits_for(&plane, &pop, &hostname, "hold").await;
    execute(&plane, "UPDATE hold SET until = until + 1800").await;
    assert_eq!(lease_one(&pop).await["authority"]["name"], "other");
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_ca_is_asked_where_the_first_issues_another_chain_than_was_ordered() {
    let Scene { plane, pop, hostname, .. } = scene(json!({})).await;
    let task = lease_one(&pop).await;
    assert_eq!(task["authority"]["name"], "own");
    // Its signer comes first.
    let mut wrong = issued(&group(&plane), NAME);
    wrong["certificates"][0]["chain"].as_array_mut().unwrap().reverse();
    assert_eq!(report(&pop, &task, wrong).await["lease"], "ended");
    let body = explain(&plane, &hostname).await;
    assert_eq!(body["attempts"][0]["class"], "bad_chain", "{body}");
    execute(&plane, "UPDATE job SET next_at = unixepoch()").await;
    assert_eq!(lease_one(&pop).await["authority"]["name"], "other");
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ca_whose_clock_is_off_is_left_for_another_one() {
    let Scene { plane, pop, hostname, .. } = scene(json!({"rules": {"patience_new": "1s"}})).await;
    let now = OffsetDateTime::now_utc().unix_timestamp();
    for _ in 0..3 {
        let task = lease_one(&pop).await;
        assert_eq!(task["authority"]["name"], "own");
        let off = json!({"trouble": "clock_off", "ours": now, "theirs": now + 7_200});
        let off = json!({"news": "failed", "trouble": off});
        assert_eq!(report(&pop, &task, off).await["lease"], "ended");
        execute(&plane, "UPDATE job SET next_at = unixepoch()").await;
    }
    assert_eq!(lease_one(&pop).await["authority"]["name"], "other");
    let body = explain(&plane, &hostname).await;
    let told = body["attempts"][0]["operatorAdvice"].as_str().unwrap();
    assert!(told.contains("7200 s ahead"), "{body}");
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_pop_cannot_do_another_one_gets_at_once() {
    let Scene { plane, pop, hostname, .. } = scene(json!({})).await;
    let other = plane.pop("pop-2").await;
    other.epoch().await;
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let troubles = [
        json!({"trouble": "no_group_key", "key_id": "lost"}),
        json!({"trouble": "control_clock_off", "ours": now, "theirs": now + 86_400}),
    ];
    let put_off = async || {
        let query = "SELECT next_at > unixepoch() FROM job WHERE state = 0";
        let mut rows = database(plane.dir.path()).await;
        sqlx::query_scalar::<_, bool>(query).fetch_one(&mut rows).await.unwrap()
    };
    for ((pop, trouble), is_put_off) in [&pop, &other].into_iter().zip(troubles).zip([false, true])
    {
        let task = lease_one(pop).await;
        assert_eq!(task["authority"]["name"], "own");
        let news = json!({"news": "failed", "trouble": trouble});
        assert_eq!(report(pop, &task, news).await["lease"], "ended");
        assert_eq!(put_off().await, is_put_off);
        assert!(lease(pop, "agent-1", 1).await.is_empty());
    }
    execute(&plane, "UPDATE job SET next_at = unixepoch()").await;
    assert!(lease(&pop, "agent-1", 1).await.is_empty());
    assert!(lease(&other, "agent-1", 1).await.is_empty());
    let body = explain(&plane, &hostname).await;
    let class = |number: usize| body["attempts"][number]["class"].clone();
    assert_eq!((class(0), class(1)), (json!("control_clock"), json!("group_key")));
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_ca_is_to_be_asked_again_is_kept_over_a_restart() {
    let Scene { plane, pop, hostname, .. } =
        scene(json!({"certificate_authorities": ["own"]})).await;
    let task = lease_one(&pop).await;
    let limit = too_many(3 * 3_600);
    assert_eq!(report(&pop, &task, limit.clone()).await["lease"], "ended");
    let plane = plane.restart(async |_| {}).await;
    let pop = pop.at(&plane);
    execute(&plane, "UPDATE job SET next_at = 0").await;
    waits_for(&plane, &pop, &hostname, "hold").await;
    let mut rows = database(plane.dir.path()).await;
    let until: i64 =
        sqlx::query_scalar("SELECT max(until) FROM hold").fetch_one(&mut rows).await.unwrap();
    assert_eq!(json!(until), limit["trouble"]["retry_after"]);
    execute(&plane, "UPDATE hold SET until = unixepoch() - 1").await;
    assert_eq!(lease_one(&pop).await["authority"]["name"], "own");
    plane.stop().await;
}

/// What an agent found itself, before it asked a CA.
fn caa_forbids() -> Value {
    json!({"news": "failed", "trouble": {"trouble": "precheck", "precheck": "caa", "at": "shop.test",
        "identity": "ca.test"}})
}

#[tokio::test(flavor = "multi_thread")]
async fn what_caa_records_forbade_is_asked_for_again_once_a_verification_finds_them_mended() {
    let Scene { plane, pop, hostname, _dns: dns } =
        scene(json!({"certificate_authorities": ["own"]})).await;
    let task = lease_one(&pop).await;
    assert_eq!(report(&pop, &task, caa_forbids()).await["lease"], "ended");
    let body = explain(&plane, &hostname).await;
    assert_eq!(body["attempts"][0]["class"], "caa_forbids");
    let advice = body["attempts"][0]["advice"].as_str().unwrap();
    assert!(advice.contains("add `CAA 0 issue \"ca.test\"` at shop.test"), "{advice}");
    let summary = body["summary"].as_str().unwrap();
    assert!(summary.ends_with("\"ca.test\"` at shop.test."), "{summary}");

    // As after many failures, and a minute later: no CA was asked.
    execute(&plane, "UPDATE hold SET until = unixepoch() + 86400").await;
    let later = "UPDATE job SET next_at = unixepoch() + 86400, attempted_at = attempted_at - 60";
    execute(&plane, later).await;
    assert!(lease(&pop, "agent-1", 0).await.is_empty());
    execute(&plane, "UPDATE verification SET next_at = unixepoch() - 1").await;
    assert_eq!(lease_one(&pop).await["job"], task["job"]);
    plane.stop().await;
    drop(dns);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_who_mended_something_waits_a_minute_where_no_ca_was_asked_and_else_twelve() {
    let Scene { plane, pop, hostname, _dns: dns } =
        scene(json!({"certificate_authorities": ["own"]})).await;
    let ask = format!("{hostname}/request-certificate");
    let tasks = [(caa_forbids(), 60), (failed("caa", "forbidden", "order"), 720)];
    for (failure, apart) in tasks {
        execute(&plane, "UPDATE job SET next_at = 0").await;
        let task = lease_one(&pop).await;
        assert_eq!(report(&pop, &task, failure).await["lease"], "ended");
        execute(&plane, "UPDATE hold SET until = unixepoch() + 86400").await;
        execute(&plane, "UPDATE job SET next_at = unixepoch() + 86400").await;
        let (status, body) = plane.post(&ask, &json!({})).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        let mut rows = database(plane.dir.path()).await;
        let query = "SELECT next_at - attempted_at FROM job";
        let waits: i64 = sqlx::query_scalar(query).fetch_one(&mut rows).await.unwrap();
        assert_eq!(waits, apart);
        let query = "SELECT count(*) FROM hold WHERE until > unixepoch() + 5";
        let held: i64 = sqlx::query_scalar(query).fetch_one(&mut rows).await.unwrap();
        assert_eq!(held, 0);
    }
    plane.stop().await;
    drop(dns);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_that_fails_is_tried_again_while_there_is_time() {
    let Scene { plane, pop, hostname, _dns: dns } =
        scene(json!({"certificate_authorities": ["own"]})).await;
    let task = lease_one(&pop).await;
    assert_eq!(report(&pop, &task, issued(&group(&plane), NAME)).await["lease"], "ended");
    let body = explain(&plane, &hostname).await;
    let certificate = &body["hostname"]["certificates"][0];
    assert_eq!(body["renewals"][0]["fingerprint"], certificate["fingerprint"], "{body}");
    assert!(body["renewals"][0]["renewAt"].as_str() < certificate["notAfter"].as_str(), "{body}");
    execute(
        &plane,
        "UPDATE certificate SET poll_at = NULL, renew_at = unixepoch() - 1, \
        advice = json_object('start', 1, 'end', 4000000000, 'ask_again_at', 4000000000)",
    )
    .await;
    let plane = plane.restart(async |_| {}).await;
    let pop = pop.at(&plane);
    let task = lease_one(&pop).await;
    execute(&plane, "UPDATE job SET failures = 8").await;
    execute(&plane, "UPDATE certificate SET not_after = unixepoch() + 7200 WHERE issuer = 3").await;
    let refused = json!({"news": "failed", "trouble": {"trouble": "problem", "step": "validation",
        "kind": "unauthorized", "method": "http-01", "detail": "192.0.2.1: 404 :: urn:x"}});
    assert_eq!(report(&pop, &task, refused).await["lease"], "ended");

    let body = explain(&plane, &hostname).await;
    let attempt = &body["attempts"][0];
    assert!(attempt["advice"].as_str().unwrap().starts_with("Another server"), "{body}");
    assert_eq!(attempt["error"], "192.0.2.1: 404 :: urn:x");
    assert_eq!(body["renewals"][0]["window"]["start"], "1970-01-01T00:00:01Z", "{body}");
    let mut rows = database(plane.dir.path()).await;
    let query = "SELECT next_at <= unixepoch() + 3600 FROM job WHERE state = 0";
    let is_in_time: bool = sqlx::query_scalar(query).fetch_one(&mut rows).await.unwrap();
    assert!(is_in_time);
    plane.stop().await;
    drop(dns);
}
