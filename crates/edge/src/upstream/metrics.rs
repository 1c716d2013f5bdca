//! What is counted about origins. Every label has few values; none names an origin.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::{access::Denied, health::Standing};
use crate::metrics::register;

/// Why a try at an origin failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// No connection, in time or at all.
    Connect,
    /// No TLS, or a certificate that does not verify.
    Tls,
    /// The connection ended before the response began.
    Closed,
    /// The origin was silent.
    Timeout,
    /// What arrived is no HTTP.
    Invalid,
    /// The name leads nowhere.
    Unresolved,
    /// The address may not be an origin.
    Denied,
    /// Too many requests are at origins.
    Busy,
    /// It is our fault.
    Internal,
}

impl Failure {
    const ALL: [(Self, &'static str); 9] = [
        (Self::Connect, "connect"),
        (Self::Tls, "tls"),
        (Self::Closed, "closed"),
        (Self::Timeout, "timeout"),
        (Self::Invalid, "invalid"),
        (Self::Unresolved, "unresolved"),
        (Self::Denied, "denied"),
        (Self::Busy, "busy"),
        (Self::Internal, "internal"),
    ];
}

/// How a look-up ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LookupResult {
    Found,
    Negative,
    Failed,
}

/// The counters, looked up once.
pub(super) struct UpstreamMetrics {
    failures: Vec<IntCounter>,
    denied: Vec<IntCounter>,
    lookups: [IntCounter; 3],
    checks: [IntCounter; 2],
    origins: Vec<IntGauge>,
    pub(super) pools: IntGauge,
    pub(super) in_flight: IntGauge,
    pub(super) new_connections: IntCounter,
    pub(super) reused_connections: IntCounter,
    pub(super) retries: IntCounter,
    pub(super) retries_over_budget: IntCounter,
    pub(super) ejections: IntCounter,
    pub(super) panics: IntCounter,
}

impl UpstreamMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, crate::EdgeError> {
        let counters = |name: &str, help: &str, label: &str| {
            register(registry, IntCounterVec::new(Opts::new(name, help), &[label]))
        };
        let counter = |name: &str, help: &str| register(registry, IntCounter::new(name, help));
        let gauge = |name: &str, help: &str| register(registry, IntGauge::new(name, help));
        let failures = counters(
            "landfall_upstream_failures_total",
            "Tries at an origin that failed, by reason.",
            "reason",
        )?;
        let denied = counters(
            "landfall_upstream_denied_addresses_total",
            "Connections to origins that were refused for the address.",
            "reason",
        )?;
        let lookups = counters(
            "landfall_upstream_lookups_total",
            "DNS look-ups of origins' names by result.",
            "result",
        )?;
        let checks = counters(
            "landfall_upstream_checks_total",
            "Health checks of origins by result.",
            "result",
        )?;
        let connections = counters(
            "landfall_upstream_connections_total",
            "Connections to origins that got a request: new ones and kept ones.",
            "kind",
        )?;
        let opts = Opts::new("landfall_upstream_origins", "Origins in use by how they stand.");
        let origins = register(registry, IntGaugeVec::new(opts, &["state"]))?;
        Ok(Self {
            failures: Failure::ALL.map(|(_, name)| failures.with_label_values(&[name])).into(),
            denied: Denied::ALL.map(|own| denied.with_label_values(&[own.as_str()])).into(),
            lookups: ["found", "negative", "failed"].map(|name| lookups.with_label_values(&[name])),
            checks: ["ok", "failed"].map(|name| checks.with_label_values(&[name])),
            origins: Standing::ALL.map(|own| origins.with_label_values(&[own.as_str()])).into(),
            pools: gauge("landfall_upstream_pools", "Pools of origins in use.")?,
            in_flight: gauge("landfall_upstream_requests_in_flight", "Requests at origins.")?,
            new_connections: connections.with_label_values(&["new"]),
            reused_connections: connections.with_label_values(&["reused"]),
            retries: counter("landfall_upstream_retries_total", "Requests sent again.")?,
            retries_over_budget: counter(
                "landfall_upstream_retries_over_budget_total",
                "Requests not sent again since too many others were.",
            )?,
            ejections: counter(
                "landfall_upstream_ejections_total",
                "Origins left out for a while after failed requests.",
            )?,
            panics: counter(
                "landfall_upstream_chore_panics_total",
                "Look-ups and health checks that panicked or hung.",
            )?,
        })
    }

    pub(super) fn failed(&self, failure: Failure) {
        inc(&self.failures, failure as usize);
    }

    pub(super) fn denied(&self, reason: Denied) {
        inc(&self.denied, reason as usize);
    }

    pub(super) fn looked_up(&self, result: LookupResult) {
        inc(&self.lookups, result as usize);
    }

    pub(super) fn checked(&self, is_well: bool) {
        inc(&self.checks, usize::from(!is_well));
    }

    pub(super) fn stand(&self, counts: [i64; 3]) {
        for (gauge, count) in self.origins.iter().zip(counts) {
            gauge.set(count);
        }
    }
}

/// The variants are in the order of their list.
fn inc(counters: &[IntCounter], at: usize) {
    if let Some(counter) = counters.get(at) {
        counter.inc();
    }
}
