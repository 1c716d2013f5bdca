//! Who goes before whom.

use std::{cmp::Reverse, collections::BTreeMap};

use landfall_model::PropertyId;

use super::{Inventory, Job, Purpose};

/// Where a job's kind stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Urgent,
    Renewal,
    New,
    FailingUrgent,
    FailingRenewal,
    FailingNew,
}

impl Rank {
    fn of(job: &Job) -> Self {
        match (&job.purpose, job.history.failures) {
            (Purpose::Urgent { .. }, 0) => Self::Urgent,
            (Purpose::Renewal { .. }, 0) => Self::Renewal,
            (Purpose::New, 0) => Self::New,
            (Purpose::Urgent { .. }, _) => Self::FailingUrgent,
            (Purpose::Renewal { .. }, _) => Self::FailingRenewal,
            (Purpose::New, _) => Self::FailingNew,
        }
    }
}

/// The jobs in the order in which they are decided about. New ones take turns: one that has `n` of its
/// property before it comes after all those that have fewer.
pub(super) fn ordered(inventory: &Inventory) -> Vec<&Job> {
    let mut jobs: Vec<&Job> = inventory.jobs.iter().collect();
    jobs.sort_by_key(|job| (Rank::of(job), job.created_at, job.id));
    let mut turns: BTreeMap<(Rank, PropertyId), u32> = BTreeMap::new();
    let mut keyed: Vec<_> = jobs
        .into_iter()
        .map(|job| {
            let rank = Rank::of(job);
            let pressing = match rank {
                Rank::Urgent | Rank::FailingUrgent => Some((Reverse(job.traffic), job.expires_at)),
                Rank::Renewal | Rank::FailingRenewal => Some((Reverse(0), job.expires_at)),
                Rank::New | Rank::FailingNew => None,
            };
            let turn = if pressing.is_none() {
                let before = inventory.recent.get(&job.property).copied().unwrap_or(0);
                let turn = turns.entry((rank, job.property)).or_insert(before);
                *turn = turn.saturating_add(1);
                *turn
            } else {
                0
            };
            ((rank, pressing, turn, job.created_at, job.id), job)
        })
        .collect();
    keyed.sort_by_key(|(key, _)| *key);
    keyed.into_iter().map(|(_, job)| job).collect()
}
