//! PoPs whose agents can't do what they take: others get it meanwhile.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use landfall_issuance::failure::FailureClass;
use landfall_model::AuthorityName;

/// For how long a PoP gets no job after one that it can't do: it fails within moments, so that it would
/// be there for the next one before all others.
const REST: Duration = Duration::from_secs(60);

/// What a PoP can't do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Unable {
    /// No job at all: its clock differs from ours.
    Any,
    /// None of this CA: it lacks the key that the account is sealed for.
    Of(AuthorityName),
}

impl Unable {
    /// What a PoP can't do that failed so with this CA.
    pub(super) fn of(class: FailureClass, authority: &AuthorityName) -> Option<Self> {
        match class == FailureClass::ControlClock {
            true => Some(Self::Any),
            false => (class == FailureClass::GroupKey).then(|| Self::Of(authority.clone())),
        }
    }

    /// The CA, where it is one alone.
    pub(super) const fn authority(&self) -> Option<&AuthorityName> {
        match self {
            Self::Any => None,
            Self::Of(authority) => Some(authority),
        }
    }
}

/// Which PoPs get no jobs for a while, by their names.
#[derive(Debug, Default)]
pub(super) struct Resting(Mutex<BTreeMap<String, BTreeMap<Unable, Instant>>>);

impl Resting {
    pub(super) fn begin(&self, pop: &str, unable: Unable, now: Instant) {
        let mut resting = self.lock();
        resting.retain(|_, own| own.values().any(|until| now < *until));
        resting.entry(pop.to_owned()).or_default().insert(unable, now + REST);
    }

    /// What a PoP gets no jobs of.
    pub(super) fn of(&self, pop: &str, now: Instant) -> Vec<Unable> {
        let resting = self.lock();
        let own = resting.get(pop).into_iter().flatten();
        own.filter(|(_, until)| now < **until).map(|(unable, _)| unable.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, BTreeMap<Unable, Instant>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pop_rests_for_a_minute_from_what_it_cannot_do_and_from_nothing_else() {
        let (own, now) = ("own".parse::<AuthorityName>().unwrap(), Instant::now());
        let of_own = Unable::of(FailureClass::GroupKey, &own).unwrap();
        let any = Unable::of(FailureClass::ControlClock, &own).unwrap();
        assert_eq!((&of_own, &any), (&Unable::Of(own.clone()), &Unable::Any));
        assert_eq!(Unable::of(FailureClass::AuthorityBusy, &own), None);
        let resting = Resting::default();
        resting.begin("fra1", of_own.clone(), now);
        resting.begin("fra1", any.clone(), now + REST / 2);
        assert_eq!(resting.of("fra1", now), [any.clone(), of_own]);
        assert!(resting.of("iad1", now).is_empty());
        assert_eq!(resting.of("fra1", now + REST), [any]);
        assert!(resting.of("fra1", now + 2 * REST).is_empty());
    }
}
