//! What became of the lines.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

/// Why lines were not written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Dropped {
    /// More in a second than are allowed.
    Rate,
    /// Too many, or too large ones, waited.
    Queue,
    /// Writing failed.
    Write,
}

pub(super) struct AccessLogMetrics {
    written: IntCounter,
    dropped: [IntCounter; 3],
}

impl AccessLogMetrics {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let written = IntCounter::new(
            "landfall_access_log_lines_total",
            "Lines of the access log that were written.",
        )?;
        let opts = Opts::new(
            "landfall_access_log_dropped_total",
            "Lines of the access log that were not written, by reason.",
        );
        let dropped = IntCounterVec::new(opts, &["reason"])?;
        registry.register(Box::new(written.clone()))?;
        registry.register(Box::new(dropped.clone()))?;
        let dropped = ["rate", "queue", "write"].map(|reason| dropped.with_label_values(&[reason]));
        Ok(Self { written, dropped })
    }

    pub(super) fn written(&self, lines: usize) {
        self.written.inc_by(lines as u64);
    }

    pub(super) fn dropped(&self, reason: Dropped, lines: usize) {
        // The variants are in the order of the labels.
        if let Some(counter) = self.dropped.get(reason as usize) {
            counter.inc_by(lines as u64);
        }
    }
}
