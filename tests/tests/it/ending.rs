//! How an edge ends when it is told to.

use landfall_tests::{DEADLINE, GatedOrigin, Lab, LabBuilder, wait_until};
use rustix::process::Signal;

const SHOP: &str = "shop.lab.localhost";

/// An edge that serves [`SHOP`] and whose drain is longer than any test.
async fn serving(origin: &GatedOrigin, lab: LabBuilder) -> Lab {
    let lab = lab.start().await;
    lab.api().create_property("shop", origin.origin().address()).await;
    origin.open();
    lab.wait_until_served(0, SHOP, "shop").await;
    lab
}

fn long_drain() -> LabBuilder {
    Lab::builder().edge_setting("server.drain", "1h")
}

#[tokio::test]
async fn an_edge_with_idle_connections_ends_long_before_its_drain() {
    let origin = GatedOrigin::start().await;
    let mut lab = serving(&origin, long_drain()).await;
    let client = lab.client(SHOP);
    let url = format!("https://{SHOP}:{}/", lab.https(0).port());
    assert_eq!(client.get(&url).send().await.unwrap().status(), 200);

    assert!(lab.edge(0).stop().await.success());
    drop(client);
}

#[tokio::test]
async fn what_was_asked_before_the_stop_is_answered_and_the_last_of_its_connection() {
    let origin = GatedOrigin::start().await;
    let mut lab = serving(&origin, long_drain()).await;
    origin.close();
    let before = origin.asked();
    let asking = async {
        let one = lab.curl(0, SHOP, "/", &["--include", "--http1.1"]);
        let two = lab.curl(0, SHOP, "/", &["--include", "--http2"]);
        tokio::join!(one, two)
    };
    let stopping = async {
        wait_until("both are asked", DEADLINE, async || {
            (origin.asked() == before + 2).then_some(())
        })
        .await;
        lab.signal_edge(0, Signal::TERM);
        wait_until("nothing is accepted", DEADLINE, async || {
            tokio::net::TcpStream::connect(lab.https(0)).await.err()
        })
        .await;
        assert_eq!(lab.read_admin(0, "/livez").await.unwrap().status, 200);
        origin.open();
    };

    let ((one, two), ()) = tokio::join!(asking, stopping);

    let one = one.expect_success().to_lowercase();
    assert!(one.starts_with("http/1.1 200") && one.contains("connection: close"), "{one}");
    let two = two.expect_success().to_lowercase();
    assert!(two.starts_with("http/2 200") && two.ends_with("shop"), "{two}");
    assert!(lab.edge(0).ended(DEADLINE).await.success());
}

#[tokio::test]
async fn a_second_signal_ends_the_edge_at_once() {
    for second in [Signal::TERM, Signal::INT] {
        let origin = GatedOrigin::start().await;
        let mut lab = serving(&origin, long_drain()).await;
        origin.close();
        let before = origin.asked();
        let asking = lab.curl(0, SHOP, "/", &[]);
        let stopping = async {
            wait_until("it is asked", DEADLINE, async || (origin.asked() > before).then_some(()))
                .await;
            lab.signal_edge(0, Signal::TERM);
            wait_until("nothing is accepted", DEADLINE, async || {
                tokio::net::TcpStream::connect(lab.https(0)).await.err()
            })
            .await;
            lab.signal_edge(0, second);
        };
        let (asked, ()) = tokio::join!(asking, stopping);
        assert!(!asked.status.success());
        assert!(lab.edge(0).ended(DEADLINE).await.success());
    }
}

#[tokio::test]
async fn an_interrupt_ends_the_edge_at_once() {
    let origin = GatedOrigin::start().await;
    let mut lab = serving(&origin, long_drain()).await;
    origin.close();
    let before = origin.asked();
    let asking = lab.curl(0, SHOP, "/", &[]);
    let stopping = async {
        wait_until("it is asked", DEADLINE, async || (origin.asked() > before).then_some(())).await;
        lab.signal_edge(0, Signal::INT);
    };
    let (asked, ()) = tokio::join!(asking, stopping);
    assert!(!asked.status.success());
    assert!(lab.edge(0).ended(DEADLINE).await.success());
}

#[tokio::test]
async fn what_is_still_open_at_the_end_of_the_drain_is_cut() {
    let origin = GatedOrigin::start().await;
    let lab = Lab::builder().edge_setting("server.drain", "300ms");
    let mut lab = serving(&origin, lab).await;
    origin.close();
    let before = origin.asked();
    let asking = lab.curl(0, SHOP, "/", &[]);
    let stopping = async {
        wait_until("it is asked", DEADLINE, async || (origin.asked() > before).then_some(())).await;
        lab.signal_edge(0, Signal::TERM);
    };
    let (asked, ()) = tokio::join!(asking, stopping);
    assert!(!asked.status.success());
    assert!(lab.edge(0).ended(DEADLINE).await.success());
    assert!(lab.edge(0).log().contains("still open at the end of the drain"));
}
