//! Seeded chance.

use crate::jitter::Jitter;

pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed << 32)
    }

    pub(super) fn jitter(&mut self) -> Jitter {
        self.0 += 1;
        Jitter::of(self.0)
    }

    /// From `least` to `most`, which is never reached.
    pub(super) fn between(&mut self, least: i64, most: i64) -> i64 {
        least + ((most - least) as f64 * self.jitter().fraction()) as i64
    }

    /// One in so many.
    pub(super) fn one_in(&mut self, many: i64) -> bool {
        self.between(0, many) == 0
    }
}
