//! What requests may depend on, wherever they are sent: versions, and having come before.

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::support::{Plane, with_json};

async fn sent(request: RequestBuilder) -> (u16, Value, bool) {
    let response = request.send().await.unwrap();
    let replayed = response.headers().contains_key("idempotency-replayed");
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or_default(), replayed)
}

/// The path of a property's custom hostnames in the Cloudflare-compatible API.
async fn zone(plane: &Plane, property: &str) -> String {
    let (_, found) = plane.get(property).await;
    format!("/client/v4/zones/{}/custom_hostnames", found["zoneId"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_custom_hostname_is_made_once_however_often_it_is_asked_for() {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    let path = zone(&plane, &property).await;
    let create = async |key: &str, body: Value| {
        let request = plane.request(Method::POST, &path).header("idempotency-key", key);
        sent(with_json(request, &body)).await
    };
    let body = json!({"hostname": "www.customer.test"});

    let (status, made, replayed) = create("a", body.clone()).await;
    assert_eq!((status, replayed), (201, false), "{made}");
    let (status, again, replayed) = create("a", body.clone()).await;
    assert_eq!((status, replayed), (201, true), "{again}");

    assert_eq!(made["result"]["id"], again["result"]["id"]);
    let (status, refused, _) = create("a", json!({"hostname": "other.customer.test"})).await;
    assert_eq!((status, &refused["errors"][0]["code"]), (400, &json!(1434)));
    assert_eq!(create("b", body).await.0, 409);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_a_version_is_changed_in_the_expected_one_alone() {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    let hostname = plane.hostname(&property, "www.shop.edge.test").await;
    let path = format!("{}/fallback_origin", zone(&plane, &property).await);
    let request_path = format!("{hostname}/request-certificate");
    let origin = json!({"origin": "origin.customer.test"});
    let send = async |method: Method, path: &str, expected: &str, body: &Value| {
        let request = plane.request(method, path).header("if-match", expected);
        sent(with_json(request, body)).await.0
    };
    let tag = async |path: &str| {
        let response = plane.request(Method::GET, path).send().await.unwrap();
        response.headers()["etag"].to_str().unwrap().to_owned()
    };

    assert_eq!(send(Method::PUT, &path, "\"99\"", &origin).await, 412);
    assert_eq!(send(Method::PUT, &path, &tag(&property).await, &origin).await, 200);
    assert_eq!(send(Method::DELETE, &path, "\"99\"", &Value::Null).await, 412);
    assert_eq!(send(Method::DELETE, &path, &tag(&property).await, &Value::Null).await, 200);
    assert_eq!(send(Method::POST, &request_path, "\"99\"", &Value::Null).await, 412);
    let current = tag(&hostname).await;
    assert_eq!(send(Method::POST, &request_path, &current, &Value::Null).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_version_does_not_take_one() {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    let custom_hostnames = zone(&plane, &property).await;
    let hostnames = format!("{property}/hostname");
    let table = [
        (Method::POST, "/api/Property", json!({"name": "x", "origins": []})),
        (Method::POST, hostnames.as_str(), json!({"name": "www.customer.test"})),
        (Method::POST, custom_hostnames.as_str(), json!({"hostname": "www.customer.test"})),
        (Method::POST, "/api/Key", json!({"name": "x", "scope": "read"})),
        (Method::DELETE, "/api/Key/1", Value::Null),
    ];
    for (method, path, body) in table {
        let request = plane.request(method.clone(), path).header("if-match", "\"1\"");
        let (status, answer, _) = sent(with_json(request, &body)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{method} {path}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_key_is_refused_however_it_is_escaped() {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    let hostnames = format!("{property}/hostname");
    for body in [
        r#"{"name": "a.test", "metadata": {"k": "-----BEGIN PRIVATE\u0020KEY-----"}}"#,
        r#"{"name": "a.test", "metadata": {"-----BEGIN PRIVATE\u0020KEY-----": "k"}}"#,
        r#"{"name": "-----BEGIN PRIVATE\u0020KEY-----"}"#,
    ] {
        let request = plane.request(Method::POST, &hostnames);
        let request = request.header("content-type", "application/json").body(body);
        let (status, problem, _) = sent(request).await;
        assert_eq!((status, &problem["code"]), (422, &json!("private_key_refused")));
        assert!(!problem.to_string().contains("BEGIN"), "{problem}");
    }
}
