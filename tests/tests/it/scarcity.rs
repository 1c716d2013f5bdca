//! An edge that is short of file descriptors or of memory: it serves what it has, and recovers.

use landfall_tests::{DEADLINE, GatedOrigin, Lab, LabBuilder, tools, wait_until};
use reqwest::Client;
use tokio::{io::AsyncWriteExt, net::TcpStream};

const SHOP: &str = "shop.lab.localhost";
/// Room for 64 connections.
const DESCRIPTORS: u32 = 256;

async fn serving(origin: &GatedOrigin, lab: LabBuilder) -> Lab {
    let lab = lab.start().await;
    lab.api().create_property("shop", origin.origin().address()).await;
    origin.open();
    lab.wait_until_served(0, SHOP, "shop").await;
    lab
}

/// A client with one connection, which is open and kept.
async fn connected(lab: &Lab) -> (Client, String) {
    let (client, url) = (lab.client(SHOP), format!("https://{SHOP}:{}/", lab.https(0).port()));
    assert_eq!(client.get(&url).send().await.unwrap().text().await.unwrap(), "shop");
    (client, url)
}

async fn wait_for_metric(lab: &Lab, name: &str, labels: &str, least: f64) {
    wait_until(&format!("{name} is {least}"), DEADLINE, async || {
        let value = lab.metric(0, name, labels).await.unwrap_or_default();
        (value >= least).then_some(())
    })
    .await;
}

#[tokio::test]
async fn idle_connections_take_no_descriptor_from_those_who_are_served() {
    let origin = GatedOrigin::start().await;
    let lab = Lab::builder()
        .edge_descriptors(DESCRIPTORS)
        .edge_setting("limits.handshake_timeout", "10m");
    let lab = serving(&origin, lab).await;
    let (client, url) = connected(&lab).await;

    let mut idle = Vec::new();
    for _ in 0..2 * DESCRIPTORS {
        idle.push(TcpStream::connect(lab.https(0)).await.unwrap());
    }
    wait_for_metric(&lab, "landfall_connections_shed_total", "", f64::from(DESCRIPTORS)).await;

    for _ in 0..10 {
        assert_eq!(client.get(&url).send().await.unwrap().status(), 200);
    }
    assert!(lab.get(0, SHOP, "/").await.is_err(), "a new connection is taken");
    assert_eq!(lab.read_admin(0, "/livez").await.unwrap().status, 200);
    drop(idle);
    lab.wait_until_served(0, SHOP, "shop").await;
}

#[tokio::test]
async fn requests_that_would_take_the_last_descriptors_are_refused_and_the_others_served() {
    let origin = GatedOrigin::start().await;
    let lab = serving(&origin, Lab::builder().edge_descriptors(DESCRIPTORS)).await;
    origin.close();
    let connect_to = format!("--connect-to={}", lab.https(0));
    let url = format!("https://{SHOP}:{}/", lab.https(0).port());
    let args = ["-n400", "-c4", "-m100", &connect_to, &url];
    let looking = async {
        wait_for_metric(&lab, "landfall_requests_total", "5xx", 100.0).await;
        assert_eq!(lab.read_admin(0, "/livez").await.unwrap().status, 200);
        assert!(lab.metric(0, "process_open_fds", "").await.unwrap() < f64::from(DESCRIPTORS));
        origin.open();
    };

    let (report, ()) = tokio::join!(tools::run("h2load", &args), looking);

    let report = report.expect_success();
    assert!(report.contains("400 done") && report.contains("0 errored, 0 timeout"), "{report}");
    assert!(!report.contains(" 0 2xx"), "{report}");
    lab.wait_until_served(0, SHOP, "shop").await;
}

#[tokio::test]
async fn an_edge_at_its_memory_limit_says_so_and_recovers_when_the_load_has_gone() {
    let origin = GatedOrigin::start().await;
    let lab = Lab::builder()
        .edge_setting("limits.memory", "256MiB")
        .edge_setting("limits.header_size", "512KiB")
        .edge_setting("limits.header_timeout", "10m");
    let lab = serving(&origin, lab).await;
    let (client, url) = connected(&lab).await;
    let mut hogs = Vec::new();
    for _ in 0..600 {
        hogs.push(TcpStream::connect(lab.http(0)).await.unwrap());
    }

    let header = format!("GET / HTTP/1.1\r\nHost: {SHOP}\r\nX: {}", "x".repeat(500 << 10));
    for hog in &mut hogs {
        // The edge may have closed it.
        let _ = hog.write_all(header.as_bytes()).await;
    }
    wait_for_metric(&lab, "landfall_memory_pressure", "", 2.0).await;

    let refused = client.get(&url).send().await.unwrap();
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    assert!(lab.get(0, SHOP, "/").await.is_err(), "a new connection is taken");
    assert_eq!(lab.read_admin(0, "/livez").await.unwrap().status, 200);
    drop(hogs);
    lab.wait_until_served(0, SHOP, "shop").await;
}

#[tokio::test]
async fn memory_that_a_burst_has_used_is_given_back_while_a_few_connections_stay() {
    let origin = GatedOrigin::start().await;
    let lab = Lab::builder()
        .edge_setting("limits.memory", "192MiB")
        .edge_setting("limits.header_size", "64KiB")
        .edge_setting("limits.header_timeout", "10m")
        .edge_setting("limits.connections_per_address", 10_000)
        .edge_setting("limits.connections_per_prefix", 10_000)
        .edge_setting("limits.handshakes_per_address", 10_000)
        .edge_setting("limits.handshake_burst", 10_000);
    let lab = serving(&origin, lab).await;
    let header = format!("GET / HTTP/1.1\r\nHost: {SHOP}\r\nX: {}", "x".repeat(50 << 10));

    let mut hogs = Vec::new();
    while lab.metric(0, "landfall_memory_pressure", "").await.unwrap_or_default() < 1.0 {
        for _ in 0..100 {
            let mut hog = TcpStream::connect(lab.http(0)).await.unwrap();
            // The edge may have closed it.
            let _ = hog.write_all(header.as_bytes()).await;
            hogs.push(hog);
        }
        assert!(hogs.len() < 20_000, "the memory never runs short");
    }

    // What they hold lies between what the others have held.
    let _kept: Vec<_> = hogs.into_iter().step_by(20).collect();
    lab.wait_until_served(0, SHOP, "shop").await;
}
