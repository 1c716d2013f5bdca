//! How many sockets are open at once.

use std::sync::Arc;

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout_at},
};

/// The places for sockets, which all checks share.
#[derive(Clone, Debug)]
pub(crate) struct Sockets(Arc<Semaphore>);

/// A place for one socket, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    _permit: SemaphorePermit<'a>,
    had: Had,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Had {
    AtOnce,
    AfterAWait,
}

impl Sockets {
    pub(crate) fn new(most: usize) -> Self {
        Self(Arc::new(Semaphore::new(most)))
    }

    /// A place, first come, first served; `None` where there is none in time.
    pub(crate) async fn take(&self, deadline: Instant) -> Option<Place<'_>> {
        if let Ok(permit) = self.0.try_acquire() {
            return Some(Place { _permit: permit, had: Had::AtOnce });
        }
        let permit = timeout_at(deadline, self.0.acquire()).await.ok()?.ok()?;
        Some(Place { _permit: permit, had: Had::AfterAWait })
    }
}

impl Place<'_> {
    /// Whether it was not free at once, so that there was less time for what it is for.
    pub(crate) fn was_waited_for(&self) -> bool {
        self.had == Had::AfterAWait
    }
}
