//! How long an order is left alone between two looks at it.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use crate::jitter::Jitter;

/// At first and at most.
const FIRST: Duration = Duration::from_millis(300);
const LONGEST: Duration = Duration::from_secs(5);

/// The pauses of one order: each is half as long again as the one before, a quarter more or less, so
/// that orders which were made at once are not looked at at once.
pub(crate) struct Pauses {
    seed: u64,
    next: Duration,
    taken: u64,
}

impl Pauses {
    pub(crate) fn of(order: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        order.hash(&mut hasher);
        Self { seed: hasher.finish(), next: FIRST, taken: 0 }
    }

    /// The next one: no shorter than the CA asked for.
    pub(crate) fn next(&mut self, asked: Option<Duration>) -> Duration {
        self.taken += 1;
        let chance = Jitter::of_all(&[self.seed, self.taken]).fraction();
        let pause = self.next.mul_f64(0.75 + chance / 2.0);
        self.next = self.next.mul_f32(1.5).min(LONGEST);
        asked.map_or(pause, |asked| asked.max(pause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_differ_from_order_to_order() {
        let mut pauses = Pauses::of("https://ca.test/order/1");
        let first = pauses.next(None);
        assert!(first >= FIRST.mul_f32(0.74) && first <= FIRST.mul_f32(1.26), "{first:?}");
        assert_ne!(first, Pauses::of("https://ca.test/order/2").next(None));
        let last = (0..20).map(|_| pauses.next(None)).last().unwrap();
        assert!(last > LONGEST / 2 && last <= LONGEST.mul_f32(1.26), "{last:?}");
        assert_eq!(pauses.next(Some(LONGEST * 4)), LONGEST * 4);
    }
}
