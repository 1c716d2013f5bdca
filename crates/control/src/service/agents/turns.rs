//! Which of the jobs that wait are looked at for a lease: each look at one costs several queries.

use std::collections::{BTreeMap, BTreeSet};

use landfall_model::{JobId, PropertyId};

use crate::store::waiting::{Kind, Waiting};

/// The most jobs of a kind that are found for one lease, and the least.
const OF_A_KIND: u32 = 8;
const OF_A_KIND_MIN: u32 = 2;
/// So many are looked at for each that is found of a kind: of each of the five kinds all, where there are so many.
const LOOKED_AT: usize = 5;
/// So many of one kind, where there are fewer of others.
const LOOKED_AT_OF_ONE: usize = 2;

/// How many of a kind are found where so many can be leased.
pub(super) fn of_a_kind(free: u32) -> u32 {
    free.clamp(OF_A_KIND_MIN, OF_A_KIND)
}

/// The jobs that are looked at: of each choice of a CA as many as are found `of_a_kind`, at least, so that one
/// CA that is not asked now keeps nothing from others. `recent` is how many orders each property began of
/// late: those with fewer go first.
pub(super) fn chosen(
    waiting: Vec<Waiting>,
    recent: &BTreeMap<PropertyId, u32>,
    of_a_kind: u32,
) -> Vec<JobId> {
    let of_a_kind = usize::try_from(of_a_kind).unwrap_or(usize::MAX);
    let mut choices: BTreeMap<String, Queues> = BTreeMap::new();
    for one in waiting {
        choices.entry(one.choice.clone()).or_default().add(one, recent);
    }
    choices.retain(|_, queues| !queues.is_empty());
    let part = of_a_kind.saturating_mul(LOOKED_AT).div_ceil(choices.len().max(1));
    let part = part.max(of_a_kind);
    let of_one = of_a_kind.saturating_mul(LOOKED_AT_OF_ONE);
    choices.into_values().flat_map(|queues| queues.first(part, of_one)).collect()
}

/// Jobs that are for one choice of a CA, by where each stands in the queue of its kind.
#[derive(Debug, Default)]
struct Queues {
    pressing: Vec<JobId>,
    busy: Vec<JobId>,
    renewals: Vec<JobId>,
    /// Each with the orders that its property has before it.
    new: Vec<(u32, JobId)>,
    failing: Vec<(u32, JobId)>,
}

impl Queues {
    fn add(&mut self, waiting: Waiting, recent: &BTreeMap<PropertyId, u32>) {
        let in_turn = |property| {
            let before = recent.get(&property).copied().unwrap_or(0);
            (before..=u32::MAX).zip(waiting.jobs.iter().copied())
        };
        match waiting.kind {
            Kind::Pressing => self.pressing.extend(&waiting.jobs),
            Kind::Busy => self.busy.extend(&waiting.jobs),
            Kind::Renewal => self.renewals.extend(&waiting.jobs),
            Kind::New(property) => self.new.extend(in_turn(property)),
            Kind::Failing(property) => self.failing.extend(in_turn(property)),
        }
    }

    fn is_empty(&self) -> bool {
        self.pressing.is_empty()
            && self.busy.is_empty()
            && self.renewals.is_empty()
            && self.new.is_empty()
            && self.failing.is_empty()
    }

    /// The first `most`: one of each queue, then another one of each, and no more than `of_one` of any.
    fn first(mut self, most: usize, of_one: usize) -> Vec<JobId> {
        // Stable: among equals, those go first that were found first, and it is begun elsewhere each time.
        self.new.sort_by_key(|(before, _)| *before);
        self.failing.sort_by_key(|(before, _)| *before);
        let in_turn = |queue: Vec<(u32, JobId)>| queue.into_iter().map(|(_, job)| job).collect();
        let mut queues: [_; 5] =
            [self.busy, self.pressing, self.renewals, in_turn(self.new), in_turn(self.failing)]
                .map(|queue: Vec<JobId>| (queue.into_iter(), of_one));
        let (mut found, mut known) = (Vec::new(), BTreeSet::new());
        while found.len() < most {
            let before = found.len();
            for (queue, left) in queues.iter_mut().filter(|(_, left)| *left > 0) {
                found.extend(queue.find(|job| known.insert(*job)));
                *left -= 1;
            }
            if found.len() == before {
                break;
            }
        }
        found.truncate(most);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(kind: Kind, choice: &str, jobs: impl IntoIterator<Item = i64>) -> Waiting {
        Waiting { kind, choice: choice.to_owned(), jobs: jobs.into_iter().map(JobId).collect() }
    }

    fn ids(waiting: Vec<Waiting>, recent: &[(i64, u32)], of_a_kind: u32) -> Vec<i64> {
        let recent = recent.iter().map(|(id, count)| (PropertyId(*id), *count)).collect();
        let mut ids: Vec<i64> =
            chosen(waiting, &recent, of_a_kind).into_iter().map(|job| job.0).collect();
        ids.sort_unstable();
        ids
    }

    const ONE: Kind = Kind::New(PropertyId(1));
    const TWO: Kind = Kind::New(PropertyId(2));

    #[test]
    fn new_names_are_chosen_by_turns_of_property_and_those_of_late_come_last() {
        let many = || vec![waiting(ONE, "", 1..=8), waiting(TWO, "", 11..=18)];
        assert_eq!(ids(many(), &[], 2), [1, 2, 11, 12]);
        assert_eq!(ids(many(), &[(1, 4)], 3), [1, 11, 12, 13, 14, 15]);
        assert_eq!(ids(many(), &[(1, 4), (2, u32::MAX)], 2), [1, 2, 3, 4]);
        // It was found from two places on.
        assert_eq!(ids([many(), many()].concat(), &[], 2), [1, 2, 11, 12]);
    }

    #[test]
    fn renewals_new_names_and_those_that_failed_have_their_parts_whatever_comes() {
        let failing = Kind::Failing(PropertyId(1));
        let mut all: Vec<Waiting> = (1_000..1_032)
            .map(|id| waiting(Kind::New(PropertyId(id)), "", [id * 10, id * 10 + 1]))
            .collect();
        assert_eq!(ids(all.clone(), &[], 8).len(), 16);
        all.push(waiting(Kind::Pressing, "", 1..=8));
        all.push(waiting(Kind::Renewal, "", 5..=12));
        all.push(waiting(failing, "", 21..=28));
        all.push(waiting(Kind::Busy, "", 31..=38));
        let found = ids(all, &[], 8);
        let of = |from, to| found.iter().filter(|id| (from..=to).contains(*id)).count();
        assert_eq!((of(1, 12), of(21, 28), of(31, 38)), (12, 8, 8));
        assert_eq!((of(10_000, 19_999), found.len()), (12, 40));
    }

    #[test]
    fn as_many_as_can_be_leased_are_looked_at_of_each_choice_of_a_ca() {
        let of =
            |number: i64| waiting(ONE, &format!("ca-{number}"), number * 100..number * 100 + 8);
        let found = ids((1..=9).map(of).collect(), &[], 8);
        let each = |number: i64| found.iter().filter(|id| **id / 100 == number).count();
        assert!((1..=9).all(|number| each(number) == 8), "{found:?}");
        let mixed = vec![of(1), waiting(ONE, "", 1..=40), waiting(Kind::Pressing, "ca-3", [])];
        assert_eq!(ids(mixed, &[], 8).len(), 8 + 16);
    }
}
