//! One check of a hostname at a time: who comes while it runs gets what it found.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use landfall_dns::Evidence;
use landfall_model::HostnameId;
use tokio::sync::MutexGuard;

/// The hostnames that are being checked. It holds as many as there are checks and those who wait.
#[derive(Clone, Debug, Default)]
pub(crate) struct InFlight {
    slots: Arc<Mutex<HashMap<HostnameId, Weak<Slot>>>>,
}

/// What the check found that has just ended.
#[derive(Debug, Default)]
struct Slot {
    found: tokio::sync::Mutex<Option<Arc<Evidence>>>,
}

/// A place among those who want a hostname checked.
#[derive(Debug)]
pub(super) struct Place {
    slots: Arc<Mutex<HashMap<HostnameId, Weak<Slot>>>>,
    hostname: HostnameId,
    /// There until it is dropped.
    slot: Option<Arc<Slot>>,
}

impl InFlight {
    /// Takes a place. The first one checks, and the others get what it found.
    pub(super) fn enter(&self, hostname: HostnameId) -> Place {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let present = slots.get(&hostname).and_then(Weak::upgrade);
        let slot = present.unwrap_or_else(|| {
            let slot = Arc::default();
            slots.insert(hostname, Arc::downgrade(&slot));
            slot
        });
        Place { slots: Arc::clone(&self.slots), hostname, slot: Some(slot) }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.slots.lock().unwrap().len()
    }
}

impl Place {
    /// Waits for whoever checks the hostname. Without anything found, it is the caller's to check, and
    /// to say what it found.
    pub(super) async fn wait(&self) -> Option<MutexGuard<'_, Option<Arc<Evidence>>>> {
        match &self.slot {
            Some(slot) => Some(slot.found.lock().await),
            None => None,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock: of two that leave at once, the second finds nobody left.
        self.slot = None;
        if slots.get(&self.hostname).is_some_and(|slot| slot.strong_count() == 0) {
            slots.remove(&self.hostname);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_second_waits_for_the_first_and_nothing_stays_behind() {
        let in_flight = InFlight::default();
        let (one, two) = (in_flight.enter(HostnameId(1)), in_flight.enter(HostnameId(1)));
        let other = in_flight.enter(HostnameId(2));
        let guard = one.wait().await.unwrap();
        assert!(other.wait().await.unwrap().is_none(), "another hostname does not wait");
        let mut second = Box::pin(two.wait());
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(guard);
        assert!(futures_util::poll!(&mut second).is_ready());
        drop(second);
        assert_eq!(in_flight.len(), 2);
        drop((one, other));
        assert_eq!(in_flight.len(), 1);
        drop(two);
        assert_eq!(in_flight.len(), 0);
    }
}
