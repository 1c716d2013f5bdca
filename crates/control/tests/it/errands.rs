//! Certificates are revoked, accounts get new keys, and hostnames have two types of key.

use landfall_feed::{
    protocol::{Ack, Rejected},
    record::Body,
};
use landfall_model::{Epoch, Revision, SealContext};
use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::Row;

use crate::{
    agents::{
        NAME, Scene, THUMBPRINT, certificate, execute, explain, failed, group, issued, lease,
        lease_one, register, report, scene,
    },
    support::{Plane, Pop, database, eventually, hostname_record},
};

const OTHER_THUMBPRINT: &str = "LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ";

/// The same scene, its hostname served with a certificate of a CA.
pub(crate) async fn served(issuance: Value) -> Scene {
    let scene = scene(issuance).await;
    let task = lease_one(&scene.pop).await;
    register(&scene.plane, &scene.pop, &task).await;
    serve(&scene, &task).await;
    scene
}

pub(crate) async fn serve(scene: &Scene, task: &Value) {
    let issued = issued(&group(&scene.plane), NAME);
    assert_eq!(report(&scene.pop, task, issued).await["lease"], "ended");
}

async fn revoke(scene: &Scene, reason: &str) -> StatusCode {
    let path = format!("{}/certificate/revoke", scene.hostname);
    scene.plane.post(&path, &json!({"reason": reason})).await.0
}

/// What becomes of an errand.
async fn tell(pop: &Pop, task: &Value, news: Value) -> Value {
    let body = json!({"work": "errand", "job": task["job"], "fence": task["fence"], "news": news});
    crate::agents::ask(pop, "/agent/v1/report", body).await
}

/// Waits for a task of this kind; others are begun and left.
pub(crate) async fn next(pop: &Pop, kind: &str) -> Value {
    eventually(async || {
        lease(pop, "agent-1", 1).await.into_iter().find(|task| task["task"] == kind)
    })
    .await
}

/// Says that an edge has all that there is.
async fn catch_up(pop: &Pop) {
    acknowledge(pop, Vec::new()).await;
}

async fn acknowledge(pop: &Pop, rejected: Vec<Rejected>) {
    let epoch = pop.epoch().await;
    let applied = pop.page(epoch, 0, "").await.header().to;
    let (epoch, digest) = (Epoch(epoch), Default::default());
    pop.ack(&Ack { epoch, applied, digest, rejected, busiest: Vec::new() }).await;
}

/// Says that an edge has all that there is, that handshakes have shown it, and that it goes on with nothing
/// else.
pub(crate) async fn settle(Scene { plane, pop, .. }: &Scene) {
    execute(plane, "UPDATE certificate SET shown_at = unixepoch()").await;
    catch_up(pop).await;
    eventually(async || (predecessors(pop).await == 0).then_some(())).await;
    catch_up(pop).await;
}

/// How many certificates edges may go on with.
async fn predecessors(pop: &Pop) -> usize {
    let records = pop.records(pop.epoch().await, 0).await;
    hostname_record(&records, NAME).predecessors.len()
}

async fn revocation(scene: &Scene) -> Value {
    explain(&scene.plane, &scene.hostname).await["revocations"][0].clone()
}

