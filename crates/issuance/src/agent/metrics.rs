//! What an agent counts.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use landfall_model::{AuthorityName, ChallengeMethod};
use prometheus::{
    Error, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    core::Collector,
};

use crate::{
    acme::AcmeError,
    failure::{FailureClass, Trouble},
};

/// How many CAs have labels of their own. The control plane names them.
const MAX_AUTHORITIES: usize = 32;
/// The label of those beyond.
const OTHERS: &str = "other";
/// In seconds: a job waits for people's networks and for CAs.
const BUCKETS: [f64; 9] = [1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 600.0];

/// An agent's metrics.
#[derive(Debug)]
pub struct AgentMetrics {
    authorities: Mutex<BTreeSet<AuthorityName>>,
    orders: IntCounterVec,
    validations: IntCounterVec,
    jobs: IntCounterVec,
    failures: IntCounterVec,
    questions: IntCounterVec,
    duration: HistogramVec,
    open: IntGauge,
    unheard: IntCounter,
}

/// How a job ended here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The certificate was handed over, or revoked.
    Done,
    /// It failed.
    Failed,
    /// It rests until somebody has made a record.
    Rests,
    /// Its lease was lost.
    Lost,
}

impl AgentMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// Where they are registered already.
    pub fn new(registry: &Registry) -> Result<Self, Error> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            register(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
        };
        let duration = HistogramOpts::new(
            "landfall_agent_job_seconds",
            "How long certificate jobs took at this agent.",
        );
        Ok(Self {
            authorities: Mutex::default(),
            orders: counter(
                "landfall_agent_orders_total",
                "Orders that this agent made.",
                &["authority"],
            )?,
            validations: counter(
                "landfall_agent_validations_total",
                "Orders whose names a CA was asked to validate, by what came of it.",
                &["authority", "method", "outcome"],
            )?,
            jobs: counter(
                "landfall_agent_jobs_total",
                "Jobs that this agent leased, by how they ended here.",
                &["authority", "outcome"],
            )?,
            failures: counter(
                "landfall_agent_failures_total",
                "Jobs that failed at this agent, by the class of the failure.",
                &["authority", "class"],
            )?,
            questions: counter(
                "landfall_agent_renewal_questions_total",
                "Times that a CA was asked when to renew a certificate (RFC 9773).",
                &["authority", "outcome"],
            )?,
            duration: register(
                registry,
                HistogramVec::new(duration.buckets(BUCKETS.to_vec()), &["authority"])?,
            )?,
            open: register(
                registry,
                IntGauge::new("landfall_agent_open_jobs", "Jobs that this agent does now.")?,
            )?,
            unheard: register(
                registry,
                IntCounter::new(
                    "landfall_agent_lease_failures_total",
                    "Times that the control plane could not be asked for work.",
                )?,
            )?,
        })
    }

    pub(super) fn ordered(&self, authority: &AuthorityName) {
        self.orders.with_label_values(&[self.label(authority)]).inc();
    }

    pub(super) fn validated(
        &self,
        authority: &AuthorityName,
        method: ChallengeMethod,
        proven: &Result<(), AcmeError>,
    ) {
        let outcome = if proven.is_ok() { "valid" } else { "failed" };
        let labels = [self.label(authority), method.name(), outcome];
        self.validations.with_label_values(&labels).inc();
    }

    pub(super) fn begun(&self) {
        self.open.inc();
    }

    pub(super) fn ended(&self) {
        self.open.dec();
    }

    pub(super) fn came_to(&self, authority: &AuthorityName, outcome: Outcome, took: Duration) {
        let authority = self.label(authority);
        self.jobs.with_label_values(&[authority, outcome.name()]).inc();
        self.duration.with_label_values(&[authority]).observe(took.as_secs_f64());
    }

    pub(super) fn failed(&self, authority: &AuthorityName, class: FailureClass) {
        self.failures.with_label_values(&[self.label(authority), class.name()]).inc();
    }

    pub(super) fn asked(&self, authority: &AuthorityName, trouble: Option<&Trouble>) {
        let outcome = if trouble.is_none() { "answered" } else { "failed" };
        self.questions.with_label_values(&[self.label(authority), outcome]).inc();
    }

    pub(super) fn unheard(&self) {
        self.unheard.inc();
    }

    fn label<'a>(&self, authority: &'a AuthorityName) -> &'a str {
        let mut known = self.authorities.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(authority) {
            return authority.as_str();
        }
        if known.len() >= MAX_AUTHORITIES {
            return OTHERS;
        }
        known.insert(authority.clone());
        authority.as_str()
    }
}

impl Outcome {
    const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Rests => "rests",
            Self::Lost => "lost",
        }
    }
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, own: C) -> Result<C, Error> {
    registry.register(Box::new(own.clone()))?;
    Ok(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_labels_of_authorities_are_bounded() {
        let registry = Registry::new();
        let metrics = AgentMetrics::new(&registry).unwrap();
        for number in 0..2 * MAX_AUTHORITIES {
            metrics.ordered(&format!("ca-{number}").parse().unwrap());
        }
        let families = registry.gather();
        let orders = families.iter().find(|own| own.name() == "landfall_agent_orders_total");
        assert_eq!(orders.unwrap().get_metric().len(), MAX_AUTHORITIES + 1);
    }
}
