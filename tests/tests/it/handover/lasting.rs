//! What lasts over hand-overs, and what changes by them.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use axum::{
    Router,
    body::{Body, Bytes},
};
use landfall_tests::{DEADLINE, Lab, Origin, free_ports, tools::run, wait_until};
use rustix::process::{Signal, kill_process};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
};

use super::{SHOP, Succession, is_running, seconds};

/// An origin whose answer to `/long` goes on until it is told to end.
async fn dripping() -> (Origin, Arc<AtomicBool>) {
    let is_over = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&is_over);
    let long = async move || {
        let chunks = futures_util::stream::unfold(over, async |over| {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            let chunk = Ok::<_, Infallible>(Bytes::from_static(b"."));
            (!over.load(Ordering::Relaxed)).then_some((chunk, over))
        });
        Body::from_stream(chunks)
    };
    let router = Router::new().route("/long", axum::routing::get(long)).fallback(async || "shop");
    (Origin::with_router(router).await, is_over)
}

#[tokio::test]
async fn a_long_download_goes_on_over_three_hand_overs() {
    let (origin, is_over) = dripping().await;
    let mut edge = Succession::before(Lab::builder(), origin.address()).await;
    edge.lab.wait_until_served(0, SHOP, "shop").await;
    let client = edge.lab.client(SHOP);
    let url = format!("https://{SHOP}:{}/long", edge.lab.https(0).port());
    let mut download = client.get(&url).send().await.unwrap();
    assert!(download.chunk().await.unwrap().is_some());

    let first = edge.reload().await;
    for _ in 0..2 {
        let next = edge.reload().await;
        edge.gone(next).await;
    }

    assert!(is_running(first));
    assert!(download.chunk().await.unwrap().is_some());
    is_over.store(true, Ordering::Relaxed);
    while download.chunk().await.expect("it ends as it should").is_some() {}
    assert!(edge.lab.edge(0).ended(DEADLINE).await.success());
}

/// An origin that answers `/held` a while after it is told to: for how long an idle connection is kept
/// at a stop has passed then.
async fn holding() -> (Origin, Arc<Notify>, Arc<AtomicU32>) {
    let (go_on, held) = (Arc::new(Notify::new()), Arc::new(AtomicU32::new(0)));
    let (told, count) = (Arc::clone(&go_on), Arc::clone(&held));
    let hold = async move || {
        let go_on = told.notified();
        count.fetch_add(1, Ordering::Relaxed);
        go_on.await;
        tokio::time::sleep(std::time::Duration::from_millis(700)).await;
        "held"
    };
    let router = Router::new().route("/held", axum::routing::get(hold)).fallback(async || "shop");
    (Origin::with_router(router).await, go_on, held)
}

#[tokio::test]
async fn responses_that_end_long_after_the_goaway_arrive_whole() {
    let (origin, go_on, held) = holding().await;
    let mut edge = Succession::before(Lab::builder(), origin.address()).await;
    edge.lab.wait_until_served(0, SHOP, "shop").await;
    let ca = edge.lab.root_certificate().to_string_lossy().into_owned();
    let https = edge.lab.https(0);
    let resolve = format!("{SHOP}:{}:{}", https.port(), https.ip());
    let urls = format!("https://{SHOP}:{}/held?[1-8]", https.port());
    let args = ["-sSZ", "--http2", "--cacert", &ca, "--resolve", &resolve, &urls];
    for round in 1..=5 {
        let reloading = async {
            wait_until("all are held", DEADLINE, async || {
                (held.load(Ordering::Relaxed) == 8 * round).then_some(())
            })
            .await;
            let old = edge.reload().await;
            go_on.notify_waiters();
            edge.gone(old).await;
        };
        let (told, ()) = tokio::join!(run("curl", &args), reloading);
        assert_eq!(told.expect_success(), "held".repeat(8));
    }
}

