//! `[upstream]`, checked.

use std::{
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    time::Duration,
};

use landfall_model::Network;

/// How origins are found and spoken to.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Addresses that are not the public internet's, and may be origins all the same.
    pub allow_networks: Vec<Network>,
    /// Until the connection is open, TLS included.
    pub connect_timeout: Duration,
    /// Between two pieces of a response, and before the first one.
    pub read_timeout: Duration,
    /// For one write.
    pub write_timeout: Duration,
    /// How long an unused connection is kept.
    pub idle_timeout: Duration,
    /// From the choice of an origin to the end of the response, retries included.
    pub total_timeout: Option<Duration>,
    /// The most unused connections that are kept, over all origins.
    pub pool_size: usize,
    /// The most requests at origins at once.
    pub connections: usize,
    /// The most requests at one origin of a pool at once.
    pub connections_per_origin: u32,
    /// Requests on one HTTP/2 connection at once.
    pub h2_streams: NonZeroUsize,
    /// How often a request is sent, the first time included.
    pub tries: NonZeroUsize,
    /// Failures in a row after which an origin is left out for a while.
    pub eject_after: NonZeroU32,
    /// How long it is left out the first time.
    pub eject_time: Duration,
    /// How long it is left out at most.
    pub eject_max: Duration,
    /// The roots that origins are verified with, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The DNS servers; none: the system's.
    pub resolvers: Vec<SocketAddr>,
    /// How long addresses are used that can't be looked up again.
    pub resolve_stale: Duration,
}
