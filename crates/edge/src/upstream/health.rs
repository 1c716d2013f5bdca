//! Whether an origin gets requests: what requests and checks say of it.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use super::clock::Moment;
use crate::config::Upstream;

/// How a member stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It gets requests.
    Up,
    /// Requests failed, so that it is left out for a while.
    Ejected,
    /// Its health checks fail.
    Unhealthy,
}

impl Standing {
    pub(super) const ALL: [Self; 3] = [Self::Up, Self::Ejected, Self::Unhealthy];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Ejected => "ejected",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// What is known of an origin. Every figure stands alone, so that none needs a lock: a race costs
/// a failure that isn't counted.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// Failed requests in a row.
    failures: AtomicU32,
    /// Ejections since the last request that succeeded.
    ejections: AtomicU32,
    /// When the ejection ends.
    out_until: AtomicU64,
    /// Checks in a row that say otherwise than `unhealthy`.
    dissent: AtomicU32,
    unhealthy: AtomicBool,
}

impl Health {
    pub(super) fn standing(&self, now: Moment) -> Standing {
        if self.unhealthy.load(Ordering::Relaxed) {
            Standing::Unhealthy
        } else if now.0 < self.out_until.load(Ordering::Relaxed) {
            Standing::Ejected
        } else {
            Standing::Up
        }
    }

    /// A request was answered.
    pub(super) fn succeeded(&self) {
        // Most often there is nothing to do, and a write would take the line from other cores.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
            self.ejections.store(0, Ordering::Relaxed);
        }
    }

    /// A request failed. Gives back for how long the origin is left out, where this is what ejects
    /// it; `random` is uniform in [0, 1).
    pub(super) fn failed(&self, now: Moment, limits: &Upstream, random: f64) -> Option<Duration> {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let is_out = self.standing(now) != Standing::Up;
        if failures < limits.eject_after.get() || is_out {
            return None;
        }
        let before = self.ejections.fetch_add(1, Ordering::Relaxed);
        let time = limits.eject_time.saturating_mul(1 << before.min(16)).min(limits.eject_max);
        // Between three quarters and five quarters: origins that fell together come back apart.
        let time = time.mul_f64(0.75 + random / 2.0);
        self.out_until.store(now.after(time).0, Ordering::Relaxed);
        Some(time)
    }

    /// A check ended. Gives back what changed: that it is healthy now, or not.
    pub(super) fn checked(&self, is_well: bool, after: u8) -> Option<bool> {
        if is_well != self.unhealthy.load(Ordering::Relaxed) {
            self.dissent.store(0, Ordering::Relaxed);
            return None;
        }
        let dissent = self.dissent.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if dissent < u32::from(after) {
            return None;
        }
        self.dissent.store(0, Ordering::Relaxed);
        self.unhealthy.store(!is_well, Ordering::Relaxed);
        Some(is_well)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Upstream {
        let text = "[upstream]\neject_after = 2\neject_time = \"1s\"\neject_max = \"3s\"";
        crate::config::fixtures::config(text).upstream
    }

    #[test]
    fn failures_in_a_row_eject_for_longer_each_time() {
        let (health, limits) = (Health::default(), limits());
        let fail = |at| health.failed(Moment(at), &limits, 0.5).map(|time| time.as_millis());
        assert_eq!(fail(1), None);
        health.succeeded();
        assert_eq!(fail(2), None);
        assert_eq!(fail(3), Some(1_000));
        assert_eq!(health.standing(Moment(1_002)), Standing::Ejected);
        assert_eq!(fail(4), None, "it is out already");
        assert_eq!(health.standing(Moment(1_003)), Standing::Up);
        assert_eq!(fail(1_003), Some(2_000), "one failure is enough after an ejection");
        assert_eq!(fail(3_003), Some(3_000));
        health.succeeded();
        assert_eq!(fail(9_000), None);
        assert_eq!(fail(9_001), Some(1_000), "a success starts over");
    }

    #[test]
    fn checks_in_a_row_change_the_verdict() {
        let health = Health::default();
        assert_eq!(health.checked(false, 2), None);
        assert_eq!(health.checked(true, 2), None);
        assert_eq!(health.checked(false, 2), None);
        assert_eq!(health.checked(false, 2), Some(false));
        assert_eq!(health.standing(Moment(1)), Standing::Unhealthy);
        assert_eq!(health.checked(true, 2), None);
        assert_eq!(health.checked(true, 2), Some(true));
        assert_eq!(health.standing(Moment(1)), Standing::Up);
    }
}
