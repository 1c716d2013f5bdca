use std::{path::PathBuf, time::Duration};

use serde::Deserialize;

/// `[upstream]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawUpstream {
    /// Default: none.
    pub allow_networks: Vec<String>,
    /// Default: `3s`.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// Default: `60s`.
    #[serde(with = "humantime_serde")]
    pub read_timeout: Duration,
    /// Default: `30s`.
    #[serde(with = "humantime_serde")]
    pub write_timeout: Duration,
    /// Default: `60s`.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    /// Default: none.
    #[serde(with = "humantime_serde")]
    pub total_timeout: Option<Duration>,
    /// Default: 512.
    pub pool_size: usize,
    /// Default: 10000.
    pub connections: usize,
    /// Default: 1000.
    pub connections_per_origin: u32,
    /// Default: 100.
    pub h2_streams: usize,
    /// Default: 3.
    pub tries: usize,
    /// Default: 3.
    pub eject_after: u32,
    /// Default: `5s`.
    #[serde(with = "humantime_serde")]
    pub eject_time: Duration,
    /// Default: `5m`.
    #[serde(with = "humantime_serde")]
    pub eject_max: Duration,
    /// Default: the system's roots.
    pub ca_file: Option<PathBuf>,
    /// Default: the system's, from `/etc/resolv.conf`.
    pub resolvers: Vec<String>,
    /// Default: `1h`.
    #[serde(with = "humantime_serde")]
    pub resolve_stale: Duration,
}

impl Default for RawUpstream {
    fn default() -> Self {
        Self {
            allow_networks: Vec::new(),
            connect_timeout: Duration::from_secs(3),
            read_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            total_timeout: None,
            pool_size: 512,
            connections: 10_000,
            connections_per_origin: 1_000,
            h2_streams: 100,
            tries: 3,
            eject_after: 3,
            eject_time: Duration::from_secs(5),
            eject_max: Duration::from_secs(300),
            ca_file: None,
            resolvers: Vec::new(),
            resolve_stale: Duration::from_secs(3600),
        }
    }
}
