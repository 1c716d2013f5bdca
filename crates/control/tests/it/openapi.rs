//! The API's document and its viewer, as they are served.

use reqwest::{StatusCode, redirect::Policy};
use serde_json::Value;

use crate::support::Plane;

#[tokio::test(flavor = "multi_thread")]
async fn the_document_is_served_without_a_key() {
    let plane = Plane::start().await;
    let response = plane.client.get(plane.url("/api/openapi.json")).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/json");
    let document: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document["paths"]["/api/Property"]["post"].is_object());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_viewer_needs_nothing_from_elsewhere_and_may_load_nothing_else() {
    let plane = Plane::start().await;
    let page = plane.client.get(plane.url("/api/docs")).send().await.unwrap();
    assert_eq!(page.url().path(), "/api/docs/");
    assert_eq!(page.headers()["content-type"], "text/html");
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
    let html = page.text().await.unwrap();
    assert!(!html.contains("<style") && !html.contains("://"), "{html}");

    let attributes = html.split(['"', '\'']);
    let files: Vec<&str> =
        attributes.filter(|text| text.ends_with(".js") || text.ends_with(".css")).collect();
    assert!(files.len() >= 4, "{files:?}");
    for file in files {
        let url = plane.url(&format!("/api/docs/{}", file.trim_start_matches("./")));
        let response = plane.client.get(&url).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{url}");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff", "{url}");
    }
    let started = plane.client.get(plane.url("/api/docs/swagger-initializer.js"));
    let started = started.send().await.unwrap().text().await.unwrap();
    assert!(started.contains("/api/openapi.json"), "{started}");
    assert!(!started.contains("://"), "{started}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_viewer_has_no_other_files() {
    let plane = Plane::start().await;
    let client = reqwest::Client::builder().no_proxy().redirect(Policy::none()).build().unwrap();
    for path in ["/api/docs/nothing.js", "/api/docs/..%2f..%2fCargo.toml", "/api/docs/a/b"] {
        let response = client.get(plane.url(path)).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
    }
}
