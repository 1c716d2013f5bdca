//! Log lines that outsiders can cause, at most one a second.

use std::sync::atomic::{AtomicU64, Ordering};

use super::clock::Moment;

/// Between two lines, in milliseconds.
const APART: u64 = 1_000;

/// Says whether a line may be written.
#[derive(Debug, Default)]
pub(super) struct Sparingly {
    next: AtomicU64,
    suppressed: AtomicU64,
}

impl Sparingly {
    /// `None` where it must not; else how many were suppressed since the last one.
    pub(super) fn allows(&self, now: Moment) -> Option<u64> {
        let next = self.next.load(Ordering::Relaxed);
        let is_first = now.0 >= next
            && self
                .next
                .compare_exchange(next, now.0 + APART, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if is_first {
            return Some(self.suppressed.swap(0, Ordering::Relaxed));
        }
        self.suppressed.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_says_how_many_were_suppressed() {
        let sparingly = Sparingly::default();
        let said: Vec<_> =
            [1, 2, 900, 1_001, 1_002, 5_000].map(|at| sparingly.allows(Moment(at))).into();
        assert_eq!(said, [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
