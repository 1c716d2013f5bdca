//! What is counted of hand-overs.

use prometheus::{IntCounterVec, Opts, Registry};

use crate::{EdgeError, metrics::register};

/// Counts the hand-overs that this process was part of.
#[derive(Clone, Debug)]
pub(crate) struct HandoverMetrics {
    total: IntCounterVec,
}

impl HandoverMetrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, EdgeError> {
        let opts = Opts::new(
            "landfall_handovers_total",
            "Hand-overs of the listeners: taken over by this process at its start, and refused, \
             after which this process went on.",
        );
        let total = register(registry, IntCounterVec::new(opts, &["result"]))?;
        for result in ["taken_over", "refused"] {
            total.with_label_values(&[result]);
        }
        Ok(Self { total })
    }

    pub(crate) fn taken_over(&self) {
        self.total.with_label_values(&["taken_over"]).inc();
    }

    pub(crate) fn refused(&self) {
        self.total.with_label_values(&["refused"]).inc();
    }
}
