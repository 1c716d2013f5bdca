//! What the edge counts. Every label has a fixed, small set of values; none names a hostname.
//!
//! The counters of the request path are looked up once, here, so that counting is one atomic
//! addition. [`Metrics::registry`] takes what other parts count.

mod store;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use landfall_certstore::Resolver;
use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use crate::{EdgeError, cut::Cut, process::ProcessCollector, site::Site, supervise::Tasks};
use store::StoreCollector;

/// Seconds. From a local origin's answer to the longest timeout.
const REQUEST_BUCKETS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// Seconds. A handshake is the client's round trips and under a millisecond of ours.
const HANDSHAKE_BUCKETS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// How a handshake ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// Completed with TLS 1.2.
    Tls12,
    /// Completed with TLS 1.3.
    Tls13,
    /// Completed with a CA that asked for TLS-ALPN-01.
    Challenge,
    /// No SNI, or one that is not served here.
    UnknownName,
    /// The hostname has no certificate yet, or none that fits the client.
    NoCertificate,
    /// The certificate could not be loaded.
    UnusableCertificate,
    /// The ClientHello had more bytes than are allowed.
    HelloTooLarge,
    /// It took longer than is allowed.
    Timeout,
    /// What arrived is not TLS, or client and policy have nothing in common.
    Refused,
    /// The client went away.
    Disconnected,
}

impl Handshake {
    const ALL: [Self; 10] = [
        Self::Tls12,
        Self::Tls13,
        Self::Challenge,
        Self::UnknownName,
        Self::NoCertificate,
        Self::UnusableCertificate,
        Self::HelloTooLarge,
        Self::Timeout,
        Self::Refused,
        Self::Disconnected,
    ];

    /// The labels `result` and `version`.
    fn labels(self) -> [&'static str; 2] {
        match self {
            Self::Tls12 => ["ok", "1.2"],
            Self::Tls13 => ["ok", "1.3"],
            Self::Challenge => ["challenge", "none"],
            Self::UnknownName => ["unknown_name", "none"],
            Self::NoCertificate => ["no_certificate", "none"],
            Self::UnusableCertificate => ["unusable_certificate", "none"],
            Self::HelloTooLarge => ["hello_too_large", "none"],
            Self::Timeout => ["timeout", "none"],
            Self::Refused => ["refused", "none"],
            Self::Disconnected => ["disconnected", "none"],
        }
    }
}

/// A listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// TLS
    Https,
    /// Plain HTTP
    Http,
    /// The operators' one
    Admin,
}

/// The edge's metrics.
pub struct Metrics {
    registry: Registry,
    tasks: Tasks,
    handshakes: Vec<IntCounter>,
    resumptions: IntCounter,
    handshake_duration: Histogram,
    cuts: Vec<IntCounter>,
    requests: Vec<IntCounter>,
    request_duration: Histogram,
    upstream_duration: Histogram,
    http_challenges: IntCounter,
    https_connections: IntGauge,
    http_connections: IntGauge,
    admin_connections: IntGauge,
}

/// The classes of `landfall_requests_total`: a status's first digit, or that none was sent.
const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

impl Metrics {
    /// Registers everything once.
    ///
    /// # Errors
    /// [`EdgeError::Metrics`], where a name is taken or malformed.
    pub fn new() -> Result<Self, EdgeError> {
        let registry = Registry::new();
        let process = ProcessCollector::new(SystemTime::now()).map_err(EdgeError::Metrics)?;
        registry.register(Box::new(process)).map_err(EdgeError::Metrics)?;
        describe_build(&registry)?;
        let opts = Opts::new("landfall_handshakes_total", "TLS handshakes by how they ended.");
        let handshakes = register(&registry, IntCounterVec::new(opts, &["result", "version"]))?;
        let opts = Opts::new(
            "landfall_cuts_total",
            "Connections, and streams over HTTP/2, ended for a limit.",
        );
        let cuts = register(&registry, IntCounterVec::new(opts, &["reason"]))?;
        let opts = Opts::new("landfall_requests_total", "Requests over TLS by class of status.");
        let requests = register(&registry, IntCounterVec::new(opts, &["class"]))?;
        let opts = Opts::new("landfall_open_connections", "Open connections by listener.");
        let connections = register(&registry, IntGaugeVec::new(opts, &["listener"]))?;
        Ok(Self {
            handshakes: Handshake::ALL
                .iter()
                .map(|outcome| handshakes.with_label_values(&outcome.labels()))
                .collect(),
            resumptions: register(
                &registry,
                IntCounter::new(
                    "landfall_handshakes_resumed_total",
                    "Completed TLS handshakes that resumed a session; the others were full ones.",
                ),
            )?,
            handshake_duration: histogram(
                &registry,
                "landfall_handshake_duration_seconds",
                "From the connection to the end of a completed TLS handshake.",
                HANDSHAKE_BUCKETS,
            )?,
            cuts: Cut::ALL.iter().map(|cut| cuts.with_label_values(&[cut.label()])).collect(),
            requests: CLASSES.iter().map(|class| requests.with_label_values(&[class])).collect(),
            request_duration: histogram(
                &registry,
                "landfall_request_duration_seconds",
                "From a request's header to the end of its response.",
                REQUEST_BUCKETS,
            )?,
            upstream_duration: histogram(
                &registry,
                "landfall_upstream_duration_seconds",
                "From the choice of an origin to its response header.",
                REQUEST_BUCKETS,
            )?,
            http_challenges: register(
                &registry,
                IntCounter::new(
                    "landfall_http_challenges_total",
                    "HTTP-01 challenges answered for hostnames that are being validated.",
                ),
            )?,
            https_connections: connections.with_label_values(&["https"]),
            http_connections: connections.with_label_values(&["http"]),
            admin_connections: connections.with_label_values(&["admin"]),
            tasks: Tasks::new(&registry)?,
            registry,
        })
    }

