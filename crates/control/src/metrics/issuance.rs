//! What is counted of agents and CAs. CAs are labels by their configured names, of which there are few.

use prometheus::{Histogram, HistogramOpts, IntCounterVec, Opts, Registry};

use super::standing::StandingMetrics;

/// From seconds, as the tests' CAs take, to the day that a limit may take.
const BUCKETS: [f64; 12] =
    [1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 90.0, 300.0, 900.0, 3_600.0, 21_600.0, 86_400.0];

/// What is counted of agents and CAs.
#[derive(Clone)]
pub(crate) struct IssuanceMetrics {
    /// Jobs that agents got, by CA.
    pub(crate) leases: IntCounterVec,
    /// Leases that ran out, by CA.
    pub(crate) expired: IntCounterVec,
    /// Attempts that ended, by CA and class of failure; `none` is a success.
    pub(crate) attempts: IntCounterVec,
    /// Revocations and changes of accounts that failed, by CA and class of failure.
    pub(crate) errand_failures: IntCounterVec,
    /// Answers of CAs when they want certificates renewed.
    pub(crate) questions: IntCounterVec,
    /// From when a certificate was asked for until it was published.
    pub(crate) issuance_seconds: Histogram,
    pub(crate) standing: StandingMetrics,
}

impl IssuanceMetrics {
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let family = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(family.clone()))?;
            Ok::<_, prometheus::Error>(family)
        };
        let seconds = HistogramOpts::new(
            "landfall_issuance_seconds",
            "From when a certificate was asked for until it was published.",
        );
        let issuance_seconds = Histogram::with_opts(seconds.buckets(BUCKETS.to_vec()))?;
        registry.register(Box::new(issuance_seconds.clone()))?;
        Ok(Self {
            leases: counters(
                "landfall_issuance_leases_total",
                "Jobs that agents got, by CA.",
                &["authority"],
            )?,
            expired: counters(
                "landfall_issuance_leases_expired_total",
                "Leases of agents that ran out, by CA.",
                &["authority"],
            )?,
            attempts: counters(
                "landfall_issuance_attempts_total",
                "Attempts of agents, by CA and class of failure; `none` is a success.",
                &["authority", "class"],
            )?,
            errand_failures: counters(
                "landfall_issuance_errand_failures_total",
                "Revocations and changes of accounts that failed, by CA and class of failure.",
                &["authority", "class"],
            )?,
            questions: counters(
                "landfall_issuance_renewal_answers_total",
                "Answers of CAs when they want certificates renewed, by CA and result.",
                &["authority", "result"],
            )?,
            issuance_seconds,
            standing: StandingMetrics::register(registry)?,
        })
    }
}
