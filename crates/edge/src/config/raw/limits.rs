//! `[limits]` as it is written.

use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

/// `[limits]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawLimits {
    /// Clients' connections at once. Default: half of the limit of open files, less a reserve.
    pub connections: Option<usize>,
    /// Open connections of one address (of IPv6, a /64).
    pub connections_per_address: u32,
    /// Open connections of one network (IPv4: /24, IPv6: /48).
    pub connections_per_prefix: u32,
    /// New connections of one address in a second, in the long run.
    pub handshakes_per_address: u32,
    /// New connections of one address at once, after a rest.
    pub handshake_burst: u32,
    /// The most memory to use. Near it new connections are closed at once, at it requests get a 503
    /// too; what is being served goes on. Default: 80% of what the control group or the machine
    /// has.
    pub memory: Option<ByteSize>,
    /// From the connection to the end of its TLS handshake.
    #[serde(with = "humantime_serde")]
    pub handshake_timeout: Duration,
    /// Bytes that are read until the ClientHello is complete.
    pub client_hello: ByteSize,
    /// From the first byte of a request's header to its end, and for an HTTP/2 preface.
    #[serde(with = "humantime_serde")]
    pub header_timeout: Duration,
    /// A request's target and header fields together, and its trailers.
    pub header_size: ByteSize,
    /// Header fields of a request.
    pub header_count: usize,
    /// Between two requests of a connection, and before the first one.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    /// Requests at once on one HTTP/2 connection.
    pub h2_streams: u32,
    /// HTTP/2 frames of a connection in a second that do nothing for a request (SETTINGS, PING,
    /// PRIORITY, empty DATA, unknown ones), and twice as many at once.
    pub h2_control_frames: u32,
    /// Requests taken back (RST_STREAM) on an HTTP/2 connection in a second, and twice as many at
    /// once.
    pub h2_resets: u32,
    /// WINDOW_UPDATE frames of an HTTP/2 connection in a second, and twice as many at once.
    pub h2_window_updates: u32,
    /// Requests on a connection, after which it is closed in an orderly way.
    pub connection_requests: u32,
    /// The age of a connection after which it is closed in an orderly way.
    #[serde(with = "humantime_serde")]
    pub connection_lifetime: Duration,
    /// For the next piece of a request's body.
    #[serde(with = "humantime_serde")]
    pub request_body_timeout: Duration,
    /// For all of a request's body.
    #[serde(with = "humantime_serde")]
    pub request_body_total_timeout: Duration,
    /// Bytes a second that a client must send of its body; 0 is any speed. Only the time spent
    /// waiting for the client counts.
    pub request_body_min_rate: ByteSize,
    /// For a client to take the next piece of a response.
    #[serde(with = "humantime_serde")]
    pub response_write_timeout: Duration,
    /// Bytes a second that a client must take of a response; 0 is any speed. Only the time spent
    /// waiting for the client counts.
    pub response_min_rate: ByteSize,
    /// How far a client may be behind the two least speeds.
    #[serde(with = "humantime_serde")]
    pub rate_grace: Duration,
}

impl Default for RawLimits {
    fn default() -> Self {
        Self {
            connections: None,
            connections_per_address: 1000,
            connections_per_prefix: 4000,
            handshakes_per_address: 200,
            handshake_burst: 1000,
            memory: None,
            handshake_timeout: Duration::from_secs(10),
            client_hello: ByteSize::kib(16),
            header_timeout: Duration::from_secs(10),
            header_size: ByteSize::kib(32),
            header_count: 100,
            idle_timeout: Duration::from_secs(60),
            h2_streams: 100,
            h2_control_frames: 1000,
            h2_resets: 100,
            h2_window_updates: 10_000,
            connection_requests: 100_000,
            connection_lifetime: Duration::from_hours(1),
            request_body_timeout: Duration::from_secs(60),
            request_body_total_timeout: Duration::from_hours(6),
            request_body_min_rate: ByteSize::b(240),
            response_write_timeout: Duration::from_secs(30),
            response_min_rate: ByteSize::b(240),
            rate_grace: Duration::from_secs(30),
        }
    }
}
