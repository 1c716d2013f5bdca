//! How many requests of a pool may be sent again.

use std::sync::atomic::{AtomicU64, Ordering};

use super::clock::Moment;

/// What one retry costs. A request brings 1, so that a fifth of them may be sent again.
const RETRY: u32 = 5;
/// What is there at the start, and what a second without requests brings back up to: a few retries.
const FLOOR: u32 = 10 * RETRY;
/// The most that is saved up.
const CAP: u32 = 100 * RETRY;

/// A fifth of recent requests may be sent again, and a few more: where most of a pool fails,
/// retries must not multiply what its origins get.
#[derive(Debug)]
pub(super) struct Budget(AtomicU64);

#[derive(Clone, Copy)]
struct State {
    /// When a retry was last paid back by time, in seconds.
    second: u32,
    tokens: u32,
}

impl State {
    fn unpack(packed: u64) -> Self {
        let low = u32::try_from(packed & u64::from(u32::MAX)).unwrap_or(0);
        Self { second: u32::try_from(packed >> 32).unwrap_or(0), tokens: low }
    }

    fn pack(self) -> u64 {
        u64::from(self.second) << 32 | u64::from(self.tokens)
    }
}

impl Budget {
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(State { second: 0, tokens: FLOOR }.pack()))
    }

    /// A request is sent for the first time.
    pub(super) fn request(&self) {
        // Mostly full, and then there is nothing to write.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |packed| {
            let state = State::unpack(packed);
            let is_full = state.tokens >= CAP;
            (!is_full).then(|| State { tokens: state.tokens + 1, ..state }.pack())
        });
    }

    /// Takes what one retry costs, where it is there.
    pub(super) fn take(&self, now: Moment) -> bool {
        let second = u32::try_from(now.0 / 1_000).unwrap_or(u32::MAX);
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |packed| {
            let state = State::unpack(packed);
            let passed = second.saturating_sub(state.second).saturating_mul(RETRY);
            let refilled = state.tokens.saturating_add(passed).min(FLOOR).max(state.tokens);
            let tokens = refilled.checked_sub(RETRY)?;
            Some(State { second, tokens }.pack())
        });
        taken.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retries(budget: &Budget, now: Moment) -> usize {
        (0..1_000).take_while(|_| budget.take(now)).count()
    }

    #[test]
    fn a_fifth_of_requests_may_be_sent_again_and_a_few_more() {
        let budget = Budget::new();
        assert_eq!(retries(&budget, Moment(1)), 10);
        for _ in 0..100 {
            budget.request();
        }
        assert_eq!(retries(&budget, Moment(2)), 20);
        for _ in 0..100_000 {
            budget.request();
        }
        assert_eq!(retries(&budget, Moment(3)), 100);
    }

    #[test]
    fn time_brings_back_a_few() {
        let budget = Budget::new();
        assert_eq!(retries(&budget, Moment(1)), 10);
        assert_eq!(retries(&budget, Moment(3_000)), 3);
        assert_eq!(retries(&budget, Moment(3_600_000)), 10);
    }
}
