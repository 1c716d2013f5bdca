//! Names that are proven by DNS: by a CNAME record that their owner makes once.

use landfall_tests::{
    CUSTOMER_ZONE, DEADLINE, Fleet, Origin, PreparedFleet, UpdateKey, acme::Caddy,
    tools::write_private, wait_until,
};
use reqwest::Method;
use serde_json::{Value, json};

/// What leads to the edges, at the zone's apex and below.
const ADDRESSES: &str =
    "@ A 127.0.0.2\n@ A 127.0.0.3\n@ A 127.0.0.4\n* A 127.0.0.2\n* A 127.0.0.3\n* A 127.0.0.4\n";
const KEY: UpdateKey =
    UpdateKey { name: "landfall", secret: "bGFuZGZhbGwtdGVzdHMtYXJlLW5vLXNlY3JldHMtMzI=" };

/// Has pebble issue.
fn by_pebble(prepared: PreparedFleet) -> PreparedFleet {
    let own = prepared.pebble.authority();
    prepared.authorities(&[("pebble", &own.directory, &own.roots.unwrap())])
}

/// A fleet whose control plane serves the zone `acme.test` itself.
async fn with_own_zone() -> PreparedFleet {
    let builder = Fleet::builder(3);
    let port = builder.dns_port();
    let prepared = builder
        .zone("dns.test", "acme A 127.0.0.5")
        .resolver_setting(&format!(
            "stub-zone:\n  name: \"acme.test.\"\n  stub-addr: 127.0.0.5@{port}"
        ))
        .prepare()
        .await;
    prepared
        .control_setting("challenge_zone.zone", "acme.test")
        .control_setting("challenge_zone.listen", vec![format!("127.0.0.5:{port}")])
        .control_setting("challenge_zone.nameservers", vec!["acme.dns.test"])
}

/// Adds the zone's apex with everything one label below it, delegates its challenges, and asks for the
/// certificate.
async fn request_wildcard(fleet: &mut Fleet, origin: &Origin) -> String {
    let api = fleet.lab.api();
    let property = api.create_property("shop", origin.address()).await;
    let path = format!("/api/Property/{property}/hostname");
    let body = json!({"name": CUSTOMER_ZONE, "managedCertificate": {"wildcard": true}});
    let created = api.must(Method::POST, &path, &body).await;
    let record = &created["challengeRecord"];
    assert_eq!(record["name"], "_acme-challenge.customer.test", "{created}");
    let target = record["target"].as_str().unwrap();
    assert!(target.ends_with(".acme.test"), "{target}");
    fleet.dns.set(CUSTOMER_ZONE, &format!("{ADDRESSES}_acme-challenge CNAME {target}.")).await;
    let own = format!("{path}/{}", created["id"]);
    wait_until("the hostname is verified", DEADLINE, async || {
        let request = format!("{own}/request-certificate");
        (api.send(Method::POST, &request, &Value::Null).await.status == 200).then_some(())
    })
    .await;
    own
}

#[tokio::test]
async fn an_apex_and_its_wildcard_are_proven_in_the_control_planes_own_zone() {
    let origin = Origin::start("shop").await;
    let mut fleet = by_pebble(with_own_zone().await).start().await;

    let own = request_wildcard(&mut fleet, &origin).await;

    fleet.wait_until_served_everywhere(CUSTOMER_ZONE, "shop").await;
    fleet.wait_until_served_everywhere("anything.customer.test", "shop").await;
    let api = fleet.lab.api();
    let shown = wait_until("the certificate is active", DEADLINE, async || {
        let hostname = api.read(&own).await;
        (hostname["certificateState"] == "active").then_some(hostname)
    })
    .await;
    let names = &shown["certificates"][0]["names"];
    assert_eq!(*names, json!(["customer.test", "*.customer.test"]));
    assert_eq!(fleet.pebble.log().matches("Issued certificate").count(), 1);
}

#[tokio::test]
async fn an_apex_and_its_wildcard_are_proven_in_the_operators_own_server() {
    let origin = Origin::start("shop").await;
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("tsig.key");
    write_private(&secret, KEY.secret);
    let prepared = Fleet::builder(3).zone("acme.test", "").update_key(KEY).prepare().await;
    let server = prepared.dns.address().to_string();
    let update = [
        ("server", server.as_str()),
        ("tsig_key_name", KEY.name),
        ("tsig_algorithm", "hmac-sha256"),
        ("tsig_secret_file", secret.to_str().unwrap()),
    ];
    let prepared = prepared.control_setting("challenge_zone.zone", "acme.test");
    let prepared = update.into_iter().fold(prepared, |prepared, (key, value)| {
        prepared.control_setting(&format!("challenge_zone.update.{key}"), value)
    });
    let mut fleet = by_pebble(prepared).start().await;

    request_wildcard(&mut fleet, &origin).await;

    fleet.wait_until_served_everywhere(CUSTOMER_ZONE, "shop").await;
    fleet.wait_until_served_everywhere("anything.customer.test", "shop").await;
}

#[tokio::test]
async fn caddy_issues_by_dns_too() {
    let origin = Origin::start("shop").await;
    let prepared = with_own_zone().await;
    let caddy = Caddy::start(prepared.resolver.address()).await;
    let own = caddy.authority();
    let own = [("caddy", own.directory.as_str(), own.roots.as_deref().unwrap())];
    let mut fleet = prepared.authorities(&own).start().await;

    let path = request_wildcard(&mut fleet, &origin).await;

    let api = fleet.lab.api();
    let shown = wait_until("the certificate is active", DEADLINE * 2, async || {
        let hostname = api.read(&path).await;
        (hostname["certificateState"] == "active").then_some(hostname)
    })
    .await;
    let issuer = shown["certificates"][0]["issuer"].as_str().unwrap();
    assert!(issuer.contains("Lab"), "{issuer}");
}
