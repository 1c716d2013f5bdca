//! The official clients of Cloudflare's API, unmodified, against the compatible one.

use std::{fs, path::Path};

use landfall_tests::{Issued, Lab, Origin, tools};

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

/// A control plane and an edge with a property, which is the zone of that id.
async fn start(origin: &Origin) -> (Lab, String) {
    let lab = Lab::start().await;
    let property = lab.api().create_property("shop", origin.address()).await;
    let property = lab.api().read(&format!("/api/Property/{property}")).await;
    write_certificates(lab.folder(), "app.customer.example");
    let zone = property["zoneId"].as_str().unwrap().to_owned();
    (lab, zone)
}

#[tokio::test]
async fn the_python_client_runs_a_hostnames_whole_life() {
    let installed = install("python").await;
    let origin = Origin::start("shop").await;
    let (lab, zone) = start(&origin).await;

    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/sdk/python/life_cycle.py");
    let url = format!("http://{}/client/v4", lab.control_address());
    let folder = lab.folder().to_str().unwrap();
    let args = [script, &url, lab.api_key(), &zone, folder];
    tools::run(&format!("{installed}/bin/python3"), &args).await.expect_success();
}

#[tokio::test]
async fn the_node_client_runs_a_hostnames_whole_life() {
    let installed = install("node").await;
    let origin = Origin::start("shop").await;
    let (lab, zone) = start(&origin).await;

    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/sdk/node/life_cycle.cjs");
    let url = format!("http://{}/client/v4", lab.control_address());
    let folder = lab.folder().to_str().unwrap();
    let args = [script, &url, lab.api_key(), &zone, &installed, folder];
    tools::run("node", &args).await.expect_success();
}
