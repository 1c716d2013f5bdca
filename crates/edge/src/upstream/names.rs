//! Origins' names and where they lead: looked up in the background, read by requests.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use landfall_model::{Hostname, PropertyId};
use tokio::{sync::Notify, time::timeout_at};

use super::{
    chores::{Chore, Next, Roster},
    clock::{Clock, Moment},
    lookup::{Found, Lookup, LookupError},
    metrics::{LookupResult, UpstreamMetrics},
};
use crate::backoff::random;

/// The most names that are known at once.
const MAX_NAMES: usize = 50_000;
/// The same for one property, so that it takes a fifth where others need the rest.
const MAX_OWN_NAMES: usize = 10_000;
/// However short or long a zone says that an answer holds.
const TTL: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));
/// How long addresses are used after the DNS says that there are none: zones are edited by hand.
const HOLD: Duration = Duration::from_secs(30);
/// A name that nobody asked for in this time is not looked up any more.
const UNUSED: Duration = Duration::from_secs(600);
/// After a failure: the first wait, and the longest one.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Every name that an origin has. Properties share none: what one of them asks for takes from its
/// own share of look-ups.
pub(super) struct Names {
    table: Mutex<Table>,
    roster: Roster,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Table {
    names: HashMap<PropertyId, HashMap<Hostname, Weak<Name>>>,
    len: usize,
}

impl Table {
    /// Takes out what nobody uses.
    fn forget_unused(&mut self) {
        self.names.retain(|_, own| {
            own.retain(|_, name| name.strong_count() > 0);
            !own.is_empty()
        });
        self.len = self.names.values().map(HashMap::len).sum();
    }

    fn is_full(&self, property: PropertyId) -> bool {
        let own = self.names.get(&property).map_or(0, HashMap::len);
        self.len >= MAX_NAMES || own >= MAX_OWN_NAMES
    }
}

/// What every look-up needs.
struct Shared {
    lookup: Lookup,
    clock: Clock,
    stale: Duration,
    metrics: Arc<UpstreamMetrics>,
}

/// A name, and where it leads as far as is known.
pub(super) struct Name {
    property: PropertyId,
    hostname: Hostname,
    answer: ArcSwap<Answer>,
    answered: Notify,
    used: AtomicU64,
    failures: AtomicU32,
    is_on_roster: AtomicBool,
    shared: Arc<Shared>,
}

/// What the DNS said.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    /// Nothing yet.
    Unknown,
    /// These, and when.
    Known(Arc<[IpAddr]>, Moment),
    /// No address, or no answer for too long.
    Nothing,
}

/// Why a name's addresses can't be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unresolved {
    /// There are none.
    Nothing,
    /// The DNS is slow.
    Slow,
    /// Too many names are in use.
    Full,
}

impl Names {
    pub(super) fn new(
        lookup: Lookup,
        stale: Duration,
        clock: Clock,
        roster: Roster,
        metrics: Arc<UpstreamMetrics>,
    ) -> Self {
        let shared = Arc::new(Shared { lookup, clock, stale, metrics });
        Self { table: Mutex::default(), roster, shared }
    }

    /// The property's one for this hostname; `None` where there are too many.
    pub(super) fn name(&self, property: PropertyId, hostname: &Hostname) -> Option<Arc<Name>> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let known = table.names.get(&property).and_then(|own| own.get(hostname));
        if let Some(name) = known.and_then(Weak::upgrade) {
            return Some(name);
        }
        if table.is_full(property) {
            table.forget_unused();
        }
        if table.is_full(property) {
            return None;
        }
        let name = Arc::new(Name {
            property,
            hostname: hostname.clone(),
            answer: ArcSwap::from_pointee(Answer::Unknown),
            answered: Notify::new(),
            used: AtomicU64::new(0),
            failures: AtomicU32::new(0),
            is_on_roster: AtomicBool::new(false),
            shared: Arc::clone(&self.shared),
        });
        let own = table.names.entry(property).or_default();
        if own.insert(hostname.clone(), Arc::downgrade(&name)).is_none() {
            table.len += 1;
        }
        Some(name)
    }

    /// Where a name leads. Waits only where nothing is known yet.
    pub(super) async fn addresses(
        &self,
        name: &Arc<Name>,
        deadline: tokio::time::Instant,
    ) -> Result<Arc<[IpAddr]>, Unresolved> {
        name.used.store(self.shared.clock.now().0, Ordering::Relaxed);
        if !name.is_on_roster.swap(true, Ordering::AcqRel)
            && !self.roster.add(Arc::clone(name) as Arc<dyn Chore>)
        {
            name.is_on_roster.store(false, Ordering::Release);
            return Err(Unresolved::Full);
        }
        loop {
            let mut answered = std::pin::pin!(name.answered.notified());
            // Before the look, so that an answer in between is not missed.
            answered.as_mut().enable();
            match &**name.answer.load() {
                Answer::Known(addresses, _) => return Ok(Arc::clone(addresses)),
                Answer::Nothing => return Err(Unresolved::Nothing),
                Answer::Unknown => {}
            }
            timeout_at(deadline, answered).await.map_err(|_| Unresolved::Slow)?;
        }
    }
}

impl Name {
    /// Where it leads as far as is known, without asking.
    pub(super) fn known(&self) -> Arc<[IpAddr]> {
        match &**self.answer.load() {
            Answer::Known(addresses, _) => Arc::clone(addresses),
            Answer::Unknown | Answer::Nothing => Arc::default(),
        }
    }

