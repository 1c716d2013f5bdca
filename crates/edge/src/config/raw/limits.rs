//! `[limits]` as it is written.

use std::time::Duration;

use bytesize::ByteSize;
use serde::Deserialize;

/// `[limits]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawLimits {
    /// Default: what the limit of open files is enough for.
    pub connections: Option<usize>,
    /// Default: 1,000.
    pub connections_per_address: u32,
    /// Default: 4,000.
    pub connections_per_prefix: u32,
    /// Default: 200.
    pub handshakes_per_address: u32,
    /// Default: 1,000.
    pub handshake_burst: u32,
    /// Default: 80% of what the control group or the machine has.
    pub memory: Option<ByteSize>,
    /// Default: `10s`.
    #[serde(with = "humantime_serde")]
    pub handshake_timeout: Duration,
    /// Default: `16KiB`.
    pub client_hello: ByteSize,
    /// Default: `10s`.
    #[serde(with = "humantime_serde")]
    pub header_timeout: Duration,
    /// Default: `32KiB`.
    pub header_size: ByteSize,
    /// Default: 100.
    pub header_count: usize,
    /// Default: `60s`.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    /// Default: 100.
    pub h2_streams: u32,
    /// Default: 1,000.
    pub h2_control_frames: u32,
    /// Default: 100.
    pub h2_resets: u32,
    /// Default: 10,000.
    pub h2_window_updates: u32,
    /// Default: 100,000.
    pub connection_requests: u32,
    /// Default: `1h`.
    #[serde(with = "humantime_serde")]
    pub connection_lifetime: Duration,
    /// Default: `60s`.
    #[serde(with = "humantime_serde")]
    pub request_body_timeout: Duration,
    /// Default: `6h`.
    #[serde(with = "humantime_serde")]
    pub request_body_total_timeout: Duration,
    /// Default: `240B`.
    pub request_body_min_rate: ByteSize,
    /// Default: `30s`.
    #[serde(with = "humantime_serde")]
    pub response_write_timeout: Duration,
    /// Default: `240B`.
    pub response_min_rate: ByteSize,
    /// Default: `30s`.
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
