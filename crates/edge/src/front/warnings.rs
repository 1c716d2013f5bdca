//! Warnings that clients can cause, each said once a minute.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::atomic::{AtomicU64, Ordering},
};

/// The least time between two warnings of one subject, in seconds.
const PAUSE: u64 = 60;
/// Of more subjects than this at a time, some wait for others.
const SLOTS: usize = 256;

/// When a warning was said last, by what it is about: a table of fixed size, without locks. Two
/// subjects that share a slot share its minute.
pub(super) struct Warnings {
    /// In seconds since 1970; 0 is never.
    said: [AtomicU64; SLOTS],
}

impl Warnings {
    pub(super) const fn new() -> Self {
        Self { said: [const { AtomicU64::new(0) }; SLOTS] }
    }

    /// Whether to warn of `subject` at `now`, in seconds since 1970.
    pub(super) fn is_due(&self, subject: &impl Hash, now: u64) -> bool {
        let mut hasher = DefaultHasher::new();
        subject.hash(&mut hasher);
        let slot = usize::try_from(hasher.finish() % SLOTS as u64).unwrap_or_default();
        let Some(said) = self.said.get(slot) else { return false };
        let last = said.load(Ordering::Relaxed);
        // A clock that was set back does not silence anything.
        let is_due = last == 0 || now.abs_diff(last) >= PAUSE;
        is_due && said.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_subject_is_warned_of_once_a_minute() {
        let warnings = Warnings::new();
        let table = [
            ("a.example", 1_000, true),
            ("a.example", 1_000, false),
            ("b.example", 1_001, true),
            ("a.example", 1_059, false),
            ("a.example", 1_060, true),
            ("a.example", 1_061, false),
            ("a.example", 10, true),
        ];
        for (name, now, expected) in table {
            assert_eq!(warnings.is_due(&name, now), expected, "{name} {now}");
        }
    }

    #[test]
    fn many_subjects_are_as_many_warnings_as_there_are_slots_at_most() {
        let warnings = Warnings::new();
        let said = (0..100_000).filter(|n: &u32| warnings.is_due(n, 1_000)).count();
        assert!((SLOTS / 2..=SLOTS).contains(&said), "{said}");
    }
}
