//! `[tracing]`: where traces of requests are sent.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

/// `[tracing]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawTracing {
    /// Where traces of requests are sent, as OTLP over HTTP: `/v1/traces` is added. Default:
    /// nowhere, and a request's own `traceparent` passes as it came.
    pub endpoint: Option<String>,
    /// The share of requests that is recorded. Origins are told which (W3C Trace Context).
    pub sample: f64,
    /// For a batch to be taken. One that is not is sent again, with growing pauses.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// How long spans wait for others.
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    /// Requests whose spans may wait for the collector; those of more are dropped and counted.
    pub queue: usize,
    /// Headers for the collector, a `Name: value` on each line, in a file of mode 0600. Default:
    /// none.
    pub headers_file: Option<PathBuf>,
    /// PEM of the root that the collector's certificate is verified with. Default: the system's
    /// roots.
    pub ca_file: Option<PathBuf>,
    /// What the collector knows the edge as.
    pub service_name: String,
}

impl Default for RawTracing {
    fn default() -> Self {
        Self {
            endpoint: None,
            sample: 0.01,
            timeout: Duration::from_secs(10),
            interval: Duration::from_secs(2),
            queue: 2048,
            headers_file: None,
            ca_file: None,
            service_name: "landfall-edge".to_owned(),
        }
    }
}

/// Where traces of requests are sent.
#[derive(Clone, Debug)]
pub struct Tracing {
    /// The collector's base URL without a slash at its end.
    pub endpoint: String,
    /// How many of the traces that begin here are recorded.
    pub sample: Ratio,
    /// For one batch to be taken.
    pub timeout: Duration,
    /// How long a span waits for others before it is sent.
    pub interval: Duration,
    /// Requests whose spans wait to be sent.
    pub queue: NonZeroUsize,
    /// The file of the headers that the collector is sent.
    pub headers_file: Option<PathBuf>,
    /// The root that an `https` collector is verified with, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// What the collector knows the edge as.
    pub service_name: String,
}

/// A part of a whole: from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio(f64);

impl Ratio {
    /// `None` where it is no number from 0 to 1.
    pub fn new(value: f64) -> Option<Self> {
        (0.0..=1.0).contains(&value).then_some(Self(value))
    }

    /// From 0 to 1.
    pub fn value(self) -> f64 {
        self.0
    }
}
