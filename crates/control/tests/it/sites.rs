//! Whose the names below the system domain are.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Plane, answer, hostname_record, with_json};

/// A key for one property, and what it asks for.
struct Tenant<'a> {
    plane: &'a Plane,
    key: String,
    property: String,
}

impl<'a> Tenant<'a> {
    async fn of(plane: &'a Plane, name: &str) -> Self {
        let property = plane.property(name).await;
        let id = property.rsplit('/').next().unwrap().parse::<i64>().unwrap();
        let body = json!({"name": name, "scope": "write", "property": id});
        let (status, made) = plane.post("/api/Key", &body).await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        Self { plane, key: made["key"].as_str().unwrap().to_owned(), property }
    }

    async fn post(&self, path: &str, body: &Value) -> reqwest::Response {
        let request = self.plane.client.request(Method::POST, self.plane.url(path));
        with_json(request.header("x-api-key", &self.key), body).send().await.unwrap()
    }

    async fn add(&self, name: &str) -> (StatusCode, Value) {
        let path = format!("{}/hostname", self.property);
        crate::support::read(self.post(&path, &json!({"name": name})).await).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_for_one_property_adds_names_in_its_own_sites_alone() {
    let plane = Plane::start().await;
    let (tenant, other) = (Tenant::of(&plane, "shop").await, Tenant::of(&plane, "blog").await);

    assert_eq!(tenant.add("a.shop.edge.test").await.0, StatusCode::CREATED);
    for name in
        ["login.edge.test", "a.b.newtenant.edge.test", "*.login.edge.test", "b.blog.edge.test"]
    {
        let (status, problem) = tenant.add(name).await;
        let refused = (StatusCode::FORBIDDEN, &json!("site_not_owned"));
        assert_eq!((status, &problem["code"]), refused, "{name}");
    }
    let (_, found) = plane.get(&tenant.property).await;
    let zone = format!("/client/v4/zones/{}/custom_hostnames", found["zoneId"].as_str().unwrap());
    let refused = tenant.post(&zone, &json!({"hostname": "login.edge.test"})).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    let path = format!("{}/hostname/import", tenant.property);
    let line = json!({"name": "login.edge.test"}).to_string();
    let request = plane.client.request(Method::POST, plane.url(&path)).body(line);
    let request = request.header("content-type", "application/x-ndjson");
    let (_, answered) = answer(request.header("x-api-key", &tenant.key)).await;
    assert_eq!(answered["problem"]["code"], "site_not_owned", "{answered}");

    // Once a key for all properties has opened it, it is the property's, whatever is left in it.
    let login = plane.hostname(&tenant.property, "login.edge.test").await;
    assert_eq!(tenant.add("a.login.edge.test").await.0, StatusCode::CREATED);
    assert_eq!(other.add("b.login.edge.test").await.0, StatusCode::FORBIDDEN);
    let path = format!("{}/hostname", other.property);
    let (status, problem) = plane.post(&path, &json!({"name": "b.login.edge.test"})).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("hostname_taken")));
    assert_eq!(plane.delete(&login).await.0, StatusCode::NO_CONTENT);
    assert_eq!(tenant.add("login.edge.test").await.0, StatusCode::CREATED);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wildcard_of_all_sites_is_the_operators_and_stands_in_nobodys_way() {
    let ca = json!({"internal_ca": {"external_hostnames": "unverified"}});
    let plane = Plane::start_with(ca).await;
    let (tenant, other) = (Tenant::of(&plane, "shop").await, Tenant::of(&plane, "blog").await);
    let name = "*.edge.test";
    let refused = (StatusCode::UNPROCESSABLE_ENTITY, json!("hostname_reserved"));
    let (status, problem) = tenant.add(name).await;
    assert_eq!((status, problem["code"].clone()), refused);

    let wildcard = plane.hostname(&tenant.property, name).await;

    // Nobody else has it, or may claim it.
    let path = format!("{}/hostname", other.property);
    let (status, problem) = plane.post(&path, &json!({"name": name})).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("hostname_taken")));
    // What it covers is whose it was, and is added as ever, also by others.
    plane.property("late").await;
    plane.hostname(&other.property, "open.edge.test").await;
    assert_eq!(tenant.add("a.blog.edge.test").await.0, StatusCode::FORBIDDEN);
    assert_eq!(tenant.add("open.edge.test").await.0, StatusCode::FORBIDDEN);
    // System hostnames give way to it, and nothing else does.
    let pop = plane.pop("pop-1").await;
    let records = pop.records(pop.epoch().await, 0).await;
    let is_standby = |name: &str| hostname_record(&records, name).certificates[0].standby;
    for (name, standby) in
        [("late.edge.test", true), ("shop.edge.test", true), ("open.edge.test", false)]
    {
        assert_eq!(is_standby(name), standby, "{name}");
    }
    assert!(!is_standby(name));

    assert_eq!(plane.delete(&wildcard).await.0, StatusCode::NO_CONTENT);
    plane.hostname(&other.property, name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_outlives_its_property_until_a_key_for_all_properties_gives_it_away() {
    let plane = Plane::start().await;
    let tenant = Tenant::of(&plane, "blog").await;
    let gone = plane.property("shop").await;
    assert_eq!(plane.delete(&gone).await.0, StatusCode::NO_CONTENT);

    assert_eq!(tenant.add("shop.edge.test").await.1["code"], "site_not_owned");
    plane.hostname(&tenant.property, "shop.edge.test").await;

    let body = json!({"name": "shop", "origins": [{"url": "http://127.0.0.1:9001"}]});
    let (status, problem) = plane.post("/api/Property", &body).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("property_name_taken")));
}