    fn answer(&self, answer: Answer) {
        self.answer.store(Arc::new(answer));
        self.answered.notify_waiters();
    }

    /// Notes what was found, and says when to ask again.
    fn note(&self, found: Result<Found, LookupError>, now: Moment, random: f64) -> Duration {
        self.shared.metrics.looked_up(match &found {
            Ok(_) => LookupResult::Found,
            Err(LookupError::Negative) => LookupResult::Negative,
            Err(LookupError::Failed(_)) => LookupResult::Failed,
        });
        let hold = match found {
            Ok(Found { addresses, ttl }) => {
                self.failures.store(0, Ordering::Relaxed);
                self.answer(Answer::Known(addresses, now));
                // A little before its end, and not all names at once.
                return ttl.clamp(TTL.0, TTL.1).mul_f64(1.0 - random / 10.0);
            }
            Err(LookupError::Negative) => HOLD,
            Err(LookupError::Failed(error)) => {
                tracing::debug!(hostname = %self.hostname, cause = ?error, "look-up failed");
                self.shared.stale
            }
        };
        let is_held = match &**self.answer.load() {
            Answer::Known(_, at) => now.since(*at) < hold,
            Answer::Unknown | Answer::Nothing => false,
        };
        if !is_held {
            self.answer(Answer::Nothing);
        }
        let failures = self.failures.fetch_add(1, Ordering::Relaxed);
        let wait = BACKOFF.0.saturating_mul(1 << failures.min(10)).min(BACKOFF.1);
        wait.mul_f64(0.5 + random / 2.0)
    }
}

#[async_trait]
impl Chore for Name {
    async fn run(self: Arc<Self>) -> Next {
        let used = Moment(self.used.load(Ordering::Relaxed));
        if self.shared.clock.now().since(used) > UNUSED {
            self.answer(Answer::Unknown);
            self.is_on_roster.store(false, Ordering::Release);
            return Next::Never;
        }
        let found = self.shared.lookup.find(&self.hostname).await;
        Next::After(self.note(found, self.shared.clock.now(), random()))
    }

    fn owner(&self) -> Option<PropertyId> {
        Some(self.property)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::chores::{Chores, Hands};

    fn names() -> Names {
        let metrics = Arc::new(UpstreamMetrics::new(&prometheus::Registry::new()).unwrap());
        let (roster, _) =
            Chores::new(Hands { all: 1, own: 1 }, prometheus::IntCounter::new("a", "b").unwrap());
        let lookup = Lookup::new(Vec::new());
        let stale = Duration::from_secs(100);
        Names::new(lookup, stale, Clock::start(), roster, metrics)
    }

    fn name() -> Arc<Name> {
        names().name(PropertyId(1), &"origin.example".parse().unwrap()).unwrap()
    }

    #[test]
    fn one_property_can_not_take_the_place_of_anothers_names() {
        let names = names();
        let hostname = |at: usize| format!("n{at}.example").parse::<Hostname>().unwrap();
        let own: Vec<_> = (0..MAX_OWN_NAMES)
            .map(|at| names.name(PropertyId(1), &hostname(at)).unwrap())
            .collect();
        assert!(names.name(PropertyId(1), &hostname(MAX_OWN_NAMES)).is_none());
        let others = names.name(PropertyId(2), &hostname(0)).unwrap();
        assert!(!Arc::ptr_eq(&others, own.first().unwrap()));
        drop(own);
        assert!(names.name(PropertyId(1), &hostname(MAX_OWN_NAMES)).is_some());
        assert_eq!(names.table.lock().unwrap().len, 2);
    }

    fn found(last: u8, ttl: u64) -> Result<Found, LookupError> {
        let addresses = [IpAddr::from([192, 0, 2, last])].into();
        Ok(Found { addresses, ttl: Duration::from_secs(ttl) })
    }

    fn failed() -> Result<Found, LookupError> {
        Err(LookupError::Failed(hickory_resolver::net::NetError::Timeout))
    }

    #[test]
    fn an_answer_holds_for_its_ttl_within_bounds() {
        let name = name();
        for (ttl, expected) in [(0, 5), (60, 60), (86_400, 300)] {
            assert_eq!(name.note(found(1, ttl), Moment(1), 0.0).as_secs(), expected);
        }
        assert_eq!(name.note(found(1, 100), Moment(1), 1.0).as_secs(), 90);
    }

    #[test]
    fn the_last_good_answer_is_used_while_the_dns_fails_and_not_for_ever() {
        let name = name();
        name.note(found(1, 60), Moment(1), 0.0);
        name.note(failed(), Moment(99_000), 0.0);
        assert_eq!(name.known().len(), 1);
        name.note(failed(), Moment(101_002), 0.0);
        assert!(name.known().is_empty());
        name.note(found(2, 60), Moment(102_000), 0.0);
        assert_eq!(*name.known(), [IpAddr::from([192, 0, 2, 2])]);
    }

    #[test]
    fn a_name_that_is_gone_is_soon_not_used() {
        let name = name();
        name.note(found(1, 60), Moment(1), 0.0);
        name.note(Err(LookupError::Negative), Moment(20_000), 0.0);
        assert_eq!(name.known().len(), 1);
        name.note(Err(LookupError::Negative), Moment(30_002), 0.0);
        assert!(name.known().is_empty());
    }

    #[test]
    fn failures_are_repeated_ever_more_slowly() {
        let name = name();
        let waits: Vec<_> = (0..8).map(|_| name.note(failed(), Moment(1), 1.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
    }
}
