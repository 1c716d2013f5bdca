//! The Cloudflare-compatible API as its clients speak it. The official ones are in the end-to-end
//! tests.

use landfall_model::{CipherSuite, TlsVersion};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SignatureAlgorithm};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    support::{
        Plane, eventually, hostname_record, property_record, responder::Responder, with_json,
    },
    upload::{ca, leaf, signed},
};

const NAME: &str = "app.customer.test";

/// A property as the API sees it.
struct Zone {
    plane: Plane,
    /// Its path in the native API.
    property: String,
    path: String,
}

impl Zone {
    async fn start() -> Self {
        let plane = Plane::start().await;
        let property = plane.property("shop").await;
        let path = zone_path(&plane, &property).await;
        Self { plane, property, path }
    }

    async fn send(&self, method: Method, path: &str, body: &Value) -> (StatusCode, Value) {
        let request = self.plane.request(method, &format!("{}{path}", self.path));
        answer(with_json(request, body)).await
    }

    async fn must(&self, method: Method, path: &str, body: Value) -> Value {
        let (status, answer) = self.send(method, path, &body).await;
        assert!(status.is_success(), "{status} {answer}");
        answer["result"].clone()
    }

    async fn create(&self, body: Value) -> Value {
        self.must(Method::POST, "", body).await
    }

    async fn refused(&self, method: Method, path: &str, body: Value) -> (u16, u64) {
        let (status, answer) = self.send(method, path, &body).await;
        assert!(!status.is_success(), "{answer}");
        (status.as_u16(), answer["errors"][0]["code"].as_u64().unwrap())
    }
}

async fn zone_path(plane: &Plane, property: &str) -> String {
    let (_, found) = plane.get(property).await;
    format!("/client/v4/zones/{}/custom_hostnames", found["zoneId"].as_str().unwrap())
}

/// The status and body, whose envelope must be whole.
async fn answer(request: reqwest::RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.unwrap();
    let status = response.status();
    let text = response.text().await.unwrap();
    let body: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status} {text}"));
    assert_eq!(body["success"], status.is_success(), "{body}");
    assert_eq!(body["errors"].as_array().unwrap().is_empty(), status.is_success(), "{body}");
    assert_eq!(body["messages"], json!([]));
    assert!(body.get("result").is_some());
    (status, body)
}

