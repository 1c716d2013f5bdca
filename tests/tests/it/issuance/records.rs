//! Wildcards are proven by DNS: in our own zone, in the operator's by RFC 2136, and by records that the
//! owner makes.

use std::net::SocketAddr;

use landfall_tests::{
    Authority, CUSTOMER_ZONE, DEADLINE, Fleet, FleetBuilder, Origin, UpdateKey, free_ports,
    wait_until,
};
use reqwest::Method;
use serde_json::{Value, json};

use super::renewal::renew_at_once;

const ZONE: &str = "dcv.test";
const KEY: UpdateKey =
    UpdateKey { name: "acme-key", secret: "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTEyMw==" };

/// A customer's domain and what is below it, at both edges.
const POINTED: &str = "@ A 127.0.0.2\n@ A 127.0.0.3\n* A 127.0.0.2\n* A 127.0.0.3\n";

/// A fleet whose resolver finds the zone of challenges at a server.
fn builder(server: SocketAddr) -> FleetBuilder {
    let stub =
        format!("stub-zone:\n  name: \"{ZONE}\"\n  stub-addr: {}@{}", server.ip(), server.port());
    Fleet::builder(2).resolver_setting(&stub).control_setting("challenge_zone.zone", ZONE)
}

/// The same with the zone at the control plane itself.
pub(super) fn own_zone() -> FleetBuilder {
    let [port] = free_ports();
    let server = SocketAddr::from(([127, 0, 0, 1], port));
    builder(server)
        .control_setting("challenge_zone.listen", vec![server.to_string()])
        .control_setting("challenge_zone.nameservers", vec!["ns1.edge.test"])
}

/// A customer adds their domain with its wildcard: the hostname's path, and what is said of it.
async fn add_wildcard(fleet: &mut Fleet, origin: &Origin) -> (String, Value) {
    fleet.set_zone(CUSTOMER_ZONE, POINTED).await;
    let api = fleet.lab.api();
    let property = api.create_property("shop", origin.address()).await;
    let path = format!("/api/Property/{property}/hostname");
    let body = json!({"name": CUSTOMER_ZONE, "managedCertificate": {"wildcard": true}});
    let added = api.must(Method::POST, &path, &body).await;
    (format!("{path}/{}", added["id"]), added)
}

/// The job that waits for records of the owner.
async fn waiting_for_records(fleet: &Fleet, hostname: &str) -> Value {
    wait_until("the owner is told the records", DEADLINE * 2, async || {
        let body = fleet.lab.api().read(&format!("{hostname}/explain")).await;
        let job = &body["jobs"][0];
        (job["waitingFor"] == "owner_records").then(|| job.clone())
    })
    .await
}

/// The owner makes these records, and asks for the certificate.
async fn make(fleet: &mut Fleet, hostname: &str, records: &[Value]) {
    let line = |record: &Value| {
        let (name, value) = (record["name"].as_str().unwrap(), record["value"].as_str().unwrap());
        format!("{name}. 0 TXT \"{value}\"\n")
    };
    let lines: String = records.iter().map(line).collect();
    fleet.set_zone(CUSTOMER_ZONE, &format!("{POINTED}{lines}")).await;
    let request = format!("{hostname}/request-certificate");
    fleet.lab.api().must(Method::POST, &request, &json!({})).await;
}

