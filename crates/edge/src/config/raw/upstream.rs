use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

/// `[upstream]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawUpstream {
    /// Networks that are not the public internet's, where origins may be all the same; the node's
    /// own addresses must be in it too. Checked at each connection, whatever DNS says. Default:
    /// none.
    pub allow_networks: Vec<String>,
    /// Until a connection to an origin is open, TLS included. A property's own timeouts, where it
    /// has them, go before these.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// Between two pieces of a response, and before the first one.
    #[serde(with = "humantime_serde")]
    pub read_timeout: Duration,
    /// For an origin to take the next piece of a request.
    #[serde(with = "humantime_serde")]
    pub write_timeout: Duration,
    /// How long a connection to an origin is kept unused.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    /// For the whole of a request, retries included. Default: none, since it would cut downloads
    /// and WebSockets that go on.
    #[serde(with = "humantime_serde")]
    pub total_timeout: Option<Duration>,
    /// Unused connections that are kept, over all origins.
    pub pool_size: usize,
    /// Requests at origins at once; above, clients get a 503. One property has at most four times
    /// as many of all as are left for others.
    pub connections: usize,
    /// Requests at one origin at once; above, clients get a 503.
    pub connections_per_origin: u32,
    /// Requests on one HTTP/2 connection to an origin at once.
    pub h2_streams: usize,
    /// How often a request is sent, the first time included. Only what an origin can't have acted
    /// on, or may get twice (RFC 9110 section 9.2.2), is sent again.
    pub tries: usize,
    /// Failures in a row after which an origin gets no requests for a while. Where all origins are
    /// out, all are tried.
    pub eject_after: u32,
    /// How long an origin is left out the first time; each time again for twice as long.
    #[serde(with = "humantime_serde")]
    pub eject_time: Duration,
    /// How long an origin is left out at most.
    #[serde(with = "humantime_serde")]
    pub eject_max: Duration,
    /// PEM of the roots that https origins are verified with. Default: the system's roots.
    pub ca_file: Option<PathBuf>,
    /// Where origins' names are looked up, as addresses with or without a port. Default: what
    /// `/etc/resolv.conf` says.
    pub resolvers: Vec<String>,
    /// How long addresses are used after the DNS stopped answering.
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
