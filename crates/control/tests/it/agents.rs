//! Agents lease jobs, report on them, and what they obtain is served.

use std::fs;

use landfall_feed::{
    protocol::Ack,
    record::Body,
    seal::{GroupKeyFiles, GroupPublicKey, sha256},
};
use landfall_model::{Epoch, HostPattern, SealContext};
use rcgen::{KeyPair, PublicKeyData};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::{
    support::{
        Plane, Pop, answer, database, eventually, hostname_record, responder::Responder, with_json,
    },
    upload::{ca, leaf},
};

pub(crate) const NAME: &str = "www.shop.test";
pub(crate) const THUMBPRINT: &str = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";

/// What a challenge has in the DNS.
pub(crate) const TXT: &str = "LPsIwTo7o8BoG0-vjCyGQGBWSVIPxI-i_X336eUOQZo";

pub(crate) struct Scene {
    pub(crate) plane: Plane,
    pub(crate) pop: Pop,
    pub(crate) hostname: String,
    /// It answers until it is dropped.
    pub(crate) _dns: Responder,
}

/// A control plane with two CAs, and a hostname that is active.
pub(crate) async fn scene(issuance: Value) -> Scene {
    let dns = Responder::start().await;
    let mut settings = json!({
        "certificate_authorities": ["own", "other"],
        "authority": {
            "own": {"directory": "https://ca.test/directory", "contact": ["mailto:ops@ca.test"]},
            "other": {"directory": "https://other.test/directory"},
        },
    });
    for (key, value) in issuance.as_object().unwrap() {
        settings[key] = value.clone();
    }
    let plane = Plane::start_with(json!({
        "dns": {"resolvers": [dns.address.to_string()], "zone_servers": false, "timeout": "2s"},
        "issuance": settings,
    }))
    .await;
    let pop = plane.pop("pop-1").await;
    pop.epoch().await;
    dns.point(NAME, "192.0.2.1");
    let property = plane.property("shop").await;
    let hostname = plane.hostname(&property, NAME).await;
    eventually(async || (plane.get(&hostname).await.1["status"] == "Active").then_some(())).await;
    Scene { plane, pop, hostname, _dns: dns }
}

pub(crate) async fn ask(pop: &Pop, path: &str, body: Value) -> Value {
    let (status, reply) = answer(with_json(pop.request(Method::POST, path), &body)).await;
    assert!(status.is_success(), "{reply}");
    reply
}

pub(crate) async fn lease(pop: &Pop, agent: &str, wait: u64) -> Vec<Value> {
    let body = json!({"agent": agent, "free": 8, "wait": wait});
    let reply = ask(pop, "/agent/v1/lease", body).await;
    reply["tasks"].as_array().unwrap().clone()
}

/// Whether there is no certificate to be issued.
async fn has_no_job(pop: &Pop) -> bool {
    lease(pop, "agent-2", 0).await.iter().all(|task| task["task"] != "issue")
}

/// Leases the one job that there is.
pub(crate) async fn lease_one(pop: &Pop) -> Value {
    let tasks = lease(pop, "agent-1", 10).await;
    assert_eq!((tasks.len(), &tasks[0]["task"]), (1, &json!("issue")), "{tasks:?}");
    tasks[0].clone()
}

pub(crate) async fn report(pop: &Pop, task: &Value, news: Value) -> Value {
    let body = json!({"job": task["job"], "fence": task["fence"], "news": news});
    ask(pop, "/agent/v1/report", body).await
}

pub(crate) fn group(plane: &Plane) -> GroupPublicKey {
    GroupPublicKey::parse(&fs::read_to_string(plane.dir.path().join("group.pub")).unwrap()).unwrap()
}

/// Makes and registers an account.
pub(crate) async fn register(plane: &Plane, pop: &Pop, task: &Value) {
    let authority = task["authority"]["name"].as_str().unwrap().parse().unwrap();
    let context = SealContext::AccountKey { authority: &authority, thumbprint: THUMBPRINT };
    let key = group(plane).seal(context, b"key").unwrap();
    let account = json!({"key": key, "thumbprint": THUMBPRINT});
    let made = json!({"news": "account_made", "authority": authority, "account": account});
    let reply = report(pop, task, made).await;
    assert_eq!(reply["account"]["thumbprint"], THUMBPRINT, "{reply}");
    let url = "https://ca.test/account/1";
    let registered = json!({"news": "account_registered", "authority": authority,
        "thumbprint": THUMBPRINT, "url": url});
    assert_eq!(report(pop, task, registered).await["lease"], "held");
}

