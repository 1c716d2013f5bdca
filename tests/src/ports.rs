use std::{
    net::TcpListener,
    sync::atomic::{AtomicU32, Ordering},
};

/// Below the range from which the system gives ports to outgoing connections: a port that is free
/// now is not taken by one before its process binds it.
const FIRST: u32 = 12_000;
const COUNT: u32 = 20_000;

/// Counts up over all tests of this process, so that no two of them get the same port.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// Ports on loopback that nobody listens on, each given out once.
///
/// For a process that has to come back at the same port. What can take any port uses 0.
///
/// # Panics
/// When every port is taken.
pub fn free_ports<const N: usize>() -> [u16; N] {
    [(); N].map(|()| free_port())
}

fn free_port() -> u16 {
    // Test processes that run at the same time start at different places.
    let offset = std::process::id().wrapping_mul(97);
    for _ in 0..COUNT {
        let number = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(offset) % COUNT;
        let port = u16::try_from(FIRST + number).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port from {FIRST} to {}", FIRST + COUNT);
}
