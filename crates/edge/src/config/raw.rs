//! The file as it is written.

mod limits;
mod upstream;

use std::{path::PathBuf, time::Duration};

use bytesize::ByteSize;
use serde::Deserialize;

use super::{RawAccessLog, RawHttp};
pub use limits::RawLimits;
pub use upstream::RawUpstream;

use super::{RawIssuance, RawTracing};

/// The whole of `edge.toml`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawEdgeConfig {
    /// `[listen]`
    pub listen: RawListen,
    /// `[feed]`
    pub feed: RawFeed,
    /// `[keys]`
    pub keys: RawKeys,
    /// `[state]`
    pub state: RawState,
    /// `[store]`
    pub store: RawStore,
    /// `[limits]`
    pub limits: RawLimits,
    /// `[http]`
    pub http: RawHttp,
    /// `[tls]`
    pub tls: RawTls,
    /// `[access_log]`
    pub access_log: RawAccessLog,
    /// `[upstream]`
    pub upstream: RawUpstream,
    /// `[tracing]`
    pub tracing: RawTracing,
    /// `[issuance]`
    pub issuance: RawIssuance,
    /// `[server]`
    pub server: RawServer,
}

/// `[listen]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawListen {
    /// Required.
    pub https: Vec<String>,
    /// Default: none.
    pub http: Vec<String>,
    /// Default: `127.0.0.1:9090`.
    pub admin: String,
    /// Default: none.
    pub proxy_protocol_from: Vec<String>,
}

impl Default for RawListen {
    fn default() -> Self {
        Self {
            https: Vec::new(),
            http: Vec::new(),
            admin: "127.0.0.1:9090".to_owned(),
            proxy_protocol_from: Vec::new(),
        }
    }
}

/// `[feed]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawFeed {
    /// Required.
    pub url: Option<String>,
    /// Required.
    pub token_file: Option<PathBuf>,
    /// Required: `ed25519:` and base64url.
    pub signing_keys: Vec<String>,
    /// Default: the system's roots.
    pub ca_file: Option<PathBuf>,
    /// Default: `25s`.
    #[serde(with = "humantime_serde")]
    pub wait: Duration,
}

impl Default for RawFeed {
    fn default() -> Self {
        Self {
            url: None,
            token_file: None,
            signing_keys: Vec::new(),
            ca_file: None,
            wait: Duration::from_secs(25),
        }
    }
}

/// `[keys]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawKeys {
    /// Required.
    pub group_key_files: Vec<PathBuf>,
}

/// `[state]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawState {
    /// Required.
    pub directory: Option<PathBuf>,
}

/// `[store]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawStore {
    /// Default: `128MiB`.
    pub key_cache: ByteSize,
}

impl Default for RawStore {
    fn default() -> Self {
        Self { key_cache: ByteSize::mib(128) }
    }
}

/// `[tls]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawTls {
    /// Default: none.
    pub default_hostname: Option<String>,
}

/// `[server]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawServer {
    /// Default: one for each core.
    pub threads: Option<usize>,
    /// Default: `5s`.
    #[serde(with = "humantime_serde")]
    pub drain: Duration,
    /// Default: the state directory.
    pub run_directory: Option<PathBuf>,
}

impl Default for RawServer {
    fn default() -> Self {
        Self { threads: None, drain: Duration::from_secs(5), run_directory: None }
    }
}
