//! Chance, as an argument.

use time::Duration;

/// A number that is as good as random, at least 0 and less than 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Jitter(f64);

impl Jitter {
    /// The number of a seed: the same one each time. Seeds that differ in one bit give numbers that have
    /// nothing to do with each other (SplitMix64).
    pub fn of(seed: u64) -> Self {
        let mixed = mix(seed);
        // 53 bits are what a double holds.
        Self((mixed >> 11) as f64 / (1u64 << 53) as f64)
    }

    /// The number of several seeds together.
    pub fn of_all(seeds: &[u64]) -> Self {
        Self::of(seeds.iter().fold(0, |sum, seed| mix(sum ^ mix(*seed))))
    }

    /// The number.
    pub const fn fraction(self) -> f64 {
        self.0
    }

    /// A time between `span` less `share` and `span` plus `share` of it.
    pub(crate) fn spread(self, span: Duration, share: f64) -> Duration {
        span * (1.0 + share * (2.0 * self.0 - 1.0))
    }
}

fn mix(seed: u64) -> u64 {
    let seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let seed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let seed = (seed ^ (seed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    seed ^ (seed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_spread_evenly() {
        let mut tenths = [0u32; 10];
        for seed in 0..10_000 {
            let number = Jitter::of_all(&[seed, 7]).fraction();
            assert!((0.0..1.0).contains(&number));
            tenths[(number * 10.0) as usize] += 1;
        }
        assert!(tenths.iter().all(|count| (900..1_100).contains(count)), "{tenths:?}");
    }

    #[test]
    fn spreads_around_a_time() {
        let spans = (0..1_000).map(|seed| Jitter::of(seed).spread(Duration::minutes(10), 0.25));
        let seconds: Vec<i64> = spans.map(Duration::whole_seconds).collect();
        assert!(seconds.iter().all(|seconds| (450..=750).contains(seconds)));
        assert!(seconds.iter().any(|seconds| *seconds < 470));
        assert!(seconds.iter().any(|seconds| *seconds > 730));
    }
}
