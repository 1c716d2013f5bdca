//! Who goes before whom.

use std::{cmp::Reverse, collections::BTreeMap};

use landfall_model::PropertyId;

use super::{Inventory, Job, Purpose};

/// One in so many of the jobs that run may be a new name's while renewals wait.
const SHARE: u32 = 5;
/// One in so many, from the first one that is not urgent on, is one that has failed.
const FAILING_SHARE: u32 = 5;

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
        match (&job.purpose, job.history.is_failing()) {
            (Purpose::Urgent { .. }, false) => Self::Urgent,
            (Purpose::Renewal { .. }, false) => Self::Renewal,
            (Purpose::New, false) => Self::New,
            (Purpose::Urgent { .. }, true) => Self::FailingUrgent,
            (Purpose::Renewal { .. }, true) => Self::FailingRenewal,
            (Purpose::New, true) => Self::FailingNew,
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
    let rank = |job: &&Job| Rank::of(job);
    let (first, failing): (Vec<_>, Vec<_>) =
        keyed.into_iter().map(|(_, job)| job).partition(|job| rank(job) <= Rank::New);
    let (pressing, new) = first.into_iter().partition(|job| rank(job) < Rank::New);
    with_failing(inventory.turn, shared(inventory, pressing, new), failing)
}

/// Lets one in [`FAILING_SHARE`] be one that has failed: however many names come, those that were mended
/// don't wait for all of them. Where few can be leased, the turn says whose it is.
fn with_failing<'a>(turn: u32, first: Vec<&'a Job>, failing: Vec<&'a Job>) -> Vec<&'a Job> {
    let mut jobs = Vec::with_capacity(first.len() + failing.len());
    let (mut first, mut failing) = (first.into_iter().peekable(), failing.into_iter());
    let mut place = turn % FAILING_SHARE;
    while let Some(job) = first.peek() {
        let is_urgent = Rank::of(job) == Rank::Urgent;
        place = if is_urgent { place } else { (place + 1) % FAILING_SHARE };
        if place == 0 && !is_urgent {
            jobs.extend(failing.next());
            place = 1;
        }
        jobs.extend(first.next());
    }
    jobs.extend(failing);
    jobs
}

/// Lets a new name go before a renewal where fewer than one in [`SHARE`] of what runs is new: however many
/// certificates a CA wants replaced at once, new names don't wait for all of them.
fn shared<'a>(inventory: &Inventory, pressing: Vec<&'a Job>, new: Vec<&'a Job>) -> Vec<&'a Job> {
    let mut running = inventory.running.values().copied().fold(0, u32::saturating_add);
    let mut running_new = inventory.running_new;
    let mut jobs = Vec::with_capacity(pressing.len() + new.len());
    let (mut pressing, mut new) = (pressing.into_iter().peekable(), new.into_iter());
    loop {
        let then = (running_new.saturating_add(1), running.saturating_add(1));
        let is_turn = then.0.saturating_mul(SHARE) <= then.1;
        let is_new = is_turn || pressing.peek().is_none();
        let next = if is_new { new.next().or_else(|| pressing.next()) } else { pressing.next() };
        let Some(job) = next else { return jobs };
        running = running.saturating_add(1);
        running_new = running_new.saturating_add(u32::from(job.purpose == Purpose::New));
        jobs.push(job);
    }
}
