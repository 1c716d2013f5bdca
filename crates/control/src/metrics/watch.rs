//! What is counted of looks at PoPs.

use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use crate::watch::Finding;

/// From seconds, as a PoP takes to hear of a certificate, to the days that a CA's limit may take.
const BUCKETS: [f64; 16] = [
    0.5, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3_600.0, 21_600.0,
    86_400.0,
];

/// What is counted of looks at PoPs.
pub(crate) struct WatchMetrics {
    handshakes: IntCounterVec,
    served_seconds: Histogram,
    due: IntGauge,
    pops_silent: IntGaugeVec,
}

impl WatchMetrics {
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let handshakes = IntCounterVec::new(
            Opts::new(
                "landfall_watch_handshakes_total",
                "Handshakes with PoPs for the certificate that they show, by what was found.",
            ),
            &["finding"],
        )?;
        registry.register(Box::new(handshakes.clone()))?;
        for finding in Finding::ALL {
            handshakes.with_label_values(&[finding.name()]);
        }
        let served = HistogramOpts::new(
            "landfall_hostname_served_seconds",
            "From when a hostname became active until a handshake first showed its certificate.",
        );
        let served_seconds = Histogram::with_opts(served.buckets(BUCKETS.to_vec()))?;
        registry.register(Box::new(served_seconds.clone()))?;
        let due = IntGauge::new(
            "landfall_watch_oldest_due_seconds",
            "For how long the oldest certificate that is to be looked for at PoPs has been due.",
        )?;
        registry.register(Box::new(due.clone()))?;
        let silent = Opts::new(
            "landfall_watch_pop_unreachable",
            "1: nobody answers at the addresses of the PoP, seen from the control plane.",
        );
        let pops_silent = IntGaugeVec::new(silent, &["pop"])?;
        registry.register(Box::new(pops_silent.clone()))?;
        Ok(Self { handshakes, served_seconds, due, pops_silent })
    }

    pub(crate) fn found(&self, finding: Finding) {
        self.handshakes.with_label_values(&[finding.name()]).inc();
    }

    /// Notes that a hostname was served for the first time, so long after it became active.
    pub(crate) fn served_after(&self, seconds: f64) {
        self.served_seconds.observe(seconds.max(0.0));
    }

    /// Sets for how long the oldest look has been due.
    pub(crate) fn show_due(&self, seconds: i64) {
        self.due.set(seconds.max(0));
    }

    /// Sets which PoPs answer.
    pub(crate) fn show_pops<'a>(&self, pops: impl Iterator<Item = (&'a str, i64)>) {
        self.pops_silent.reset();
        for (name, is_silent) in pops {
            self.pops_silent.with_label_values(&[name]).set(is_silent);
        }
    }
}
