//! Hostnames: who may have which name, and what becomes of them.

use landfall_feed::record::{Body, HostnameState};
use landfall_model::{CipherSuite, TlsVersion};
use reqwest::StatusCode;
use serde_json::json;

use crate::{
    agents::execute,
    support::{Plane, hostname_record},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_cant_be_read_keeps_no_other_from_being_listed() {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    for index in 0..4 {
        plane.hostname(&property, &format!("h{index}.customer.test")).await;
    }
    let broken = [
        "UPDATE hostname SET tls = '{' WHERE name = 'h0.customer.test'",
        "UPDATE hostname SET route = '' WHERE name = 'h2.customer.test'",
        "UPDATE verification SET evidence = '[' WHERE hostname_id = \
         (SELECT id FROM hostname WHERE name = 'h3.customer.test')",
        "UPDATE event SET detail = '' WHERE hostname_id = \
         (SELECT id FROM hostname WHERE name = 'h3.customer.test')",
    ];
    for statement in broken {
        execute(&plane, statement).await;
    }
    let (mut names, mut next) = (Vec::new(), String::new());
    loop {
        let (status, page) = plane.get(&format!("{property}/hostname?limit=1{next}")).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        let item = &page["items"][0];
        names.push(item["name"].as_str().unwrap().to_owned());
        match page["nextCursor"].as_str() {
            Some(cursor) => next = format!("&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(names[1..], ["h1.customer.test", "h3.customer.test"], "{names:?}");
    let (_, found) = plane.get(&property).await;
    let zone = found["zoneId"].as_str().unwrap();
    let (status, listed) = plane.get(&format!("/client/v4/zones/{zone}/custom_hostnames")).await;
    assert_eq!((status, listed["result"].as_array().unwrap().len()), (StatusCode::OK, 2));
    execute(&plane, "UPDATE property SET pool = '{'").await;
    let (status, page) = plane.get("/api/Property").await;
    assert_eq!((status, &page["items"]), (StatusCode::OK, &json!([])));
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_property_comes_with_a_system_hostname_that_is_active_and_stays() {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;

    let (_, page) = plane.get(&format!("{property}/hostname")).await;

    let hostname = &page["items"][0];
    assert_eq!(hostname["name"], "shop.edge.test");
    assert_eq!(hostname["status"], "Active");
    assert_eq!(hostname["statusCode"], 1);
    assert_eq!(hostname["certificates"][0]["source"], "internal");
    assert_eq!(hostname["certificates"][0]["keyType"], "ecdsa");
    assert!(hostname.get("systemHostname").is_none());
    let path = format!("{property}/hostname/{}", hostname["id"]);
    let (status, problem) = plane.delete(&path).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(problem["code"], "system_hostname");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_external_hostname_is_pending_and_published_without_certificate() {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    let body =
        json!({"name": "Bücher.Customer.Test.", "tls": {"minVersion": "1.3", "http2": false}});

    let (status, hostname) = plane.post(&format!("{property}/hostname"), &body).await;

    assert_eq!(status, StatusCode::CREATED, "{hostname}");
    assert_eq!(hostname["name"], "xn--bcher-kva.customer.test");
    assert_eq!(hostname["displayName"], "bücher.customer.test");
    assert_eq!(hostname["status"], "PendingValidation");
    assert_eq!(hostname["statusCode"], 0);
    assert_eq!(hostname["systemHostname"], "shop.edge.test");
    assert_eq!(hostname["certificates"], json!([]));
    let pop = plane.pop("pop-1").await;
    let records = pop.records(pop.epoch().await, 0).await;
    let record = hostname_record(&records, "xn--bcher-kva.customer.test");
    assert_eq!(record.state, HostnameState::PendingValidation);
    assert!(record.certificates.is_empty());
    assert_eq!(record.tls.min_version, TlsVersion::Tls13);
    assert_eq!(record.route.custom_origin, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn external_hostnames_are_active_at_once_where_the_operator_says_so() {
    let plane =
        Plane::start_with(json!({"internal_ca": {"external_hostnames": "unverified"}})).await;
    let property = plane.property("shop").await;
    let path = plane.hostname(&property, "*.customer.test").await;
    let (_, hostname) = plane.get(&path).await;
    assert_eq!(hostname["status"], "Active");
    assert_eq!(hostname["certificates"][0]["source"], "internal");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_others_have_or_answer_for_are_refused() {
    let plane = Plane::start().await;
    let (shop, blog) = (plane.property("shop").await, plane.property("blog").await);
    plane.hostname(&shop, "www.one.test").await;
    plane.hostname(&shop, "*.two.test").await;
    plane.hostname(&shop, "*.apps.edge.test").await;
    let taken = [
        (&shop, "WWW.one.test."),
        (&blog, "x.apps.edge.test"),
        (&blog, "shop.edge.test"),
        (&blog, "a.shop.edge.test"),
        (&blog, "*.shop.edge.test"),
        (&blog, "a.b.shop.edge.test"),
    ];
    for (property, name) in taken {
        let path = format!("{property}/hostname");
        let (status, problem) = plane.post(&path, &json!({"name": name})).await;
        assert_eq!(status, StatusCode::CONFLICT, "{name}");
        assert_eq!(problem["code"], "hostname_taken", "{name}");
        assert_eq!(problem["field"], "/name", "{name}");
        let is_own = problem["detail"].as_str().unwrap().starts_with("The property has");
        assert_eq!(is_own, *property == shop, "{problem}");
        assert!(!problem.to_string().contains("shop"), "{problem}");
    }
    // A site that somebody uses can't become another's system hostname.
    let body = json!({"name": "apps", "origins": [{"url": "http://127.0.0.1:1"}]});
    let (status, problem) = plane.post("/api/Property", &body).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("property_name_taken")));
    for name in ["a.two.test", "*.one.test", "a.shop.edge.test"] {
        plane.hostname(&shop, name).await;
    }
    for name in ["one.test", "a.b.two.test", "two.test"] {
        plane.hostname(&blog, name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_another_has_is_claimed_and_changes_nothing_at_the_edges() {
    // All are verified there.
    let plane =
        Plane::start_with(json!({"internal_ca": {"external_hostnames": "unverified"}})).await;
    let (shop, blog) = (plane.property("shop").await, plane.property("blog").await);
    plane.hostname(&shop, "www.one.test").await;
    plane.hostname(&shop, "*.two.test").await;
    let pop = plane.pop("pop-1").await;
    let before = pop.records(pop.epoch().await, 0).await.len();
    for name in ["www.one.test", "*.one.test", "a.two.test", "*.two.test"] {
        let path = plane.hostname(&blog, name).await;
        let (_, hostname) = plane.get(&path).await;
        assert_eq!(hostname["status"], "PendingValidation", "{name}");
        let ownership = &hostname["ownership"];
        assert_eq!(ownership["state"], "claimed");
        let base = name.trim_start_matches("*.");
        assert_eq!(ownership["txt"]["name"], format!("_cf-custom-hostname.{base}"));
        let url = ownership["http"]["url"].as_str().unwrap_or_default();
        let start = format!("http://{name}/.well-known/cf-custom-hostname-challenge/");
        assert_eq!(url.starts_with(&start), !name.starts_with('*'), "{ownership}");
    }
    assert_eq!(pop.records(pop.epoch().await, 0).await.len(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_can_not_be_are_refused_with_the_reason() {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    let path = format!("{property}/hostname");
    let table = [
        ("192.0.2.1", 422, "name_is_ip_address", "IP address"),
        ("[2001:db8::1]", 422, "name_is_ip_address", "IP address"),
        ("0x7f.1", 422, "name_is_ip_address", "IP address"),
        ("localhost", 422, "name_has_one_label", "one label"),
        ("a b.test", 422, "invalid_name", "character"),
        ("a.*.test", 422, "invalid_name", "`*`"),
        ("*.com", 422, "name_has_one_label", "one label"),
        ("co.uk", 422, "public_suffix", "public suffix"),
        ("*.github.io", 422, "public_suffix", "public suffix"),
        ("abc.onion", 422, "not_in_dns", "`onion`"),
        (&"a.".repeat(5_000), 422, "name_too_long", "253 bytes"),
        (&format!("{}.test", "a".repeat(10_000)), 422, "name_too_long", "253 bytes"),
        ("", 422, "invalid_name", "empty"),
        ("edge.test", 422, "hostname_reserved", "system domain"),
        ("*.test", 422, "name_has_one_label", "one label"),
    ];
    for (name, status, code, words) in table {
        let (got, problem) = plane.post(&path, &json!({"name": name})).await;
        assert_eq!((got.as_u16(), problem["code"].as_str().unwrap()), (status, code), "{name}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(words) && detail.len() < 500, "{problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tls_policy_is_changed_in_part_and_published() {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    let path = plane.hostname(&property, "a.shop.edge.test").await;
    let suite = "ECDHE-ECDSA-AES128-GCM-SHA256";

    let (status, hostname) = plane.patch(&path, &json!({"tls": {"ciphers": [suite]}})).await;
    assert_eq!(status, StatusCode::OK, "{hostname}");
    let (_, hostname) = plane.patch(&path, &json!({"tls": {"http2": false}})).await;

    assert_eq!(hostname["tls"]["http2"], false);
    assert_eq!(hostname["tls"]["tls13"], true);
    let pop = plane.pop("pop-1").await;
    let records = pop.records(pop.epoch().await, 0).await;
    let record = hostname_record(&records, "a.shop.edge.test");
    assert_eq!(record.tls.ciphers, [CipherSuite::EcdheEcdsaAes128]);
    assert!(!record.tls.http2 && !record.certificates.is_empty());
    for (tls, status) in [
        (json!({"minVersion": "1.3", "tls13": false}), 422),
        (json!({"minVersion": "1.1"}), 422),
        (json!({"ciphers": ["RC4-MD5"]}), 422),
        (json!({"minVerion": "1.2"}), 422),
    ] {
        let (got, problem) = plane.patch(&path, &json!({ "tls": tls })).await;
        assert_eq!(got.as_u16(), status, "{problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_hostname_is_a_tombstone_and_free_for_others() {
    let plane = Plane::start().await;
    let (shop, blog) = (plane.property("shop").await, plane.property("blog").await);
    let path = plane.hostname(&shop, "www.one.test").await;
    let of_another = path.replacen(&shop, &blog, 1);
    assert_eq!(plane.get(&of_another).await.0, StatusCode::NOT_FOUND);
    assert_eq!(plane.delete(&of_another).await.0, StatusCode::NOT_FOUND);

    assert_eq!(plane.delete(&path).await.0, StatusCode::NO_CONTENT);

    assert_eq!(plane.get(&path).await.0, StatusCode::NOT_FOUND);
    assert_eq!(plane.delete(&path).await.0, StatusCode::NOT_FOUND);
    let pop = plane.pop("pop-1").await;
    let records = pop.records(pop.epoch().await, 0).await;
    let record = records.iter().find(|record| record.id == "hostname/www.one.test").unwrap();
    assert!(matches!(record.body, Body::Tombstone));
    plane.hostname(&blog, "www.one.test").await;
}
