//! Keys to the API: scopes, properties, expiry, last use; versions of what is changed.

use landfall_control::admin;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Plane, answer, with_json};

/// Makes a key by API, and answers its id and secret.
async fn make_key(plane: &Plane, body: Value) -> (i64, String) {
    let (status, key) = plane.post("/api/Key", &body).await;
    assert_eq!(status, StatusCode::CREATED, "{key}");
    (key["id"].as_i64().unwrap(), key["key"].as_str().unwrap().to_owned())
}

async fn with_key(plane: &Plane, key: &str, method: Method, path: &str) -> (StatusCode, Value) {
    answer(plane.client.request(method, plane.url(path)).bearer_auth(key)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_made_by_api_does_what_its_scope_says_until_it_is_revoked() {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    let (id, key) = make_key(&plane, json!({"name": "reader", "scope": "read"})).await;
    let get = async || with_key(&plane, &key, Method::GET, &property).await;
    assert_eq!(get().await.0, StatusCode::OK);
    let (status, problem) = with_key(&plane, &key, Method::PATCH, &property).await;
    assert_eq!((status.as_u16(), &problem["code"]), (403, &json!("insufficient_scope")));
    assert_eq!(problem["requiredScope"], "write");

    let path = format!("/api/Key/{id}");
    let (_, shown) = plane.get(&path).await;
    assert_eq!(shown["name"], "reader");
    assert_eq!(shown["key"], Value::Null);
    assert_eq!(plane.delete(&path).await.0, StatusCode::NO_CONTENT);
    assert_eq!(plane.delete(&path).await.0, StatusCode::NO_CONTENT);
    assert_eq!(get().await.0, StatusCode::UNAUTHORIZED);
    assert!(plane.get(&path).await.1["revokedAt"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_for_one_property_sees_nothing_else() {
    let plane = Plane::start().await;
    let own = plane.property("own").await;
    let other = plane.property("other").await;
    let hostname = plane.hostname(&other, "www.other.edge.test").await;
    let (_, foreign) =
        make_key(&plane, json!({"name": "a", "scope": "admin", "property": 2})).await;
    let (_, key) = make_key(&plane, json!({"name": "a", "scope": "admin", "property": 1})).await;
    let get = async |path: &str| with_key(&plane, &key, Method::GET, path).await;
    assert_eq!(get(&own).await.0, StatusCode::OK);
    for path in [&other, &hostname, "/api/Property/999", "/api/Key/1", "/api/Key/2"] {
        assert_eq!(get(path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    // The other's hostname under one's own property is as unknown.
    let disguised = hostname.replace(&other, &own);
    assert_eq!(get(&disguised).await.0, StatusCode::NOT_FOUND);
    let names = async |path: &str| {
        let (_, page) = get(path).await;
        let items = page["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["id"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(names("/api/Property").await, [1]);
    assert_eq!(names("/api/Key").await, [3]);

    // It makes keys of its own property alone.
    let post = async |body: Value| {
        let request = plane.client.post(plane.url("/api/Key")).bearer_auth(&key);
        answer(with_json(request, &body)).await
    };
    let (status, made) = post(json!({"name": "b", "scope": "read"})).await;
    assert_eq!((status, &made["property"]), (StatusCode::CREATED, &json!(1)));
    assert_eq!(post(json!({"name": "c", "scope": "read", "property": 2})).await.0, 404);
    assert_eq!(post(json!({"name": "b", "scope": "read"})).await.1["code"], "key_name_taken");
    let (status, _) = with_key(&plane, &foreign, Method::DELETE, "/api/Key/3").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_checked_before_it_is_made() {
    let plane = Plane::start().await;
    let table = [
        (json!({"scope": "read"}), 422, "invalid_field"),
        (json!({"name": "a"}), 422, "invalid_field"),
        (json!({"name": "a", "scope": "root"}), 422, "invalid_field"),
        (json!({"name": "a b", "scope": "read"}), 422, "invalid_name"),
        (json!({"name": "a", "scope": "read", "property": 9}), 404, "not_found"),
        (json!({"name": "a", "scope": "read", "expiresAt": "soon"}), 422, "invalid_field"),
        (
            json!({"name": "a", "scope": "read", "expiresAt": "2001-01-01T00:00:00Z"}),
            422,
            "invalid_expiry",
        ),
        (
            // In UTC it has no year that could be told.
            json!({"name": "a", "scope": "read", "expiresAt": "9999-12-31T23:59:59-23:59"}),
            422,
            "invalid_expiry",
        ),
        (json!({"name": "a", "scope": "read", "id": 7}), 422, "invalid_field"),
    ];
    for (body, status, code) in table {
        let (got, problem) = plane.post("/api/Key", &body).await;
        assert_eq!((got.as_u16(), problem["code"].as_str().unwrap()), (status, code), "{body}");
    }
    let request = plane.request(Method::POST, "/api/Key").header("idempotency-key", "x");
    let (status, problem) =
        answer(with_json(request, &json!({"name": "a", "scope": "read"}))).await;
    assert_eq!((status.as_u16(), &problem["code"]), (400, &json!("idempotency_not_supported")));
    assert_eq!(admin::list_api_keys(&plane.config).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_property_has_so_many_valid_keys_and_no_more() {
    let plane =
        Plane::start_with(json!({"api": {"listen": "127.0.0.1:0", "keys_per_property": 2}})).await;
    plane.property("own").await;
    plane.property("other").await;
    let key =
        |name: &str, property: u64| json!({"name": name, "scope": "read", "property": property});
    let (first, _) = make_key(&plane, key("a", 1)).await;
    make_key(&plane, key("b", 1)).await;
    let (status, problem) = plane.post("/api/Key", &key("c", 1)).await;
    assert_eq!((status.as_u16(), &problem["code"]), (409, &json!("too_many_keys")));
    // By command line too.
    let property = Some(landfall_model::PropertyId(1));
    let grant = admin::Grant { property, ..crate::support::EVERYTHING };
    assert!(admin::add_api_key(&plane.config, "d", grant).await.is_err());

    make_key(&plane, key("a", 2)).await;
    make_key(&plane, json!({"name": "for-all", "scope": "read"})).await;
    plane.delete(&format!("/api/Key/{first}")).await;
    make_key(&plane, key("c", 1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_for_one_property_share_its_requests() {
    let plane = Plane::start_with(json!({
        "api": {"listen": "127.0.0.1:0", "property_rate_limit": 1, "property_rate_burst": 5}
    }))
    .await;
    let property = plane.property("own").await;
    let mut admitted = 0;
    for index in 0..4 {
        let body = json!({"name": format!("k{index}"), "scope": "read", "property": 1});
        let (_, key) = make_key(&plane, body).await;
        for _ in 0..3 {
            let (status, _) = with_key(&plane, &key, Method::GET, &property).await;
            admitted += usize::from(status == StatusCode::OK);
        }
    }
    assert_eq!(admitted, 5);
    // A key for all properties has requests of its own.
    assert_eq!(plane.get(&property).await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_use_of_a_key_is_kept() {
    let plane = Plane::start().await;
    plane.property("shop").await;
    let config = plane.config.clone();
    // An orderly stop writes it down; a task does so every half a minute.
    let _dir = plane.stop().await;
    let keys = admin::list_api_keys(&config).await.unwrap();
    assert!(keys[0].last_used_at.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_what_another_has_changed_is_refused() {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    let hostname = plane.hostname(&property, "www.customer.test").await;
    let tag = async |path: &str| {
        let response = plane.request(Method::GET, path).send().await.unwrap();
        response.headers()["etag"].to_str().unwrap().to_owned()
    };
    let table = [
        (&property, json!({"balance": "leastConnections"})),
        (&hostname, json!({"tls": {"minVersion": "1.3"}})),
    ];
    for (path, patch) in table {
        let before = tag(path).await;
        let change = async |expected: &str| {
            let request = plane.request(Method::PATCH, path).header("if-match", expected);
            with_json(request, &patch).send().await.unwrap()
        };
        let changed = change(&before).await;
        assert_eq!(changed.status(), 200);
        let after = changed.headers()["etag"].to_str().unwrap().to_owned();
        assert_ne!(before, after);
        assert_eq!(tag(path).await, after);

        let (status, problem) = crate::support::read(change(&before).await).await;
        assert_eq!((status.as_u16(), &problem["code"]), (412, &json!("precondition_failed")));
        assert_eq!(problem["header"], "If-Match");
        assert_eq!(format!("\"{}\"", problem["version"]), after);
        assert_eq!(change("*").await.status(), 200);
        assert_eq!(change("W/\"1\"").await.status(), 412);
        assert_eq!(change("1").await.status(), 400);
    }
    let delete = async |expected: &str| {
        answer(plane.request(Method::DELETE, &hostname).header("if-match", expected)).await.0
    };
    assert_eq!(delete("\"1\"").await, StatusCode::PRECONDITION_FAILED);
    let current = tag(&hostname).await;
    assert_eq!(delete(&current).await, StatusCode::NO_CONTENT);
}