/// A customer adds their domain with its wildcard, is told the record that is missing, makes it, and is
/// served for all of it.
async fn is_served_once_delegated(mut fleet: Fleet) {
    let origin = Origin::start("shop").await;
    let (hostname, added) = add_wildcard(&mut fleet, &origin).await;
    let api = fleet.lab.api();
    let record = &added["challengeRecord"];
    let told = wait_until("the owner is told the record", DEADLINE, async || {
        let body = api.read(&format!("{hostname}/explain")).await;
        let advice = body["attempts"][0]["advice"].as_str()?.to_owned();
        Some(advice)
    })
    .await;
    let target = record["target"].as_str().unwrap();
    assert!(told.contains(&format!("_acme-challenge.{CUSTOMER_ZONE} that points at {target}")));

    fleet.set_zone(CUSTOMER_ZONE, &format!("{POINTED}_acme-challenge CNAME {target}.")).await;
    let request = format!("{hostname}/request-certificate");
    let requested = api.must(Method::POST, &request, &json!({})).await;
    assert_eq!(requested["challengeRecord"]["seen"], "present", "{requested}");

    fleet.wait_until_served_everywhere(CUSTOMER_ZONE, "shop").await;
    fleet.wait_until_served_everywhere("any.customer.test", "shop").await;
    let body = api.read(&format!("{hostname}/explain")).await;
    assert_eq!(body["attempts"][0]["class"], Value::Null, "{body}");
    let log = fleet.pebble.log();
    assert_eq!(log.matches("Added order").count(), 1, "{log}");
    assert!(!log.contains("Attempting to validate w/ HTTP"), "{log}");
}

#[tokio::test]
async fn a_domain_and_its_wildcard_are_proven_in_our_own_zone() {
    is_served_once_delegated(own_zone().start().await).await;
}

#[tokio::test]
async fn a_domain_and_its_wildcard_are_proven_in_the_operators_zone_by_rfc_2136() {
    let server = Authority::start_updatable(&[(ZONE, "")], KEY).await;
    let secret = tempfile::NamedTempFile::new().unwrap();
    // Made with mode 0600.
    std::fs::write(secret.path(), KEY.secret).unwrap();
    let update = |key: &str| format!("challenge_zone.update.{key}");
    let fleet = builder(server.address())
        .control_setting(&update("server"), server.address().to_string())
        .control_setting(&update("tsig_key_name"), KEY.name)
        .control_setting(&update("tsig_secret_file"), secret.path().to_str().unwrap())
        .start()
        .await;
    is_served_once_delegated(fleet).await;
}

#[tokio::test]
async fn a_domain_and_its_wildcard_are_proven_by_records_that_the_owner_makes() {
    let mut fleet = Fleet::start(2).await;
    let origin = Origin::start("shop").await;
    let (hostname, added) = add_wildcard(&mut fleet, &origin).await;
    assert_eq!(added["challengeRecord"], Value::Null, "{added}");
    let job = waiting_for_records(&fleet, &hostname).await;
    let records = job["txtRecords"].as_array().unwrap().clone();
    assert_eq!(records.len(), 2, "{job}");

    make(&mut fleet, &hostname, &records).await;

    fleet.wait_until_served_everywhere(CUSTOMER_ZONE, "shop").await;
    fleet.wait_until_served_everywhere("any.customer.test", "shop").await;
    let log = fleet.pebble.log();
    assert_eq!(log.matches("Added order").count(), 1, "{log}");
}

#[tokio::test]
async fn one_record_that_the_owner_makes_does_for_renewals_too() {
    let mut fleet = Fleet::start(2).await;
    let origin = Origin::start("shop").await;
    let (hostname, _) = add_wildcard(&mut fleet, &origin).await;
    let job = waiting_for_records(&fleet, &hostname).await;
    let record = job["lastingTxtRecord"].clone();
    assert_eq!(record["name"], format!("_validation-persist.{CUSTOMER_ZONE}"), "{job}");

    make(&mut fleet, &hostname, &[record]).await;

    fleet.wait_until_served_everywhere("any.customer.test", "shop").await;
    let before = fleet.certificate(0, CUSTOMER_ZONE, &[]).await.unwrap();
    renew_at_once(&fleet, &before).await;
    wait_until("another certificate is served", DEADLINE * 4, async || {
        let now = fleet.certificate(0, CUSTOMER_ZONE, &[]).await?;
        (now != before).then_some(())
    })
    .await;
    let log = fleet.pebble.log();
    assert_eq!(log.matches("Issued certificate").count(), 2, "{log}");
    assert_eq!(log.matches("Added order").count(), 2, "{log}");
}
