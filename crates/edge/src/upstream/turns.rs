//! Whose turn it is: weighted round robin without a lock.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The most turns of one round. Weights that need more are rounded.
const MAX_ROUND: u32 = 2_048;

/// One round, in which each member comes as often as its weight says and as evenly as possible,
/// and where in it the next turn is.
#[derive(Debug)]
pub(super) struct Turns {
    round: Box<[u8]>,
    next: AtomicUsize,
}

impl Turns {
    /// Members are numbered in the order of their weights.
    pub(super) fn new(weights: &[u16]) -> Self {
        let weights = reduced(weights);
        let total: i64 = weights.iter().sum();
        // Smooth weighted round robin, played through once: the furthest behind is next.
        let mut credits = vec![0_i64; weights.len()];
        let mut round = Vec::new();
        for _ in 0..total {
            for (credit, weight) in credits.iter_mut().zip(&weights) {
                *credit += weight;
            }
            let ahead = credits.iter_mut().enumerate().max_by_key(|(at, credit)| {
                // The first of several equal ones.
                (**credit, std::cmp::Reverse(*at))
            });
            if let Some((at, credit)) = ahead {
                *credit -= total;
                round.push(u8::try_from(at).unwrap_or(u8::MAX));
            }
        }
        Self { round: round.into(), next: AtomicUsize::new(0) }
    }

    /// The members from the next turn on, for one round: some come several times.
    pub(super) fn next(&self) -> impl Iterator<Item = usize> {
        let at = self.next.fetch_add(1, Ordering::Relaxed);
        let start = at.checked_rem(self.round.len()).unwrap_or(0);
        let (head, tail) = self.round.split_at(start);
        tail.iter().chain(head).map(|member| usize::from(*member))
    }
}

/// The same proportions in small numbers.
fn reduced(weights: &[u16]) -> Vec<i64> {
    let divisor = weights.iter().copied().fold(0, gcd).max(1);
    let total: u32 = weights.iter().map(|weight| u32::from(weight / divisor)).sum();
    let scale = |weight: u16| match total > MAX_ROUND {
        true => (u32::from(weight / divisor) * MAX_ROUND / total).max(1),
        false => u32::from(weight / divisor),
    };
    weights.iter().map(|weight| i64::from(scale(*weight))).collect()
}

fn gcd(a: u16, b: u16) -> u16 {
    match b {
        0 => a,
        b => gcd(b, a % b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(turns: &Turns, count: usize) -> Vec<usize> {
        (0..count).filter_map(|_| turns.next().next()).collect()
    }

    #[test]
    fn members_come_as_often_as_their_weights_say_and_evenly() {
        assert_eq!(first(&Turns::new(&[1, 1]), 4), [0, 1, 0, 1]);
        assert_eq!(first(&Turns::new(&[5, 1, 1]), 7), [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(first(&Turns::new(&[300, 100]), 8), [0, 0, 1, 0, 0, 0, 1, 0]);
        assert_eq!(first(&Turns::new(&[7]), 2), [0, 0]);
    }

    #[test]
    fn a_round_is_bounded_and_leaves_nobody_out() {
        let mut weights = vec![997; 31];
        weights.push(1);
        let turns = Turns::new(&weights);
        assert!(turns.round.len() <= MAX_ROUND as usize + 32, "{}", turns.round.len());
        assert!((0..32).all(|member| turns.round.contains(&member)));
    }

    #[test]
    fn every_member_follows_from_any_turn() {
        let turns = Turns::new(&[2, 1]);
        for _ in 0..5 {
            let mut seen: Vec<_> = turns.next().collect();
            seen.sort_unstable();
            assert_eq!(seen, [0, 0, 1]);
        }
    }
}
