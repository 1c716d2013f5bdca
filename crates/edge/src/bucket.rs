//! How often something may happen.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::Pace;

/// A token bucket, kept as the time at which it will be full (virtual scheduling).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    full_at: Instant,
}

impl Bucket {
    /// Full.
    pub(crate) fn new(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// Takes `count` at once, all of them or none. Says whether they were there.
    pub(crate) fn takes(&mut self, count: u32, pace: Pace, now: Instant) -> bool {
        let full_at = self.full_at.max(now) + pace.interval.saturating_mul(count);
        let is_there = full_at <= now + pace.interval.saturating_mul(pace.burst);
        if is_there {
            self.full_at = full_at;
        }
        is_there
    }

    /// Whether it holds all that it can.
    pub(crate) fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }
}

impl Pace {
    /// So many a second, and twice as many at once.
    pub(crate) fn per_second(count: u32) -> Self {
        let interval = Duration::from_secs(1) / count.max(1);
        Self { interval, burst: count.max(1).saturating_mul(2) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_a_burst_and_then_the_pace() {
        let start = Instant::now();
        let pace = Pace { interval: Duration::from_millis(100), burst: 5 };
        let mut bucket = Bucket::new(start);
        assert!(!bucket.takes(6, pace, start));
        assert!(bucket.takes(5, pace, start));
        assert!(!bucket.takes(1, pace, start + Duration::from_millis(99)));
        assert!(bucket.takes(1, pace, start + Duration::from_millis(100)));
        assert!(!bucket.is_full(start + Duration::from_millis(599)));
        assert!(bucket.is_full(start + Duration::from_millis(600)));
        assert!(bucket.takes(5, pace, start + Duration::from_secs(60)));
    }
}
