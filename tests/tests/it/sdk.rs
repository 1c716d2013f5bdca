//! The official clients of Cloudflare's API, unmodified, against the compatible one.

use std::{fs, path::Path};

use landfall_tests::{
    Authority, CUSTOMER_ZONE, DEADLINE, Fleet, Issued, Lab, Origin, tools, wait_until,
};
use reqwest::Method;
use serde_json::{Value, json};

/// The customer's DNS zone.
const ZONE: &str = "customer.example";

/// Installs the packages of one language, once, and says where they are.
async fn install(kind: &str) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/sdk/install");
    tools::run(script, &[kind]).await.expect_success().trim().to_owned()
}

/// Writes what the scripts upload.
fn write_certificates(folder: &Path, name: &str) {
    for (kind, issued) in [("ecdsa", Issued::new(name)), ("rsa", Issued::rsa(name))] {
        tools::write_private(&folder.join(format!("{kind}.key")), &issued.key_pem());
        fs::write(folder.join(format!("{kind}.pem")), issued.certificate_pem()).unwrap();
    }
}

/// A control plane and an edge with a property, which is the zone of that id, and the customer's DNS,
/// which leads elsewhere, and which no resolver may remember.
async fn start(origin: &Origin) -> (Lab, Authority, String) {
    let dns = Authority::start(&[(ZONE, "app 0 A 203.0.113.9")]).await;
    let lab = Lab::builder()
        .control_setting("dns.resolvers", vec![dns.address().to_string()])
        .control_setting("dns.zone_servers", false)
        .control_setting("internal_ca.external_hostnames", "verified")
        .start()
        .await;
    let property = lab.api().create_property("shop", origin.address()).await;
    let property = lab.api().read(&format!("/api/Property/{property}")).await;
    write_certificates(lab.folder(), "app.customer.example");
    let zone = property["zoneId"].as_str().unwrap().to_owned();
    (lab, dns, zone)
}

/// Runs a script, and has the customer's DNS lead to the edge once the script has written `mend`.
async fn run(tool: &str, args: &[&str], folder: &Path, mut dns: Authority) {
    let mend = async {
        wait_until("the script asks for other DNS", DEADLINE * 3, async || {
            folder.join("mend").exists().then_some(())
        })
        .await;
        dns.set(ZONE, "app 0 A 127.0.0.1").await;
        // It answers until the script has ended.
        std::future::pending().await
    };
    tokio::select! {
        ran = tools::run(tool, args) => ran.expect_success(),
        () = mend => unreachable!("it waits for the script"),
    };
}

#[tokio::test]
async fn the_python_client_runs_a_hostnames_whole_life() {
    let installed = install("python").await;
    let origin = Origin::start("shop").await;
    let (lab, dns, zone) = start(&origin).await;

    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/sdk/python/life_cycle.py");
    let url = format!("http://{}/client/v4", lab.control_address());
    let folder = lab.folder().to_str().unwrap();
    let args = [script, &url, lab.api_key(), &zone, folder];
    run(&format!("{installed}/bin/python3"), &args, lab.folder(), dns).await;
}

#[tokio::test]
async fn the_node_client_runs_a_hostnames_whole_life() {
    let installed = install("node").await;
    let origin = Origin::start("shop").await;
    let (lab, dns, zone) = start(&origin).await;

    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/sdk/node/life_cycle.cjs");
    let url = format!("http://{}/client/v4", lab.control_address());
    let folder = lab.folder().to_str().unwrap();
    let args = [script, &url, lab.api_key(), &zone, &installed, folder];
    run("node", &args, lab.folder(), dns).await;
}

#[tokio::test]
async fn the_python_client_reads_the_records_that_a_hostnames_owner_makes_for_a_ca() {
    let installed = install("python").await;
    let mut fleet = Fleet::builder(1).start().await;
    let origin = Origin::start("shop").await;
    let pointed = "www A 127.0.0.2\n";
    fleet.set_zone(CUSTOMER_ZONE, pointed).await;
    let api = fleet.lab.api();
    let id = api.create_property("shop", origin.address()).await;
    let property = api.read(&format!("/api/Property/{id}")).await;
    let name = format!("www.{CUSTOMER_ZONE}");

    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/sdk/python/dcv_records.py");
    let url = format!("http://{}/client/v4", fleet.lab.control_address());
    let args = [script, &url, fleet.lab.api_key(), property["zoneId"].as_str().unwrap(), &name];
    let printed = tools::run(&format!("{installed}/bin/python3"), &args).await.expect_success();
    let records: Value = serde_json::from_str(&printed).unwrap();

    let path = format!("/api/Property/{id}/hostname");
    let hostname = format!("{path}/{}", api.read(&path).await["items"][1]["id"]);
    let explained = api.read(&format!("{hostname}/explain")).await;
    assert_eq!(records, explained["jobs"][0]["txtRecords"], "{explained}");
    assert_eq!(records[0]["name"], format!("_acme-challenge.{name}"));
    let value = records[0]["value"].as_str().unwrap();
    fleet.set_zone(CUSTOMER_ZONE, &format!("{pointed}_acme-challenge.www TXT \"{value}\"")).await;
    let request = format!("{hostname}/request-certificate");
    api.must(Method::POST, &request, &json!({})).await;
    fleet.wait_until_served_everywhere(&name, "shop").await;
}
