//! How many checks that somebody asked for run at a time for one property: each takes sockets that the
//! others need.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, PoisonError},
};

use landfall_model::PropertyId;

/// The most of one property.
const AT_A_TIME: u32 = 32;

/// The checks that run, by property. It holds as many as have some.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    taken: Arc<Mutex<HashMap<PropertyId, u32>>>,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    taken: Arc<Mutex<HashMap<PropertyId, u32>>>,
    property: PropertyId,
}

impl Places {
    /// Takes a place; `None` where the property has all of its own taken.
    pub(super) fn take(&self, property: PropertyId) -> Option<Place> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(property).or_default();
        if *count >= AT_A_TIME {
            return None;
        }
        *count += 1;
        Some(Place { taken: Arc::clone(&self.taken), property })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut count) = taken.entry(self.property) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_has_its_own_places_and_gets_them_back() {
        let places = Places::default();
        let (one, other) = (PropertyId(1), PropertyId(2));
        let held: Vec<_> = (0..AT_A_TIME).map(|_| places.take(one).unwrap()).collect();
        assert!(places.take(one).is_none());
        assert!(places.take(other).is_some());
        drop(held);
        assert!(places.taken.lock().unwrap().is_empty());
        assert!(places.take(one).is_some());
    }
}
