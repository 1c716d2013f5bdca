//! How long to wait after a failure.

use std::time::Duration;

/// The longest first wait.
const BASE: Duration = Duration::from_millis(250);
/// The longest wait. Short enough that a fleet is up to date soon after its control plane is back,
/// and with full jitter a thousand PoPs are a hundred requests a second.
const CAP: Duration = Duration::from_secs(15);

/// Exponential backoff with full jitter: each wait is anywhere from zero to a bound that doubles.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The next wait; `random` is uniform in [0, 1).
    pub(crate) fn next(&mut self, random: f64) -> Duration {
        let bound = BASE.saturating_mul(1 << self.failures.min(10)).min(CAP);
        self.failures = self.failures.saturating_add(1);
        bound.mul_f64(random)
    }

    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// Uniform in [0, 1). Where the system has no randomness, the middle.
pub(crate) fn random() -> f64 {
    let mut bytes = [0; 4];
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_be_bytes(bytes)) / f64::from(u32::MAX) * 0.999,
        Err(_) => 0.5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_its_bound_up_to_the_cap_and_starts_over() {
        let mut backoff = Backoff::default();
        let bounds: Vec<_> = (0..9).map(|_| backoff.next(1.0).as_millis()).collect();
        assert_eq!(bounds, [250, 500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000]);
        assert_eq!(backoff.next(0.0), Duration::ZERO);
        backoff.reset();
        assert_eq!(backoff.next(1.0), BASE);
        backoff.failures = u32::MAX;
        assert_eq!(backoff.next(1.0), CAP);
    }

    #[test]
    fn random_is_a_fraction() {
        assert!((0..1_000).map(|_| random()).all(|n| (0.0..1.0).contains(&n)));
    }
}
