//! Tells of refused credentials without letting whoever presents them fill the log.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// At most one line in this time.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// Refusals of one kind of credential.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    told: Option<Instant>,
    untold: u64,
}

impl Refusals {
    /// Counts a refusal. Where a line is due, answers how many refusals it stands for.
    pub(crate) fn count(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.untold += 1;
        if state.told.is_some_and(|told| now.saturating_duration_since(told) < TOLD_EVERY) {
            return None;
        }
        state.told = Some(now);
        Some(std::mem::take(&mut state.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_once_a_minute_for_how_many() {
        let refusals = Refusals::default();
        let start = Instant::now();
        assert_eq!(refusals.count(start), Some(1));
        assert_eq!(refusals.count(start), None);
        assert_eq!(refusals.count(start + TOLD_EVERY / 2), None);
        assert_eq!(refusals.count(start + TOLD_EVERY), Some(3));
    }
}
