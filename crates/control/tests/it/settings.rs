//! What owners set of properties and hostnames, and what edges get of it.

use landfall_model::{
    Balance, OriginName, OriginProtocol, PropertyId, Route,
    tls::{ClientAuthMode, MAX_CLIENT_ROOTS},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, IsCa, KeyPair};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{
    support::{Plane, hostname_record, property_record},
    upload::{ca, leaf},
};

async fn records(plane: &Plane) -> Vec<landfall_feed::record::Record> {
    let pop = plane.pop("pop-1").await;
    pop.records(pop.epoch().await, 0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_property_has_origins_of_every_kind_and_all_that_is_set_of_them() {
    let plane = Plane::start().await;
    let root = ca("Origin CA").pem();
    let body = json!({
        "name": "shop",
        "origins": [
            {"url": "https://one.origin.test", "weight": 3},
            {"url": "http://1.1.1.1:8080"},
            {"url": "https://[2606:4700::1111]:8443", "weight": null},
        ],
        "balance": "leastConnections",
        "protocol": "http2",
        "hostHeader": ":origin:",
        "sni": "sni.origin.test",
        "ca": root,
        "verify": false,
        "timeouts": {"connectMs": 500, "totalMs": 30_000},
        "healthCheck": {"path": "/health?deep=1", "intervalS": 5, "expectedStatus": 204},
    });
    let (status, created) = plane.post("/api/Property", &body).await;
    assert_eq!(status, StatusCode::CREATED, "{created}");

    let (_, shown) = plane.get("/api/Property/1").await;

    assert_eq!(shown, created);
    for field in ["balance", "protocol", "hostHeader", "sni", "ca", "verify"] {
        assert_eq!(shown[field], body[field], "{field}");
    }
    let weights = shown["origins"].as_array().unwrap().iter().map(|own| own["weight"].clone());
    assert_eq!(weights.collect::<Vec<_>>(), [3, 1, 1]);
    assert_eq!(shown["origins"][0]["url"], "https://one.origin.test:443");
    assert_eq!(shown["timeouts"]["connectMs"], 500);
    assert_eq!(shown["timeouts"]["readMs"], Value::Null);
    assert_eq!(shown["healthCheck"]["timeoutS"], 2);
    let pool = property_record(&records(&plane).await, 1).pool;
    assert_eq!(pool.origins.len(), 3);
    assert_eq!((pool.balance, pool.protocol), (Balance::LeastConnections, OriginProtocol::Http2));
    assert_eq!(pool.host_header, OriginName::Origin);
    assert_eq!((pool.ca.len(), pool.verify, pool.timeouts.total_ms), (1, false, Some(30_000)));
    assert_eq!(pool.health_check.unwrap().expected_status, Some(204));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_property_is_one_record_and_changes_what_it_names() {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    plane.hostname(&property, "www.shop.edge.test").await;
    let pop = plane.pop("pop-1").await;
    let epoch = pop.epoch().await;
    let before = pop.head(epoch).await;
    let full = json!({
        "origins": [{"url": "http://127.0.0.1:9002"}],
        "timeouts": {"connectMs": 500, "readMs": 900},
        "healthCheck": {"path": "/a", "unhealthyAfter": 7},
        "protocol": "auto",
    });

    let (status, answer) = plane.patch(&property, &full).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let changes = pop.records(epoch, before).await;
    assert_eq!(crate::support::ids(&changes), ["property/1"]);
    let patch = json!({
        "timeouts": {"connectMs": null}, "healthCheck": {"path": "/b"}, "protocol": null
    });
    let (_, answer) = plane.patch(&property, &patch).await;

    assert_eq!(answer["origins"][0]["url"], "http://127.0.0.1:9002");
    assert_eq!(answer["timeouts"]["connectMs"], Value::Null);
    assert_eq!(answer["timeouts"]["readMs"], 900);
    assert_eq!(answer["healthCheck"]["path"], "/b");
    assert_eq!(answer["healthCheck"]["unhealthyAfter"], 7);
    assert_eq!(answer["protocol"], "http1");
    let head = pop.head(epoch).await;
    let (_, answer) = plane.patch(&property, &json!({"healthCheck": null, "timeouts": null})).await;
    assert_eq!(answer["healthCheck"], Value::Null);
    assert!(pop.head(epoch).await > head);
    let head = pop.head(epoch).await;
    plane.patch(&property, &json!({"healthCheck": null, "sni": ":origin:"})).await;
    assert_eq!(pop.head(epoch).await, head);
    assert_eq!(plane.patch("/api/Property/9", &json!({})).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_property_that_can_not_be_is_refused_with_the_field() {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    let many: Vec<Value> =
        (1..=33).map(|port| json!({"url": format!("http://1.1.1.1:{port}")})).collect();
    let expired = {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap().pem()
    };
    let no_ca = {
        let key = KeyPair::generate().unwrap();
        leaf("origin.test").self_signed(&key).unwrap().pem()
    };
    let table = [
        (json!({"name": "other"}), 422, "invalid_field", "/name"),
        (json!({"origins": null}), 422, "invalid_field", "/origins"),
        (json!({"origins": many}), 422, "invalid_origins", "/origins"),
        (
            json!({"origins": [{"url": "http://1.1.1.1", "weight": 0}]}),
            422,
            "invalid_origins",
            "/origins",
        ),
        (json!({"origins": [{"url": "ftp://1.1.1.1"}]}), 422, "invalid_field", "/origins/0/url"),
        (
            json!({"origins": [{"url": "http://1.1.1.1", "wieght": 1}]}),
            422,
            "invalid_field",
            "/origins/0/wieght",
        ),
        (json!({"timeouts": {"connect": null}}), 422, "invalid_field", "/timeouts/connect"),
        (json!({"timeouts": {"connectMs": 0}}), 422, "invalid_origins", "/timeouts/connectMs"),
        (json!({"healthCheck": {"path": "x"}}), 422, "invalid_field", "/healthCheck/path"),
        (json!({"healthCheck": {"intervalS": 5}}), 422, "invalid_field", "/healthCheck/path"),
        (json!({"balance": "random"}), 422, "invalid_field", "/balance"),
        (json!({"sni": "a b"}), 422, "invalid_field", "/sni"),
        (json!({"x".repeat(9_000): null}), 422, "invalid_field", &format!("/{}", "x".repeat(255))),
        (json!({"helthCheck": null}), 422, "invalid_field", "/helthCheck"),
        (json!({"ca": "x"}), 422, "invalid_ca", "/ca"),
        (json!({"ca": expired}), 422, "invalid_ca", "/ca"),
        (json!({"ca": no_ca}), 422, "invalid_ca", "/ca"),
    ];
    for (patch, status, code, field) in table {
        let (got, problem) = plane.patch(&property, &patch).await;
        assert_eq!((got.as_u16(), &problem["code"]), (status, &json!(code)), "{patch} {problem}");
        assert_eq!(problem["field"], field, "{problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_in_the_operators_own_network_is_refused_wherever_it_is_named() {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    let path = plane.hostname(&property, "www.shop.edge.test").await;
    for address in
        ["10.0.0.1", "169.254.169.254", "192.168.1.1", "[::1]", "[::ffff:10.0.0.1]", "[fd00::1]"]
    {
        let url = format!("http://{address}:80");
        let origins = json!([{"url": "http://127.0.0.1:1"}, {"url": url}]);
        let attempts = [
            plane.patch(&property, &json!({"origins": origins})).await,
            plane.patch(&path, &json!({"customOriginServer": url})).await,
            plane.patch(&path, &json!({"customOriginServer": address})).await,
            plane.patch(&path, &json!({"paths": [{"prefix": "/a", "origins": origins}]})).await,
            plane.post("/api/Property", &json!({"name": "new", "origins": origins})).await,
            plane
                .post(
                    &format!("{property}/hostname"),
                    &json!({"name": "a.shop.edge.test", "customOriginServer": url}),
                )
                .await,
        ];
        for (status, problem) in attempts {
            assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{address}: {problem}");
            assert_eq!(problem["code"], "origin_not_public", "{problem}");
            assert!(problem["detail"].as_str().unwrap().contains("origins.allow_networks"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostname_has_a_route_of_its_own() {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    let body = json!({
        "name": "www.shop.edge.test",
        "customOriginServer": "Own.Origin.Test",
        "customOriginSni": ":request_host_header:",
        "paths": [
            {"prefix": "/", "origins": [{"url": "http://127.0.0.1:1"}]},
            {"prefix": "/api/", "origins": [{"url": "http://127.0.0.1:2", "weight": 2}]},
        ],
        "http": {
            "httpsRedirect": false,
            "hsts": {"maxAge": 31_536_000, "includeSubdomains": true, "preload": true},
            "requestHeaders": [{"name": "X-Tenant", "value": "7"}, {"name": "cookie", "value": null}],
            "responseHeaders": [{"name": "server"}],
            "maxBody": 1_048_576,
            "compression": true,
        },
    });
    let (status, created) = plane.post(&format!("{property}/hostname"), &body).await;
    assert_eq!(status, StatusCode::CREATED, "{created}");
    let path = format!("{property}/hostname/{}", created["id"]);

    let (_, shown) = plane.get(&path).await;

    assert_eq!(shown["customOriginServer"], "https://own.origin.test:443");
    assert_eq!(shown["customOriginSni"], ":request_host_header:");
    let prefixes: Vec<_> =
        shown["paths"].as_array().unwrap().iter().map(|own| own["prefix"].clone()).collect();
    assert_eq!(prefixes, ["/api", "/"]);
    assert_eq!(shown["http"]["requestHeaders"][1], json!({"name": "cookie", "value": null}));
    assert_eq!(shown["http"]["hsts"], body["http"]["hsts"]);
    let found = records(&plane).await;
    let route = hostname_record(&found, "www.shop.edge.test").route;
    let custom = route.custom_origin.unwrap();
    assert_eq!((custom.server.port(), custom.sni), (443, Some(OriginName::Request)));
    assert_eq!(route.paths[0].origins[0].weight, 2);
    assert_eq!((route.http.max_body, route.http.https_redirect), (Some(1_048_576), false));
    let other = hostname_record(&found, "shop.edge.test").route;
    assert_eq!(other, Route::to(PropertyId(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_hostname_changes_what_it_names_and_null_resets() {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    let path = plane.hostname(&property, "www.shop.edge.test").await;
    let first = json!({
        "customOriginServer": "http://127.0.0.1:7",
        "customOriginSni": "sni.test.test",
        "http": {"hsts": {"maxAge": 60}, "compression": true},
        "tls": {"http2": false},
    });
    let (status, answer) = plane.patch(&path, &first).await;
    assert_eq!(status, StatusCode::OK, "{answer}");

    let (_, answer) = plane.patch(&path, &json!({"http": {"maxBody": 5}})).await;
    assert_eq!(answer["http"]["hsts"]["maxAge"], 60);
    assert_eq!(answer["http"]["compression"], true);
    assert_eq!(answer["tls"]["http2"], false);
    assert_eq!(answer["customOriginSni"], "sni.test.test");
    let (_, answer) = plane.patch(&path, &json!({"http": {"hsts": null}, "tls": null})).await;
    assert_eq!(answer["http"]["hsts"], Value::Null);
    assert_eq!((&answer["http"]["maxBody"], &answer["tls"]["http2"]), (&json!(5), &json!(true)));
    let (_, answer) = plane.patch(&path, &json!({"http": null, "customOriginServer": null})).await;
    assert_eq!(answer["customOriginSni"], Value::Null);
    assert_eq!(answer["http"]["compression"], false);
    let route = hostname_record(&records(&plane).await, "www.shop.edge.test").route;
    assert_eq!(route, Route::to(PropertyId(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostname_that_can_not_be_served_is_refused_with_the_field() {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    let path = plane.hostname(&property, "www.shop.edge.test").await;
    let one = json!([{"url": "http://127.0.0.1:1"}]);
    let at = |prefix: &str| json!({"prefix": prefix, "origins": one});
    let many: Vec<Value> = (0..33).map(|index| at(&format!("/{index}"))).collect();
    let edits = |name: &str, value: &str| json!({"http": {"requestHeaders": [{"name": name, "value": value}]}});
    let name = "/http/requestHeaders/0/name";
    let table = [
        (json!({"customOriginServer": "localhost"}), 422, "invalid_field", "/customOriginServer"),
        (
            json!({"customOriginServer": "https://a.test/x"}),
            422,
            "invalid_field",
            "/customOriginServer",
        ),
        (json!({"customOriginSni": "a.test"}), 422, "invalid_route", "/customOriginSni"),
        (json!({"paths": many}), 422, "invalid_route", "/paths"),
        (json!({"paths": [at("/a"), at("/a/")]}), 422, "invalid_route", "/paths"),
        (json!({"paths": [at("a")]}), 422, "invalid_field", "/paths/0/prefix"),
        (json!({"paths": [{"prefix": "/a", "origins": []}]}), 422, "invalid_route", "/paths"),
        (json!({"http": {"hsts": {"preload": true, "maxAge": 1}}}), 422, "invalid_route", "/http"),
        (json!({"http": {"hsts": {"preload": true}}}), 422, "invalid_field", "/http/hsts/maxAge"),
        (edits("host", "x"), 422, "invalid_field", name),
        (edits("X-Forwarded-For", "x"), 422, "invalid_field", name),
        (edits("x", "a\r\nb"), 422, "invalid_field", "/http/requestHeaders/0/value"),
        (json!({"http": {"maxBody": -1}}), 422, "invalid_field", "/http/maxBody"),
        (
            json!({"tls": {"clientAuth": {"mode": "maybe"}}}),
            422,
            "invalid_field",
            "/tls/clientAuth/mode",
        ),
        (
            json!({"tls": {"clientAuth": {"mode": "required"}}}),
            422,
            "invalid_field",
            "/tls/clientAuth/ca",
        ),
        (json!({"name": "x.test"}), 422, "invalid_field", "/name"),
        (json!({"https": null}), 422, "invalid_field", "/https"),
    ];
    for (patch, status, code, field) in table {
        let (got, problem) = plane.patch(&path, &patch).await;
        assert_eq!((got.as_u16(), &problem["code"]), (status, &json!(code)), "{patch} {problem}");
        assert_eq!(problem["field"], field, "{problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_a_hostname_show_certificates_of_its_own_cas() {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    let path = plane.hostname(&property, "www.shop.edge.test").await;
    let bundle = format!("{}{}", ca("One").pem(), ca("Two").pem());
    let auth = json!({"tls": {"clientAuth": {"mode": "required", "ca": bundle}}});

    let (status, answer) = plane.patch(&path, &auth).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let shown = answer["tls"]["clientAuth"]["ca"].as_str().unwrap();
    assert_eq!(shown.matches("-----BEGIN CERTIFICATE-----").count(), 2);
    let (_, answer) =
        plane.patch(&path, &json!({"tls": {"clientAuth": {"mode": "optional"}}})).await;
    assert_eq!(answer["tls"]["clientAuth"]["mode"], "optional");
    let tls = hostname_record(&records(&plane).await, "www.shop.edge.test").tls;
    let own = tls.client_auth.unwrap();
    assert_eq!((own.mode, own.ca.len()), (ClientAuthMode::Optional, 2));
    let (_, answer) = plane.patch(&path, &json!({"tls": {"clientAuth": null}})).await;
    assert_eq!(answer["tls"]["clientAuth"], Value::Null);

    let many: String = (0..=MAX_CLIENT_ROOTS).map(|_| ca("Many").pem()).collect();
    let auth = json!({"tls": {"clientAuth": {"mode": "required", "ca": many}}});
    let (status, problem) = plane.patch(&path, &auth).await;
    assert_eq!((status.as_u16(), &problem["code"]), (422, &json!("invalid_ca")));
    assert_eq!(problem["field"], "/tls/clientAuth/ca");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_key_among_settings_is_refused_and_not_repeated() {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    let path = plane.hostname(&property, "www.shop.edge.test").await;
    let key = KeyPair::generate().unwrap().serialize_pem();
    let pem = format!("{}{key}", ca("One").pem());
    let hidden = json!({"ca": pem}).to_string().replace("PRIVATE", "\\u0050RIVATE");
    let escaped: Value = serde_json::from_str(&hidden).unwrap();
    assert_eq!(escaped["ca"], pem);
    let request = plane.request(reqwest::Method::PATCH, &property);
    let request = request.header("content-type", "application/json").body(hidden);
    let attempts = [
        crate::support::answer(request).await,
        plane.patch(&property, &json!({"ca": pem})).await,
        plane.patch(&property, &json!({"balance": key})).await,
        plane.patch(&path, &json!({"tls": {"clientAuth": {"mode": key, "ca": pem}}})).await,
    ];
    let secret = key.lines().nth(1).unwrap();
    for (status, problem) in attempts {
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(problem["code"], "private_key_refused", "{problem}");
        assert!(!problem.to_string().contains(secret), "{problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tls_policies_of_one_property_are_bounded() {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    let path = plane.hostname(&property, "www.shop.edge.test").await;
    let hostnames = format!("{property}/hostname");
    let auth = |ca: &str| json!({"clientAuth": {"mode": "required", "ca": ca}});
    let mut last = String::new();
    for index in 0..64 {
        last = ca("Client CA").pem();
        let body = json!({"name": format!("n{index}.shop.edge.test"), "tls": auth(&last)});
        let (status, answer) = plane.post(&hostnames, &body).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
    }

    let another = ca("Client CA").pem();
    let body = json!({"name": "more.shop.edge.test", "tls": auth(&another)});
    let attempts = [
        plane.post(&hostnames, &body).await,
        plane.patch(&path, &json!({"tls": auth(&another)})).await,
    ];
    for (status, problem) in attempts {
        assert_eq!(
            (status, &problem["code"]),
            (StatusCode::CONFLICT, &json!("too_many_tls_policies"))
        );
    }
    // One that is there already takes nothing more, nor does the default.
    assert_eq!(plane.patch(&path, &json!({"tls": auth(&last)})).await.0, StatusCode::OK);
    plane.hostname(&property, "default.shop.edge.test").await;
    let other = plane.property("blog").await;
    let body = json!({"name": "www.blog.edge.test", "tls": auth(&another)});
    let (status, answer) = plane.post(&format!("{other}/hostname"), &body).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
}

fn padded_root(padding: usize) -> String {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let oid = [1, 3, 6, 1, 4, 1, 55555, 1];
    params.custom_extensions.push(CustomExtension::from_oid_content(&oid, vec![0x5a; padding]));
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap().pem()
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_do_not_fit_a_record_are_refused_and_change_nothing() {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    let path = plane.hostname(&property, "www.shop.edge.test").await;
    let before = plane.get(&path).await.1;
    let value = "x".repeat(4_000);
    let edits: Vec<Value> =
        (0..9).map(|index| json!({"name": format!("x-{index}"), "value": value})).collect();

    let (status, problem) = plane.patch(&path, &json!({"http": {"responseHeaders": edits}})).await;

    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(problem["code"], "record_too_large");
    assert!(problem["detail"].as_str().unwrap().contains("32768"), "{problem}");
    assert_eq!(plane.get(&path).await.1, before);
    // Those that do leave room for certificates.
    let (status, _) = plane.patch(&path, &json!({"http": {"responseHeaders": edits[1..]}})).await;
    assert_eq!(status, StatusCode::OK);
    let padding = 2_500;
    let chain = crate::upload::padded_chain("www.shop.edge.test", padding);
    let (status, answer) = plane.post(&format!("{path}/certificate"), &chain).await;
    assert_eq!(status, StatusCode::OK, "{answer}");

    let roots: String = (0..16).map(|_| padded_root(6_000)).collect();
    let before = plane.get(&property).await.1;
    let (status, problem) = plane.patch(&property, &json!({"ca": roots})).await;
    assert_eq!((status.as_u16(), &problem["code"]), (422, &json!("record_too_large")));
    assert_eq!(plane.get(&property).await.1, before);
}
