//! When PoPs asked for something of the feed, on its way to the database: a request never waits for that.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use crate::token::PopId;

/// How often a PoP's last request is kept.
const KEPT_EVERY: Duration = Duration::from_secs(20);

/// When PoPs asked for something, or something in their name. Has an entry for a PoP that there is at most.
#[derive(Debug, Default)]
pub(crate) struct PopsSeen {
    state: Mutex<State>,
    due: Notify,
}

#[derive(Debug, Default)]
struct State {
    told: HashMap<PopId, Instant>,
    untold: Vec<PopId>,
}

impl PopsSeen {
    /// Notes that a PoP asked for something.
    pub(crate) fn note(&self, pop: PopId, now: Instant) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let last = state.told.get(&pop);
        if last.is_some_and(|told| now.saturating_duration_since(*told) < KEPT_EVERY) {
            return;
        }
        state.told.insert(pop, now);
        state.untold.push(pop);
        self.due.notify_one();
    }

    /// Waits for PoPs whose request is to be kept.
    pub(crate) async fn untold(&self) -> Vec<PopId> {
        loop {
            let untold = {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                std::mem::take(&mut state.untold)
            };
            if !untold.is_empty() {
                return untold;
            }
            self.due.notified().await;
        }
    }

    /// Takes PoPs back that could not be kept: their next request is told again.
    pub(crate) fn forget(&self, pops: &[PopId]) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.told.retain(|pop, _| !pops.contains(pop));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pop_is_told_of_at_once_and_then_every_twenty_seconds() {
        let seen = PopsSeen::default();
        let start = Instant::now();
        for second in 0..45 {
            seen.note(PopId(1), start + Duration::from_secs(second));
        }
        seen.note(PopId(2), start);
        assert_eq!(seen.untold().await, [PopId(1), PopId(1), PopId(1), PopId(2)]);
        assert!(futures_util::poll!(Box::pin(seen.untold())).is_pending());
        seen.forget(&[PopId(2)]);
        seen.note(PopId(2), start);
        assert_eq!(seen.untold().await, [PopId(2)]);
    }
}
