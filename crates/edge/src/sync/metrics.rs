//! What the feed's side of the edge counts.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use landfall_feed::lkg::{ExpiryCounts, Position};
use prometheus::{
    Gauge, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    core::{Collector, Desc},
    proto::{Bucket, Histogram, Metric, MetricFamily, MetricType},
};

use crate::readiness::Readiness;

const DAY: i64 = 86_400;
/// Seconds that certificates have left; 0 counts those that have expired.
const EXPIRY_BUCKETS: [i64; 9] =
    [0, 3_600, DAY, 3 * DAY, 7 * DAY, 14 * DAY, 30 * DAY, 60 * DAY, 90 * DAY];

/// The counters. Reasons are constants of this crate and of the feed's, a bounded set.
pub(super) struct SyncMetrics {
    epoch: IntGauge,
    revision: IntGauge,
    quarantined: IntGauge,
    state_writable: IntGauge,
    without_group_key: IntGauge,
    pages_applied: IntCounter,
    records_applied: IntCounter,
    snapshots_applied: IntCounter,
    pages_rejected: IntCounterVec,
    records_rejected: IntCounterVec,
    failures: IntCounterVec,
    expiry: Arc<Mutex<Expiry>>,
}

impl SyncMetrics {
    pub(super) fn new(
        registry: &Registry,
        readiness: Arc<Readiness>,
    ) -> Result<Self, prometheus::Error> {
        let counter = |name, help| register(registry, IntCounter::new(name, help)?);
        let gauge = |name, help| register(registry, IntGauge::new(name, help)?);
        let by_reason = |name, help| {
            register(registry, IntCounterVec::new(Opts::new(name, help), &["reason"])?)
        };
        let expiry = Arc::<Mutex<Expiry>>::default();
        registry.register(Box::new(FeedLag::new(readiness)?))?;
        registry.register(Box::new(ExpiryCollector::new(Arc::clone(&expiry))?))?;
        let metrics = Self {
            epoch: gauge("landfall_feed_epoch", "Epoch of the applied state.")?,
            revision: gauge("landfall_feed_revision", "Revision of the applied state.")?,
            quarantined: gauge(
                "landfall_feed_quarantined_records",
                "Records that can't be used, whole or for one certificate; their hostnames keep what they had.",
            )?,
            state_writable: gauge(
                "landfall_state_writable",
                "Whether the last write of the last-known-good database succeeded.",
            )?,
            without_group_key: gauge(
                "landfall_certificates_without_group_key",
                "Certificates that can't be served: their keys are sealed to group keys that this edge does not hold.",
            )?,
            pages_applied: counter("landfall_feed_pages_applied_total", "Pages applied.")?,
            records_applied: counter(
                "landfall_feed_records_applied_total",
                "Records of applied pages, those in quarantine included.",
            )?,
            snapshots_applied: counter(
                "landfall_feed_snapshots_applied_total",
                "Snapshots applied.",
            )?,
            pages_rejected: by_reason(
                "landfall_feed_pages_rejected_total",
                "Pages and snapshots that were refused.",
            )?,
            records_rejected: by_reason(
                "landfall_feed_records_rejected_total",
                "Records that were put into quarantine.",
            )?,
            failures: by_reason(
                "landfall_feed_failures_total",
                "Attempts to reach the control plane or to write the state that failed.",
            )?,
            expiry,
        };
        metrics.state_writable.set(1);
        Ok(metrics)
    }

    pub(super) fn applied(&self, position: Position, quarantined: u64) {
        self.epoch.set(clamp(position.epoch.0));
        self.revision.set(clamp(position.cursor.0));
        self.quarantined.set(clamp(quarantined));
    }

    pub(super) fn records_applied(&self, records: usize) {
        self.pages_applied.inc();
        self.records_applied.inc_by(records as u64);
    }

    pub(super) fn snapshot_applied(&self) {
        self.snapshots_applied.inc();
    }

    pub(super) fn page_rejected(&self, reason: &str) {
        self.pages_rejected.with_label_values(&[reason]).inc();
    }

    pub(super) fn record_rejected(&self, reason: &str) {
        self.records_rejected.with_label_values(&[reason]).inc();
    }

    pub(super) fn failed(&self, reason: &str) {
        self.failures.with_label_values(&[reason]).inc();
    }

