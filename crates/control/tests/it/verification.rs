//! Hostnames are verified by themselves and on request, and their owners are told what to change.

use landfall_control::admin::{self, Traffic};
use landfall_feed::record::HostnameState;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    support::{
        Plane, Pop, answer, database, eventually, hostname_record,
        responder::{Reply, Responder},
    },
    upload::{ca, leaf, signed},
};

/// Of the PoP that [`Plane::pop`] adds.
const POP: &str = "192.0.2.1";

struct Scene {
    dns: Responder,
    plane: Plane,
    pop: Pop,
    property: String,
}

/// A control plane that asks a DNS server of the test's, with a PoP that was seen.
async fn scene() -> Scene {
    let dns = Responder::start().await;
    let plane = Plane::start_with(json!({
        "dns": {"resolvers": [dns.address.to_string()], "zone_servers": false, "timeout": "2s"},
    }))
    .await;
    let pop = plane.pop("pop-1").await;
    pop.epoch().await;
    pops(&plane, "active", 1).await;
    let property = plane.property("shop").await;
    Scene { dns, plane, pop, property }
}

/// Waits until so many PoPs are in a state.
async fn pops(plane: &Plane, state: &str, count: u32) {
    metric(plane, &format!("landfall_pops{{state=\"{state}\"}} {count}")).await;
}

async fn metric(plane: &Plane, line: &str) {
    eventually(async || metrics(plane).await.lines().any(|own| own == line).then_some(())).await;
}

async fn metrics(plane: &Plane) -> String {
    plane.client.get(plane.url("/metrics")).send().await.unwrap().text().await.unwrap()
}

/// Waits until a hostname was checked, and answers what is shown of it.
async fn checked(plane: &Plane, path: &str) -> Value {
    eventually(async || {
        let hostname = plane.get(path).await.1;
        hostname["verification"]["lastCheckedAt"].is_string().then_some(hostname)
    })
    .await
}

