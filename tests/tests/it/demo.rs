//! `landfall demo`: the main job in one command.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use landfall_tests::{
    DEADLINE, Node,
    acme::PebbleVersion,
    run_landfall,
    tools::{self, Ran},
    wait_until,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

fn demo(folder: &Path) -> Node {
    let dir = folder.join("demo");
    let args = ["demo", "--dir", dir.to_str().unwrap()];
    let ports =
        ["--https-port=0", "--http-port=0", "--api-port=0", "--admin-port=0", "--dns-port=0"];
    Node::new("demo", &[&args[..], &ports].concat(), folder)
}

/// Where this machine has pebble installed, the demo does not find it.
async fn start(folder: &Path) -> (Node, Value) {
    start_with(folder, "").await
}

async fn start_with(folder: &Path, path: &str) -> (Node, Value) {
    let mut node = demo(folder).environment("PATH", path);
    // What an earlier start said is not what this one says.
    node.clear_log();
    node.start();
    node.wait_for_log("demo ready").await;
    let text = fs::read_to_string(folder.join("demo/demo.json")).unwrap();
    (node, serde_json::from_str(&text).unwrap())
}

async fn curl(demo: &Value, hostname: &str) -> String {
    let https = demo["https"].as_str().unwrap();
    let port = https.rsplit(':').next().unwrap();
    let resolve = format!("{hostname}:{port}:127.0.0.1");
    let url = format!("https://{hostname}:{port}/");
    let ca = demo["ca"].as_str().unwrap();
    let args = ["-sS", "--fail", "--cacert", ca, "--resolve", &resolve, &url];
    tools::run("curl", &args).await.expect_success()
}

#[tokio::test]
async fn serves_three_hostnames_over_tls_with_nothing_set_up() {
    let folder = tempfile::tempdir().unwrap();
    let (mut node, demo) = start(folder.path()).await;
    let expected = [
        ("shop.demo.localhost", "origin: shop\n"),
        ("blog.demo.localhost", "origin: blog\n"),
        ("any.apps.demo.localhost", "origin: shop\n"),
    ];
    for (hostname, origin) in expected {
        let body = curl(&demo, hostname).await;
        assert!(body.starts_with(origin), "{body}");
        assert!(body.contains(&format!("x-forwarded-host: {hostname}")), "{body}");
        assert!(body.contains("x-forwarded-for: 127.0.0.1"), "{body}");
        assert!(body.contains("x-forwarded-proto: https"), "{body}");
    }
    assert!(node.stop().await.success());
}

#[tokio::test]
async fn serves_a_customers_hostname_once_its_dns_leads_here_and_after_another_start() {
    const CUSTOMER: &str = "www.customer.test";
    let folder = tempfile::tempdir().unwrap();
    let (mut node, demo) = start(folder.path()).await;
    let log = node.log();
    let mut rest = log.as_str();
    for line in [
        "leads elsewhere (www.customer.test. A 192.0.2.10)",
        "www.customer.test: PendingValidation",
        "record to create: type CNAME, name www.customer.test, target shop.demo.localhost",
        "request-certificate: 400, Replace the A record 192.0.2.10 of www.customer.test by a CNAME",
        "Resolved: 192.0.2.10. Expected: 127.0.0.1.",
        "changes the record: www.customer.test. CNAME shop.demo.localhost.",
        "request-certificate: 200, Active",
        "served: https://www.customer.test:",
        "--resolve www.customer.test:",
    ] {
        let (_, after) = rest.split_once(line).unwrap_or_else(|| panic!("no {line:?} in {log}"));
        rest = after;
    }
    assert!(curl(&demo, CUSTOMER).await.starts_with("origin: shop\n"));
    assert!(node.stop().await.success());

    let (mut node, demo) = start(folder.path()).await;

    assert!(!node.log().contains("PendingValidation"), "{}", node.log());
    assert!(curl(&demo, CUSTOMER).await.starts_with("origin: shop\n"));
    assert!(node.stop().await.success());
}

/// Whether a hostname is served under a certificate of pebble.
async fn is_by_pebble(demo: &Value, hostname: &str) -> bool {
    let args = ["s_client", "-connect", demo["https"].as_str().unwrap(), "-servername", hostname];
    let shown = tools::run("openssl", &args).await.all();
    shown.lines().any(|line| line.starts_with("issuer=") && line.contains("Pebble"))
}

