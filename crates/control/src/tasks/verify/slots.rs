//! Which of a lane's checks run, and who may begin another one.

use std::collections::HashMap;

use landfall_model::{HostnameId, PropertyId};

/// The checks that a lane may run at a time. Properties take turns, in the order of their ids.
#[derive(Debug)]
pub(super) struct Slots {
    at_a_time: usize,
    running: HashMap<HostnameId, PropertyId>,
    of_property: HashMap<PropertyId, usize>,
    /// Who had a turn last.
    last: PropertyId,
}

impl Slots {
    pub(super) fn new(at_a_time: u32) -> Self {
        Self {
            at_a_time: usize::try_from(at_a_time).unwrap_or(usize::MAX),
            running: HashMap::new(),
            of_property: HashMap::new(),
            last: PropertyId(0),
        }
    }

    pub(super) fn free(&self) -> usize {
        self.at_a_time.saturating_sub(self.running.len())
    }

    /// Who had a turn last: the next one is that of whoever comes after it.
    pub(super) fn last(&self) -> PropertyId {
        self.last
    }

    /// How many properties have checks that run.
    pub(super) fn properties(&self) -> usize {
        self.of_property.len()
    }

    /// How many checks of a property run.
    pub(super) fn of(&self, property: PropertyId) -> usize {
        self.of_property.get(&property).copied().unwrap_or_default()
    }

    /// How many more checks of a property may begin now. Whoever has a quarter of the lane leaves the
    /// last free quarter to others: however long its checks take, they need not wait for them.
    pub(super) fn allowance(&self, property: PropertyId) -> usize {
        let (free, quarter) = (self.free(), self.at_a_time.div_ceil(4));
        let own = quarter.saturating_sub(self.of(property));
        free.min(own.max(free.saturating_sub(quarter)))
    }

    pub(super) fn is_running(&self, hostname: HostnameId) -> bool {
        self.running.contains_key(&hostname)
    }

    /// Takes a slot for a hostname that has none.
    pub(super) fn take(&mut self, property: PropertyId, hostname: HostnameId) {
        self.last = property;
        if self.running.insert(hostname, property).is_none() {
            *self.of_property.entry(property).or_default() += 1;
        }
    }

    /// Gives a hostname's slot back.
    pub(super) fn give_back(&mut self, hostname: HostnameId) {
        let Some(property) = self.running.remove(&hostname) else { return };
        if let Some(count) = self.of_property.get_mut(&property) {
            *count -= 1;
            if *count == 0 {
                self.of_property.remove(&property);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes as many slots as a property may, and says how many those are.
    fn fill(slots: &mut Slots, property: i64) -> usize {
        let most = slots.allowance(PropertyId(property));
        for number in 0..most {
            let hostname = property * 1_000 + i64::try_from(number).unwrap();
            slots.take(PropertyId(property), HostnameId(hostname));
        }
        most
    }

    #[test]
    fn one_property_leaves_a_quarter_to_others_and_those_share_it() {
        for (at_a_time, shares) in
            [(32, [24, 8, 0]), (16, [12, 4, 0]), (5, [3, 2, 0]), (2, [1, 1, 0]), (1, [1, 0, 0])]
        {
            let mut slots = Slots::new(at_a_time);
            let taken = [1, 2, 3].map(|property| fill(&mut slots, property));
            assert_eq!(taken, shares, "of {at_a_time}");
            assert_eq!(slots.free(), 0);
        }
    }

    #[test]
    fn a_slot_that_is_given_back_is_anybodys() {
        let mut slots = Slots::new(4);
        assert_eq!(fill(&mut slots, 1), 3);
        assert!(slots.is_running(HostnameId(1_002)));
        assert_eq!((slots.allowance(PropertyId(1)), slots.allowance(PropertyId(2))), (0, 1));
        slots.give_back(HostnameId(1_002));
        assert_eq!((slots.allowance(PropertyId(1)), slots.allowance(PropertyId(2))), (1, 1));
        slots.give_back(HostnameId(1_002));
        assert_eq!((slots.of(PropertyId(1)), slots.free()), (2, 2));
        slots.give_back(HostnameId(1_000));
        slots.give_back(HostnameId(1_001));
        assert_eq!((slots.properties(), slots.free()), (0, 4));
    }
}
