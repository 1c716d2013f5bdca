//! Pauses after failures.

use std::time::Duration;

use crate::jitter::Jitter;

/// The longest first pause.
const FIRST: Duration = Duration::from_millis(500);

/// Exponential backoff with full jitter: each pause is anywhere from zero to a bound that doubles.
#[derive(Debug)]
pub(super) struct Backoff {
    longest: Duration,
    failures: u32,
}

impl Backoff {
    pub(super) fn up_to(longest: Duration) -> Self {
        Self { longest, failures: 0 }
    }

    pub(super) fn next(&mut self, chance: Jitter) -> Duration {
        let bound = FIRST.saturating_mul(1 << self.failures.min(12)).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        bound.mul_f64(chance.fraction())
    }

    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// Where the system has no randomness, the same each time.
pub(super) fn chance() -> Jitter {
    let mut seed = [0; 8];
    let _ = aws_lc_rs::rand::fill(&mut seed);
    Jitter::of(u64::from_be_bytes(seed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_have_a_bound_that_doubles_up_to_the_longest() {
        let longest = Duration::from_secs(10);
        let mut backoff = Backoff::up_to(longest);
        for failures in 0..40_u32 {
            let bound = FIRST.saturating_mul(1 << failures.min(12)).min(longest);
            assert!(backoff.next(Jitter::of(u64::from(failures))) < bound);
        }
        backoff.reset();
        assert!(backoff.next(Jitter::of(1)) < FIRST);
    }

    #[test]
    fn chance_differs() {
        assert_ne!(chance(), chance());
    }
}