#[tokio::test]
async fn an_idle_connection_has_one_more_request_after_a_hand_over() {
    let mut edge = Succession::start(Lab::builder()).await;
    let mut idle = TcpStream::connect(edge.lab.http(0)).await.unwrap();
    let mut ask = async || {
        let request = format!("GET / HTTP/1.1\r\nHost: {SHOP}\r\n\r\n");
        idle.write_all(request.as_bytes()).await.unwrap();
        let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
        while !answer.ends_with(b"\r\n\r\n") {
            let count = idle.read(&mut piece).await.unwrap();
            assert_ne!(count, 0, "closed after {:?}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&piece[..count]);
        }
        String::from_utf8(answer).unwrap().to_ascii_lowercase()
    };
    let first = ask().await;
    assert!(first.starts_with("http/1.1 308") && !first.contains("connection: close"), "{first}");
    let old = edge.reload().await;
    // At a stop it would have been closed by then.
    tokio::time::sleep(std::time::Duration::from_millis(700)).await;
    let last = ask().await;
    assert!(last.contains("connection: close"), "{last}");
    edge.gone(old).await;
}

#[tokio::test]
async fn no_more_than_four_processes_drain() {
    let (origin, _is_over) = dripping().await;
    let mut edge = Succession::before(Lab::builder(), origin.address()).await;
    edge.lab.wait_until_served(0, SHOP, "shop").await;
    let url = format!("https://{SHOP}:{}/long", edge.lab.https(0).port());
    let mut downloads = Vec::new();
    let mut old = Vec::new();
    // The process before may accept a connection until its listeners are closed, and the one that has none
    // ends by itself: a few more than five may be needed.
    for _ in 0..10 {
        let mut download = edge.lab.client(SHOP).get(&url).send().await.unwrap();
        assert!(download.chunk().await.unwrap().is_some());
        downloads.push(download);
        old.push(edge.reload().await);
    }
    edge.gone(old[0]).await;
    let draining = || old.iter().filter(|pid| is_running(**pid)).count();
    wait_until("no more than four drain", DEADLINE, async || (draining() <= 4).then_some(())).await;
    assert!(draining() >= 2, "others than the oldest were ended");
}

#[tokio::test]
async fn a_stop_shortens_the_drain_of_what_was_handed_over() {
    let (origin, _is_over) = dripping().await;
    let lab = Lab::builder().edge_setting("server.drain", "200ms");
    let mut edge = Succession::before(lab, origin.address()).await;
    edge.lab.wait_until_served(0, SHOP, "shop").await;
    let url = format!("https://{SHOP}:{}/long", edge.lab.https(0).port());
    let mut download = edge.lab.client(SHOP).get(&url).send().await.unwrap();
    assert!(download.chunk().await.unwrap().is_some());
    let old = edge.reload().await;
    assert!(is_running(old));

    kill_process(old, Signal::TERM).unwrap();

    assert!(edge.lab.edge(0).ended(seconds(20)).await.success());
    edge.lab.wait_until_served(0, SHOP, "shop").await;
}

#[tokio::test]
async fn listeners_are_added_and_removed_and_the_operators_one_is_moved() {
    let mut edge = Succession::start(Lab::builder()).await;
    let [added, admin] = free_ports();
    let removed = edge.lab.http(0);
    edge.set("listen", "http", vec![format!("127.0.0.1:{added}")]);
    edge.set("listen", "admin", format!("127.0.0.1:{admin}"));

    let old = edge.reload().await;

    TcpStream::connect(("127.0.0.1", added)).await.unwrap();
    wait_until("the removed one is closed", DEADLINE, async || {
        TcpStream::connect(removed).await.err()
    })
    .await;
    wait_until("the operators' one is closed", DEADLINE, async || {
        TcpStream::connect(edge.lab.admin(0)).await.err()
    })
    .await;
    let ready = reqwest::get(format!("http://127.0.0.1:{admin}/readyz")).await.unwrap();
    assert_eq!(ready.status(), 200);
    edge.lab.wait_until_served(0, SHOP, "shop").await;
    edge.gone(old).await;
}

#[tokio::test]
async fn the_new_process_follows_the_feed_and_may_be_killed_or_stopped_like_any() {
    let mut edge = Succession::start(Lab::builder()).await;
    let origin = Origin::start("more").await;
    let old = edge.reload().await;
    assert!(edge.lab.edge(0).ended(DEADLINE).await.success());
    edge.gone(old).await;
    edge.serves_and_follows("more", origin.address()).await;

    kill_process(edge.pid(), Signal::KILL).unwrap();
    edge.gone(edge.pid()).await;
    edge.lab.edge(0).start();
    edge.lab.wait_until_served(0, "more.lab.localhost", "more").await;
}

#[tokio::test]
async fn another_run_directory_is_taken_up_and_the_socket_in_the_old_one_removed() {
    let mut edge = Succession::start(Lab::builder()).await;
    let old_socket = edge.lab.folder().join("edge0/edge.sock");
    assert!(old_socket.exists());
    edge.set("server", "run_directory", "run");

    // `landfall reload` would ask in the new one.
    edge.lab.signal_edge(0, Signal::HUP);
    edge.note_successor().await;
    assert!(edge.lab.edge(0).ended(DEADLINE).await.success());

    assert!(!old_socket.exists());
    let old = edge.reload().await;
    edge.gone(old).await;
    assert!(edge.lab.folder().join("run/edge.sock").exists());
}
