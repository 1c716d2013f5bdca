//! `[limits]`, checked.

use std::time::Duration;

use bytesize::ByteSize;

use super::{
    super::{AdmissionLimits, FrameLimits, Limits, Pace, Rate, RawLimits},
    Checker,
};

/// The longest time for what may take long.
const MAX_LONG: Duration = Duration::from_hours(24 * 7);
/// The highest least speed, in bytes a second.
const MAX_RATE: u64 = 1 << 20;

/// No client that wants its responses sends any. Tests of a server's conformance send some.
const TINY_WINDOWS: Pace = Pace { interval: Duration::from_secs(1), burst: 100 };

impl Checker<'_> {
    pub(super) fn limits(&mut self, raw: &RawLimits) -> Limits {
        for (key, value) in [
            ("limits.header_count", raw.header_count),
            ("limits.h2_streams", raw.h2_streams as usize),
            ("limits.connections", raw.connections.unwrap_or(1)),
            ("limits.connection_requests", raw.connection_requests as usize),
            ("limits.h2_control_frames", raw.h2_control_frames as usize),
            ("limits.h2_resets", raw.h2_resets as usize),
            ("limits.h2_window_updates", raw.h2_window_updates as usize),
        ] {
            self.at_least_one(key, value);
        }
        self.timeout("limits.rate_grace", raw.rate_grace);
        Limits {
            connections: raw.connections,
            admission: self.admission(raw),
            memory: raw
                .memory
                .map(|memory| self.size("limits.memory", memory, 16 << 20, 1 << 50) as u64),
            handshake_timeout: self.timeout("limits.handshake_timeout", raw.handshake_timeout),
            // A message of TLS has at most 64 KiB here, and a ClientHello with post-quantum key
            // shares has about 2 KiB.
            client_hello: self.size("limits.client_hello", raw.client_hello, 1024, 64 << 10),
            header_timeout: self.timeout("limits.header_timeout", raw.header_timeout),
            header_size: self.size("limits.header_size", raw.header_size, 1024, 512 << 10),
            header_count: raw.header_count,
            idle_timeout: self.timeout("limits.idle_timeout", raw.idle_timeout),
            h2_streams: raw.h2_streams,
            h2_frames: FrameLimits {
                control: Pace::per_second(raw.h2_control_frames),
                resets: Pace::per_second(raw.h2_resets),
                windows: Pace::per_second(raw.h2_window_updates),
                tiny_windows: TINY_WINDOWS,
            },
            connection_requests: raw.connection_requests,
            connection_lifetime: self.long("limits.connection_lifetime", raw.connection_lifetime),
            request_body_timeout: self
                .timeout("limits.request_body_timeout", raw.request_body_timeout),
            request_body_total_timeout: self
                .long("limits.request_body_total_timeout", raw.request_body_total_timeout),
            request_body_rate: self.rate(
                "limits.request_body_min_rate",
                raw.request_body_min_rate,
                raw.rate_grace,
            ),
            response_write_timeout: self
                .timeout("limits.response_write_timeout", raw.response_write_timeout),
            response_rate: self.rate(
                "limits.response_min_rate",
                raw.response_min_rate,
                raw.rate_grace,
            ),
        }
    }

    fn admission(&mut self, raw: &RawLimits) -> AdmissionLimits {
        for (key, value) in [
            ("limits.connections_per_address", raw.connections_per_address),
            ("limits.connections_per_prefix", raw.connections_per_prefix),
            ("limits.handshakes_per_address", raw.handshakes_per_address),
            ("limits.handshake_burst", raw.handshake_burst),
        ] {
            self.at_least_one(key, value as usize);
        }
        let interval = Duration::from_secs(1) / raw.handshakes_per_address.max(1);
        AdmissionLimits {
            per_address: raw.connections_per_address,
            per_prefix: raw.connections_per_prefix,
            pace: Pace { interval, burst: raw.handshake_burst },
        }
    }

    fn at_least_one(&mut self, key: &str, value: usize) {
        if value == 0 {
            self.problem(key, "expected at least 1");
        }
    }

    fn long(&mut self, key: &str, value: Duration) -> Duration {
        self.duration(key, value, Duration::from_millis(1), MAX_LONG)
    }

    fn rate(&mut self, key: &str, value: ByteSize, grace: Duration) -> Rate {
        Rate { bytes: self.size(key, value, 0, MAX_RATE) as u64, grace }
    }
}
