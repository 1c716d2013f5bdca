//! What no client of good will sends: each is refused with its reason, and nothing is stored.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Plane, answer, with_json};

const INJECTIONS: &[&str] = &[
    "'; DROP TABLE hostname; --",
    "x' OR '1'='1",
    "a\r\nX-Injected: 1",
    "a\nb",
    "a\u{0}b",
    "<script>alert(1)</script>",
    "../../etc/passwd",
    "${jndi:ldap://x}",
    "\u{202e}test",
];

async fn stored(plane: &Plane) -> Vec<Value> {
    let mut all = Vec::new();
    for path in ["/api/Property", "/api/Property/1", "/api/Property/1/hostname", "/api/Key"] {
        let (_, mut found) = plane.get(path).await;
        for key in found["items"].as_array_mut().into_iter().flatten() {
            // Uses are noted meanwhile.
            if let Some(key) = key.as_object_mut() {
                key.remove("lastUsedAt");
            }
        }
        all.push(found);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_that_would_inject_are_refused_in_every_field() {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    let hostname = plane.hostname(&property, "www.shop.edge.test").await;
    let before = stored(&plane).await;
    let long = "a".repeat(10_000);
    for bad in INJECTIONS.iter().copied().chain([long.as_str()]) {
        let origins = json!([{"url": "http://127.0.0.1:9001"}]);
        let hostnames = format!("{property}/hostname");
        let creations = [
            ("/api/Property", json!({"name": bad, "origins": origins})),
            ("/api/Property", json!({"name": "x", "origins": [{"url": bad}]})),
            (&hostnames, json!({"name": bad})),
            (&hostnames, json!({"name": format!("{bad}.test")})),
            (&hostnames, json!({"name": "x.test", "customOriginServer": bad})),
            ("/api/Key", json!({"name": bad, "scope": "read"})),
            ("/api/Key", json!({"name": "x", "scope": bad})),
        ];
        for (path, body) in creations {
            let (status, problem) = plane.post(path, &body).await;
            assert!(matches!(status.as_u16(), 400 | 422), "{path} {body}: {problem}");
        }
        let changes = [
            (&property, json!({"sni": bad})),
            (&property, json!({"hostHeader": bad})),
            (&property, json!({"balance": bad})),
            (&property, json!({"ca": bad})),
            (&hostname, json!({"http": {"requestHeaders": [{"name": bad, "value": "x"}]}})),
            (&hostname, json!({"tls": {"ciphers": [bad]}})),
            (&hostname, json!({"tls": {"minVersion": bad}})),
            (&hostname, json!({"managedCertificate": {"authority": bad}})),
        ];
        for (path, body) in changes {
            let (status, problem) = plane.patch(path, &body).await;
            assert!(matches!(status.as_u16(), 400 | 422), "{path} {body}: {problem}");
        }
    }
    for bad in ["a\r\nb: c", "a\nb", "a\u{0}b"] {
        let body = json!({"http": {"responseHeaders": [{"name": "x-test", "value": bad}]}});
        assert!(plane.patch(&hostname, &body).await.0.is_client_error());
    }
    assert_eq!(stored(&plane).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_no_proper_json_are_malformed() {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    let hostname = plane.hostname(&property, "www.shop.edge.test").await;
    let before = stored(&plane).await;
    let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
    let bodies = [
        (String::new(), 400),
        ("null".to_owned(), 422),
        ("[]".to_owned(), 422),
        ("\"text\"".to_owned(), 422),
        ("7".to_owned(), 422),
        ("{} {}".to_owned(), 400),
        (deep.clone(), 400),
        (format!("{{\"metadata\": {deep}}}"), 400),
        (r#"{"tls": {"http2": true, "http2": false}}"#.to_owned(), 400),
        (r#"{"metadata": {"a": "\u0000"}}"#.to_owned(), 400),
        (r#"{"http": {"maxBody": 1e400}}"#.to_owned(), 400),
        (r#"{"http": {"maxBody": 99999999999999999999999}}"#.to_owned(), 422),
        (r#"{"http": {"maxBody": -1}}"#.to_owned(), 422),
        (r#"{"http": {"maxBody": 1.5}}"#.to_owned(), 422),
        (r#"{"http": {"maxBody": "1"}}"#.to_owned(), 422),
        (r#"{"http": []}"#.to_owned(), 422),
        (r#"{"paths": {}}"#.to_owned(), 422),
        (r#"{"unknown": 1}"#.to_owned(), 422),
    ];
    for (body, expected) in bodies {
        let request = plane
            .request(Method::PATCH, &hostname)
            .header("content-type", "application/json")
            .body(body.clone());
        let (status, problem) = answer(request).await;
        let start: String = body.chars().take(60).collect();
        assert_eq!(status.as_u16(), expected, "{start}: {problem}");
        let detail = problem["detail"].as_str().unwrap();
        for word in ["struct ", "enum ", "u64", "expected value", " at line 0"] {
            assert!(!detail.contains(word), "{start}: {detail}");
        }
    }
    assert_eq!(stored(&plane).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_and_kinds_of_body_that_no_endpoint_has_are_refused() {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    let table = [
        (Method::PUT, "/api/Property", StatusCode::METHOD_NOT_ALLOWED),
        (Method::DELETE, "/api/Property", StatusCode::METHOD_NOT_ALLOWED),
        (Method::TRACE, "/api/Property", StatusCode::METHOD_NOT_ALLOWED),
        (Method::OPTIONS, "/api/Key", StatusCode::METHOD_NOT_ALLOWED),
        (Method::from_bytes(b"BREW").unwrap(), "/api/Property", StatusCode::METHOD_NOT_ALLOWED),
        (Method::GET, "/api/property", StatusCode::NOT_FOUND),
        (Method::GET, "/api/Property/", StatusCode::NOT_FOUND),
        (Method::GET, "/api//Property", StatusCode::NOT_FOUND),
        (Method::GET, "/api/Property/-1", StatusCode::NOT_FOUND),
        (Method::GET, "/api/Property/99999999999999999999", StatusCode::NOT_FOUND),
        (Method::GET, "/api/Property/1%20OR%201=1", StatusCode::NOT_FOUND),
        (Method::GET, "/api/Property/%00", StatusCode::NOT_FOUND),
        (Method::GET, "/api/Property/%ff", StatusCode::NOT_FOUND),
    ];
    for (method, path, expected) in table {
        let (status, problem) = answer(plane.request(method.clone(), path)).await;
        assert_eq!(status, expected, "{method} {path}: {problem}");
    }
    let body = json!({"name": "x.test"}).to_string();
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""] {
        let request = plane.request(Method::POST, &format!("{property}/hostname"));
        let (status, _) = answer(request.header("content-type", kind).body(body.clone())).await;
        assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{kind}");
    }
    let (status, _) = answer(with_json(
        plane.request(Method::POST, &format!("{property}/hostname")),
        &json!({"name": "x".repeat(2_000_000)}),
    ))
    .await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(
        plane.get(&format!("{property}/hostname")).await.1["items"].as_array().unwrap().len(),
        1
    );
}
