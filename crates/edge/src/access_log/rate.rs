//! So many in a second, and no more.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts within whole seconds. Never waits.
pub(super) struct Rate {
    most: u32,
    /// The second's lower 32 bits, and how many were in it.
    state: AtomicU64,
}

impl Rate {
    pub(super) fn new(most: u32) -> Self {
        Self { most, state: AtomicU64::new(0) }
    }

    /// Whether there may be one more in `second`.
    pub(super) fn allows(&self, second: u64) -> bool {
        let second = second & u64::from(u32::MAX);
        let next = |state: u64| {
            let (at, count) = (state >> 32, state & u64::from(u32::MAX));
            let count = if at == second { count } else { 0 };
            (count < u64::from(self.most)).then_some(second << 32 | (count + 1))
        };
        self.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_has_its_own_count() {
        let rate = Rate::new(2);
        let allowed = [7, 7, 7, 8, 8, 8, u64::MAX].map(|second| rate.allows(second));
        assert_eq!(allowed, [true, true, false, true, true, false, true]);
    }
}