async fn kinds(scene: &Scene) -> Vec<String> {
    let (_, page) = scene.plane.get(&format!("{}/events", scene.hostname)).await;
    let events = page["items"].as_array().unwrap().iter();
    events.map(|event| event["kind"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_revoked_once_every_edge_has_another_one() {
    let scene = served(json!({})).await;
    let (plane, pop) = (&scene.plane, &scene.pop);
    let first = explain(plane, &scene.hostname).await["hostname"]["certificates"][0].clone();
    assert_eq!(revoke(&scene, "superseded").await, StatusCode::OK);
    assert_eq!(revoke(&scene, "superseded").await, StatusCode::OK, "it may be asked again");
    let waiting = revocation(&scene).await;
    assert_eq!(waiting["state"], "waiting", "{waiting}");
    assert_eq!(waiting["fingerprint"], first["fingerprint"]);

    // Another one is ordered, and the old one served meanwhile.
    let task = next(pop, "issue").await;
    let records = pop.records(pop.epoch().await, 0).await;
    assert_eq!(hostname_record(&records, NAME).certificates.len(), 1);
    catch_up(pop).await;
    serve(&scene, &task).await;
    assert!(lease(pop, "agent-1", 0).await.iter().all(|task| task["task"] != "revoke"));
    settle(&scene).await;
    let task = next(pop, "revoke").await;
    assert_eq!(task["reason"], 4, "{task}");
    assert_eq!(task["authority"]["account"]["thumbprint"], THUMBPRINT);

    let busy = failed("serverInternal", "later", "revocation");
    assert_eq!(tell(pop, &task, busy.clone()).await["lease"], "ended");
    assert_eq!(tell(pop, &task, busy).await["lease"], "ended", "it may be said again");
    let open = revocation(&scene).await;
    assert_eq!((&open["state"], &open["failedAttempts"]), (&json!("open"), &json!(1)), "{open}");
    assert_eq!(open["error"], "later");
    execute(plane, "UPDATE errand SET next_at = 0").await;
    let task = next(pop, "revoke").await;
    assert_eq!(tell(pop, &task, json!({"news": "alive"})).await["lease"], "held");
    assert_eq!(tell(pop, &task, json!({"news": "revoked"})).await["lease"], "ended");
    assert_eq!(revocation(&scene).await["state"], "revoked");
    let kinds = kinds(&scene).await;
    for kind in ["requested", "failed"] {
        let kind = format!("certificate_revocation_{kind}");
        assert!(kinds.contains(&kind), "{kind} {kinds:?}");
    }
    assert_eq!(kinds[0], "certificate_revoked");
    scene.plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_whose_key_is_known_is_revoked_within_the_hour_and_served_on() {
    let scene = served(json!({})).await;
    let (plane, pop) = (&scene.plane, &scene.pop);
    revoke(&scene, "superseded").await;
    assert_eq!(revoke(&scene, "keyCompromise").await, StatusCode::OK);
    let open = revocation(&scene).await;
    assert_eq!((&open["state"], &open["reason"]), (&json!("open"), &json!("keyCompromise")));
    assert!(lease(pop, "agent-1", 0).await.iter().all(|task| task["task"] != "revoke"));
    execute(plane, "UPDATE errand SET next_at = next_at - 3600").await;
    let task = next(pop, "revoke").await;
    assert_eq!(task["reason"], 1);
    tell(pop, &task, json!({"news": "revoked"})).await;
    let records = pop.records(pop.epoch().await, 0).await;
    assert_eq!(hostname_record(&records, NAME).certificates.len(), 1, "it is served");
    scene.plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_not_revoked_while_an_edge_refuses_the_one_in_its_place() {
    let scene = served(json!({})).await;
    let (plane, pop) = (&scene.plane, &scene.pop);
    assert_eq!(revoke(&scene, "superseded").await, StatusCode::OK);
    let task = next(pop, "issue").await;
    serve(&scene, &task).await;
    let refusal = Rejected {
        id: format!("hostname/{NAME}"),
        revision: Revision(pop.head(pop.epoch().await).await),
        reason: "the private key can't be used".to_owned(),
    };
    acknowledge(pop, vec![refusal]).await;
    execute(plane, "UPDATE certificate SET shown_at = unixepoch()").await;
    execute(plane, "UPDATE errand SET next_at = 0").await;
    assert!(lease(pop, "agent-1", 0).await.iter().all(|task| task["task"] != "revoke"));
    assert_eq!(predecessors(pop).await, 1);

    settle(&scene).await;
    let task = next(pop, "revoke").await;
    assert_eq!(task["reason"], 4, "{task}");
    assert_eq!(predecessors(pop).await, 0);
    scene.plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn edges_are_told_to_go_on_with_nothing_that_is_revoked_or_whose_key_is_known() {
    let scene = served(json!({})).await;
    let (plane, pop) = (&scene.plane, &scene.pop);
    assert_eq!(revoke(&scene, "keyCompromise").await, StatusCode::OK);
    let task = next(pop, "issue").await;
    serve(&scene, &task).await;
    assert_eq!(predecessors(pop).await, 0);

    execute(plane, "UPDATE errand SET state = 1, ended_at = 1").await;
    assert_eq!(revoke(&scene, "superseded").await, StatusCode::OK);
    let task = next(pop, "issue").await;
    serve(&scene, &task).await;
    assert_eq!(predecessors(pop).await, 1);
    execute(plane, "UPDATE errand SET reason = 1, next_at = 0 WHERE state = 0").await;
    let task = next(pop, "revoke").await;
    assert_eq!(tell(pop, &task, json!({"news": "revoked"})).await["lease"], "ended");
    assert_eq!(predecessors(pop).await, 0);
    scene.plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_ca_issued_is_not_revoked_and_a_reason_is_one_of_rfc_5280() {
    let scene = scene(json!({})).await;
    assert_eq!(revoke(&scene, "superseded").await, StatusCode::NOT_FOUND);
    for reason in ["", "certificateHold", "KeyCompromise"] {
        assert_eq!(revoke(&scene, reason).await, StatusCode::UNPROCESSABLE_ENTITY, "{reason}");
    }
    scene.plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_hostname_leaves_no_key_and_its_revocation_is_done() {
    let scene = served(json!({})).await;
    let (plane, pop) = (&scene.plane, &scene.pop);
    revoke(&scene, "cessationOfOperation").await;
    let task = next(pop, "issue").await;
    plane.delete(&scene.hostname).await;
    assert_eq!(report(pop, &task, json!({"news": "alive"})).await["lease"], "lost");
    let mut rows = database(plane.dir.path()).await;
    for table in ["certificate", "certificate_key", "job"] {
        let query = format!(
            "SELECT count(*) FROM {table} WHERE hostname_id = \
             (SELECT hostname_id FROM errand)"
        );
        let count = sqlx::query(sqlx::AssertSqlSafe(query)).fetch_one(&mut rows).await.unwrap();
        assert_eq!(count.get::<i64, _>(0), 0, "{table}");
    }
    let records = pop.records(pop.epoch().await, 0).await;
    let own: Vec<_> = records.iter().filter(|own| own.id == format!("hostname/{NAME}")).collect();
    assert!(own.iter().all(|own| matches!(own.body, Body::Tombstone)), "{own:?}");
    catch_up(pop).await;
    let task = next(pop, "revoke").await;
    assert_eq!(tell(pop, &task, json!({"news": "revoked"})).await["lease"], "ended");
    assert!(lease(pop, "agent-1", 0).await.is_empty());
    scene.plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_gets_a_new_key_while_nothing_else_is_asked_of_its_ca() {
    let scene = served(json!({"lease": "2s"})).await;
    let (plane, pop) = (&scene.plane, &scene.pop);
    roll_over(plane).await;
    let task = next(pop, "replace_key").await;
    assert_eq!(task["authority"]["account"]["thumbprint"], THUMBPRINT);
    revoke(&scene, "superseded").await;
    assert!(lease(pop, "agent-1", 0).await.is_empty(), "two keys at once would not do");
    let made = |thumbprint: &str| {
        let authority = "own".parse().unwrap();
        let context = SealContext::AccountKey { authority: &authority, thumbprint };
        let key = group(plane).seal(context, b"key").unwrap();
        json!({"news": "successor_made", "account": {"key": key, "thumbprint": thumbprint}})
    };
    let reply = tell(pop, &task, made(OTHER_THUMBPRINT)).await;
    assert_eq!(reply["account"]["thumbprint"], OTHER_THUMBPRINT, "{reply}");

    // Its agent died: the next one finds both keys.
    let second = next(pop, "replace_key").await;
    assert!(second["fence"].as_u64() > task["fence"].as_u64());
    assert_eq!(second["authority"]["account"]["thumbprint"], THUMBPRINT);
    assert_eq!(second["successor"]["thumbprint"], OTHER_THUMBPRINT);
    let first_wins = tell(pop, &second, made(THUMBPRINT)).await;
    assert_eq!(first_wins["account"]["thumbprint"], OTHER_THUMBPRINT);
    let replaced = json!({"news": "key_replaced", "thumbprint": OTHER_THUMBPRINT});
    assert_eq!(tell(pop, &task, replaced.clone()).await["lease"], "lost");
    assert_eq!(tell(pop, &second, replaced).await["lease"], "ended");
    let task = next(pop, "issue").await;
    let account = &task["authority"]["account"];
    assert_eq!(account["thumbprint"], OTHER_THUMBPRINT);
    assert_eq!(account["url"], "https://ca.test/account/1");
    scene.plane.stop().await;
}

async fn roll_over(plane: &Plane) {
    execute(
        plane,
        "INSERT INTO errand (kind, authority, next_at, created_at) VALUES (1, 'own', 0, 0)",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_that_changed_is_told_to_the_ca() {
    let scene = served(json!({})).await;
    execute(&scene.plane, "UPDATE account SET contact = '[]'").await;
    let plane = scene.plane.restart(async |_| {}).await;
    let pop = scene.pop.at(&plane);
    let task = next(&pop, "update_account").await;
    assert_eq!(task["authority"]["contact"], json!(["mailto:ops@ca.test"]));
    let updated = json!({"news": "account_updated", "contact": ["mailto:ops@ca.test"]});
    assert_eq!(tell(&pop, &task, updated).await["lease"], "ended");
    let plane = plane.restart(async |_| {}).await;
    assert!(lease(&pop.at(&plane), "agent-1", 1).await.is_empty());
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_its_ca_has_lost_is_registered_anew() {
    let scene = served(json!({})).await;
    let (plane, pop) = (&scene.plane, &scene.pop);
    execute(plane, "UPDATE account SET registered_at = 0").await;
    revoke(&scene, "superseded").await;
    let task = next(pop, "issue").await;
    let gone = failed("accountDoesNotExist", "no such account", "order");
    assert_eq!(report(pop, &task, gone).await["lease"], "ended");
    execute(plane, "UPDATE job SET next_at = 0").await;
    let task = next(pop, "issue").await;
    assert_eq!(task["authority"]["name"], "own");
    assert!(task["authority"]["account"].is_null(), "{task}");
    register(plane, pop, &task).await;
    scene.plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostname_that_asks_for_both_types_of_key_is_served_with_both() {
    let scene = served(json!({})).await;
    let (plane, pop) = (&scene.plane, &scene.pop);
    let wish = json!({"managedCertificate": {"keyTypes": []}});
    let (status, body) = plane.patch(&scene.hostname, &wish).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    let wish = json!({"managedCertificate": {"keyTypes": ["rsa", "ecdsa"]}});
    let (status, body) = plane.patch(&scene.hostname, &wish).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(body["managedCertificate"]["keyTypes"], json!(["ecdsa", "rsa"]));
    let task = next(pop, "issue").await;
    assert_eq!(task["key_types"], json!(["ecdsa", "rsa"]));
    let group = group(plane);
    let ecdsa = || certificate(&group, NAME, KeyPair::generate().unwrap());
    let rsa = || {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048);
        certificate(&group, NAME, key.unwrap())
    };
    let one = json!({"news": "issued", "certificates": [ecdsa()]});
    assert_eq!(report(pop, &task, one).await["lease"], "ended");
    execute(plane, "UPDATE job SET next_at = 0").await;
    let task = next(pop, "issue").await;
    let both = json!({"news": "issued", "certificates": [ecdsa(), rsa()]});
    assert_eq!(report(pop, &task, both).await["lease"], "ended");
    let records = pop.records(pop.epoch().await, 0).await;
    assert_eq!(hostname_record(&records, NAME).certificates.len(), 2);
    let body = explain(plane, &scene.hostname).await;
    assert_eq!(body["hostname"]["certificates"][1]["keyType"], "rsa", "{body}");

    execute(plane, "UPDATE certificate SET renew_at = 0").await;
    let plane = scene.plane.restart(async |_| {}).await;
    let task = next(&scene.pop.at(&plane), "issue").await;
    let replaces = task["replaces"].as_object().unwrap();
    assert_ne!(replaces["ecdsa"], replaces["rsa"], "each replaces its own");
    plane.stop().await;
}
