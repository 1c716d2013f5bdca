//! What holds for every caller of the API: repeated creations, limits of requests, lists, the audit
//! log, many hostnames at once.

use landfall_control::admin;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{EVERYTHING, Plane, answer, read, with_json};

async fn create(plane: &Plane, path: &str, key: &str, body: &Value) -> (u16, bool, Value) {
    let request = plane.request(Method::POST, path).header("idempotency-key", key);
    let response = with_json(request, body).send().await.unwrap();
    let replayed = response.headers().get("idempotency-replayed").is_some();
    let (status, body) = read(response).await;
    (status.as_u16(), replayed, body)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_is_sent_again_makes_nothing_anew() {
    let plane = Plane::start().await;
    let shop = json!({"name": "shop", "origins": [{"url": "http://127.0.0.1:9001"}]});
    let (status, replayed, first) = create(&plane, "/api/Property", "k", &shop).await;
    assert_eq!((status, replayed), (201, false));
    let path = format!("/api/Property/{}", first["id"]);
    plane.patch(&path, &json!({"balance": "leastConnections"})).await;
    let (status, replayed, again) = create(&plane, "/api/Property", "k", &shop).await;
    assert_eq!((status, replayed), (201, true));
    assert_eq!((&again["id"], &again["balance"]), (&first["id"], &json!("leastConnections")));

    // Another body, another path, another caller.
    let other = json!({"name": "other", "origins": [{"url": "http://127.0.0.1:9001"}]});
    let (status, _, problem) = create(&plane, "/api/Property", "k", &other).await;
    assert_eq!((status, &problem["code"]), (422, &json!("idempotency_key_reused")));
    assert_eq!(problem["header"], "Idempotency-Key");
    let hostnames = format!("{path}/hostname");
    let name = json!({"name": "www.customer.test"});
    assert_eq!(create(&plane, &hostnames, "k", &name).await.0, 422);
    let key = admin::add_api_key(&plane.config, "second", EVERYTHING).await.unwrap();
    let request = plane.client.post(plane.url("/api/Property")).bearer_auth(key.as_str());
    let (status, problem) = answer(with_json(request.header("idempotency-key", "k"), &shop)).await;
    assert_eq!((status.as_u16(), &problem["code"]), (409, &json!("property_name_taken")));

    let (_, _, made) = create(&plane, &hostnames, "h", &name).await;
    assert!(create(&plane, &hostnames, "h", &name).await.1);
    plane.delete(&format!("{hostnames}/{}", made["id"])).await;
    let (status, _, problem) = create(&plane, &hostnames, "h", &name).await;
    assert_eq!((status, &problem["code"]), (409, &json!("idempotency_object_gone")));
    let long = "x".repeat(256);
    for bad in ["", "a b", long.as_str()] {
        let (status, _, problem) = create(&plane, &hostnames, bad, &name).await;
        assert_eq!((status, &problem["code"]), (400, &json!("invalid_idempotency_key")), "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_creations_at_the_same_time_one_makes_and_the_others_repeat() {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    let path = format!("{property}/hostname");
    let body = json!({"name": "www.customer.test"});
    let make = || create(&plane, &path, "once", &body);
    let (a, b, c, d) = tokio::join!(make(), make(), make(), make());
    let all = [a, b, c, d];
    assert!(all.iter().all(|(status, ..)| *status == 201), "{all:?}");
    assert_eq!(all.iter().filter(|(_, replayed, _)| !replayed).count(), 1);
    assert!(all.iter().all(|(_, _, body)| body["id"] == all[0].2["id"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_asks_too_much_is_told_when_to_come_back_and_others_are_not() {
    let plane = Plane::start_with(json!({
        "api": {"listen": "127.0.0.1:0", "rate_limit": 1, "rate_burst": 2, "failed_auth_limit": 2}
    }))
    .await;
    let get = async |key: &str| {
        plane.client.get(plane.url("/api/Property")).bearer_auth(key).send().await.unwrap()
    };
    let first = get(plane.key()).await;
    assert_eq!(first.headers()["ratelimit-policy"], "\"key\";q=2;w=120");
    assert_eq!(first.headers()["ratelimit"], "\"key\";r=1;t=60");
    assert_eq!(get(plane.key()).await.status(), 200);
    let refused = get(plane.key()).await;
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    let (status, problem) = read(refused).await;
    assert_eq!((status.as_u16(), &problem["code"]), (429, &json!("rate_limited")));

    // Whoever keeps failing is told so too, and stands in nobody's way.
    assert_eq!(get("lf_9_x").await.status(), 401);
    assert_eq!(get("lf_9_x").await.status(), 401);
    assert_eq!(get("lf_9_x").await.status(), 429);
    let other = admin::add_api_key(&plane.config, "other", EVERYTHING).await.unwrap();
    assert_eq!(get(&other).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn hostnames_are_found_by_status_and_by_how_their_names_begin() {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    for name in ["www.a.test", "www.b.test", "api.a.test", "w.shop.edge.test"] {
        plane.hostname(&property, name).await;
    }
    let names = async |query: &str| {
        let (status, page) = plane.get(&format!("{property}/hostname?{query}")).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        let items = page["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("prefix=www.").await, ["www.a.test", "www.b.test"]);
    assert_eq!(names("prefix=W").await, ["www.a.test", "www.b.test", "w.shop.edge.test"]);
    assert_eq!(names("status=Active").await, ["shop.edge.test", "w.shop.edge.test"]);
    assert_eq!(names("status=PendingValidation&prefix=www.a").await, ["www.a.test"]);
    assert!(names("status=Error").await.is_empty());
    let (_, page) = plane.get(&format!("{property}/hostname?prefix=www.&limit=1")).await;
    let cursor = page["nextCursor"].as_str().unwrap();
    assert_eq!(names(&format!("prefix=www.&limit=1&cursor={cursor}")).await, ["www.b.test"]);
    for (query, code) in [
        ("status=active", "invalid_status"),
        ("prefix=", "invalid_prefix"),
        ("prefix=%25'%20OR%201=1", "invalid_prefix"),
        ("name=x", "invalid_query"),
        ("limit=1&limit=2", "invalid_query"),
    ] {
        let (status, problem) = plane.get(&format!("{property}/hostname?{query}")).await;
        assert_eq!((status.as_u16(), &problem["code"]), (400, &json!(code)), "{query}");
        assert!(problem["parameter"].is_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_has_every_change_and_no_secret() {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    let hostname = plane.hostname(&property, "www.customer.test").await;
    plane.patch(&hostname, &json!({"tls": {"minVersion": "1.3"}})).await;
    plane.delete(&hostname).await;
    let (_, made) =
        plane.post("/api/Key", &json!({"name": "ci", "scope": "admin", "property": 1})).await;
    let key = made["key"].as_str().unwrap();
    admin::new_epoch(&plane.config).await.unwrap();
    admin::allow_shrink(&plane.config).await.unwrap();

    let (_, log) = plane.get("/api/Audit?limit=200").await;
    let items = log["items"].as_array().unwrap();
    let actions: Vec<&str> = items.iter().map(|item| item["action"].as_str().unwrap()).collect();
    let expected = [
        "feed.allow_shrink",
        "feed.new_epoch",
        "key.create",
        "hostname.delete",
        "hostname.change",
        "hostname.create",
        "property.create",
        "hostname.create",
        "site.give",
        "key.create",
    ];
    assert_eq!(actions, expected);
    assert_eq!((&items[0]["actor"], &items[2]["actor"]), (&json!("operator"), &json!("key/1")));
    assert!(!log.to_string().contains(key) && !log.to_string().contains(plane.key()));

    let (_, first) = plane.get("/api/Audit?limit=1&property=1").await;
    assert_eq!(first["items"][0]["action"], "key.create");
    let cursor = first["nextCursor"].as_str().unwrap();
    let (_, second) = plane.get(&format!("/api/Audit?limit=1&property=1&cursor={cursor}")).await;
    assert_eq!(second["items"][0]["action"], "hostname.delete");
    // A key for one property sees that one's entries alone.
    let own = plane.client.get(plane.url("/api/Audit")).bearer_auth(key);
    let (_, own) = answer(own).await;
    assert!(own["items"].as_array().unwrap().iter().all(|item| item["property"] == 1), "{own}");
    let foreign = plane.client.get(plane.url("/api/Audit?property=2")).bearer_auth(key);
    assert_eq!(answer(foreign).await.0, StatusCode::NOT_FOUND);
}

async fn import(plane: &Plane, path: &str, body: String) -> Vec<Value> {
    let request = plane.request(Method::POST, path).header("content-type", "application/x-ndjson");
    let response = request.body(body).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let text = response.text().await.unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn many_hostnames_are_imported_line_by_line() {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    let other = plane.property("other").await;
    plane.hostname(&other, "taken.customer.test").await;
    let path = format!("{property}/hostname/import");
    let body = [
        r#"{"name": "www.customer.test", "tls": {"minVersion": "1.3"}}"#,
        "",
        "{",
        r#"{"name": "taken.customer.test"}"#,
        r#"{"name": "co.uk"}"#,
        r#"{"name": "x.test", "nmae": 1}"#,
        r#"{"name": "www.customer.test"}"#,
        r#"{"name": "new.shop.edge.test"}"#,
    ]
    .join("\r\n");
    let told = |lines: &[Value]| {
        let line = |line: &Value| {
            (line["line"].as_u64().unwrap(), line["status"].as_str().unwrap().to_owned())
        };
        lines.iter().map(line).collect::<Vec<_>>()
    };
    let own = |table: &[(u64, &str)]| {
        table.iter().map(|(line, status)| (*line, (*status).to_owned())).collect::<Vec<_>>()
    };
    let expected = own(&[
        (1, "created"),
        (3, "invalid"),
        (4, "claimed"),
        (5, "invalid"),
        (6, "invalid"),
        (7, "exists"),
        (8, "created"),
    ]);

    let rehearsed = import(&plane, &format!("{path}?dryRun=true"), body.clone()).await;
    assert_eq!(told(&rehearsed), expected);
    let count = async || {
        let (_, page) = plane.get(&format!("{property}/hostname")).await;
        page["items"].as_array().unwrap().len()
    };
    assert_eq!(count().await, 1);

    let imported = import(&plane, &path, body.clone()).await;
    assert_eq!(told(&imported), expected);
    assert_eq!(imported[1]["problem"]["code"], "invalid_json");
    assert_eq!(imported[3]["problem"]["code"], "public_suffix");
    assert_eq!(imported[4]["problem"]["field"], "/nmae");
    assert_eq!(count().await, 4);
    let (_, shown) = plane.get(&format!("{property}/hostname/{}", imported[0]["id"])).await;
    assert_eq!(shown["tls"]["minVersion"], "1.3");

    let again = import(&plane, &path, body).await;
    assert_eq!(again.iter().filter(|line| line["status"] == "exists").count(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_has_bounds_and_takes_others_between() {
    let plane = Plane::start_with(json!({
        "api": {"listen": "127.0.0.1:0", "import_max_body": "64KiB", "import_max_lines": 300}
    }))
    .await;
    let property = plane.property("shop").await;
    let path = format!("{property}/hostname/import");
    let send = async |kind: &str, body: String| {
        let request = plane.request(Method::POST, &path).header("content-type", kind).body(body);
        let (status, problem) = answer(request).await;
        (status.as_u16(), problem["code"].as_str().unwrap().to_owned())
    };
    let lines = |count: usize| -> String {
        (0..count).map(|index| format!("{{\"name\": \"h{index}.customer.test\"}}\n")).collect()
    };
    let ndjson = "application/x-ndjson";
    assert_eq!(send("application/json", lines(1)).await, (415, "unsupported_media_type".into()));
    assert_eq!(send(ndjson, "x".repeat(70_000)).await, (413, "body_too_large".into()));
    assert_eq!(send(ndjson, lines(301)).await, (413, "too_many_lines".into()));
    let (_, page) = plane.get(&format!("{property}/hostname?prefix=h")).await;
    assert!(page["items"].as_array().unwrap().is_empty());

    let (hostnames, body) = (format!("{property}/hostname"), json!({"name": "other.test"}));
    let other = plane.post(&hostnames, &body);
    let (imported, other) = tokio::join!(import(&plane, &path, lines(300)), other);
    assert_eq!(imported.len(), 300);
    assert!(imported.iter().all(|line| line["status"] == "created"));
    assert_eq!(other.0, StatusCode::CREATED);
}
