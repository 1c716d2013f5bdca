//! The file as it is written.

mod limits;
mod upstream;

use std::{path::PathBuf, time::Duration};

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use super::{RawAccessLog, RawHttp};
pub use limits::RawLimits;
pub use upstream::RawUpstream;

use super::{RawIssuance, RawTracing};

/// The whole of `edge.toml`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
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
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawListen {
    /// Where clients connect with TLS: IP addresses and ports.
    pub https: Vec<String>,
    /// Where clients connect with plain HTTP: hostnames that are served are redirected to https, or
    /// served where their owners want it. Default: nowhere.
    pub http: Vec<String>,
    /// Where `/livez`, `/readyz` and `/metrics` are answered. Keep it private: it has no
    /// authentication.
    pub admin: String,
    /// The load balancers in front, as networks: connections from them must start with a PROXY
    /// protocol header of either version, whose client then counts for limits, is told to origins
    /// and is logged. Nobody else may send one. Default: none.
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
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawFeed {
    /// The control plane's base URL.
    pub url: Option<String>,
    /// The PoP's token, as `landfall pop add` printed it, in a file of mode 0600.
    pub token_file: Option<PathBuf>,
    /// Who signs the feed, each as `ed25519:` and base64url, as `landfall pop add` printed it.
    /// Several while a key is replaced.
    pub signing_keys: Vec<String>,
    /// PEM of the root that the control plane's certificate is verified with. Default: the system's
    /// roots.
    pub ca_file: Option<PathBuf>,
    /// How long the control plane may hold a request until there is something new.
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
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawKeys {
    /// The private halves of the fleet's group keys, in files of mode 0600. Several while a key is
    /// replaced.
    pub group_key_files: Vec<PathBuf>,
}

/// `[state]`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawState {
    /// The folder of the last-known-good database, from which the edge starts when nobody can tell
    /// it anything new.
    pub directory: Option<PathBuf>,
}

/// `[store]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawStore {
    /// The most memory for parsed certificates and keys.
    pub key_cache: ByteSize,
}

impl Default for RawStore {
    fn default() -> Self {
        Self { key_cache: ByteSize::mib(128) }
    }
}

/// `[tls]`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawTls {
    /// A hostname whose certificate clients get that name none, or one that is not served here;
    /// requests on such a connection are answered for that hostname alone. Default: none, and such
    /// clients get the alert `unrecognized_name`.
    pub default_hostname: Option<String>,
}

/// `[server]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawServer {
    /// How many threads each listener has. Default: one for each core.
    pub threads: Option<usize>,
    /// How long open connections may go on after SIGTERM. The process ends before, once nothing is
    /// open; a second signal, or SIGINT, ends it at once.
    #[serde(with = "humantime_serde")]
    pub drain: Duration,
    /// The same after a reload or an upgrade: the old process goes on with what is open while the new
    /// one has the listeners.
    #[serde(with = "humantime_serde")]
    pub handover_drain: Duration,
    /// The folder of the socket that `landfall reload` asks at, with 0700. One that is there already must
    /// be the edge's user's, and nobody else's to write. The socket's path has at most 107 bytes.
    /// Default: `state.directory`.
    pub run_directory: Option<PathBuf>,
}

impl Default for RawServer {
    fn default() -> Self {
        Self {
            threads: None,
            drain: Duration::from_secs(5),
            handover_drain: Duration::from_secs(600),
            run_directory: None,
        }
    }
}
