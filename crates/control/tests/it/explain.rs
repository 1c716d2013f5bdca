//! What explains a hostname: where it stands, on which PoPs it is live, and what happened.

use landfall_control::admin::{self, Traffic};
use landfall_feed::protocol::{Ack, Rejected};
use landfall_model::{Epoch, Revision};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{
    agents::{Scene, THUMBPRINT, execute, explain, lease_one, register, report, scene},
    support::{Plane, Pop, answer, eventually, responder::Responder},
};

/// Says that `pop` applied everything up to now, `rejected` apart.
async fn acknowledge(pop: &Pop, rejected: Vec<Rejected>) {
    let epoch = pop.epoch().await;
    let applied = Revision(pop.head(epoch).await);
    let digest = landfall_feed::digest::StateDigest::default();
    pop.ack(&Ack { epoch: Epoch(epoch), applied, digest, rejected, busiest: Vec::new() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_active_once_every_active_pop_has_it() {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    let path = plane.hostname(&property, "www.shop.edge.test").await;
    let state = async || plane.get(&path).await.1["certificateState"].clone();
    assert_eq!(state().await, "pending_deployment");
    let (one, other) = (plane.pop("fra1").await, plane.pop("iad1").await);

    acknowledge(&one, Vec::new()).await;
    assert_eq!(state().await, "active");
    let rejection = Rejected {
        id: "hostname/www.shop.edge.test".to_owned(),
        revision: Revision(1),
        reason: "the key does not open".to_owned(),
    };
    acknowledge(&other, vec![rejection]).await;
    assert_eq!(state().await, "pending_deployment");

    let (status, body) = plane.get(&format!("{path}/explain")).await;
    assert_eq!(status, StatusCode::OK);
    let pops = body["pops"].as_array().unwrap();
    assert_eq!((&pops[0]["name"], &pops[0]["state"]), (&json!("fra1"), &json!("live")));
    assert_eq!(pops[0]["activity"], "active");
    assert_eq!(
        (&pops[1]["state"], &pops[1]["reason"]),
        (&json!("rejected"), &json!("the key does not open"))
    );
    assert!(body["summary"].as_str().unwrap().contains("live on 1 of 2 PoPs"), "{body}");

    acknowledge(&other, Vec::new()).await;
    eventually(async || (state().await == "active").then_some(())).await;
    let (_, page) = plane.get(&format!("{property}/hostname")).await;
    assert_eq!(page["items"][1]["certificateState"], "active");
    assert_eq!(page["items"][1]["pops"], json!({"live": 2, "shown": 0, "total": 2}));
}

#[tokio::test(flavor = "multi_thread")]
async fn why_a_pop_is_not_active_is_said_with_what_its_operator_does() {
    let dns = Responder::start().await;
    let resolvers = json!({"resolvers": [dns.address.to_string()], "zone_servers": false});
    let plane = Plane::start_with(json!({"dns": resolvers})).await;
    let property = plane.property("shop").await;
    let path = plane.hostname(&property, "www.customer.test").await;
    dns.point("www.customer.test", "192.0.2.1");
    let says = async |expected: &str| {
        eventually(async || {
            plane.post(&format!("{path}/request-certificate"), &json!({})).await;
            let (_, body) = plane.get(&format!("{path}/explain")).await;
            body["summary"].as_str().unwrap().contains(expected).then_some(())
        })
        .await;
    };
    says("there is no PoP yet; the operator has to add one").await;

    let pop = plane.pop("ams1").await;
    says("ams1 is not active, for it has never asked the control plane for anything").await;
    let other = admin::renew_pop_token(&plane.config, "ams1").await.unwrap();
    assert_eq!(pop.changes(1, 0, "").await.status(), StatusCode::UNAUTHORIZED);
    says("refuses its token; its operator has to give it its present one, or another one by").await;
    let pops = admin::list_pops(&plane.config).await.unwrap();
    assert!(pops[0].is_refused());

    let mut pop = pop;
    pop.enrolment.token = other;
    pop.epoch().await;
    eventually(async || admin::list_pops(&plane.config).await.unwrap()[0].seen_at).await;
    execute(&plane, "UPDATE pop SET seen_at = 1000000000, refused_at = NULL").await;
    says("for it has asked the control plane for nothing since 2001-09-09T01:46:40Z").await;
    admin::set_pop_traffic(&plane.config, "ams1", Traffic::Off).await.unwrap();
    says("ams1 takes no traffic, as its operator wants it (`landfall pop traffic ams1 on`").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_a_challenge_did_not_reach_is_told_the_operator_and_not_the_owner() {
    let Scene { plane, pop, hostname, .. } = scene(json!({})).await;
    let task = lease_one(&pop).await;
    register(&plane, &pop, &task).await;
    let validating = json!({"news": "validating", "thumbprint": THUMBPRINT, "challenges": []});
    assert_eq!(report(&pop, &task, validating).await["waiting_for"], json!(["pop-1"]));
    let trouble = json!({"trouble": "precheck", "precheck": "challenge", "method": "http-01",
        "failed": ["pop-1"], "asked": 1, "detail": "they have not taken it up"});
    report(&pop, &task, json!({"news": "failed", "trouble": trouble})).await;

    let body = explain(&plane, &hostname).await;
    let last = &body["attempts"][0];
    assert_eq!(last["class"], "challenge_unreachable");
    let told = last["operatorAdvice"].as_str().unwrap();
    assert!(told.contains("pop-1 has applied nothing of the feed's epoch"), "{told}");
    let summary = body["summary"].as_str().unwrap();
    assert!(summary.contains(told.trim_end_matches('.')), "{summary}");
    assert_eq!(last["nextAttemptAt"], body["jobs"][0]["nextAttemptAt"]);
    assert!(summary.contains(last["nextAttemptAt"].as_str().unwrap()), "{body:#}");

    let owner = json!({"name": "owner", "scope": "admin", "property": 1});
    let platform = json!({"name": "platform", "scope": "write"});
    for key in [owner, platform] {
        let key = plane.post("/api/Key", &key).await.1["key"].as_str().unwrap().to_owned();
        let request = plane.client.get(plane.url(&format!("{hostname}/explain")));
        let (_, read) = answer(request.bearer_auth(key)).await;
        let summary = read["summary"].as_str().unwrap();
        assert!(summary.contains("its operator has to see to it"), "{summary}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_live_nowhere_and_is_told_how_to_prove_itself() {
    let plane = Plane::start().await;
    let (shop, blog) = (plane.property("shop").await, plane.property("blog").await);
    plane.hostname(&shop, "www.customer.test").await;
    let claim = plane.hostname(&blog, "www.customer.test").await;
    acknowledge(&plane.pop("fra1").await, Vec::new()).await;

    let (_, body) = plane.get(&format!("{claim}/explain")).await;

    assert_eq!(body["pops"][0]["state"], "unknown");
    assert_eq!(body["hostname"]["certificateState"], "pending_validation");
    let token = body["hostname"]["ownership"]["txt"]["value"].as_str().unwrap();
    assert!(body["summary"].as_str().unwrap().contains(token), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_the_newest_first_and_come_in_pages() {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    let path = plane.hostname(&property, "www.shop.edge.test").await;
    for plan in ["a", "b", "c"] {
        plane.patch(&path, &json!({"metadata": {"plan": plan}})).await;
    }

    let (_, first) = plane.get(&format!("{path}/events?limit=3")).await;
    let cursor = first["nextCursor"].as_str().unwrap();
    let (_, second) = plane.get(&format!("{path}/events?limit=3&cursor={cursor}")).await;

    let kinds = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap();
        items.iter().map(|event| event["kind"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(kinds(&first), ["changed", "changed", "changed"]);
    assert_eq!(kinds(&second), ["created"]);
    assert_eq!(second["nextCursor"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_explains_a_hostname_is_for_its_owner_alone() {
    let plane = Plane::start().await;
    let (shop, blog) = (plane.property("shop").await, plane.property("blog").await);
    let path = plane.hostname(&shop, "www.customer.test").await;
    let of_another = path.replacen(&shop, &blog, 1);
    for view in ["explain", "events"] {
        assert_eq!(plane.get(&format!("{of_another}/{view}")).await.0, StatusCode::NOT_FOUND);
        let bare = plane.client.get(plane.url(&format!("{path}/{view}"))).send().await.unwrap();
        assert_eq!(bare.status(), StatusCode::UNAUTHORIZED);
    }
}
