//! Who is told of it: the service manager, and the log where a signal asked.

use landfall_tests::{DEADLINE, Lab, Node, tools::run, wait_until};
use rustix::process::{Pid, Signal};
use tokio::{net::UnixDatagram, time::timeout};

use super::Succession;

/// The next message with `part` in it.
async fn message_with(socket: &UnixDatagram, part: &str) -> String {
    let mut bytes = [0; 4096];
    loop {
        let received = timeout(DEADLINE, socket.recv(&mut bytes)).await;
        let length = received.unwrap_or_else(|_| panic!("no message with {part}")).unwrap();
        let message = String::from_utf8_lossy(&bytes[..length]).into_owned();
        if message.contains(part) {
            return message;
        }
    }
}

#[tokio::test]
async fn the_service_manager_is_told_who_serves_and_that_it_lives() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let lab = Lab::builder()
        .environment("NOTIFY_SOCKET", path.to_str().unwrap())
        .environment("WATCHDOG_USEC", "1000000");
    let mut edge = Succession::start(lab).await;
    message_with(&socket, "STATUS=waiting for the first state").await;
    message_with(&socket, "STATUS=serving").await;
    message_with(&socket, "WATCHDOG=1").await;

    edge.reload().await;

    let told = message_with(&socket, "MAINPID=").await;
    assert_eq!(told, format!("MAINPID={}\n", edge.pid().as_raw_nonzero()));
    let ready = message_with(&socket, "READY=1").await;
    assert!(ready.contains("STATUS=serving"), "{ready}");
    assert!(edge.lab.edge(0).ended(DEADLINE).await.success());
    for _ in 0..2 {
        message_with(&socket, "WATCHDOG=1").await;
    }
    rustix::process::kill_process(edge.pid(), Signal::TERM).unwrap();
    message_with(&socket, "STOPPING=1\nSTATUS=draining").await;
    edge.gone(edge.pid()).await;
}

#[tokio::test]
async fn a_hangup_hands_over_as_well() {
    let mut edge = Succession::start(Lab::builder()).await;
    edge.set("server", "threads", 0);
    edge.lab.signal_edge(0, Signal::HUP);
    edge.lab.edge(0).wait_for_log("the hand-over was refused").await;
    assert!(edge.lab.edge(0).log().contains("server.threads: expected at least 1"));
    edge.set("server", "threads", 1);
    edge.lab.signal_edge(0, Signal::HUP);
    edge.note_successor().await;
    assert!(edge.lab.edge(0).ended(DEADLINE).await.success());
    edge.lab.wait_until_served(0, super::SHOP, "shop").await;
}

/// Whether the process has a handler for SIGHUP.
fn handles_hangup(pid: Pid) -> bool {
    let path = format!("/proc/{}/status", pid.as_raw_nonzero());
    let status = std::fs::read_to_string(path).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    caught
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & 1 == 1)
}

#[tokio::test]
async fn while_it_starts_a_hangup_changes_nothing_and_a_stop_ends_it_at_once() {
    let folder = tempfile::tempdir().unwrap();
    // Nobody writes the config that it reads.
    let config = folder.path().join("edge.toml");
    run("mkfifo", &[config.to_str().unwrap()]).await.expect_success();
    let mut edge =
        Node::new("edge", &["edge", "--config", config.to_str().unwrap()], folder.path());
    edge.start();
    let pid = edge.pid();
    wait_until("it hears signals", DEADLINE, async || handles_hangup(pid).then_some(())).await;
    edge.signal(Signal::HUP);
    edge.wait_for_log("asked to hand over while it starts").await;
    assert!(edge.stop().await.success());
    assert!(edge.log().contains("told to stop while it starts"));
}
