//! What the edge does when it is short of memory, and what it says of itself.

use crate::support::{Edge, Origin, exchange};

const LIVEZ: &[u8] = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

#[test]
fn short_of_memory_the_newest_connections_are_closed_and_operators_are_heard() {
    // Less than any process takes.
    let mut edge = Edge::start("[limits]\nmemory = \"16MiB\"");
    edge.serve("shop.example", Origin::start().address());
    edge.wait_for_metric("landfall_memory_pressure", 2.0);
    assert!(exchange(edge.https(), b"").is_empty());
    let told = exchange(edge.http(), b"");
    assert!(told.is_empty() || told.starts_with(b"HTTP/1.1 503 "), "{told:?}");
    edge.wait_for_metric("landfall_connections_shed_total{reason=\"memory\"}", 2.0);
    assert!(exchange(edge.addresses.admin, LIVEZ).starts_with(b"HTTP/1.1 200"));
}

#[test]
fn says_what_the_process_takes() {
    let edge = Edge::start("");
    for name in [
        "process_cpu_seconds_total",
        "process_open_fds",
        "process_max_fds",
        "process_resident_memory_bytes",
        "process_virtual_memory_bytes",
        "process_start_time_seconds",
        "landfall_memory_limit_bytes",
    ] {
        assert!(edge.metric(name) > 0.0, "{name}");
    }
}