/// A certificate for the hostname and its key, as an upload has them.
fn pair(algorithm: &'static SignatureAlgorithm) -> Value {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let body = signed(&leaf(NAME), &key, &ca("Customer CA"));
    json!({"custom_certificate": body["certificate"], "custom_key": body["privateKey"]})
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_is_in_force_at_the_edges_and_is_shown() {
    let zone = Zone::start().await;
    let body = json!({
        "hostname": "App.Customer.test",
        "custom_metadata": {"plan": "gold"},
        "custom_origin_server": "origin.customer.test",
        "custom_origin_sni": ":request_host_header:",
        "ssl": {"method": "txt", "type": "dv", "bundle_method": "force", "settings": {
            "ciphers": ["ECDHE-RSA-AES128-GCM-SHA256"], "http2": "off", "early_hints": "off",
            "min_tls_version": "1.2", "tls_1_3": "off"}},
        "undocumented": {"fields": "are ignored"},
    });

    let created = zone.create(body).await;

    let pop = zone.plane.pop("pop-1").await;
    let records = pop.records(pop.epoch().await, 0).await;
    let record = hostname_record(&records, NAME);
    assert_eq!(record.tls.min_version, TlsVersion::Tls12);
    assert_eq!(record.tls.ciphers, [CipherSuite::EcdheRsaAes128]);
    assert!(!record.tls.http2 && !record.tls.tls13);
    let origin = record.route.custom_origin.unwrap();
    assert_eq!(origin.server.to_string(), "https://origin.customer.test:443");
    assert_eq!(origin.sni.unwrap().to_string(), ":request_host_header:");
    let id = created["id"].as_str().unwrap();
    let read = zone.must(Method::GET, &format!("/{id}"), Value::Null).await;
    for shown in [&created, &read] {
        assert_eq!(shown["hostname"], NAME);
        assert_eq!(shown["custom_metadata"], json!({"plan": "gold"}));
        assert_eq!(shown["custom_origin_server"], "origin.customer.test");
        assert_eq!(shown["custom_origin_sni"], ":request_host_header:");
        assert_eq!(shown["status"], "pending");
        assert_eq!(shown["ssl"]["method"], "txt");
        assert_eq!(shown["ssl"]["bundle_method"], "force");
        assert_eq!(shown["ssl"]["settings"]["ciphers"], json!(["ECDHE-RSA-AES128-GCM-SHA256"]));
        assert_eq!(shown["ssl"]["validation_records"], json!([]));
        assert!(shown["created_at"].as_str().unwrap().ends_with(".000000Z"), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_sets_what_it_names_and_a_native_one_keeps_the_rest() {
    let zone = Zone::start().await;
    let body = json!({
        "hostname": NAME, "custom_metadata": {"a": "1", "b": "2"},
        "custom_origin_server": "origin.customer.test", "custom_origin_sni": "sni.customer.test",
        "ssl": {"bundle_method": "optimal", "settings": {"http2": "off"}},
    });
    let created = zone.create(body).await;
    let path = format!("/{}", created["id"].as_str().unwrap());

    let body = json!({"custom_metadata": {"c": "3"}, "ssl": {"settings": {"tls_1_3": "off"}}});
    let (status, changed) = zone.send(Method::PATCH, &path, &body).await;

    assert_eq!(status, StatusCode::ACCEPTED);
    let changed = &changed["result"];
    assert_eq!(changed["custom_metadata"], json!({"c": "3"}));
    assert_eq!(changed["custom_origin_sni"], "sni.customer.test");
    assert_eq!(changed["ssl"]["settings"]["http2"], "off");
    assert_eq!(changed["ssl"]["settings"]["tls_1_3"], "off");
    let hostnames = format!("{}/hostname", zone.property);
    let (_, page) = zone.plane.get(&hostnames).await;
    let native = format!("{hostnames}/{}", page["items"][1]["id"]);
    zone.plane.patch(&native, &json!({"metadata": {"d": "4"}})).await;
    let read = zone.must(Method::GET, &path, Value::Null).await;
    assert_eq!(read["ssl"]["bundle_method"], "optimal");
    assert_eq!(read["custom_metadata"], json!({"c": "3", "d": "4"}));
    let reset = json!({"custom_origin_server": null, "custom_metadata": null, "ssl": null});
    let reset = zone.must(Method::PATCH, &path, reset).await;
    for field in ["custom_metadata", "custom_origin_server", "custom_origin_sni"] {
        assert!(reset.get(field).is_none(), "{reset}");
    }
    let alone = json!({"custom_origin_sni": "sni.customer.test"});
    assert_eq!(zone.refused(Method::PATCH, &path, alone).await, (400, 1415));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_has_the_apis_own_form_and_number() {
    let zone = Zone::start().await;
    zone.create(json!({ "hostname": NAME })).await;
    let other = zone.plane.property("blog").await;
    let other = zone_path(&zone.plane, &other).await;
    let own = zone.must(Method::GET, "", Value::Null).await[0]["id"].clone();
    let own = own.as_str().unwrap();
    let table = [
        ("GET", "/client/v4/nothing".to_owned(), 404, 7000),
        ("POST", format!("{}/{own}", zone.path), 405, 10_405),
        ("GET", format!("{other}/{own}"), 404, 1436),
        ("DELETE", format!("{other}/{own}"), 404, 1436),
        ("GET", format!("{}/{}", zone.path, "a".repeat(10_000)), 404, 1436),
        ("GET", "/client/v4/zones/x/custom_hostnames".to_owned(), 404, 7003),
        ("GET", format!("{}?per_page=0", zone.path), 400, 1434),
        ("GET", format!("{}?page=x", zone.path), 400, 1434),
        ("GET", format!("{}?order=size", zone.path), 400, 1434),
        ("GET", format!("{}?id={own}&hostname={NAME}", zone.path), 400, 1438),
        ("GET", format!("{}/fallback_origin", zone.path), 404, 1551),
    ];
    for (method, path, status, code) in table {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let (got, body) = answer(zone.plane.request(method, &path)).await;
        assert_eq!((got.as_u16(), &body["errors"][0]["code"]), (status, &json!(code)), "{path}");
    }
    let keyless = zone.plane.client.get(zone.plane.url(&zone.path));
    let (status, body) = answer(keyless).await;
    assert_eq!((status.as_u16(), &body["errors"][0]["code"]), (401, &json!(10_000)));
    let keyed = zone.plane.client.get(zone.plane.url(&zone.path));
    let keyed = keyed.header("x-auth-email", "a@customer.test");
    assert_eq!(answer(keyed.header("x-auth-key", zone.plane.key())).await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_can_not_be_used_are_refused_and_nothing_is_stored() {
    let zone = Zone::start().await;
    let key = pair(&PKCS_ECDSA_P256_SHA256)["custom_key"].clone();
    let table = [
        (json!([]), 400, 1400),
        (json!({}), 400, 1407),
        (json!({"hostname": 7}), 400, 1400),
        (json!({"hostname": "x".repeat(10_000)}), 400, 1407),
        (json!({"hostname": "co.uk"}), 400, 1410),
        (json!({"hostname": "edge.test"}), 400, 1409),
        (json!({"hostname": NAME, "custom_metadata": {"a": {}}}), 400, 1401),
        (json!({"hostname": NAME, "custom_metadata": {"a": key}}), 400, 1434),
        (json!({"hostname": NAME, "custom_metadata": {key.as_str().unwrap(): "a"}}), 400, 1434),
        (json!({"hostname": NAME, "custom_origin_server": key}), 400, 1434),
        (json!({"hostname": NAME, "ssl": {"settings": {"ciphers": [key]}}}), 400, 1434),
        (json!({"hostname": NAME, "custom_origin_server": "http://10.0.0.1"}), 400, 1415),
        (json!({"hostname": NAME, "custom_origin_server": "a.test/x"}), 400, 1415),
        (json!({"hostname": NAME, "ssl": "on"}), 400, 1400),
        (json!({"hostname": NAME, "ssl": {"custom_key": key}}), 400, 1427),
        (json!({"hostname": NAME, "ssl": {"custom_cert_bundle": []}}), 400, 1434),
        (json!({"hostname": NAME, "ssl": {"settings": {"http2": [key]}}}), 400, 1434),
        (json!({"hostname": NAME, "ssl": {"custom_csr_id": "7"}}), 400, 1430),
        (
            json!({"hostname": NAME, "ssl": {"settings": {
            "min_tls_version": "1.3", "ciphers": ["ECDHE-RSA-AES128-GCM-SHA256"]}}}),
            400,
            1443,
        ),
        (
            json!({"hostname": NAME, "ssl": {"settings": {
            "min_tls_version": "1.3", "tls_1_3": "off"}}}),
            400,
            1434,
        ),
        (json!({"hostname": NAME, "x": "x".repeat(3 << 20)}), 413, 10_413),
    ];
    for (body, status, code) in table {
        let (got, answer) = zone.send(Method::POST, "", &body).await;
        let short: String = body.to_string().chars().take(120).collect();
        assert_eq!((got.as_u16(), &answer["errors"][0]["code"]), (status, &json!(code)), "{short}");
        assert!(!answer.to_string().contains("PRIVATE KEY"), "{answer}");
    }
    let hidden = json!({"hostname": NAME, "custom_metadata": {"a": key}}).to_string();
    let hidden = hidden.replace("PRIVATE KEY", "PRIVATE\\u0020KEY");
    let request = zone.plane.request(Method::POST, &zone.path);
    let request = request.header("content-type", "application/json").body(hidden);
    assert_eq!(answer(request).await.1["errors"][0]["code"], 1434);
    let cut = zone.plane.request(Method::POST, &zone.path);
    let cut = cut.header("content-type", "application/json").body("{\"hostname\":");
    let (status, body) = answer(cut).await;
    assert_eq!((status.as_u16(), &body["errors"][0]["code"]), (400, &json!(1400)));
    assert_eq!(zone.must(Method::GET, "", Value::Null).await, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_come_with_the_hostname_or_not_at_all() {
    let zone = Zone::start().await;
    let (ecdsa, rsa) = (pair(&PKCS_ECDSA_P256_SHA256), pair(&PKCS_RSA_SHA256));
    let mixed = json!({"custom_certificate": rsa["custom_certificate"],
                       "custom_key": ecdsa["custom_key"]});
    for (ssl, code) in [
        (json!({"custom_cert_bundle": [rsa, rsa]}), 1441),
        (json!({"custom_cert_bundle": [ecdsa, mixed]}), 1429),
        (json!({"custom_cert_bundle": [rsa, ecdsa, rsa]}), 1434),
    ] {
        let body = json!({"hostname": NAME, "ssl": ssl});
        assert_eq!(zone.refused(Method::POST, "", body).await, (400, code));
    }
    assert_eq!(zone.must(Method::GET, "", Value::Null).await, json!([]));

    let body = json!({"hostname": NAME, "ssl": {"custom_cert_bundle": [rsa, ecdsa]}});
    let created = zone.create(body).await;

    let ssl = &created["ssl"];
    assert_eq!(ssl["custom_certificate"], ecdsa["custom_certificate"]);
    assert_eq!((&ssl["hosts"], &ssl["issuer"]), (&json!([NAME]), &json!("Customer CA")));
    assert_eq!(ssl["signature"], "ECDSAWithSHA256");
    assert!(ssl.get("custom_key").is_none());
    let pop = zone.plane.pop("pop-1").await;
    let records = pop.records(pop.epoch().await, 0).await;
    assert_eq!(hostname_record(&records, NAME).certificates.len(), 2);
    let path = format!("/{}", created["id"].as_str().unwrap());
    let body = json!({"custom_metadata": {"a": "b"}, "ssl": mixed});
    assert_eq!(zone.refused(Method::PATCH, &path, body).await, (400, 1429));
    let read = zone.must(Method::GET, &path, Value::Null).await;
    assert!(read.get("custom_metadata").is_none(), "{read}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uploaded_certificate_makes_way_for_a_managed_one_once_a_method_is_named() {
    let settings = json!({"external_hostnames": "unverified"});
    let plane = Plane::start_with(json!({ "internal_ca": settings })).await;
    let property = plane.property("shop").await;
    let path = zone_path(&plane, &property).await;
    let zone = Zone { plane, property, path };
    let uploaded = pair(&PKCS_RSA_SHA256);
    let created = zone.create(json!({"hostname": NAME, "ssl": uploaded})).await;
    let path = format!("/{}", created["id"].as_str().unwrap());
    let kept = json!({"ssl": {"settings": {"http2": "off"}}});
    let kept = zone.must(Method::PATCH, &path, kept).await;
    assert_eq!(kept["ssl"]["custom_certificate"], uploaded["custom_certificate"]);

    let managed = json!({"ssl": {"method": "http", "type": "dv"}});
    let managed = zone.must(Method::PATCH, &path, managed).await;

    assert!(managed["ssl"].get("custom_certificate").is_none(), "{managed}");
    assert_eq!(managed["ssl"]["hosts"], json!([NAME]));
    let pop = zone.plane.pop("pop-1").await;
    let records = pop.records(pop.epoch().await, 0).await;
    assert_eq!(hostname_record(&records, NAME).certificates.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fallback_origin_takes_the_place_of_the_propertys_origins_while_it_is_set() {
    let zone = Zone::start().await;
    let id: i64 = zone.property.rsplit('/').next().unwrap().parse().unwrap();
    let pop = zone.plane.pop("pop-1").await;
    let origins = async || {
        let records = pop.records(pop.epoch().await, 0).await;
        let pool = property_record(&records, id).pool;
        pool.origins.iter().map(|own| own.url.to_string()).collect::<Vec<_>>()
    };
    let path = "/fallback_origin";
    let own = origins().await;

    let body = json!({"origin": "fallback.customer.test"});
    let set = zone.must(Method::PUT, path, body).await;

    assert_eq!(set["origin"], "fallback.customer.test");
    assert_eq!(set["status"], "pending_deployment");
    assert_eq!(origins().await, ["https://fallback.customer.test:443"]);
    let more = json!({"timeouts": {"connectMs": 500}});
    assert_eq!(zone.plane.patch(&zone.property, &more).await.0, StatusCode::OK);
    assert_eq!(origins().await, ["https://fallback.customer.test:443"]);
    zone.must(Method::DELETE, path, Value::Null).await;
    assert_eq!(origins().await, own);
    assert_eq!(zone.refused(Method::DELETE, path, Value::Null).await, (404, 1551));
    let private = json!({"origin": "10.0.0.1"});
    assert_eq!(zone.refused(Method::PUT, path, private).await, (400, 1415));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_with_the_same_ssl_checks_at_once_and_says_what_was_found() {
    let dns = Responder::start().await;
    dns.point(NAME, "203.0.113.9");
    let resolvers = json!([dns.address.to_string()]);
    let settings = json!({"resolvers": resolvers, "zone_servers": false, "timeout": "2s"});
    let plane = Plane::start_with(json!({ "dns": settings })).await;
    plane.pop("pop-1").await.epoch().await;
    let property = plane.property("shop").await;
    let path = zone_path(&plane, &property).await;
    let zone = Zone { plane, property, path };
    let ssl = json!({"method": "http", "type": "dv"});
    let created = zone.create(json!({"hostname": NAME, "ssl": ssl})).await;
    let path = format!("/{}", created["id"].as_str().unwrap());
    let check = async || zone.must(Method::PATCH, &path, json!({ "ssl": ssl })).await;

    // What a PoP asked is noted a moment later.
    let pending = eventually(async || {
        let hostname = check().await;
        let errors = hostname["verification_errors"].as_array()?.clone();
        let known = errors[0].as_str()?.starts_with("None of the A or AAAA records are owned");
        known.then_some(hostname)
    })
    .await;
    assert_eq!(pending["status"], "pending");
    assert!(pending["verification_errors"][1].as_str().unwrap().contains("203.0.113.9"));
    dns.point(NAME, "192.0.2.1");
    let active = check().await;

    assert_eq!(active["status"], "active", "{active}");
    assert!(active.get("verification_errors").is_none(), "{active}");
    assert!(active.get("ownership_verification").is_none(), "{active}");
    let listed = zone.must(Method::GET, "?hostname_status=active", Value::Null).await;
    assert_eq!(listed[0]["id"], created["id"]);
    for unknown in ["digicert", "zerossl", "own"] {
        let body = json!({"ssl": {"certificate_authority": unknown}});
        assert_eq!(zone.refused(Method::PATCH, &path, body).await, (400, 1434), "{unknown}");
    }
    zone.plane.stop().await;
}
