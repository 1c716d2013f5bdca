//! What is counted of traces.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

/// Why spans never reach a collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dropped {
    /// The collector is slower than the requests.
    QueueFull,
    /// The collector does not want them.
    Refused,
    /// They were left at the end of the process.
    Shutdown,
}

/// The counters of the request path are looked up once.
pub(super) struct TraceMetrics {
    exported: IntCounter,
    queue_full: IntCounter,
    refused: IntCounter,
    shutdown: IntCounter,
    failures: IntCounterVec,
}

impl TraceMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name, help| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone())).map(|()| counter)
        };
        let by_reason = |name, help| {
            let counters = IntCounterVec::new(Opts::new(name, help), &["reason"])?;
            registry.register(Box::new(counters.clone())).map(|()| counters)
        };
        let dropped =
            by_reason("landfall_trace_spans_dropped_total", "Spans that no collector took.")?;
        Ok(Self {
            exported: counter("landfall_trace_spans_exported_total", "Spans a collector took.")?,
            queue_full: dropped.with_label_values(&["queue_full"]),
            refused: dropped.with_label_values(&["refused"]),
            shutdown: dropped.with_label_values(&["shutdown"]),
            failures: by_reason(
                "landfall_trace_export_failures_total",
                "Attempts to send spans that failed.",
            )?,
        })
    }

    pub(super) fn exported(&self, spans: u64) {
        self.exported.inc_by(spans);
    }

    pub(super) fn dropped(&self, spans: u64, why: Dropped) {
        match why {
            Dropped::QueueFull => self.queue_full.inc_by(spans),
            Dropped::Refused => self.refused.inc_by(spans),
            Dropped::Shutdown => self.shutdown.inc_by(spans),
        }
    }

    /// `reason` is one of few constants.
    pub(super) fn export_failed(&self, reason: &'static str) {
        self.failures.with_label_values(&[reason]).inc();
    }
}
