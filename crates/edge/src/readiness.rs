//! Whether there is a state to serve, and how old it is.
//!
//! An edge is ready once it has a state, from the feed or from disk. A feed that has gone stale
//! doesn't make it unready: it serves what it last knew, and says how old that is.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use landfall_feed::lkg::SealedTo;
use landfall_model::{Epoch, Revision};

/// Where the state that is served came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Serving {
    /// Nothing was ever loaded.
    #[default]
    Nothing,
    /// The last-known-good state on disk; the control plane hasn't been heard since the start.
    LastKnownGood,
    /// The feed.
    Feed,
}

/// What is known of the state and the feed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeedState {
    /// Where the state came from.
    pub serving: Serving,
    /// The position that is applied.
    pub applied: Option<(Epoch, Revision)>,
    /// When the control plane last said that this is its state, or was still sending it.
    pub confirmed: Option<SystemTime>,
    /// Why the last attempt to reach the control plane or to apply what it sent failed.
    pub last_error: Option<String>,
    /// Why what came last could not be written, in a word, until something is.
    pub not_written: Option<&'static str>,
    /// Which group keys are missing here.
    pub missing: Missing,
}

/// What can't be served for lack of group keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// The group keys that this edge does not hold, and what is sealed to each.
    pub keys: Vec<SealedTo>,
    /// Certificates that have not expired, whatever they are sealed to.
    pub of: u64,
    /// Records of the feed that were not taken because they are sealed to other group keys still.
    pub set_aside: u64,
}

/// The shared value: the feed's poller fills it, the admin listener shows it. Never waits.
#[derive(Debug, Default)]
pub struct Readiness {
    state: ArcSwap<FeedState>,
    is_stopping: AtomicBool,
}

/// What `/readyz` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Whether the edge has a state to serve, and goes on serving it.
    pub is_ready: bool,
    /// Lines for a person, `name: words`.
    pub text: String,
}

impl Readiness {
    /// Changes what is known. `change` may run more than once.
    pub fn update(&self, change: impl Fn(&mut FeedState)) {
        self.state.rcu(|state| {
            let mut next = FeedState::clone(state);
            change(&mut next);
            next
        });
    }

    /// What is known.
    pub fn state(&self) -> Arc<FeedState> {
        self.state.load_full()
    }

    /// Notes that the listeners close: clients are to be sent elsewhere.
    pub fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
    }

    /// What to say about it at `now`.
    pub fn report(&self, now: SystemTime) -> Report {
        let report = self.state().report(now);
        match self.is_stopping.load(Ordering::Acquire) {
            true => Report { is_ready: false, text: format!("stopping: yes\n{}", report.text) },
            false => report,
        }
    }
}

impl Missing {
    /// How many certificates can't be opened.
    pub fn certificates(&self) -> u64 {
        self.keys.iter().map(|key| key.certificates).sum()
    }

    /// Whether there are secrets and none can be opened.
    fn is_everything(&self) -> bool {
        let some = self.certificates().saturating_add(self.set_aside);
        some > 0 && self.certificates() >= self.of
    }
}

impl FeedState {
    fn report(&self, now: SystemTime) -> Report {
        let is_ready = self.serving != Serving::Nothing && !self.missing.is_everything();
        let mut text = String::new();
        let serving = match self.serving {
            Serving::Nothing => "nothing: no state was loaded yet, from the feed or from disk",
            _ if self.missing.is_everything() => {
                "nothing: every certificate is sealed to a group key that this edge does not hold"
            }
            Serving::LastKnownGood => "the last-known-good state from disk",
            Serving::Feed => "the state of the feed",
        };
        // Writing to a String does not fail.
        let _ = writeln!(text, "ready: {}", if is_ready { "yes" } else { "no" });
        let _ = writeln!(text, "serving: {serving}");
        if let Some((epoch, revision)) = self.applied {
            let _ = writeln!(text, "applied: epoch {epoch}, revision {revision}");
        }
        let _ = match self.confirmed.map(|at| age(now, at)) {
            Some(age) => writeln!(text, "confirmed: {} s ago", age.as_secs()),
            None => writeln!(text, "confirmed: never since the start"),
        };
        for SealedTo { key_id, certificates, hostname } in &self.missing.keys {
            let _ = writeln!(
                text,
                "missing group key: {key_id}, which {certificates} certificates are sealed to, \
                 among them one of {hostname}"
            );
        }
        if self.missing.set_aside > 0 {
            let records = self.missing.set_aside;
            let _ = writeln!(text, "set aside for lack of a group key: {records} records");
        }
        if let Some(error) = &self.last_error {
            let _ = writeln!(text, "last error: {error}");
        }
        Report { is_ready, text }
    }
}

/// A clock that was set back makes nothing older than now.
fn age(now: SystemTime, at: SystemTime) -> Duration {
    now.duration_since(at).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn is_not_ready_before_anything_was_loaded_and_says_why() {
        let readiness = Readiness::default();
        readiness.update(|state| state.last_error = Some("connection refused".to_owned()));
        let report = readiness.report(at(100));
        assert!(!report.is_ready);
        assert!(report.text.contains("no state was loaded yet"), "{}", report.text);
        assert!(report.text.contains("last error: connection refused"), "{}", report.text);
    }

    #[test]
    fn a_stale_state_is_ready_and_says_its_age() {
        let readiness = Readiness::default();
        readiness.update(|state| {
            state.serving = Serving::LastKnownGood;
            state.applied = Some((Epoch(2), Revision(17)));
            state.confirmed = Some(at(100));
        });
        let report = readiness.report(at(4_000));
        assert!(report.is_ready);
        let expected = "ready: yes\nserving: the last-known-good state from disk\n\
                        applied: epoch 2, revision 17\nconfirmed: 3900 s ago\n";
        assert_eq!(report.text, expected);
    }

    #[test]
    fn a_missing_group_key_is_named_and_only_where_nothing_can_be_opened_is_the_edge_not_ready() {
        let missing = |of| {
            let (key_id, hostname) = ("ab12".to_owned(), "a.example".to_owned());
            let keys = vec![SealedTo { key_id, certificates: 3, hostname }];
            let missing = Missing { keys, of, set_aside: 0 };
            let serving = Serving::Feed;
            FeedState { serving, missing, ..FeedState::default() }.report(at(1))
        };
        let named = "missing group key: ab12, which 3 certificates are sealed to, \
                     among them one of a.example\n";
        let (some, all) = (missing(4), missing(3));
        assert!(some.is_ready && some.text.contains(named), "{}", some.text);
        assert!(!all.is_ready && all.text.contains(named), "{}", all.text);
        assert!(all.text.contains("serving: nothing: every certificate"), "{}", all.text);

        let set_aside = |of| {
            let missing = Missing { of, set_aside: 7, ..Missing::default() };
            let serving = Serving::Feed;
            FeedState { serving, missing, ..FeedState::default() }.report(at(1))
        };
        let (some, all) = (set_aside(1), set_aside(0));
        assert!(some.is_ready && !all.is_ready);
        let named = "set aside for lack of a group key: 7 records\n";
        assert!(all.text.contains(named), "{}", all.text);
    }

    #[test]
    fn a_clock_set_back_does_not_age_the_state() {
        let state = FeedState { confirmed: Some(at(500)), ..FeedState::default() };
        assert!(state.report(at(100)).text.contains("confirmed: 0 s ago"));
    }
}