async fn request(plane: &Plane, path: &str) -> (StatusCode, Value) {
    answer(plane.request(Method::POST, &format!("{path}/request-certificate"))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_hostname_is_explained_and_becomes_active_once_its_dns_leads_here() {
    let Scene { dns, plane, pop, property } = scene().await;
    let (status, created) =
        plane.post(&format!("{property}/hostname"), &json!({"name": "www.shop.test"})).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(
        (&created["status"], &created["statusCode"]),
        (&json!("PendingValidation"), &json!(0))
    );
    let record = json!({"type": "CNAME", "name": "www.shop.test", "target": "shop.edge.test"});
    assert_eq!(created["record"], record);
    let path = &format!("{property}/hostname/{}", created["id"]);

    let waiting = checked(&plane, path).await;
    assert_eq!(waiting["verification"]["finding"], "nx_domain");
    assert_eq!(waiting["verification"]["tries"], 1);
    assert!(waiting["verification"]["nextAttemptAt"].is_string(), "{waiting}");

    dns.point("www.shop.test", "203.0.113.9");
    let (status, problem) = request(&plane, path).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
    assert_eq!(problem["code"], "dns_verification_failed");
    assert_eq!(problem["evidence"]["finding"], "wrong_address");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.ends_with("Resolved: 203.0.113.9. Expected: 192.0.2.1."), "{detail}");

    dns.point("www.shop.test", POP);
    for _ in 0..2 {
        let (status, hostname) = request(&plane, path).await;
        assert_eq!(status, StatusCode::OK, "{hostname}");
        assert_eq!(hostname["status"], "Active");
        assert_eq!(hostname["verification"]["finding"], "points_here");
    }
    let records = pop.records(pop.epoch().await, 0).await;
    assert_eq!(hostname_record(&records, "www.shop.test").state, HostnameState::Active);
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostname_whose_dns_leads_here_already_becomes_active_by_itself() {
    let Scene { dns, plane, property, .. } = scene().await;
    dns.point("shop.test", POP);
    let path = &plane.hostname(&property, "shop.test").await;
    let active = eventually(async || {
        let hostname = plane.get(path).await.1;
        (hostname["status"] == "Active").then_some(hostname)
    })
    .await;
    let record = &active["record"];
    assert_eq!(record["type"], "ALIAS");
    let alternative = json!({"type": "A", "name": "shop.test", "address": POP});
    assert_eq!(record["alternatives"], json!([alternative]));
    metric(&plane, "landfall_verification_checks_total{finding=\"points_here\",lane=\"fresh\"} 1")
        .await;
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_active_pop_nothing_is_held_against_a_hostname() {
    let Scene { dns, plane, property, .. } = scene().await;
    admin::set_pop_traffic(&plane.config, "pop-1", Traffic::Off).await.unwrap();
    pops(&plane, "off", 1).await;
    dns.point("www.shop.test", POP);
    let path = &plane.hostname(&property, "www.shop.test").await;
    let waiting = checked(&plane, path).await;
    assert_eq!(waiting["verification"]["tries"], 0);
    assert_eq!(waiting["verification"]["finding"], "no_active_pop");
    dns.point("other.shop.test", POP);
    let other = &plane.hostname(&property, "other.shop.test").await;
    assert_eq!(checked(&plane, other).await["verification"]["finding"], "no_active_pop");

    let (status, problem) = request(&plane, path).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{problem}");
    assert_eq!(problem["code"], "dns_verification_inconclusive");

    admin::set_pop_traffic(&plane.config, "pop-1", Traffic::On).await.unwrap();
    pops(&plane, "active", 1).await;
    let (status, hostname) = request(&plane, path).await;
    assert_eq!((status, &hostname["status"]), (StatusCode::OK, &json!("Active")));
    // Nobody asks for this one, and its next check was half a minute away.
    eventually(async || (plane.get(other).await.1["status"] == "Active").then_some(())).await;
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_requested_for_system_hostnames_always_and_for_uploaded_ones_never() {
    let Scene { plane, property, .. } = scene().await;
    let (_, list) = plane.get(&format!("{property}/hostname")).await;
    let system = format!("{property}/hostname/{}", list["items"][0]["id"]);
    for _ in 0..2 {
        let (status, hostname) = request(&plane, &system).await;
        assert_eq!(status, StatusCode::OK, "{hostname}");
        // The one that it has lasts.
        assert_eq!(plane.get(&format!("{system}/explain")).await.1["jobs"], json!([]));
    }
    let path = &plane.hostname(&property, "www.shop.test").await;
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let body = signed(&leaf("www.shop.test"), &key, &ca("Customer CA"));
    let (status, uploaded) = plane.post(&format!("{path}/certificate"), &body).await;
    assert!(status.is_success(), "{uploaded}");
    let (status, problem) = request(&plane, path).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(problem["title"], "Cannot request Let's Encrypt certificate");
    assert!(problem["detail"].as_str().unwrap().contains("DELETE"), "{problem}");
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostname_whose_dns_comes_back_has_its_certificate_asked_for_again() {
    let Scene { dns, plane, property, .. } = scene().await;
    dns.point("www.shop.test", "192.0.2.1");
    let path = plane.hostname(&property, "www.shop.test").await;
    let job = async |state: &str| {
        eventually(async || {
            let body = plane.get(&format!("{path}/explain")).await.1;
            (body["jobs"][0]["state"] == state).then_some(body["jobs"][0]["id"].clone())
        })
        .await
    };
    let before = job("open").await;
    let mut rows = database(plane.dir.path()).await;
    let left = "UPDATE job SET state = 2, ended_at = unixepoch(), error = 'dns_left'; \
                UPDATE verification SET left_at = unixepoch(), next_at = unixepoch()";
    sqlx::raw_sql(left).execute(&mut rows).await.unwrap();
    let after = job("open").await;
    assert_ne!(before, after);
    let kinds = plane.get(&format!("{path}/events")).await.1;
    let kinds = kinds["items"].as_array().unwrap().iter().map(|event| event["kind"].clone());
    assert!(kinds.into_iter().any(|kind| kind == "dns_returned"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_while_a_check_runs_gets_what_that_one_finds() {
    let Scene { dns, plane, property, .. } = scene().await;
    let path = &plane.hostname(&property, "www.shop.test").await;
    checked(&plane, path).await;
    dns.set("www.shop.test", Reply::Silence);
    let first = request(&plane, path);
    let others = async {
        metric(&plane, "landfall_verifications_running 1").await;
        tokio::join!(request(&plane, path), request(&plane, path))
    };
    let ((status, _), (second, third)) = tokio::join!(first, others);
    assert_eq!([status, second.0, third.0], [status; 3]);
    let text = metrics(&plane).await;
    let asked = text.lines().filter(|line| {
        line.starts_with("landfall_verification_checks_total") && line.contains("request")
    });
    let counts: Vec<&str> = asked.filter_map(|line| line.rsplit(' ').next()).collect();
    assert_eq!(counts, ["1"]);
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_authority_that_is_not_configured_is_refused() {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    let body = json!({"name": "www.shop.test", "managedCertificate": {"authority": "google"}});
    let (status, problem) = plane.post(&format!("{property}/hostname"), &body).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(problem["code"], "authority_not_configured");
    assert_eq!(problem["field"], "/managedCertificate/authority");
    assert!(problem["detail"].as_str().unwrap().contains("lets_encrypt"), "{problem}");
    plane.stop().await;
}
