//! What an operator writes in `edge.toml`, and what is left of it once it is checked.
//!
//! [`RawEdgeConfig`] is the file: every key optional, its default beside it, a key that doesn't
//! exist refused. [`EdgeConfig`] is what the rest of the crate takes: nothing in it is missing,
//! out of range or relative.

mod access_log;
mod check;
mod http;
mod issuance;
mod limits;
mod raw;
mod traces;
mod upstream;

use std::{net::SocketAddr, num::NonZeroUsize, path::PathBuf, time::Duration};

use landfall_feed::sign::VerifyingKey;
pub use landfall_model::config::Problem;
use landfall_model::{Hostname, Network};

pub use access_log::{AccessLogSettings, RawAccessLog, RawSample, Sink};
pub use http::{Http, RawHttp};
pub use issuance::{Issuance, RawIssuance};
pub use limits::{AdmissionLimits, FrameLimits, Limits, Pace, Rate};
pub use raw::{
    RawEdgeConfig, RawFeed, RawKeys, RawLimits, RawListen, RawServer, RawState, RawStore,
    RawUpstream,
};
pub use traces::{Ratio, RawTracing, Tracing};
pub use upstream::Upstream;

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct EdgeConfig {
    /// Where clients and operators connect to.
    pub listen: Listen,
    /// Where the state comes from.
    pub feed: Feed,
    /// The private halves of the fleet's group keys: at least one file.
    pub group_key_files: Vec<PathBuf>,
    /// Where the last-known-good database lives.
    pub state_directory: PathBuf,
    /// The most bytes of parsed certificates and keys that are kept.
    pub key_cache: u64,
    /// What one client may take.
    pub limits: Limits,
    /// How the edge speaks HTTP, for all hostnames.
    pub http: Http,
    /// Whose certificate clients get that name no hostname, or one that is not served.
    pub default_hostname: Option<Hostname>,
    /// Which requests are written down, and where; `None` where none are.
    pub access_log: Option<AccessLogSettings>,
    /// How origins are found and spoken to.
    pub upstream: Upstream,
    /// Where traces are sent; `None` where there are none.
    pub tracing: Option<Tracing>,
    /// How certificates are obtained; `None` where that is left to others.
    pub issuance: Option<Issuance>,
    /// The process.
    pub server: ServerSettings,
}

/// The listeners. Port 0 lets the system choose.
#[derive(Clone, Debug)]
pub struct Listen {
    /// TLS: at least one address.
    pub https: Vec<SocketAddr>,
    /// Plain HTTP, which redirects to TLS.
    pub http: Vec<SocketAddr>,
    /// Liveness, readiness and metrics; for operators alone.
    pub admin: SocketAddr,
    /// Whose connections start with a PROXY header that says whom they are from.
    pub proxy_protocol_from: Vec<Network>,
}

/// Where the state comes from.
#[derive(Clone, Debug)]
pub struct Feed {
    /// The control plane's base URL without a slash at its end.
    pub url: String,
    /// The file that holds the PoP's token.
    pub token_file: PathBuf,
    /// The keys of which one must have signed what is received: at least one.
    pub signing_keys: Vec<VerifyingKey>,
    /// The root that an `https` feed is verified with, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// How long the control plane may hold a request open while nothing changes.
    pub wait: Duration,
}

/// The process.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// Worker threads of each listening service.
    pub threads: NonZeroUsize,
    /// How long open connections are served after SIGTERM.
    pub drain: Duration,
    /// The same after the listeners were handed over to a new process.
    pub handover_drain: Duration,
    /// Where the socket is made that hand-overs are asked for at.
    pub run_directory: PathBuf,
}

#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod tests;
