//! What the control plane tells a service manager.

use landfall_tests::{DEADLINE, Lab};
use tokio::{net::UnixDatagram, time::timeout};

/// The next message.
async fn message(socket: &UnixDatagram) -> String {
    let mut bytes = [0; 4096];
    let length = timeout(DEADLINE, socket.recv(&mut bytes)).await.expect("a message").unwrap();
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

#[tokio::test]
async fn the_control_plane_tells_when_it_is_ready_that_it_lives_and_that_it_stops() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let mut lab = Lab::builder()
        .environment("NOTIFY_SOCKET", path.to_str().unwrap())
        .environment("WATCHDOG_USEC", "400000")
        .prepare()
        .await;

    lab.control().start();

    // The first sign of life may come before.
    let ready = loop {
        let message = message(&socket).await;
        if message != "WATCHDOG=1\n" {
            break message;
        }
    };
    let address = lab.control_address();
    assert_eq!(ready, format!("READY=1\nSTATUS=API and feed on {address}\n"));
    // Who is told so can ask at once.
    let answer = reqwest::get(format!("http://{address}/livez")).await.unwrap();
    assert_eq!(answer.status(), 200);
    for _ in 0..3 {
        assert_eq!(message(&socket).await, "WATCHDOG=1\n");
    }

    assert!(lab.control().stop().await.success());

    let stopping = loop {
        let message = message(&socket).await;
        if message != "WATCHDOG=1\n" {
            break message;
        }
    };
    assert!(stopping.starts_with("STOPPING=1\n"), "{stopping}");
}
