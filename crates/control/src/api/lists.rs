//! How many long lists are made for one property at a time.
//!
//! A list of many hostnames holds one of the few connections to the database for long. One property's
//! lists wait for each other, so that other requests don't wait for them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use landfall_model::PropertyId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many of one property are made at a time.
const AT_A_TIME: usize = 2;

/// The lists that are being made or wait. Has an entry for each property with any.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    by_property: Mutex<HashMap<PropertyId, Arc<Semaphore>>>,
}

/// A list that is being made, until it is dropped.
pub(crate) struct Turn<'a> {
    lists: &'a Lists,
    property: PropertyId,
    semaphore: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Lists {
    /// Waits until another list of the property may be made; the request's own time limits the wait.
    pub(crate) async fn turn(&self, property: PropertyId) -> Turn<'_> {
        let semaphore = {
            let mut lists = self.by_property.lock().unwrap_or_else(PoisonError::into_inner);
            let new = || Arc::new(Semaphore::new(AT_A_TIME));
            Arc::clone(lists.entry(property).or_insert_with(new))
        };
        // Dropped while it waits, it is forgotten too.
        let mut turn = Turn { lists: self, property, semaphore, permit: None };
        turn.permit = Arc::clone(&turn.semaphore).acquire_owned().await.ok();
        turn
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut lists = self.lists.by_property.lock().unwrap_or_else(PoisonError::into_inner);
        self.permit = None;
        // The table's and this one's own.
        if Arc::strong_count(&self.semaphore) <= 2 {
            lists.remove(&self.property);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;

    use super::*;

    #[tokio::test]
    async fn a_property_makes_two_lists_at_a_time_and_others_do_not_wait() {
        let lists = Lists::default();
        let first = lists.turn(PropertyId(1)).await;
        let second = lists.turn(PropertyId(1)).await;
        let mut third = Box::pin(lists.turn(PropertyId(1)));
        let mut fourth = Box::pin(lists.turn(PropertyId(1)));
        assert!(poll!(&mut third).is_pending() && poll!(&mut fourth).is_pending());
        let other = lists.turn(PropertyId(2)).await;
        drop(fourth);
        drop(first);
        let third = third.await;
        drop((second, third, other));
        assert!(lists.by_property.lock().unwrap().is_empty());
    }
}
