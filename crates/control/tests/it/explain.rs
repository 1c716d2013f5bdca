//! What explains a hostname: where it stands, on which PoPs it is live, and what happened.

use landfall_feed::protocol::{Ack, Rejected};
use landfall_model::{Epoch, Revision};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{Plane, Pop, eventually};

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