#[tokio::test]
async fn a_customers_hostname_gets_its_certificate_from_pebble_where_that_is_installed() {
    let folder = tempfile::tempdir().unwrap();
    let program = PathBuf::from(PebbleVersion::Newest.program().await);
    let path = format!("{}:/usr/bin:/bin", program.parent().unwrap().display());

    let (mut node, demo) = start_with(folder.path(), &path).await;

    assert_eq!(demo["issuer"], "pebble");
    let log = node.log();
    assert!(log.contains("certificates of a real CA, by ACME: /"), "{log}");
    assert!(log.contains("its certificate is of CN=Pebble Intermediate CA"), "{log}");
    assert!(curl(&demo, "www.customer.test").await.starts_with("origin: shop\n"));
    assert!(is_by_pebble(&demo, "www.customer.test").await);
    assert!(!is_by_pebble(&demo, "shop.demo.localhost").await);
    assert!(node.stop().await.success());

    // Pebble has forgotten the account and its own root.
    let (mut node, demo) = start_with(folder.path(), &path).await;
    assert!(curl(&demo, "www.customer.test").await.starts_with("origin: shop\n"));
    let key = format!("X-API-Key: {}", demo["api_key"].as_str().unwrap());
    let url = format!("http://{}/api/Property/1/hostname", demo["api"].as_str().unwrap());
    let body = r#"{"name": "mine.customer.test"}"#;
    tools::run("curl", &["-sS", "--fail", "-H", &key, "--json", body, &url]).await.expect_success();
    wait_until("a hostname that is added is served", DEADLINE, async || {
        is_by_pebble(&demo, "mine.customer.test").await.then_some(())
    })
    .await;
    assert!(curl(&demo, "mine.customer.test").await.starts_with("origin: shop\n"));
    assert!(node.stop().await.success());
}

#[tokio::test]
async fn starts_again_in_the_same_folder_with_what_it_had() {
    let folder = tempfile::tempdir().unwrap();
    let (mut node, before) = start(folder.path()).await;
    let ca = fs::read(before["ca"].as_str().unwrap()).unwrap();
    assert!(node.stop().await.success());

    let (mut node, after) = start(folder.path()).await;

    assert_eq!(before["api_key"], after["api_key"]);
    assert_eq!(ca, fs::read(after["ca"].as_str().unwrap()).unwrap());
    assert!(curl(&after, "blog.demo.localhost").await.starts_with("origin: blog\n"));
    assert!(node.stop().await.success());
}

#[tokio::test]
async fn its_secrets_are_readable_by_their_owner_alone_and_its_configs_are_valid() {
    let folder = tempfile::tempdir().unwrap();
    let (mut node, demo) = start(folder.path()).await;
    for name in ["demo.json", "api-key", "pop-token", "keys/group.key", "control.log"] {
        let path = folder.path().join("demo").join(name);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
    for config in ["control_config", "edge_config"] {
        let path = demo[config].as_str().unwrap();
        let checked = Ran::from(run_landfall(&["check-config", "--files", path]).await);
        let ok = checked.expect_success();
        assert!(ok.ends_with(" config is ok, and so are the files that it names\n"), "{ok}");
    }
    assert!(node.stop().await.success());
}

#[tokio::test]
async fn its_configs_run_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let (mut node, demo) = start(folder.path()).await;
    assert!(node.stop().await.success());
    let node = |name: &str, config: &str| {
        let mut node =
            Node::new(name, &[name, "--config", demo[config].as_str().unwrap()], folder.path());
        node.start();
        node
    };

    let _control = node("control", "control_config");
    let _edge = node("edge", "edge_config");

    for address in ["api", "admin"] {
        let url = format!("http://{}/readyz", demo[address].as_str().unwrap());
        wait_until(&url, DEADLINE, async || {
            tools::run("curl", &["-sf", &url]).await.status.success().then_some(())
        })
        .await;
    }
    // The demo's origin is gone: the edge says so, under the hostname's own certificate.
    let port = demo["https"].as_str().unwrap().rsplit(':').next().unwrap();
    let url = format!("https://shop.demo.localhost:{port}/");
    let ca = demo["ca"].as_str().unwrap();
    let args = ["-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", ca, &url];
    assert_eq!(tools::run("curl", &args).await.expect_success(), "502");
}

#[tokio::test]
async fn its_processes_end_with_it_even_when_it_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let (mut node, demo) = start(folder.path()).await;
    let edge = demo["https"].as_str().unwrap();

    node.kill().await;

    wait_until("the edge's port is free", DEADLINE, async || {
        TcpStream::connect(edge).is_err().then_some(())
    })
    .await;
}

#[tokio::test]
async fn names_the_port_that_is_in_use_before_it_starts_anything() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("demo");
    let args = ["demo", "--dir", dir.to_str().unwrap(), "--https-port", &port];

    let ran = Ran::from(run_landfall(&args).await);

    assert_eq!(ran.status.code(), Some(1));
    assert!(ran.stderr.contains("--https-port") && ran.stderr.contains(&port), "{}", ran.stderr);
    assert!(!dir.join("control.log").exists());
}

#[tokio::test]
async fn says_which_of_its_processes_ended_and_stops_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let (mut node, demo) = start(folder.path()).await;
    let pid = node.pid().as_raw_nonzero();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let control = children.split_whitespace().map(|pid| pid.parse().unwrap()).min().unwrap();

    kill_process(Pid::from_raw(control).unwrap(), Signal::KILL).unwrap();
    let status = node.ended(DEADLINE).await;

    assert_eq!(status.code(), Some(1));
    assert!(node.log().contains("the demo's `control` ended"), "{}", node.log());
    let https = demo["https"].as_str().unwrap();
    assert!(TcpStream::connect(https).is_err());
}
