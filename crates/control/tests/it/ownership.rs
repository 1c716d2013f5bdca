//! Who has which names, as settings and deletions change.

use landfall_feed::record::{Body, Record};
use reqwest::StatusCode;
use serde_json::json;

use crate::support::{Plane, hostname_record};

async fn records(plane: &Plane) -> Vec<Record> {
    let pop = plane.pop("reader").await;
    pop.records(pop.epoch().await, 0).await
}

fn is_tombstone(records: &[Record], id: &str) -> bool {
    let record = records.iter().find(|record| record.id == id);
    matches!(record.unwrap_or_else(|| panic!("{id}")).body, Body::Tombstone)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostname_gets_its_wildcard_and_gives_it_back_by_a_change() {
    let plane =
        Plane::start_with(json!({"internal_ca": {"external_hostnames": "unverified"}})).await;
    let (shop, blog) = (plane.property("shop").await, plane.property("blog").await);
    let path = plane.hostname(&shop, "one.test").await;
    let wildcard = |wanted: bool| json!({"managedCertificate": {"wildcard": wanted}});

    let (status, hostname) = plane.patch(&path, &wildcard(true)).await;
    assert_eq!(status, StatusCode::OK, "{hostname}");
    assert_eq!(hostname["certificates"][0]["serves"], json!(["*.one.test", "one.test"]));
    // It counts as had: another property's is a claim.
    let other = plane.hostname(&blog, "*.one.test").await;
    assert_eq!(plane.get(&other).await.1["ownership"]["state"], "claimed");
    let (status, hostname) = plane.patch(&path, &wildcard(false)).await;
    assert_eq!(status, StatusCode::OK, "{hostname}");

    let records = records(&plane).await;
    assert_eq!(hostname_record(&records, "one.test").certificates.len(), 1);
    assert!(is_tombstone(&records, "hostname/*.one.test"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wildcard_that_others_have_verified_names_under_is_not_had_by_a_change() {
    let plane =
        Plane::start_with(json!({"internal_ca": {"external_hostnames": "unverified"}})).await;
    let (shop, blog) = (plane.property("shop").await, plane.property("blog").await);
    let path = plane.hostname(&shop, "one.test").await;
    plane.hostname(&blog, "www.one.test").await;
    let before = plane.get(&path).await.1;

    let body = json!({"managedCertificate": {"wildcard": true}});
    let (status, problem) = plane.patch(&path, &body).await;

    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("hostname_taken")));
    assert_eq!(problem["field"], "/managedCertificate/wildcard");
    assert_eq!(plane.get(&path).await.1, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_property_is_deleted_once_nothing_is_served_for_it() {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    let hostname = plane.hostname(&property, "www.one.test").await;

    let (status, problem) = plane.delete(&property).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("property_not_empty")));
    assert_eq!(plane.delete(&hostname).await.0, StatusCode::NO_CONTENT);
    assert_eq!(plane.delete(&property).await.0, StatusCode::NO_CONTENT);

    assert_eq!(plane.get(&property).await.0, StatusCode::NOT_FOUND);
    assert_eq!(plane.delete(&property).await.0, StatusCode::NOT_FOUND);
    let records = records(&plane).await;
    for id in ["property/1", "hostname/shop.edge.test", "hostname/www.one.test"] {
        assert!(is_tombstone(&records, id));
    }
    // The name is free, and the id is not used again.
    let again = plane.property("shop").await;
    assert_eq!(again, "/api/Property/2");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_creations_of_one_name_at_once_one_wins() {
    let plane = Plane::start().await;
    let (shop, blog) = (plane.property("shop").await, plane.property("blog").await);
    for round in 0..10 {
        let body = json!({"name": format!("h{round}.one.test")});
        let path = format!("{shop}/hostname");
        let (first, second) = tokio::join!(plane.post(&path, &body), plane.post(&path, &body));
        let mut statuses = [first.0.as_u16(), second.0.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409]);
        let loser = if first.0 == StatusCode::CONFLICT { first.1 } else { second.1 };
        assert_eq!(loser["code"], "hostname_taken");

        let body = json!({"name": format!("h{round}.two.test")});
        let other = format!("{blog}/hostname");
        let (first, second) = tokio::join!(plane.post(&path, &body), plane.post(&other, &body));
        let mut states = [first, second].map(|(status, hostname)| {
            assert_eq!(status, StatusCode::CREATED, "{hostname}");
            hostname["ownership"]["state"].as_str().unwrap().to_owned()
        });
        states.sort();
        assert_eq!(states, ["claimed", "held"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_property_has_so_many_hostnames_and_claims_and_no_more() {
    let limits = json!({"hostnames_per_property": 4, "claims_per_property": 1});
    let plane = Plane::start_with(json!({"limits": limits})).await;
    let (shop, blog) = (plane.property("shop").await, plane.property("blog").await);
    for name in ["a.one.test", "b.one.test", "c.one.test"] {
        plane.hostname(&shop, name).await;
    }
    let claim = plane.hostname(&blog, "a.one.test").await;
    let add = async |path: &str, name: &str| {
        let (status, problem) =
            plane.post(&format!("{path}/hostname"), &json!({"name": name})).await;
        (status.as_u16(), problem["code"].as_str().unwrap_or_default().to_owned())
    };

    assert_eq!(add(&shop, "d.one.test").await, (409, "too_many_hostnames".to_owned()));
    assert_eq!(add(&blog, "b.one.test").await, (409, "too_many_claims".to_owned()));
    assert_eq!(plane.delete(&claim).await.0, StatusCode::NO_CONTENT);
    assert_eq!(add(&blog, "b.one.test").await.0, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_name_of_a_hostname_is_placed() {
    let plane = Plane::start_with(json!({"system_domain": "edge.provider.test"})).await;
    let property = plane.property("shop").await;
    let both = json!({"managedCertificate": {"wildcard": true}});
    // The suffix has names under it that others register.
    let name = "www.provider.test";
    let path = plane.hostname(&property, name).await;
    assert_eq!(plane.patch(&path, &both).await.0, StatusCode::OK);

    let zone = plane.get(&property).await.1["zoneId"].as_str().unwrap().to_owned();
    for name in ["provider.test", "*.provider.test"] {
        let refused = (StatusCode::UNPROCESSABLE_ENTITY, json!("hostname_reserved"));
        for body in [
            json!({"name": name}),
            json!({"name": name, "managedCertificate": both["managedCertificate"]}),
        ] {
            let (status, problem) = plane.post(&format!("{property}/hostname"), &body).await;
            assert_eq!((status, problem["code"].clone()), refused, "{body}");
        }
        let body = json!({"hostname": name, "ssl": {"wildcard": true}});
        let path = format!("/client/v4/zones/{zone}/custom_hostnames");
        let sent = crate::support::with_json(plane.request(reqwest::Method::POST, &path), &body);
        let response = sent.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        assert!(response.text().await.unwrap().contains("1409"));
    }
}