/// What a CA issues for the names, its key sealed to the group.
pub(crate) fn issued(group: &GroupPublicKey, name: &str) -> Value {
    let certificate = certificate(group, name, KeyPair::generate().unwrap());
    json!({"news": "issued", "certificates": [certificate]})
}

pub(crate) fn certificate(group: &GroupPublicKey, name: &str, key: KeyPair) -> Value {
    let pattern: HostPattern = name.parse().unwrap();
    let authority = ca("Own CA");
    let mut params = leaf(name);
    params.use_authority_key_identifier_extension = true;
    params.not_before = OffsetDateTime::now_utc() - time::Duration::HOUR;
    params.not_after = OffsetDateTime::now_utc() + time::Duration::days(90);
    let leaf = params.signed_by(&key, &authority).unwrap();
    let spki_sha256 = sha256(&key.subject_public_key_info());
    let context = SealContext::PrivateKey { hostname: &pattern, spki_sha256: &spki_sha256 };
    let sealed = group.seal(context, &key.serialize_der()).unwrap();
    let chain = [leaf.der().to_vec(), authority.der().to_vec()];
    let chain = chain.map(|der| data_encoding::BASE64.encode(&der));
    json!({"chain": chain, "keys": [{"name": name, "key": sealed}]})
}

pub(crate) fn failed(kind: &str, detail: &str, step: &str) -> Value {
    let problem = json!({"trouble": "problem", "step": step, "status": 403, "kind": kind,
        "detail": detail});
    json!({"news": "failed", "trouble": problem})
}

pub(crate) async fn explain(plane: &Plane, hostname: &str) -> Value {
    plane.get(&format!("{hostname}/explain")).await.1
}

pub(crate) async fn execute(plane: &Plane, statement: &'static str) {
    let mut database = database(plane.dir.path()).await;
    sqlx::query(statement).execute(&mut database).await.unwrap();
}

