//! CAs that want more than others, and CAs of other makers.

use std::io::Write as _;

use landfall_tests::{
    CUSTOMER_ZONE, DEADLINE, Fleet, FleetBuilder, PreparedFleet,
    acme::{Acme2certifier, Caddy, PebbleVersion},
    run_landfall,
    tools::{self, Ran},
    wait_until,
};
use reqwest::Method;
use serde_json::Value;

const NAME: &str = "www.customer.test";

/// Starts it with a hostname whose DNS is right, and waits until its certificate is active: the hostname.
async fn certified(mut prepared: PreparedFleet) -> (Fleet, Value) {
    prepared.dns.set(CUSTOMER_ZONE, "www A 127.0.0.2").await;
    let fleet = prepared.start().await;
    let api = fleet.lab.api();
    // Nobody asks it.
    let property = api.create_property("shop", "127.0.0.1:9".parse().unwrap()).await;
    let id = api.add_hostname(property, NAME).await;
    let path = format!("/api/Property/{property}/hostname/{id}");
    let hostname = wait_until("the certificate is active", DEADLINE * 2, async || {
        let hostname = api.read(&path).await;
        (hostname["certificateState"] == "active").then_some(hostname)
    })
    .await;
    (fleet, hostname)
}

/// With pebble as the CA.
async fn by_pebble(builder: FleetBuilder) -> (Fleet, Value) {
    let prepared = builder.prepare().await;
    let own = prepared.pebble.authority();
    certified(prepared.authorities(&[("pebble", &own.directory, &own.roots.unwrap())])).await
}

#[tokio::test]
async fn an_account_is_bound_to_the_operators_customer_number_by_a_key_that_edges_alone_can_open() {
    const KEY: &str = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let keys = path("keys");
    let made = Ran::from(run_landfall(&["keys", "init", "--dir", &keys]).await);
    made.expect_success();
    let (public, private) = (path("keys/group.pub"), path("keys/group.key"));
    let program = landfall_tests::landfall();
    let seal = ["keys", "seal-external-account", "--authority", "pebble", "--key-id", "customer-1"];
    let args = [&seal[..], &["--group-public-key", &public]].concat();
    let sealed = tools::run_with_input(program.to_str().unwrap(), &args, KEY).await;
    let file = path("hmac.json");
    std::fs::File::create(&file).unwrap().write_all(sealed.expect_success().as_bytes()).unwrap();
    let account = "issuance.authority.pebble.external_account";
    let builder = Fleet::builder(1)
        .pebble(|pebble| pebble.external_account("customer-1", KEY))
        .control_setting("keys.group_public_key_file", public)
        .control_setting(&format!("{account}.key_id"), "customer-1")
        .control_setting(&format!("{account}.hmac_key_file"), file)
        .edge_setting("keys.group_key_files", vec![private]);

    let (fleet, hostname) = by_pebble(builder).await;

    let issuer = hostname["certificates"][0]["issuer"].as_str().unwrap();
    assert!(issuer.contains("Pebble"), "{issuer}");
    assert!(fleet.pebble.log().contains("There are now 1 accounts in memory"));
}

#[tokio::test]
async fn a_certificate_has_the_profile_that_the_operator_has_chosen() {
    let builder =
        Fleet::builder(1).control_setting("issuance.authority.pebble.profile", "shortlived");

    let (fleet, _) = by_pebble(builder).await;

    let certificate = fleet.certificate(0, NAME, &[]).await.unwrap();
    let days = |days: u32| {
        let end = (u64::from(days) * 86_400).to_string();
        let (certificate, end) = (certificate.clone(), end);
        async move {
            let args = ["x509", "-noout", "-checkend", &end];
            tools::run_with_input("openssl", &args, &certificate).await.status.success()
        }
    };
    assert!(days(5).await, "it lasts six days");
    assert!(!days(7).await, "it lasts six days");
}

#[tokio::test]
async fn a_pebble_without_renewal_info_and_profiles_issues_all_the_same() {
    let builder = Fleet::builder(1).pebble(|pebble| pebble.version(PebbleVersion::V2_4));

    let (_fleet, hostname) = by_pebble(builder).await;

    let issuer = hostname["certificates"][0]["issuer"].as_str().unwrap();
    assert!(issuer.contains("Pebble"), "{issuer}");
}

#[tokio::test]
async fn acme2certifier_issues_too() {
    let authority = Acme2certifier::start(&[]).await;
    let own = authority.authority();
    let prepared = Fleet::builder(1).prepare().await;
    let own = [("acme2certifier", own.directory.as_str(), own.roots.as_deref().unwrap())];

    // It takes no account without one.
    let contact = vec!["mailto:ops@edge.test"];
    let prepared = prepared
        .authorities(&own)
        .control_setting("issuance.authority.acme2certifier.contact", contact);

    let (fleet, hostname) = certified(prepared).await;

    assert_eq!(hostname["certificates"][0]["issuer"], "CN=Root of the tests");
    let answer = fleet.client(0, own[0].2).build().unwrap().get(fleet.url(0, NAME)).send().await;
    assert_eq!(answer.unwrap().status(), 502, "there is no origin");
}

#[tokio::test]
async fn caddy_issues_too() {
    const RECORDS: &str = "www A 127.0.0.2\n_acme-challenge.www CNAME";
    let builder = Fleet::builder(1);
    // Where the zone's own server is asked.
    let server = format!("127.0.0.5:{}", builder.dns_port());
    let stub = server.replace(':', "@");
    let prepared = builder
        .zone("dns.test", "acme A 127.0.0.5")
        .resolver_setting(&format!("stub-zone:\n  name: \"acme.test.\"\n  stub-addr: {stub}"))
        .prepare()
        .await
        .control_setting("issuance.method", "dns-01")
        .control_setting("challenge_zone.zone", "acme.test")
        .control_setting("challenge_zone.listen", vec![server])
        .control_setting("challenge_zone.nameservers", vec!["acme.dns.test"]);
    let authority = Caddy::start(prepared.resolver.address()).await;
    let own = authority.authority();
    let own = [("caddy", own.directory.as_str(), own.roots.as_deref().unwrap())];
    let mut fleet = prepared.authorities(&own).start().await;
    let api = fleet.lab.api();
    let property = api.create_property("shop", "127.0.0.1:9".parse().unwrap()).await;
    let id = api.add_hostname(property, NAME).await;
    let path = format!("/api/Property/{property}/hostname/{id}");
    let target = api.read(&path).await["challengeRecord"]["target"].clone();

    fleet.set_zone(CUSTOMER_ZONE, &format!("{RECORDS} {}.", target.as_str().unwrap())).await;
    wait_until("the hostname is verified", DEADLINE, async || {
        let request = format!("{path}/request-certificate");
        (api.send(Method::POST, &request, &Value::Null).await.status == 200).then_some(())
    })
    .await;

    let hostname = wait_until("the certificate is active", DEADLINE * 2, async || {
        let hostname = api.read(&path).await;
        (hostname["certificateState"] == "active").then_some(hostname)
    })
    .await;
    let issuer = hostname["certificates"][0]["issuer"].as_str().unwrap();
    assert!(issuer.contains("Lab"), "{issuer}");
}
