//! `[api]`: the listener, and what each client of it may take.

use std::{net::SocketAddr, time::Duration};

use bytesize::ByteSize;
use landfall_model::config::Problem;
use serde::{Deserialize, Serialize};

use crate::rate::Quota;

/// `[api]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawApi {
    /// Where the API, the feed and the health checks are served.
    pub listen: String,
    /// The largest request body.
    pub max_body: ByteSize,
    /// How long a request may take, a long poll's wait apart.
    #[serde(with = "humantime_serde")]
    pub request_timeout: Duration,
    /// How long a request's header may take to arrive.
    #[serde(with = "humantime_serde")]
    pub header_timeout: Duration,
    /// The most connections at a time. One more takes the place of the oldest that has shown no valid key or
    /// token yet, or waits in the listener's backlog.
    pub max_connections: u32,
    /// How many of these API keys never take: they are left for PoPs, health checks, and whoever has yet to
    /// show a key.
    pub reserved_connections: u32,
    /// The most connections at a time of one address (of IPv6, a /64) that have shown no valid key or token
    /// yet; one more takes the place of the oldest.
    pub max_unproven_connections: u32,
    /// The most connections at a time of one address (of IPv6, a /64) that have shown an API key; a request
    /// on one more is answered 429, and the connection closed.
    pub max_connections_per_address: u32,
    /// The most connections at a time of the keys for one property together, of a key for all properties, and
    /// of one PoP.
    pub max_connections_per_property: u32,
    /// How long requests in progress may go on once a stop is asked for.
    #[serde(with = "humantime_serde")]
    pub drain: Duration,
    /// How many requests a minute a key has.
    pub rate_limit: u32,
    /// How many requests a key has at once, after a rest.
    pub rate_burst: u32,
    /// How many requests a minute the keys for one property have together.
    pub property_rate_limit: u32,
    /// How many requests the keys for one property have together at once, after a rest.
    pub property_rate_burst: u32,
    /// The most keys for one property that are neither revoked nor expired.
    pub keys_per_property: u32,
    /// How many requests a minute without a valid key are answered as such to one address; more are told to
    /// come back later.
    pub failed_auth_limit: u32,
    /// The largest body of a bulk import.
    pub import_max_body: ByteSize,
    /// The most lines of a bulk import.
    pub import_max_lines: u32,
}

impl Default for RawApi {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8081".to_owned(),
            max_body: ByteSize::mib(1),
            request_timeout: Duration::from_secs(30),
            header_timeout: Duration::from_secs(10),
            max_connections: 4_096,
            reserved_connections: 256,
            max_unproven_connections: 256,
            max_connections_per_address: 1_024,
            max_connections_per_property: 512,
            drain: Duration::from_secs(10),
            rate_limit: 1_200,
            rate_burst: 1_200,
            property_rate_limit: 6_000,
            property_rate_burst: 6_000,
            keys_per_property: 100,
            failed_auth_limit: 60,
            import_max_body: ByteSize::mib(16),
            import_max_lines: 10_000,
        }
    }
}

/// `[api]`, checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ApiConfig {
    pub(crate) listen: SocketAddr,
    pub(crate) max_body: usize,
    pub(crate) request_timeout: Duration,
    pub(crate) header_timeout: Duration,
    pub(crate) connections: ConnectionLimits,
    pub(crate) drain: Duration,
    pub(crate) rates: RateLimits,
    pub(crate) keys_per_property: u32,
    pub(crate) import_max_body: usize,
    pub(crate) import_max_lines: usize,
}

/// How many connections there may be at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionLimits {
    pub(crate) in_all: usize,
    /// How many of all API keys never take.
    pub(crate) reserved: usize,
    /// Of one client, with no key or token shown yet.
    pub(crate) unproven: usize,
    /// Of one client, with API keys.
    pub(crate) per_client: usize,
    /// Of one property's keys, of another key, of a PoP.
    pub(crate) per_holder: usize,
}

/// How many requests there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RateLimits {
    /// Of one key.
    pub(crate) key: Quota,
    /// Of all keys for one property.
    pub(crate) property: Quota,
    /// That fail to authenticate, from one address.
    pub(crate) failures: Quota,
}

