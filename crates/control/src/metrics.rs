//! What the control plane counts. Labels are bounded: never a hostname or a property.

pub(crate) mod issuance;
pub(crate) mod standing;
pub(crate) mod verification;
pub(crate) mod watch;

use std::time::Duration;

use http::StatusCode;
use prometheus::{
    Encoder, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};
use time::OffsetDateTime;

use crate::{
    api::problem::Problem,
    error::ControlError,
    store::{feed::FeedState, job::Backlog, pop::Pop},
};
use issuance::IssuanceMetrics;
use verification::{VerificationCounts, VerificationMetrics};

/// The classes of paths that requests are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RouteClass {
    Api,
    Agent,
    Feed,
    Health,
    Other,
}

impl RouteClass {
    pub(crate) fn of(path: &str) -> Self {
        match path {
            "/livez" | "/readyz" | "/metrics" => Self::Health,
            _ if path.starts_with("/api/") || path.starts_with("/client/") => Self::Api,
            _ if path.starts_with("/agent/") => Self::Agent,
            _ if path.starts_with("/feed/") => Self::Feed,
            _ => Self::Other,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Agent => "agent",
            Self::Feed => "feed",
            Self::Health => "health",
            Self::Other => "other",
        }
    }
}

/// What the control plane counts.
pub(crate) struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    refused: IntCounterVec,
    revision: IntGauge,
    epoch: IntGauge,
    pop_applied: IntGaugeVec,
    pop_seen: IntGaugeVec,
    pop_rejected: IntGaugeVec,
    /// Pages of changes that were handed out.
    pub(crate) pages: IntCounter,
    /// Snapshots that were built.
    pub(crate) snapshots: IntCounter,
    jobs: IntGaugeVec,
    oldest_job: IntGauge,
    /// Attempts at jobs of the internal CA.
    pub(crate) job_attempts: IntCounterVec,
    /// Rounds that changed the secrets for session tickets, or failed to.
    pub(crate) ticket_rotations: IntCounterVec,
    pub(crate) verification: VerificationMetrics,
    pub(crate) issuance: IssuanceMetrics,
    /// Connections that are open.
    pub(crate) connections: IntGauge,
    /// Connections that showed no key or token and were closed to make way for others.
    pub(crate) connections_dropped: IntCounter,
    /// Long polls that wait.
    pub(crate) long_polls: IntGauge,
    database_waiting: IntGaugeVec,
}

impl Metrics {
    pub(crate) fn new() -> Result<Self, ControlError> {
        let registry = Registry::new();
        Self::register(registry).map_err(ControlError::Metrics)
    }

