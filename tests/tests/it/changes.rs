//! Changes that land while clients are served.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use landfall_tests::{Issued, Lab, Origin, run_landfall, tools};
use serde_json::json;

#[tokio::test]
async fn a_hostname_is_served_within_a_second_of_its_creation_and_refused_within_one_of_its_end() {
    let origin = Origin::start("shop").await;
    let lab = Lab::start().await;
    let property = lab.api().create_property("shop", origin.address()).await;
    let (mut created, mut deleted) = (Vec::new(), Vec::new());
    for n in 0..9 {
        let name = format!("h{n}.lab.localhost");
        let start = Instant::now();
        let hostname = lab.api().add_hostname(property, &name).await;
        lab.wait_until_served(0, &name, "shop").await;
        created.push(start.elapsed());
        let start = Instant::now();
        lab.api().remove_hostname(property, hostname).await;
        lab.wait_until_refused(0, &name).await;
        deleted.push(start.elapsed());
    }
    // The middle of nine: one slow moment of a busy machine is not the product's.
    for mut times in [created, deleted] {
        times.sort();
        assert!(times[4] < Duration::from_secs(1), "{times:?}");
    }
}

/// Runs h2load against a hostname of edge 0 until told to stop, each time on new connections.
/// Answers how many requests were made.
async fn load(lab: &Lab, hostname: &str, stop: &AtomicBool) -> u64 {
    let (address, mut requests) = (lab.https(0), 0);
    let connect_to = format!("--connect-to={}:{}", address.ip(), address.port());
    let url = format!("https://{hostname}:{}/", address.port());
    while !stop.load(Ordering::Relaxed) {
        let args = ["-n400", "-c8", "-m4", &connect_to, &url];
        let report = tools::run("h2load", &args).await.expect_success();
        let all_succeeded = report.contains(
            "400 total, 400 started, 400 done, 400 succeeded, 0 failed, 0 errored, 0 timeout",
        );
        assert!(all_succeeded, "{report}");
        assert!(report.contains("status codes: 400 2xx"), "{report}");
        requests += 400;
    }
    requests
}

async fn change(lab: &Lab, property: i64, replaced: i64) {
    let pairs = [0, 1].map(|_| Issued::new("replaced.lab.localhost"));
    let pem = pairs.map(|issued| (issued.certificate_pem(), issued.key_pem()));
    for n in 0..1_000 {
        let (chain, key) = &pem[n % 2];
        let uploaded = lab.api().upload(property, replaced, chain, key).await;
        assert!((200..300).contains(&uploaded.status), "{}", uploaded.text);
        lab.api().add_hostname(property, &format!("new{n}.lab.localhost")).await;
    }
}

async fn failed_handshakes(lab: &Lab) -> f64 {
    let all = lab.metric(0, "landfall_handshakes_total", "").await.unwrap();
    all - lab.metric(0, "landfall_handshakes_total", "result=\"ok\"").await.unwrap()
}

#[tokio::test]
async fn a_thousand_replacements_and_additions_fail_no_request_and_no_handshake() {
    let origin = Origin::start("shop").await;
    let lab = Lab::start().await;
    let property = lab.api().create_property("shop", origin.address()).await;
    let replaced = lab.api().add_hostname(property, "replaced.lab.localhost").await;
    lab.wait_until_served(0, "replaced.lab.localhost", "shop").await;
    // Those of a client that came before the hostname did.
    let failed_before = failed_handshakes(&lab).await;
    let stop = Arc::new(AtomicBool::new(false));
    let changing = async {
        change(&lab, property, replaced).await;
        stop.store(true, Ordering::Relaxed);
    };

    let (steady, replaced, ()) = tokio::join!(
        load(&lab, "shop.lab.localhost", &stop),
        load(&lab, "replaced.lab.localhost", &stop),
        changing,
    );

    assert!(steady > 0 && replaced > 0);
    assert_eq!(failed_handshakes(&lab).await, failed_before);
    lab.wait_until_served(0, "new999.lab.localhost", "shop").await;
    let rejected = lab.metric(0, "landfall_feed_records_rejected_total", "").await;
    assert_eq!(rejected.unwrap_or(0.0), 0.0);
}

#[tokio::test]
async fn a_new_edge_takes_a_snapshot_and_so_does_one_after_a_restore_of_the_control_plane() {
    let origin = Origin::start("shop").await;
    let mut lab = Lab::builder().edges(2).start().await;
    let property = lab.api().create_property("shop", origin.address()).await;
    let gone = lab.api().add_hostname(property, "gone.lab.localhost").await;
    lab.wait_until_served(1, "gone.lab.localhost", "shop").await;
    lab.edge(1).kill().await;
    lab.api().remove_hostname(property, gone).await;
    let config = lab.control_config();
    let args = ["feed", "new-epoch", "--config", config.to_str().unwrap()];
    assert!(run_landfall(&args).await.status.success());
    lab.api().add_hostname(property, "late.lab.localhost").await;

    lab.edge(1).start();

    for edge in [0, 1] {
        lab.wait_until_served(edge, "late.lab.localhost", "shop").await;
        lab.wait_until_served(edge, "shop.lab.localhost", "shop").await;
        lab.wait_until_refused(edge, "gone.lab.localhost").await;
    }
    let snapshots = lab.metric(0, "landfall_feed_snapshots_applied_total", "").await;
    assert_eq!(snapshots, Some(2.0));
}

#[tokio::test]
async fn requests_on_a_kept_connection_are_misdirected_once_the_hostname_is_gone() {
    let origin = Origin::start("shop").await;
    let lab = Lab::start().await;
    let property = lab.api().create_property("shop", origin.address()).await;
    let hostname = lab.api().add_hostname(property, "www.lab.localhost").await;
    lab.wait_until_served(0, "www.lab.localhost", "shop").await;
    let client = lab.client("www.lab.localhost");
    let url = format!("https://www.lab.localhost:{}/", lab.https(0).port());
    assert_eq!(client.get(&url).send().await.unwrap().status(), 200);

    lab.api().remove_hostname(property, hostname).await;

    landfall_tests::wait_until(
        "the kept connection is refused",
        landfall_tests::DEADLINE,
        async || {
            let answer = client.get(&url).send().await;
            answer.map_or(true, |answer| answer.status() == 421).then_some(())
        },
    )
    .await;
    let path = format!("/api/Property/{property}/hostname/{hostname}");
    let missing = lab.api().send(reqwest::Method::GET, &path, &json!(null)).await;
    assert_eq!(missing.status, 404);
}