/// Checks the section.
pub(super) fn check(raw: &RawApi, problems: &mut Vec<Problem>) -> Option<ApiConfig> {
    let listen = raw.listen.parse().ok();
    if listen.is_none() {
        let message =
            format!("expected an address such as \"127.0.0.1:8081\", got {:?}", raw.listen);
        problems.push(Problem::new("api.listen", message));
    }
    let max_body = usize::try_from(raw.max_body.as_u64()).unwrap_or(usize::MAX);
    if !(64 * 1024..=64 * 1024 * 1024).contains(&max_body) {
        problems.push(Problem::new(
            "api.max_body",
            format!("expected 64KiB to 64MiB, got {}", raw.max_body),
        ));
    }
    let connections = check_connections(raw, problems);
    let times = [
        ("api.request_timeout", raw.request_timeout),
        ("api.header_timeout", raw.header_timeout),
        ("api.drain", raw.drain),
    ];
    for (key, time) in times {
        if time < Duration::from_millis(10) || time > Duration::from_secs(3_600) {
            problems.push(Problem::new(key, "expected a duration from \"10ms\" to \"1h\""));
        }
    }
    Some(ApiConfig {
        listen: listen?,
        max_body,
        request_timeout: raw.request_timeout,
        header_timeout: raw.header_timeout,
        connections,
        drain: raw.drain,
        rates: RateLimits {
            key: quota(raw.rate_limit, raw.rate_burst),
            property: quota(raw.property_rate_limit, raw.property_rate_burst),
            failures: quota(raw.failed_auth_limit, raw.failed_auth_limit),
        },
        keys_per_property: raw.keys_per_property,
        import_max_body: check_counts(raw, problems),
        import_max_lines: raw.import_max_lines as usize,
    })
}

fn quota(per_minute: u32, burst: u32) -> Quota {
    Quota { per_minute, burst }
}

fn check_connections(raw: &RawApi, problems: &mut Vec<Problem>) -> ConnectionLimits {
    if raw.max_connections == 0 {
        problems.push(Problem::new("api.max_connections", "expected at least 1"));
    } else if raw.reserved_connections >= raw.max_connections {
        let message = format!(
            "expected less than api.max_connections, which is {}, got {}",
            raw.max_connections, raw.reserved_connections
        );
        problems.push(Problem::new("api.reserved_connections", message));
    }
    ConnectionLimits {
        in_all: raw.max_connections as usize,
        reserved: raw.reserved_connections as usize,
        unproven: raw.max_unproven_connections as usize,
        per_client: raw.max_connections_per_address as usize,
        per_holder: raw.max_connections_per_property as usize,
    }
}

/// Checks the limits of how much may come; answers the largest body of an import, in bytes.
fn check_counts(raw: &RawApi, problems: &mut Vec<Problem>) -> usize {
    let counts = [
        ("api.rate_limit", raw.rate_limit),
        ("api.rate_burst", raw.rate_burst),
        ("api.property_rate_limit", raw.property_rate_limit),
        ("api.property_rate_burst", raw.property_rate_burst),
        ("api.keys_per_property", raw.keys_per_property),
        ("api.max_unproven_connections", raw.max_unproven_connections),
        ("api.max_connections_per_address", raw.max_connections_per_address),
        ("api.max_connections_per_property", raw.max_connections_per_property),
        ("api.failed_auth_limit", raw.failed_auth_limit),
        ("api.import_max_lines", raw.import_max_lines),
    ];
    for (key, count) in counts {
        if !(1..=1_000_000).contains(&count) {
            problems.push(Problem::new(key, format!("expected 1 to 1000000, got {count}")));
        }
    }
    let max_body = usize::try_from(raw.import_max_body.as_u64()).unwrap_or(usize::MAX);
    if !(64 * 1024..=256 * 1024 * 1024).contains(&max_body) {
        let message = format!("expected 64KiB to 256MiB, got {}", raw.import_max_body);
        problems.push(Problem::new("api.import_max_body", message));
    }
    max_body
}
