//! Medians, spreads and ratios.

use std::time::Duration;

use serde::Serialize;

/// The middle of several samples, and the least and the greatest of them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
    /// How many there were.
    pub(super) samples: usize,
}

impl Spread {
    /// Of samples in any order; none where there are none.
    pub(super) fn of(samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let upper = *sorted.get(sorted.len() / 2)?;
        let lower = *sorted.get((sorted.len() - 1) / 2)?;
        Some(Self { median: f64::midpoint(lower, upper), min, max, samples: sorted.len() })
    }

    /// Whether all samples are on one side of 1, and there are enough to say so: a ratio of which
    /// that is not true is lost in noise.
    pub(super) fn is_clear_of_one(&self) -> bool {
        self.samples >= 3 && (self.min > 1.0 || self.max < 1.0)
    }
}

/// The ratios of samples that were taken one after the other in the same round, so that what slows
/// a whole round down is not in them. Rounds that lack either are left out.
pub(super) fn paired(own: &[(usize, f64)], other: &[(usize, f64)]) -> Vec<f64> {
    let of_round = |round: usize| other.iter().find(|(its, _)| *its == round);
    let pairs = own.iter().filter_map(|(round, value)| Some((*value, of_round(*round)?.1)));
    pairs.filter(|(_, other)| *other > 0.0).map(|(own, other)| own / other).collect()
}

/// The sample that `hundredths` of all are not above (the nearest rank); none of none.
pub(super) fn percentile(samples: &mut [Duration], hundredths: usize) -> Option<Duration> {
    samples.sort_unstable();
    let rank = (samples.len() * hundredths).div_ceil(100);
    samples.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_two_in_the_middle() {
        let table: [(&[f64], Option<[f64; 3]>); 4] = [
            (&[], None),
            (&[3.0], Some([3.0, 3.0, 3.0])),
            (&[9.0, 1.0, 2.0], Some([2.0, 1.0, 9.0])),
            (&[4.0, 1.0, 2.0, 8.0], Some([3.0, 1.0, 8.0])),
        ];
        for (samples, expected) in table {
            let spread = Spread::of(samples).map(|spread| [spread.median, spread.min, spread.max]);
            assert_eq!(spread, expected, "{samples:?}");
        }
    }

    #[test]
    fn a_ratio_is_of_the_same_round_and_of_rounds_that_have_both() {
        let own = [(0, 10.0), (1, 20.0), (2, 30.0)];
        let other = [(2, 15.0), (0, 20.0), (3, 1.0)];
        assert_eq!(paired(&own, &other), [0.5, 2.0]);
        assert_eq!(paired(&own, &[(0, 0.0)]), [0.0; 0]);
    }

    #[test]
    fn rounds_that_do_not_agree_make_no_clear_ratio() {
        let table: [(&[f64], bool); 4] = [
            (&[1.1, 1.2, 1.3], true),
            (&[0.5, 0.7, 0.9], true),
            (&[0.9, 1.1, 1.2], false),
            (&[2.0, 2.0], false),
        ];
        for (ratios, clear) in table {
            assert_eq!(Spread::of(ratios).unwrap().is_clear_of_one(), clear, "{ratios:?}");
        }
    }

    #[test]
    fn a_percentile_is_the_nearest_rank() {
        let mut samples: Vec<_> = (1..=200).rev().map(Duration::from_micros).collect();
        assert_eq!(percentile(&mut samples, 50), Some(Duration::from_micros(100)));
        assert_eq!(percentile(&mut samples, 99), Some(Duration::from_micros(198)));
        assert_eq!(percentile(&mut samples[..1], 99), Some(Duration::from_micros(1)));
        assert_eq!(percentile(&mut [], 99), None);
    }
}