    fn register(registry: Registry) -> Result<Self, prometheus::Error> {
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let family = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(family.clone()))?;
            Ok::<_, prometheus::Error>(family)
        };
        let counter = |name: &str, help: &str| counter(&registry, name, help);
        let gauge = |name: &str, help: &str| gauge(&registry, name, help);
        let by_label = |name: &str, help: &str, label: &str| {
            let family = IntGaugeVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(family.clone()))?;
            Ok::<_, prometheus::Error>(family)
        };
        let by_pop = |name: &str, help: &str| by_label(name, help, "pop");
        let waiting = |help: &str| by_label("landfall_database_waiting", help, "connection");
        describe_process(&registry)?;
        Ok(Self {
            requests: counters(
                "landfall_control_requests_total",
                "Requests by class of path and status.",
                &["class", "status"],
            )?,
            refused: counters(
                "landfall_api_refused_total",
                "Requests that were refused for their key, by reason.",
                &["reason"],
            )?,
            job_attempts: counters(
                "landfall_job_attempts_total",
                "Attempts at issuing certificates with the internal CA, by result.",
                &["result"],
            )?,
            jobs: by_label("landfall_jobs", "Certificates to be issued, by state.", "state")?,
            oldest_job: gauge(
                "landfall_job_oldest_seconds",
                "How long ago the oldest job was made that is open.",
            )?,
            ticket_rotations: counters(
                "landfall_ticket_rotations_total",
                "Changes of the secrets for session tickets, by result.",
                &["result"],
            )?,
            pages: counter("landfall_feed_pages_total", "Pages of changes handed out.")?,
            snapshots: counter("landfall_feed_snapshots_total", "Snapshots built.")?,
            revision: gauge("landfall_feed_revision", "The revision of the last change.")?,
            epoch: gauge("landfall_feed_epoch", "The epoch of the feed.")?,
            database_waiting: waiting("Who waits for a connection to the database.")?,
            connections: gauge("landfall_control_connections", "Connections that are open.")?,
            connections_dropped: counter(
                "landfall_control_connections_dropped_total",
                "Connections that showed no key or token and were closed to make way for others.",
            )?,
            long_polls: gauge("landfall_feed_long_polls", "Long polls that wait.")?,
            pop_applied: by_pop("landfall_pop_applied_revision", "What each PoP has applied.")?,
            pop_seen: by_pop("landfall_pop_last_ack_timestamp_seconds", "Each PoP's last ack.")?,
            pop_rejected: by_pop("landfall_pop_rejected_records", "What each PoP can't use.")?,
            verification: VerificationMetrics::register(&registry)?,
            issuance: IssuanceMetrics::register(&registry)?,
            registry,
        })
    }

    /// What parts that aren't always there register themselves with.
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Counts a request that was refused for its key.
    pub(crate) fn refused(&self, problem: &Problem) {
        self.refused.with_label_values(&[problem.code()]).inc();
    }

    pub(crate) fn request(&self, class: RouteClass, status: StatusCode) {
        self.requests.with_label_values(&[class.label(), status.as_str()]).inc();
    }

    /// Sets how many wait for the database's writer, and for its readers.
    pub(crate) fn show_waiting(&self, (writer, readers): (i64, i64)) {
        self.database_waiting.with_label_values(&["writer"]).set(writer);
        self.database_waiting.with_label_values(&["reader"]).set(readers);
    }

    /// Sets what the database says of jobs.
    pub(crate) fn jobs(&self, backlog: &Backlog, now: OffsetDateTime) {
        let set = |state: &str, count| self.jobs.with_label_values(&[state]).set(number(count));
        set("open", backlog.internal);
        set("agents", backlog.agents);
        set("leased", backlog.leased);
        let age = backlog.oldest.map_or(0, |oldest| (now - oldest).whole_seconds().max(0));
        self.oldest_job.set(age);
    }

    /// The text form of everything, with what the database says.
    pub(crate) fn render(
        &self,
        state: &FeedState,
        counts: &VerificationCounts,
        (pops, unhealthy_after): (&[Pop], Duration),
    ) -> Result<Vec<u8>, prometheus::Error> {
        self.revision.set(number(state.revision.0));
        self.epoch.set(number(state.epoch.0));
        let now = OffsetDateTime::now_utc();
        self.verification.show(counts, now);
        self.verification.show_pops(pops, now, unhealthy_after);
        for family in [&self.pop_applied, &self.pop_seen, &self.pop_rejected] {
            family.reset();
        }
        for pop in pops {
            let Some(ack) = &pop.ack else { continue };
            let label = [pop.name.as_str()];
            self.pop_applied.with_label_values(&label).set(number(ack.applied.0));
            self.pop_seen.with_label_values(&label).set(ack.seen_at.unix_timestamp());
            self.pop_rejected.with_label_values(&label).set(number(ack.rejected.len() as u64));
        }
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

/// Which version runs, and since when.
fn describe_process(registry: &Registry) -> Result<(), prometheus::Error> {
    let opts = Opts::new("landfall_build_info", "1, by the version of the process.");
    let build = IntGaugeVec::new(opts, &["version"])?;
    registry.register(Box::new(build.clone()))?;
    build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    let started = "Start of the process, in Unix time.";
    let started = gauge(registry, "process_start_time_seconds", started)?;
    started.set(OffsetDateTime::now_utc().unix_timestamp());
    Ok(())
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    let gauge = IntGauge::new(name, help)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

fn counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
    let counter = IntCounter::new(name, help)?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
