//! Which names have the most handshakes.

use std::{cmp::Reverse, sync::Arc};

use landfall_model::HostPattern;

use crate::Entry;

/// A name, and how many handshakes were given its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Busy {
    /// The entry's name.
    pub name: HostPattern,
    /// How many.
    pub handshakes: u32,
}

/// Keeps the busiest of all entries that it is shown, and never more than twice as many as are wanted.
pub(crate) struct Busiest<R> {
    most: usize,
    found: Vec<(u32, Arc<Entry<R>>)>,
}

impl<R> Busiest<R> {
    pub(crate) const fn new(most: usize) -> Self {
        Self { most, found: Vec::new() }
    }

    /// Takes what the entry has counted.
    pub(crate) fn add(&mut self, entry: &Arc<Entry<R>>) {
        let handshakes = entry.take_handshakes();
        if handshakes == 0 || self.most == 0 {
            return;
        }
        self.found.push((handshakes, Arc::clone(entry)));
        if self.found.len() >= self.most.saturating_mul(2) {
            self.found.select_nth_unstable_by_key(self.most - 1, |(count, _)| Reverse(*count));
            self.found.truncate(self.most);
        }
    }

    pub(crate) fn into_names(mut self) -> Vec<Busy> {
        self.found.sort_by_key(|(count, _)| Reverse(*count));
        self.found.truncate(self.most);
        let busy = |(handshakes, entry): (u32, Arc<Entry<R>>)| Busy {
            name: entry.name().clone(),
            handshakes,
        };
        self.found.into_iter().map(busy).collect()
    }
}
