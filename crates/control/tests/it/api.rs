//! What holds for the whole API: credentials, forms of requests, errors, health.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Plane, answer, read, with_json};

/// What the API's document does not have.
const FEED: &[(&str, &str)] = &[
    ("GET", "/feed/v1/changes?epoch=1&after=0"),
    ("GET", "/feed/v1/snapshot"),
    ("GET", "/feed/v1/snapshot/1-1-000000-00.seg"),
    ("POST", "/feed/v1/ack"),
];

/// Every operation of the document that asks for a key, on the first of everything.
async fn documented(plane: &Plane) -> Vec<(String, String)> {
    let (_, document) = plane.get("/api/openapi.json").await;
    let paths = document["paths"].as_object().unwrap().iter();
    let operations = paths.flat_map(|(path, item)| {
        let guarded = item.as_object().unwrap().iter();
        let guarded = guarded.filter(|(_, operation)| operation["security"].is_array());
        let segments = path.split('/').map(|part| if part.starts_with('{') { "1" } else { part });
        let path = segments.collect::<Vec<_>>().join("/");
        guarded.map(move |(method, _)| (method.to_uppercase(), path.clone()))
    });
    operations.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_endpoint_refuses_missing_and_wrong_credentials() {
    let plane = Plane::start().await;
    plane.property("shop").await;
    let pop = plane.pop("pop-1").await;
    let wrong_secret = format!("{}x", plane.key());
    let tampered = plane.key().replacen("lf_1_", "lf_2_", 1);
    let feed = FEED.iter().map(|(method, path)| ((*method).to_owned(), (*path).to_owned()));
    for (method, path) in documented(&plane).await.into_iter().chain(feed) {
        let method: Method = method.parse().unwrap();
        let request = || plane.client.request(method.clone(), plane.url(&path));
        let other_kind = match path.starts_with("/api/") {
            true => pop.enrolment.token.as_str(),
            false => plane.key(),
        };
        let attempts = [
            request(),
            request().header("x-api-key", "x"),
            request().header("authorization", "Basic eDp5"),
            request().bearer_auth(&wrong_secret),
            request().header("x-api-key", &tampered),
            request().bearer_auth(other_kind),
        ];
        for attempt in attempts {
            let response = attempt.send().await.unwrap();
            assert_eq!(response.headers()["www-authenticate"], "Bearer", "{method} {path}");
            let (status, problem) = read(response).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{method} {path}");
            assert_eq!(problem["code"], "unauthorized");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_works_in_both_headers_until_it_is_revoked() {
    let plane = Plane::start().await;
    let bearer = || plane.client.get(plane.url("/api/Property")).bearer_auth(plane.key());
    assert_eq!(plane.get("/api/Property").await.0, StatusCode::OK);
    assert_eq!(answer(bearer()).await.0, StatusCode::OK);

    landfall_control::admin::revoke_api_key(&plane.config, "test", None).await.unwrap();

    assert_eq!(plane.get("/api/Property").await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(answer(bearer()).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_a_wrong_form_are_told_apart() {
    let plane = Plane::start_with(json!({
        "api": {"listen": "127.0.0.1:0", "max_body": "64KiB"}
    }))
    .await;
    let property = plane.property("shop").await;
    let good = json!({"name": "a", "origins": [{"url": "http://127.0.0.1:1"}]});
    let post = |body: String| {
        plane
            .request(Method::POST, "/api/Property")
            .header("content-type", "application/json")
            .body(body)
    };
    let untyped = plane.request(Method::POST, "/api/Property").body(good.to_string());
    let merged = plane
        .request(Method::PATCH, property.as_str())
        .header("content-type", "application/merge-patch+json")
        .body(r#"{"balance": "leastConnections"}"#);
    assert_eq!(merged.send().await.unwrap().status(), 200);
    let mut unknown = good.clone();
    unknown["nmae"] = json!("x");
    let large = json!({"name": "x".repeat(70_000)}).to_string();
    let table = [
        (untyped, 415, "unsupported_media_type"),
        (post("{".to_owned()), 400, "invalid_json"),
        (post(unknown.to_string()), 422, "invalid_field"),
        (post(json!({"name": "a"}).to_string()), 422, "invalid_field"),
        (post(large), 413, "body_too_large"),
        (plane.request(Method::PUT, "/api/Property"), 405, "method_not_allowed"),
        (plane.request(Method::GET, "/api/Nothing"), 404, "not_found"),
        (plane.request(Method::GET, "/api/Property/999"), 404, "not_found"),
        (plane.request(Method::GET, "/api/Property/x"), 404, "not_found"),
        (plane.request(Method::GET, "/api/Property?limit=0"), 400, "invalid_limit"),
        (plane.request(Method::GET, "/api/Property?limit=x"), 400, "invalid_limit"),
        (plane.request(Method::GET, "/api/Property?cursor=x"), 400, "invalid_cursor"),
        (plane.request(Method::GET, &format!("{property}/hostname/999")), 404, "not_found"),
    ];
    for (request, status, code) in table {
        let (got, problem) = answer(request).await;
        assert_eq!((got.as_u16(), problem["code"].as_str().unwrap()), (status, code), "{problem}");
    }
    let (_, problem) = answer(post(unknown.to_string())).await;
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("`nmae`") && detail.contains("`name`"), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_property_is_checked_before_it_is_made() {
    let plane = Plane::start().await;
    let one = json!([{"url": "http://127.0.0.1:1"}]);
    let table = [
        (json!({"name": "a.b", "origins": one}), 422, "invalid_name"),
        (json!({"name": "-", "origins": one}), 422, "invalid_name"),
        (json!({"name": "a", "origins": []}), 422, "invalid_origins"),
        (json!({"name": "a", "origins": [one[0], one[0]]}), 422, "invalid_origins"),
        (json!({"name": "a", "origins": [{"url": "ftp://x"}]}), 422, "invalid_field"),
        (json!({"name": "a", "origins": [{"url": "http://10.0.0.1"}]}), 422, "origin_not_public"),
        (json!({"origins": one}), 422, "invalid_field"),
    ];
    for (body, status, code) in table {
        let (got, problem) = plane.post("/api/Property", &body).await;
        assert_eq!((got.as_u16(), problem["code"].as_str().unwrap()), (status, code), "{problem}");
    }
    plane.property("shop").await;
    let (status, problem) =
        plane.post("/api/Property", &json!({"name": "SHOP", "origins": one})).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(problem["code"], "property_name_taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_go_on_at_their_cursor() {
    let plane = Plane::start().await;
    for name in ["a", "b", "c"] {
        plane.property(name).await;
    }
    let (_, first) = plane.get("/api/Property?limit=2").await;
    let cursor = first["nextCursor"].as_str().unwrap();
    let (_, second) = plane.get(&format!("/api/Property?limit=2&cursor={cursor}")).await;
    let names = |page: &Value| {
        let items = page["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&first), ["a", "b"]);
    assert_eq!(names(&second), ["c"]);
    assert_eq!(second["nextCursor"], Value::Null);
    let zone = first["items"][0]["zoneId"].as_str().unwrap();
    assert!(zone.len() == 32 && zone.bytes().all(|b| b.is_ascii_hexdigit()), "{zone}");
    assert_eq!(first["items"][0]["systemHostname"], "a.edge.test");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics_need_no_credentials_and_name_no_host() {
    let plane = Plane::start().await;
    let pop = plane.pop("pop-1").await;
    let property = plane.property("shop").await;
    plane.hostname(&property, "www.customer.test").await;
    let get = async |path: &str| {
        let response = plane.client.get(plane.url(path)).send().await.unwrap();
        (response.status(), response.text().await.unwrap())
    };
    assert_eq!(get("/livez").await, (StatusCode::OK, "ok\n".to_owned()));
    assert_eq!(get("/readyz").await, (StatusCode::OK, "ok\n".to_owned()));
    let (status, text) = get("/metrics").await;
    assert_eq!(status, StatusCode::OK);
    assert!(
        text.contains("landfall_control_requests_total{class=\"api\",status=\"201\"} 2"),
        "{text}"
    );
    let head = pop.head(pop.epoch().await).await;
    assert!(text.contains(&format!("landfall_feed_revision {head}\n")), "{text}");
    assert!(!text.contains("customer.test"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_not_understood_is_not_quoted() {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    let path = format!("{property}/hostname/1/certificate");
    for body in [json!("SECRETSECRET"), json!({"certificate": "", "SECRETSECRET": ""})] {
        let request = with_json(plane.request(Method::POST, &path), &body);
        let (status, problem) = answer(request).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(!problem.to_string().contains("SECRET"), "{problem}");
        assert!(problem.to_string().contains("privateKey"), "{problem}");
    }
}
