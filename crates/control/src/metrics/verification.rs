//! What is counted of verifications.

use std::time::Duration;

use landfall_dns::Evidence;
use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use time::OffsetDateTime;

use crate::{
    store::{
        pop::{Pop, PopActivity},
        verification::queue::Backlog,
    },
    verification::Lane,
};

/// In seconds: from a resolver next door to the longest that a verification may take.
const BUCKETS: [f64; 12] = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];

/// What is counted of verifications. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct VerificationMetrics {
    checks: IntCounterVec,
    errors: IntCounterVec,
    duration: Histogram,
    running: IntGauge,
    due: IntGaugeVec,
    oldest: IntGaugeVec,
    left: IntGauge,
    pops: IntGaugeVec,
}

/// Who asked for a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    /// It was due.
    Lane(Lane),
    /// Somebody asked for it.
    Request,
}

/// What the database says of verifications.
#[derive(Clone, Debug, Default)]
pub(crate) struct VerificationCounts {
    pub(crate) backlog: Vec<Backlog>,
    pub(crate) left: u64,
}

impl VerificationMetrics {
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let by = |name: &str, help: &str, label: &str| {
            let family = IntGaugeVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(family.clone()))?;
            Ok::<_, prometheus::Error>(family)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let checks = IntCounterVec::new(
            Opts::new(
                "landfall_verification_checks_total",
                "Checks of hostnames' DNS, by who asked for them and what was found.",
            ),
            &["lane", "finding"],
        )?;
        registry.register(Box::new(checks.clone()))?;
        let errors = IntCounterVec::new(
            Opts::new(
                "landfall_verification_errors_total",
                "Checks of hostnames' DNS that failed for a reason of ours, by lane.",
            ),
            &["lane"],
        )?;
        registry.register(Box::new(errors.clone()))?;
        for lane in Lane::ALL {
            errors.with_label_values(&[lane.label()]);
        }
        let duration = Histogram::with_opts(
            HistogramOpts::new(
                "landfall_verification_duration_seconds",
                "How long checks of hostnames' DNS took.",
            )
            .buckets(BUCKETS.to_vec()),
        )?;
        registry.register(Box::new(duration.clone()))?;
        Ok(Self {
            checks,
            errors,
            duration,
            running: gauge("landfall_verifications_running", "Checks of hostnames' DNS that run.")?,
            due: by("landfall_verification_due", "Hostnames whose check is due, by lane.", "lane")?,
            oldest: by(
                "landfall_verification_oldest_due_seconds",
                "For how long the oldest check that is due has been, by lane.",
                "lane",
            )?,
            left: gauge(
                "landfall_hostnames_dns_left",
                "Active hostnames whose DNS no longer leads here.",
            )?,
            pops: by("landfall_pops", "PoPs, by whether hostnames may lead to them.", "state")?,
        })
    }

    /// Counts a check in for as long as the answer lives.
    pub(crate) fn begin(&self) -> Running {
        self.running.inc();
        Running(self.running.clone())
    }

    /// Counts a check and what it found.
    pub(crate) fn count(&self, asker: Asker, evidence: &Evidence) {
        let lane = match asker {
            Asker::Lane(lane) => lane.label(),
            Asker::Request => "request",
        };
        self.checks.with_label_values(&[lane, evidence.finding.name()]).inc();
        self.duration.observe(Duration::from_millis(evidence.elapsed_ms).as_secs_f64());
    }

    /// Counts a check that failed for a reason of ours.
    pub(crate) fn count_error(&self, lane: Lane) {
        self.errors.with_label_values(&[lane.label()]).inc();
    }

    pub(super) fn show(&self, counts: &VerificationCounts, now: OffsetDateTime) {
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        for lane in Lane::ALL {
            let found = counts.backlog.iter().find(|backlog| backlog.lane == lane);
            let (due, age) = found.map_or((0, 0), |backlog| {
                (number(backlog.due), (now - backlog.oldest).whole_seconds())
            });
            self.due.with_label_values(&[lane.label()]).set(due);
            self.oldest.with_label_values(&[lane.label()]).set(age);
        }
        self.left.set(number(counts.left));
    }

    pub(super) fn show_pops(&self, pops: &[Pop], now: OffsetDateTime, unhealthy_after: Duration) {
        let states = [
            (PopActivity::Active, "active"),
            (PopActivity::Unhealthy, "unhealthy"),
            (PopActivity::Off, "off"),
        ];
        for (state, label) in states {
            let are = |pop: &&Pop| pop.activity(now, unhealthy_after) == state;
            let count = i64::try_from(pops.iter().filter(are).count()).unwrap_or(i64::MAX);
            self.pops.with_label_values(&[label]).set(count);
        }
    }
}

/// One in a gauge for as long as it lives, however the check ends.
#[derive(Debug)]
pub(crate) struct Running(IntGauge);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.dec();
    }
}
