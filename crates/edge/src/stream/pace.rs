//! Whether a client keeps pace with what it sends or takes.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::Rate;

/// How a client doesn't keep pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lag {
    /// Nothing moves.
    Silent,
    /// Too little moves.
    Slow,
}

/// Counts the time that is spent waiting for a client, and only that: a client pays for no time
/// in which its origin or the edge is what is slow. Each byte that moves pays some of it back.
#[derive(Debug)]
pub(super) struct Pace {
    rate: Rate,
    /// The longest wait for any one byte.
    silence: Duration,
    /// What may still be waited before the rate is too low.
    credit: Duration,
    waiting_since: Option<Instant>,
}

impl Pace {
    pub(super) fn new(rate: Rate, silence: Duration) -> Self {
        Self { rate, silence, credit: rate.grace, waiting_since: None }
    }

    /// Nothing moves at `now`: until when to wait, and what it is when that passes.
    pub(super) fn wait(&mut self, now: Instant) -> (Instant, Lag) {
        let since = *self.waiting_since.get_or_insert(now);
        let is_slow = self.rate.bytes > 0 && self.credit < self.silence;
        match is_slow {
            true => (since + self.credit, Lag::Slow),
            false => (since + self.silence, Lag::Silent),
        }
    }

    /// `bytes` have moved by `now`.
    pub(super) fn moved(&mut self, bytes: usize, now: impl FnOnce() -> Instant) {
        let since = self.waiting_since.take();
        if self.rate.bytes == 0 || (since.is_none() && self.credit == self.rate.grace) {
            return;
        }
        let waited = since.map_or(Duration::ZERO, |since| now().duration_since(since));
        let paid = (bytes as u64).saturating_mul(1_000_000) / self.rate.bytes;
        let left = self.credit.saturating_sub(waited);
        self.credit = left.saturating_add(Duration::from_micros(paid)).min(self.rate.grace);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn pace(bytes: u64, grace: u64, silence: u64) -> Pace {
        Pace::new(Rate { bytes, grace: seconds(grace) }, seconds(silence))
    }

    #[test]
    fn a_byte_now_and_then_uses_the_grace_up() {
        let (start, mut pace) = (Instant::now(), pace(100, 10, 60));
        assert_eq!(pace.wait(start), (start + seconds(10), Lag::Slow));
        pace.moved(1, || start + seconds(6));
        let now = start + seconds(6);
        assert_eq!(pace.wait(now), (now + Duration::from_millis(4010), Lag::Slow));
    }

    #[test]
    fn bytes_at_the_rate_pay_for_the_wait() {
        let (start, mut pace) = (Instant::now(), pace(100, 10, 60));
        for second in 0..1000 {
            let now = start + seconds(second);
            assert_eq!(pace.wait(now), (now + seconds(10), Lag::Slow));
            pace.moved(100, || now + seconds(1));
        }
    }

    #[test]
    fn time_that_nobody_waits_for_the_client_is_free() {
        let (start, mut pace) = (Instant::now(), pace(100, 10, 60));
        pace.wait(start);
        pace.moved(1000, || start);
        let later = start + seconds(3600);
        assert_eq!(pace.wait(later), (later + seconds(10), Lag::Slow));
    }

    #[test]
    fn silence_has_an_end_with_and_without_a_rate() {
        let start = Instant::now();
        for mut pace in [pace(0, 10, 60), pace(1, 90, 60)] {
            assert_eq!(pace.wait(start), (start + seconds(60), Lag::Silent));
            assert_eq!(pace.wait(start + seconds(9)), (start + seconds(60), Lag::Silent));
            pace.moved(1, || start + seconds(9));
            let now = start + seconds(9);
            assert_eq!(pace.wait(now), (now + seconds(60), Lag::Silent));
        }
    }
}
