//! Which PoPs can be reached from here. One that can't be costs a handshake now and then, however many
//! certificates are to be seen on it.

use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant},
};

use super::Finding;
use crate::token::PopId;

/// After so many handshakes in a row that nobody answered, a PoP is left alone for a while.
const TOLERATED: u32 = 3;
/// The longest that it is left alone.
const LONGEST: Duration = Duration::from_secs(60);

/// What is known of PoPs: an entry for each that did not answer last time.
#[derive(Debug, Default)]
pub(crate) struct Reach(HashMap<PopId, Silence>);

#[derive(Clone, Copy, Debug)]
struct Silence {
    /// How many handshakes in a row nobody answered.
    count: u32,
    until: Instant,
}

/// How many handshakes a PoP gets now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allowance {
    /// As many as there are.
    Any,
    /// One, which shows whether it is back.
    One,
    /// None.
    None,
}

impl Reach {
    /// How many handshakes a PoP gets now.
    pub(crate) fn allowance(&self, pop: PopId, now: Instant) -> Allowance {
        match self.0.get(&pop) {
            Some(silence) if silence.count >= TOLERATED && now < silence.until => Allowance::None,
            Some(silence) if silence.count >= TOLERATED => Allowance::One,
            Some(_) | None => Allowance::Any,
        }
    }

    /// Notes what came of a handshake.
    pub(crate) fn note(&mut self, pop: PopId, finding: Finding, now: Instant) {
        if finding != Finding::Unreachable {
            self.0.remove(&pop);
            return;
        }
        let silence = self.0.entry(pop).or_insert(Silence { count: 0, until: now });
        silence.count = silence.count.saturating_add(1);
        let doublings = silence.count.saturating_sub(TOLERATED).min(6);
        silence.until = now + Duration::from_secs(1 << doublings).min(LONGEST);
    }

    /// Forgets PoPs that are no more.
    pub(crate) fn keep(&mut self, pops: &BTreeSet<PopId>) {
        self.0.retain(|pop, _| pops.contains(pop));
    }

    /// Whether a PoP is left alone, or about to be tried again.
    pub(crate) fn is_silent(&self, pop: PopId) -> bool {
        self.0.get(&pop).is_some_and(|silence| silence.count >= TOLERATED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pop_that_does_not_answer_is_left_alone_longer_and_longer_and_tried_once() {
        let (mut reach, start, pop) = (Reach::default(), Instant::now(), PopId(1));
        for _ in 0..TOLERATED {
            assert_eq!(reach.allowance(pop, start), Allowance::Any);
            reach.note(pop, Finding::Unreachable, start);
        }
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            let after = start + Duration::from_secs(seconds);
            assert_eq!(reach.allowance(pop, after - Duration::from_millis(1)), Allowance::None);
            assert_eq!(reach.allowance(pop, after), Allowance::One);
            assert!(reach.is_silent(pop));
            reach.note(pop, Finding::Unreachable, start);
        }
        reach.note(pop, Finding::Failed, start);
        assert_eq!((reach.allowance(pop, start), reach.is_silent(pop)), (Allowance::Any, false));
    }
}
