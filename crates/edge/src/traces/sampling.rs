//! Which traces are recorded.

use super::context::{Decision, TraceId};
use crate::config::Ratio;

/// The bits of a trace's id that are random in every system (W3C Trace Context level 2).
const RANDOM_BITS: u32 = 56;

/// Decides by the trace's id, so that whoever has the same ratio decides the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sampler {
    /// Recorded is what has a random part of at least this.
    threshold: u64,
}

impl Sampler {
    pub(super) fn new(ratio: Ratio) -> Self {
        let all = 1_u64 << RANDOM_BITS;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "from 0 to 2^56"
        )]
        let threshold = ((1.0 - ratio.value()) * all as f64) as u64;
        Self { threshold }
    }

    /// What the peer that began the trace decided, where there is one; else by the ratio.
    pub(super) fn decide(self, trace: TraceId, parent: Option<Decision>) -> Decision {
        let random = u128::from_be_bytes(trace.0) & ((1 << RANDOM_BITS) - 1);
        parent.unwrap_or(match random >= u128::from(self.threshold) {
            true => Decision::Record,
            false => Decision::Skip,
        })
    }
}

#[cfg(test)]
mod tests {
    use Decision::{Record, Skip};

    use super::*;

    fn trace(random: u64) -> TraceId {
        // What is before the random part never matters.
        TraceId((u128::MAX << RANDOM_BITS | u128::from(random)).to_be_bytes())
    }

    #[test]
    fn the_ratio_decides_unless_the_trace_began_elsewhere() {
        const MAX: u64 = (1 << RANDOM_BITS) - 1;
        let quarter = 3 << (RANDOM_BITS - 2);
        let table = [
            (0.0, MAX, None, Skip),
            (0.0, MAX, Some(Record), Record),
            (1.0, 0, None, Record),
            (1.0, 0, Some(Skip), Skip),
            (0.25, quarter, None, Record),
            (0.25, quarter - 1, None, Skip),
            (0.25, quarter - 1, Some(Record), Record),
            (0.25, quarter, Some(Skip), Skip),
        ];
        for (ratio, random, parent, expected) in table {
            let sampler = Sampler::new(Ratio::new(ratio).unwrap());
            let decision = sampler.decide(trace(random), parent);
            assert_eq!(decision, expected, "{ratio} of {random:x} with {parent:?}");
        }
    }

    #[test]
    fn random_traces_are_recorded_in_proportion() {
        let sampler = Sampler::new(Ratio::new(0.1).unwrap());
        let recorded =
            (0..20_000).filter(|_| sampler.decide(TraceId::random(), None) == Record).count();
        // Ten standard deviations to either side.
        assert!((1_576..=2_424).contains(&recorded), "{recorded}");
    }
}