    pub(super) fn state_written(&self) {
        self.state_writable.set(1);
    }

    pub(super) fn state_not_written(&self) {
        self.state_writable.set(0);
    }

    pub(super) fn without_group_key(&self, certificates: u64) {
        self.without_group_key.set(clamp(certificates));
    }

    /// The times, in seconds since 1970, at which certificates are to be counted.
    pub(super) fn expiry_times(now: i64) -> Vec<i64> {
        EXPIRY_BUCKETS.iter().map(|left| now.saturating_add(*left)).collect()
    }

    pub(super) fn expiries(&self, now: i64, counts: ExpiryCounts) {
        *self.expiry.lock().unwrap_or_else(PoisonError::into_inner) = Expiry { now, counts };
    }
}

fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

fn clamp(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Readiness and the feed's lag, computed at each scrape: the latter grows although nothing happens.
struct FeedLag {
    ready: IntGauge,
    gauge: Gauge,
    readiness: Arc<Readiness>,
}

impl FeedLag {
    fn new(readiness: Arc<Readiness>) -> Result<Self, prometheus::Error> {
        let help = "Seconds since the control plane last said that the applied state is its own.";
        let gauge = Gauge::new("landfall_feed_lag_seconds", help)?;
        let help = "1: the edge has a state to serve, and goes on serving it, as /readyz says.";
        Ok(Self { ready: IntGauge::new("landfall_ready", help)?, gauge, readiness })
    }
}

impl Collector for FeedLag {
    fn desc(&self) -> Vec<&Desc> {
        self.ready.desc().into_iter().chain(self.gauge.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let now = SystemTime::now();
        self.ready.set(self.readiness.report(now).is_ready.into());
        let mut families = self.ready.collect();
        if let Some(confirmed) = self.readiness.state().confirmed {
            let lag = now.duration_since(confirmed).unwrap_or_default();
            self.gauge.set(lag.as_secs_f64());
            families.extend(self.gauge.collect());
        }
        families
    }
}

/// What was counted last, and when.
#[derive(Default)]
struct Expiry {
    now: i64,
    counts: ExpiryCounts,
}

/// When certificates expire: of bounded size, whatever their number. A histogram over what is
/// there now, not over events, so its counts also fall.
struct ExpiryCollector {
    nearest: IntGauge,
    histogram: Desc,
    expiry: Arc<Mutex<Expiry>>,
}

const EXPIRY_NAME: &str = "landfall_certificate_expiry_seconds";
const EXPIRY_HELP: &str = "Seconds that the served certificates have left.";

impl ExpiryCollector {
    fn new(expiry: Arc<Mutex<Expiry>>) -> Result<Self, prometheus::Error> {
        let name = "landfall_certificate_nearest_expiry_timestamp_seconds";
        let help = "When the first of the served certificates expires.";
        let histogram =
            Desc::new(EXPIRY_NAME.into(), EXPIRY_HELP.into(), Vec::new(), Default::default())?;
        Ok(Self { nearest: IntGauge::new(name, help)?, histogram, expiry })
    }
}

impl Collector for ExpiryCollector {
    fn desc(&self) -> Vec<&Desc> {
        let mut descriptions = self.nearest.desc();
        descriptions.push(&self.histogram);
        descriptions
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let expiry = self.expiry.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(nearest) = expiry.counts.nearest else { return Vec::new() };
        self.nearest.set(nearest);
        let mut families = self.nearest.collect();
        families.push(expiry_family(&expiry));
        families
    }
}

#[allow(clippy::cast_precision_loss, reason = "a metric is a double")]
fn expiry_family(Expiry { now, counts }: &Expiry) -> MetricFamily {
    let buckets = EXPIRY_BUCKETS.iter().zip(&counts.at_or_before).map(|(left, count)| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*left as f64);
        bucket.set_cumulative_count(*count);
        bucket
    });
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(counts.total);
    histogram.set_sample_sum(counts.sum as f64 - *now as f64 * counts.total as f64);
    let mut metric = Metric::default();
    metric.set_histogram(histogram);
    let mut family = MetricFamily::default();
    family.set_name(EXPIRY_NAME.to_owned());
    family.set_help(EXPIRY_HELP.to_owned());
    family.set_field_type(MetricType::HISTOGRAM);
    family.set_metric(vec![metric]);
    family
}
