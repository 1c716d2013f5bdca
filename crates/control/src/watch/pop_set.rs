//! A set of PoPs in a few bytes: one bit for each, by the number of its row.

use crate::token::PopId;

/// The highest number that has a bit. Rows' numbers are never used again; a fleet has hundreds.
const MAX_ID: i64 = 65_535;

/// A set of PoPs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PopSet(Vec<u8>);

impl PopSet {
    /// As it was kept.
    pub(crate) fn from_stored(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    /// As it is kept.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn contains(&self, PopId(id): PopId) -> bool {
        let Some((byte, mask)) = place(id) else { return false };
        self.0.get(byte).is_some_and(|own| own & mask != 0)
    }

    /// Adds a PoP, and says whether it was not there.
    pub(crate) fn insert(&mut self, pop: PopId) -> bool {
        let Some((byte, mask)) = place(pop.0).filter(|_| !self.contains(pop)) else {
            return false;
        };
        if self.0.len() <= byte {
            self.0.resize(byte + 1, 0);
        }
        if let Some(own) = self.0.get_mut(byte) {
            *own |= mask;
        }
        true
    }
}

fn place(id: i64) -> Option<(usize, u8)> {
    let id = usize::try_from(id).ok().filter(|_| id <= MAX_ID)?;
    Some((id / 8, 1 << (id % 8)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_was_added_and_is_as_long_as_it_must_be() {
        let mut set = PopSet::default();
        for id in [3, 41, 8] {
            assert!(set.insert(PopId(id)) && !set.insert(PopId(id)));
        }
        let set = PopSet::from_stored(set.as_bytes());
        let found: Vec<i64> = (-1..100).filter(|id| set.contains(PopId(*id))).collect();
        assert_eq!((found, set.as_bytes().len()), (vec![3, 8, 41], 6));
    }

    #[test]
    fn numbers_beyond_the_highest_are_left_out() {
        let mut set = PopSet::default();
        assert!(!set.insert(PopId(MAX_ID + 1)) && !set.insert(PopId(-1)));
        assert!(set.as_bytes().is_empty());
    }
}