    /// Where other parts of the edge register theirs.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// What is known of the process's tasks.
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// Shows the store's figures, read at each scrape.
    ///
    /// # Errors
    /// [`EdgeError::Metrics`], where it was done before.
    pub fn watch_store(&self, resolver: Resolver<Site>) -> Result<(), EdgeError> {
        let collector = StoreCollector::new(resolver).map_err(EdgeError::Metrics)?;
        self.registry.register(Box::new(collector)).map_err(EdgeError::Metrics)
    }

    /// Everything in Prometheus' text format.
    ///
    /// # Errors
    /// [`EdgeError::Metrics`], where a metric can't be encoded.
    pub fn render(&self) -> Result<Vec<u8>, EdgeError> {
        let mut text = Vec::new();
        let encoded = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        encoded.map(|()| text).map_err(EdgeError::Metrics)
    }

    pub(crate) fn handshake_ended(&self, outcome: Handshake, took: Duration) {
        if matches!(outcome, Handshake::Tls12 | Handshake::Tls13) {
            self.handshake_duration.observe(took.as_secs_f64());
        }
        // The variants are in the order of `ALL`.
        if let Some(counter) = self.handshakes.get(outcome as usize) {
            counter.inc();
        }
    }

    /// Counts one of the completed handshakes as a resumption.
    pub(crate) fn session_resumed(&self) {
        self.resumptions.inc();
    }

    pub(crate) fn connection_cut(&self, cut: Cut) {
        // The variants are in the order of `ALL`.
        if let Some(counter) = self.cuts.get(cut as usize) {
            counter.inc();
        }
    }

    pub(crate) fn request_ended(&self, status: Option<u16>, took: Duration) {
        self.request_duration.observe(took.as_secs_f64());
        let class = usize::from(status.unwrap_or(0) / 100);
        if let Some(counter) = self.requests.get(class) {
            counter.inc();
        }
    }

    pub(crate) fn challenge_answered(&self) {
        self.http_challenges.inc();
    }

    pub(crate) fn origin_answered(&self, took: Duration) {
        self.upstream_duration.observe(took.as_secs_f64());
    }

    pub(crate) fn connection_opened(self: &Arc<Self>, listener: Listener) -> OpenConnection {
        let gauge = match listener {
            Listener::Https => &self.https_connections,
            Listener::Http => &self.http_connections,
            Listener::Admin => &self.admin_connections,
        };
        gauge.inc();
        OpenConnection(gauge.clone())
    }
}

/// A connection that is counted as open for as long as this lives.
pub(crate) struct OpenConnection(IntGauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Which version runs.
fn describe_build(registry: &Registry) -> Result<(), EdgeError> {
    let opts = Opts::new("landfall_build_info", "1, by the version of the process.");
    let build = register(registry, IntGaugeVec::new(opts, &["version"]))?;
    build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    Ok(())
}

fn histogram(
    registry: &Registry,
    name: &str,
    help: &str,
    buckets: &[f64],
) -> Result<Histogram, EdgeError> {
    let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
    register(registry, Histogram::with_opts(opts))
}

/// Registers a collector that was made, and gives it back.
pub(crate) fn register<C>(registry: &Registry, made: prometheus::Result<C>) -> Result<C, EdgeError>
where
    C: prometheus::core::Collector + Clone + 'static,
{
    let collector = made.map_err(EdgeError::Metrics)?;
    registry.register(Box::new(collector.clone())).map_err(EdgeError::Metrics)?;
    Ok(collector)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_is_counted_under_its_own_labels() {
        let metrics = Metrics::new().unwrap();
        for outcome in Handshake::ALL {
            metrics.handshake_ended(outcome, Duration::from_millis(2));
        }
        let text = String::from_utf8(metrics.render().unwrap()).unwrap();
        for outcome in Handshake::ALL {
            let [result, version] = outcome.labels();
            let line = format!(
                "landfall_handshakes_total{{result=\"{result}\",version=\"{version}\"}} 1\n"
            );
            assert!(text.contains(&line), "{line} is not in {text}");
        }
        assert!(text.contains("landfall_handshake_duration_seconds_count 2\n"));
    }

    #[test]
    fn a_request_without_a_response_has_a_class_of_its_own() {
        let metrics = Metrics::new().unwrap();
        metrics.request_ended(Some(204), Duration::ZERO);
        metrics.request_ended(None, Duration::ZERO);
        metrics.request_ended(Some(999), Duration::ZERO);
        let text = String::from_utf8(metrics.render().unwrap()).unwrap();
        assert!(text.contains("landfall_requests_total{class=\"2xx\"} 1\n"));
        assert!(text.contains("landfall_requests_total{class=\"none\"} 1\n"));
        assert!(text.contains("landfall_request_duration_seconds_count 3\n"));
    }

    #[test]
    fn a_connection_is_open_until_it_is_dropped() {
        let metrics = Arc::new(Metrics::new().unwrap());
        let open = metrics.connection_opened(Listener::Https);
        assert_eq!(metrics.https_connections.get(), 1);
        drop(open);
        assert_eq!(metrics.https_connections.get(), 0);
    }
}
