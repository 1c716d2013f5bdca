//! Under load.

use std::sync::atomic::{AtomicBool, Ordering};

use landfall_tests::{Lab, tools::run};

use super::{SHOP, Succession};

/// How many in a row.
const TIMES: usize = 20;

/// Runs a tool until `is_over`, and after it once more: every report is to be of `is_clean`.
async fn press(is_over: &AtomicBool, tool: &str, args: &[&str], is_clean: fn(&str) -> bool) -> u32 {
    let mut runs = 0;
    loop {
        let was_over = is_over.load(Ordering::Relaxed);
        let report = run(tool, args).await.expect_success();
        assert!(is_clean(&report), "{tool} {args:?}: {report}");
        runs += 1;
        if was_over {
            return runs;
        }
    }
}

/// wrk says nothing of errors where there are none.
fn is_clean_for_wrk(report: &str) -> bool {
    !report.contains("Socket errors")
        && !report.contains("Non-2xx")
        && !report.contains(" 0 requests in")
}

fn is_clean_for_h2load(report: &str) -> bool {
    report.contains(" 0 failed, 0 errored, 0 timeout") && !report.contains("succeeded, 0 done")
}

/// curl says the status of each request, and 000 where there was none.
fn is_clean_for_curl(report: &str) -> bool {
    let mut statuses = report.split_ascii_whitespace();
    !report.is_empty() && statuses.all(|status| status == "200")
}

#[tokio::test]
async fn ten_in_a_row_fail_no_request_on_h2_connections_that_are_always_in_use() {
    let lab = Lab::builder().edge_setting("server.handover_drain", "20s");
    let mut edge = Succession::start(lab).await;
    let ca = edge.lab.root_certificate().to_string_lossy().into_owned();
    let port = edge.lab.https(0).port();
    let resolve = format!("{SHOP}:{port}:{}", edge.lab.https(0).ip());
    let urls = format!("https://{SHOP}:{port}/[1-2000]");
    // Thirty streams at a time on one connection, for as long as that takes requests.
    let args = ["-sZ", "--parallel-max", "30", "--http2", "--cacert", &ca, "--resolve", &resolve];
    let args = [&args[..], &["-o", "/dev/null", "-w", "%{http_code}\n", &urls]].concat();
    let is_over = AtomicBool::new(false);
    let handing_over = async {
        for _ in 0..TIMES / 2 {
            edge.reload().await;
        }
        is_over.store(true, Ordering::Relaxed);
    };
    let ((), runs) = tokio::join!(handing_over, press(&is_over, "curl", &args, is_clean_for_curl));
    assert!(runs > 0);
}

#[tokio::test]
async fn twenty_in_a_row_fail_no_request_and_no_handshake() {
    let lab = Lab::builder()
        .edge_setting("server.handover_drain", "20s")
        // wrk names the address.
        .edge_setting("tls.default_hostname", SHOP);
    let mut edge = Succession::start(lab).await;
    let (is_over, address) = (AtomicBool::new(false), edge.lab.https(0).to_string());
    let (host, at) = (format!("Host: {SHOP}"), format!("https://{address}/"));
    let of_shop = format!("https://{SHOP}:{}/", edge.lab.https(0).port());
    let connect_to = format!("--connect-to={address}");
    let kept = ["-t1", "-c4", "-d4s", "-H", &host, &at];
    let new_each = ["-t1", "-c2", "-d4s", "-H", &host, "-H", "Connection: close", &at];
    let h1 = ["--h1", "-n400", "-c4", &connect_to, &of_shop];
    // It never connects again after a GOAWAY: requests that it has not sent then are lost with it.
    let h2 = ["-n16", "-c4", "-m4", &connect_to, &of_shop];

    let handing_over = async {
        let mut before = Vec::new();
        for _ in 0..TIMES {
            before.push(edge.reload().await);
        }
        is_over.store(true, Ordering::Relaxed);
        before
    };
    let (before, ..) = tokio::join!(
        handing_over,
        press(&is_over, "wrk", &kept, is_clean_for_wrk),
        press(&is_over, "wrk", &new_each, is_clean_for_wrk),
        press(&is_over, "h2load", &h1, is_clean_for_h2load),
        press(&is_over, "h2load", &h2, is_clean_for_h2load),
    );

    assert!(edge.lab.edge(0).ended(landfall_tests::DEADLINE).await.success());
    for pid in before {
        edge.gone(pid).await;
    }
    assert_eq!(
        edge.lab.metric(0, "landfall_handovers_total", r#"result="taken_over""#).await,
        Some(1.0)
    );
}