async fn validations(pop: &Pop) -> Vec<bool> {
    let records = pop.records(pop.epoch().await, 0).await;
    let found = records.iter().filter(|record| record.id == format!("validation/{NAME}"));
    found.map(|record| matches!(record.body, Body::Validation(_))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_leased_once_and_what_is_issued_is_served_and_explained() {
    let Scene { plane, pop, hostname, .. } = scene(json!({})).await;
    let task = lease_one(&pop).await;
    assert_eq!(task["names"], json!([NAME]));
    assert_eq!(task["methods"], json!(["http-01", "tls-alpn-01"]));
    assert_eq!(task["authority"]["directory"], "https://ca.test/directory");
    assert_eq!(task["pops"], json!([{"name": "pop-1", "addresses": ["192.0.2.1"]}]));
    assert!(lease(&pop, "agent-2", 0).await.is_empty());
    assert_eq!(explain(&plane, &hostname).await["jobs"][0]["waitingFor"], "issuance");

    register(&plane, &pop, &task).await;
    let epoch = pop.epoch().await;
    let validating = json!({"news": "validating", "thumbprint": THUMBPRINT, "challenges": []});
    let reply = report(&pop, &task, validating.clone()).await;
    assert_eq!(reply["waiting_for"], json!(["pop-1"]), "{reply}");
    assert_eq!(validations(&pop).await, [true]);
    let head = pop.page(epoch, 0, "").await.header().to;
    let ack = Ack {
        epoch: Epoch(epoch),
        applied: head,
        digest: Default::default(),
        rejected: vec![],
        busiest: Vec::new(),
    };
    pop.ack(&ack).await;
    let reply = report(&pop, &task, validating).await;
    assert_eq!(reply, json!({"lease": "held"}));
    assert_eq!(
        pop.page(epoch, 0, "").await.header().to,
        head,
        "what is known is not published anew"
    );

    let issued = issued(&group(&plane), NAME);
    for _ in 0..2 {
        assert_eq!(report(&pop, &task, issued.clone()).await["lease"], "ended");
    }
    let records = pop.records(epoch, 0).await;
    assert_eq!(hostname_record(&records, NAME).certificates.len(), 1);
    assert_eq!(validations(&pop).await, [false]);
    let body = explain(&plane, &hostname).await;
    assert_eq!(body["hostname"]["certificates"][0]["source"], "authority");
    assert_eq!(body["hostname"]["certificateState"], "pending_deployment");
    assert_eq!(body["jobs"][0]["state"], "done");
    assert_eq!(body["attempts"][0]["authority"], "own");
    assert_eq!(body["attempts"][0]["class"], Value::Null);
    assert!(has_no_job(&pop).await);
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_ran_out_is_anothers_and_its_agent_has_lost_it() {
    let Scene { plane, pop, hostname, .. } = scene(json!({"lease": "2s"})).await;
    let first = lease_one(&pop).await;
    let body = eventually(async || {
        let body = explain(&plane, &hostname).await;
        (body["attempts"][0]["class"] == "lease_lost").then_some(body)
    })
    .await;
    assert_eq!(body["jobs"][0]["waitingFor"], "next_attempt", "{body}");
    assert_eq!(report(&pop, &first, json!({"news": "alive"})).await["lease"], "lost");
    execute(&plane, "UPDATE job SET next_at = 0").await;
    let second = lease_one(&pop).await;
    assert!(second["fence"].as_u64() > first["fence"].as_u64());
    let late = issued(&group(&plane), NAME);
    assert_eq!(report(&pop, &first, late).await["lease"], "lost");
    assert!(explain(&plane, &hostname).await["hostname"]["certificates"][0].is_null());
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_shown_in_the_cas_words_and_another_ca_is_asked_where_one_refuses() {
    let Scene { plane, pop, hostname, .. } = scene(json!({})).await;
    let task = lease_one(&pop).await;
    let words = "The ACME server refuses to issue for \"shop.test\"";
    let refused = failed("rejectedIdentifier", words, "order");
    for _ in 0..2 {
        assert_eq!(report(&pop, &task, refused.clone()).await["lease"], "ended");
    }
    let body = explain(&plane, &hostname).await;
    assert_eq!(body["attempts"].as_array().unwrap().len(), 1, "{body}");
    assert_eq!(body["attempts"][0]["class"], "name_refused");
    assert_eq!(body["attempts"][0]["error"], words);
    assert_eq!(body["jobs"][0]["failedAttempts"], 1);
    assert!(body["nextAttemptAt"].is_string());
    assert!(lease(&pop, "agent-1", 0).await.is_empty());

    execute(&plane, "UPDATE job SET next_at = 0").await;
    let task = lease_one(&pop).await;
    assert_eq!(task["authority"]["name"], "other");
    assert_eq!(report(&pop, &task, refused).await["lease"], "ended");
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sealed_to_another_group_or_for_other_names_is_not_kept() {
    let Scene { plane, pop, hostname, .. } = scene(json!({})).await;
    let stranger = GroupPublicKey::parse(&GroupKeyFiles::generate().unwrap().public).unwrap();
    let cases = [
        (issued(&stranger, NAME), "upload"),
        (issued(&group(&plane), "other.shop.test"), "lease_lost"),
    ];
    for (issued, class) in cases {
        execute(&plane, "UPDATE job SET next_at = 0").await;
        execute(&plane, "DELETE FROM hold").await;
        let task = lease_one(&pop).await;
        assert_eq!(report(&pop, &task, issued).await["lease"], "ended");
        let body = explain(&plane, &hostname).await;
        assert_eq!(body["attempts"][0]["class"], class, "{body}");
        assert!(body["hostname"]["certificates"][0].is_null(), "{body}");
    }
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_a_hostname_that_is_gone_or_has_a_certificate_is_lost() {
    let Scene { plane, pop, hostname, .. } = scene(json!({"lease": "5s"})).await;
    let task = lease_one(&pop).await;
    let pair = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    let upload = json!({
        "certificate": pair.cert.pem(),
        "privateKey": pair.signing_key.serialize_pem(),
    });
    let (status, _) = plane.post(&format!("{hostname}/certificate"), &upload).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(report(&pop, &task, json!({"news": "alive"})).await["lease"], "lost");
    plane.delete(&format!("{hostname}/certificate")).await;
    let task = lease_one(&pop).await;
    register(&plane, &pop, &task).await;
    let validating = json!({"news": "validating", "thumbprint": THUMBPRINT, "challenges": []});
    report(&pop, &task, validating).await;
    plane.delete(&hostname).await;
    assert_eq!(report(&pop, &task, json!({"news": "alive"})).await["lease"], "lost");
    eventually(async || (validations(&pop).await == [false]).then_some(())).await;
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_renewed_when_its_ca_wants_it_and_says_what_it_replaces() {
    let Scene { plane, pop, hostname, .. } = scene(json!({})).await;
    let task = lease_one(&pop).await;
    let issued = issued(&group(&plane), NAME);
    assert_eq!(report(&pop, &task, issued).await["lease"], "ended");

    execute(&plane, "UPDATE certificate SET poll_at = 0").await;
    let tasks = lease(&pop, "agent-1", 0).await;
    assert_eq!((tasks.len(), &tasks[0]["task"]), (1, &json!("ask_renewal")), "{tasks:?}");
    assert!(lease(&pop, "agent-2", 0).await.is_empty());
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let advice = json!({"start": now - 7_200, "end": now + 3_600, "ask_again_at": now + 600});
    let body = json!({"hostname": tasks[0]["hostname"], "certificate": tasks[0]["certificate"],
        "advice": advice});
    let kept = async || {
        let query = "SELECT advice FROM certificate WHERE issuer = 3";
        let mut database = database(plane.dir.path()).await;
        sqlx::query_scalar::<_, Option<String>>(query).fetch_one(&mut database).await.unwrap()
    };
    let stranger = plane.pop_at("pop-2", "192.0.2.2".parse().unwrap()).await;
    ask(&stranger, "/agent/v1/renewal", body.clone()).await;
    assert_eq!(kept().await, None, "the question went to another PoP");
    ask(&pop, "/agent/v1/renewal", body.clone()).await;
    let advised = kept().await;
    assert!(advised.is_some());
    let mut again = body;
    again["advice"]["end"] = json!(now + 60);
    ask(&pop, "/agent/v1/renewal", again).await;
    assert_eq!(kept().await, advised, "it was answered");

    execute(&plane, "UPDATE certificate SET renew_at = min(renew_at, unixepoch() - 1)").await;
    let plane = plane.restart(async |_| {}).await;
    let pop = pop.at(&plane);
    let task = eventually(async || lease(&pop, "agent-1", 1).await.pop()).await;
    assert_eq!(task["task"], "issue");
    assert_eq!(task["replaces"], json!({"ecdsa": tasks[0]["certificate"]}), "{task}");
    assert_eq!(
        explain(&plane, &hostname).await["hostname"]["certificateState"],
        "pending_deployment"
    );
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owners_txt_records_are_shown_and_the_order_goes_on() {
    let Scene { plane, pop, hostname, .. } = scene(json!({})).await;
    let task = lease_one(&pop).await;
    let record = json!({"name": format!("_acme-challenge.{NAME}"), "value": TXT});
    let forged = json!({"name": NAME, "value": "v=spf1 -all"});
    let order = json!({"url": "https://ca.test/order/1", "key_type": "ecdsa"});
    let wanted = json!({"news": "txt_wanted", "records": [forged, record], "order": order});
    assert_eq!(report(&pop, &task, wanted).await["lease"], "ended");
    let body = explain(&plane, &hostname).await;
    assert_eq!(body["jobs"][0]["txtRecords"], json!([record]));
    assert_eq!(body["jobs"][0]["waitingFor"], "owner_records");
    assert!(body["summary"].as_str().unwrap().contains(&format!("the value {TXT}")), "{body}");
    execute(&plane, "UPDATE job SET next_at = 0").await;
    assert_eq!(lease_one(&pop).await["order"], order);
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_without_a_pops_token_is_an_agent() {
    let plane = Plane::start().await;
    for path in ["/agent/v1/lease", "/agent/v1/report", "/agent/v1/renewal"] {
        let (status, _) = answer(with_json(plane.request(Method::POST, path), &json!({}))).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{path}");
    }
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_pops_report_changes_nothing() {
    let Scene { plane, pop, hostname, .. } = scene(json!({})).await;
    let other = plane.pop("pop-2").await;
    let task = lease_one(&pop).await;
    let refused = failed("rejectedIdentifier", "no", "order");
    assert_eq!(report(&other, &task, refused).await["lease"], "lost");
    assert_eq!(report(&other, &task, issued(&group(&plane), NAME)).await["lease"], "lost");
    assert_eq!(explain(&plane, &hostname).await["attempts"], json!([]));
    assert_eq!(report(&pop, &task, json!({"news": "alive"})).await["lease"], "held");
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_row_means_nothing_keeps_no_other_from_being_done() {
    let Scene { plane, pop, _dns: dns, .. } = scene(json!({"lease": "5s"})).await;
    execute(&plane, "UPDATE job SET failed_methods = 'nonsense'").await;
    dns.point("two.test", "192.0.2.1");
    let property = plane.property("second").await;
    plane.hostname(&property, "two.test").await;
    let task = lease_one(&pop).await;
    assert_eq!(task["names"], json!(["two.test"]));
    // A clock that was ahead gave this lease.
    execute(&plane, "UPDATE job SET leased_until = unixepoch() + 86400").await;
    let is_taken_back = async || {
        let mut rows = database(plane.dir.path()).await;
        let leased = "SELECT count(*) FROM job WHERE leased_until IS NOT NULL";
        sqlx::query_scalar::<_, i64>(leased).fetch_one(&mut rows).await.unwrap() == 0
    };
    eventually(async || is_taken_back().await.then_some(())).await;
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_limits_and_certificates_that_mean_nothing_keep_no_job_from_being_done() {
    let Scene { plane, pop, _dns: dns, .. } = scene(json!({})).await;
    let task = lease_one(&pop).await;
    let issued = issued(&group(&plane), NAME);
    assert_eq!(report(&pop, &task, issued).await["lease"], "ended");
    execute(&plane, "INSERT INTO outage (authority, count) VALUES ('NO CA', 1)").await;
    execute(
        &plane,
        "INSERT INTO hold (subject, scope, authority, since, until, class) \
         VALUES ('', '\"authority\"', 'own', 0, unixepoch() + 600, 'nonsense')",
    )
    .await;
    execute(&plane, "UPDATE certificate SET authority = 'NO CA', poll_at = 1").await;
    dns.point("two.test", "192.0.2.1");
    let property = plane.property("second").await;
    plane.hostname(&property, "two.test").await;
    assert_eq!(lease_one(&pop).await["names"], json!(["two.test"]));
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_nobody_can_open_is_replaced_until_it_is_registered() {
    let Scene { plane, pop, .. } = scene(json!({})).await;
    let task = lease_one(&pop).await;
    let made = |thumbprint: &str, replaces: Option<&str>| {
        let key = json!({"key_id": group(&plane).id(), "enc": "AAAA", "ciphertext": "AAAA"});
        json!({"news": "account_made", "authority": "own", "replaces": replaces,
            "account": {"key": key, "thumbprint": thumbprint}})
    };
    let registered = |thumbprint: &str, url: &str| {
        json!({"news": "account_registered", "authority": "own", "thumbprint": thumbprint,
            "url": url})
    };
    let other = THUMBPRINT.replace('N', "M");
    let counts = async |news: Value| report(&pop, &task, news).await["account"].clone();
    assert_eq!(counts(made(&other, None)).await["thumbprint"], other);
    assert_eq!(counts(made(THUMBPRINT, None)).await["thumbprint"], other);
    assert_eq!(counts(made(THUMBPRINT, Some(THUMBPRINT))).await["thumbprint"], other);
    assert_eq!(counts(made(THUMBPRINT, Some(&other))).await["thumbprint"], THUMBPRINT);
    let first = "https://ca.test/account/1";
    for url in ["http://ca.test/account/9", "https://ca.test/9\n", first, "https://ca.test/2"] {
        report(&pop, &task, registered(THUMBPRINT, url)).await;
    }
    let kept = counts(made(&other, Some(THUMBPRINT))).await;
    assert_eq!((&kept["thumbprint"], &kept["url"]), (&json!(THUMBPRINT), &json!(first)));
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pop_that_applies_nothing_is_not_waited_for_for_ever() {
    let Scene { plane, pop, .. } = scene(json!({})).await;
    let stalled = plane.pop_at("pop-2", "192.0.2.2".parse().unwrap()).await;
    let epoch = stalled.epoch().await;
    let task = lease_one(&pop).await;
    register(&plane, &pop, &task).await;
    let validating = json!({"news": "validating", "thumbprint": THUMBPRINT, "challenges": []});
    eventually(async || {
        stalled.page(epoch, 0, "").await;
        let reply = report(&pop, &task, validating.clone()).await;
        (reply["waiting_for"] == json!(["pop-1", "pop-2"])).then_some(())
    })
    .await;
    execute(&plane, "UPDATE pop SET awaited_since = awaited_since - 120").await;
    // The name leads to the address of the first one.
    let reply = report(&pop, &task, validating).await;
    assert_eq!(reply["waiting_for"], json!(["pop-1"]), "{reply}");
    plane.stop().await;
}
