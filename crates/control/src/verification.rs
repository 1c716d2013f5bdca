//! What follows from a check of a hostname's DNS. Nothing here reads a clock or a database.

use std::time::Duration;

use landfall_dns::Verdict;
use landfall_model::HostnameId;
use time::OffsetDateTime;

use crate::{config::Schedule, hostname::HostnameStatus};

/// The first checks of a series are this far apart, and each gap is longer than the one before.
const FIRST_GAP: f64 = 60.0;
/// How much longer while the owner is likely to be at it, and for how many gaps.
const SLOW_GROWTH: f64 = 1.05;
const SLOW_GAPS: u32 = 10;
/// How much longer afterwards.
const GROWTH: f64 = 1.15;
const LONGEST_GAP: f64 = 4.0 * 3_600.0;
/// After a check that could not tell, doubled with each more in a row.
const UNCLEAR_GAP: f64 = 30.0;
const LONGEST_UNCLEAR_GAP: f64 = 300.0;
/// The part of a gap by which it is shorter or longer at most.
const JITTER: f64 = 0.1;

/// Where a series of checks stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Which queue the hostname waits in.
    pub(crate) lane: Lane,
    /// When it is checked next; `None`: not by itself.
    pub(crate) next_at: Option<OffsetDateTime>,
    /// How many checks in a row failed.
    pub(crate) tries: u32,
    /// How many checks in a row could not tell.
    pub(crate) unclear: u32,
    /// When this series of checks began; of an active hostname, when the first of those that failed was.
    pub(crate) since: OffsetDateTime,
    /// When an active hostname's DNS was found to have left.
    pub(crate) left_at: Option<OffsetDateTime>,
}

/// Hostnames that are checked apart from others, so that many of one kind don't hold up the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// A pending hostname's first check.
    Fresh,
    /// A pending one's later checks.
    Pending,
    /// An active one's.
    Active,
}

impl Lane {
    /// Every lane.
    pub(crate) const ALL: [Self; 3] = [Self::Fresh, Self::Pending, Self::Active];

    /// As metrics have it.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Pending => "pending",
            Self::Active => "active",
        }
    }
}

/// A hostname that was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) id: HostnameId,
    pub(crate) status: HostnameStatus,
    pub(crate) progress: Progress,
}

/// Why a hostname was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trigger {
    /// It was due.
    Schedule,
    /// Somebody asked for it: one that is not active gets a new series of checks.
    Request,
}

/// A check and what it came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Check {
    pub(crate) trigger: Trigger,
    pub(crate) verdict: Verdict,
    pub(crate) now: OffsetDateTime,
    pub(crate) jitter: Jitter,
}

/// Where a gap lies between the shortest and the longest: from -1 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Jitter(f64);

impl Jitter {
    /// Makes one of a random number.
    pub(crate) fn of(random: u16) -> Self {
        Self(f64::from(random) / f64::from(u16::MAX) * 2.0 - 1.0)
    }
}

/// What follows from a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) status: HostnameStatus,
    pub(crate) progress: Progress,
    pub(crate) turn: Option<Turn>,
}

/// What a hostname's owner is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Its DNS leads here.
    Activated,
    /// It is looked at again on request.
    Resumed,
    /// It is no longer looked at by itself.
    GivenUp,
    /// The DNS of an active hostname no longer leads here.
    Left,
    /// It does again.
    Returned,
}

impl Progress {
    /// A series of checks whose first is due at once.
    pub(crate) const fn start(now: OffsetDateTime) -> Self {
        Self {
            lane: Lane::Fresh,
            next_at: Some(now),
            tries: 0,
            unclear: 0,
            since: now,
            left_at: None,
        }
    }
}

/// What follows from a check.
pub(crate) fn decide(standing: &Standing, check: &Check, schedule: &Schedule) -> Outcome {
    let resumed = match (check.trigger, standing.status) {
        (Trigger::Schedule, _) | (Trigger::Request, HostnameStatus::Active) => *standing,
        (
            Trigger::Request,
            HostnameStatus::PendingValidation | HostnameStatus::GivenUp | HostnameStatus::TakenOver,
        ) => Standing {
            status: HostnameStatus::PendingValidation,
            progress: Progress::start(check.now),
            ..*standing
        },
    };
    let outcome = match (resumed.status, check.verdict) {
        (HostnameStatus::GivenUp | HostnameStatus::TakenOver, _) => rest(&resumed),
        (_, Verdict::Inconclusive) => unclear(&resumed, check),
        (_, Verdict::Passed) => passed(&resumed, check, schedule),
        (HostnameStatus::PendingValidation, Verdict::Failed) => waits(&resumed, check, schedule),
        (HostnameStatus::Active, Verdict::Failed) => strays(&resumed, check, schedule),
    };
    let is_resumed = outcome.status == HostnameStatus::PendingValidation
        && standing.status != HostnameStatus::PendingValidation;
    match is_resumed && outcome.turn.is_none() {
        true => Outcome { turn: Some(Turn::Resumed), ..outcome },
        false => outcome,
    }
}

/// Nothing is looked at by itself.
fn rest(standing: &Standing) -> Outcome {
    let progress = Progress { next_at: None, ..standing.progress };
    Outcome { status: standing.status, progress, turn: None }
}

/// When a hostname is checked again after a check that could not tell, or that failed for a reason of
/// ours, of which `unclear` went before in a row.
pub(crate) fn again_after_unclear(
    unclear: u32,
    now: OffsetDateTime,
    jitter: Jitter,
) -> OffsetDateTime {
    let gap = UNCLEAR_GAP * 2_f64.powi(exponent(unclear));
    after(now, jitter, gap.min(LONGEST_UNCLEAR_GAP))
}

/// The longest that a hostname of a lane waits for its next check. One that is due later than that was
/// given its time by a clock that was wrong, or by another schedule.
pub(crate) fn longest_wait(lane: Lane, schedule: &Schedule) -> Duration {
    let most = |gap: f64| Duration::from_secs_f64(gap * (1.0 + JITTER) + 1.0);
    let recheck = schedule.recheck_every.as_secs_f64() * 1.5;
    match lane {
        Lane::Fresh => most(LONGEST_UNCLEAR_GAP),
        Lane::Pending => most(LONGEST_GAP),
        Lane::Active => {
            let failed = schedule.recheck_failed_every.as_secs_f64();
            most(recheck.max(failed).max(LONGEST_UNCLEAR_GAP))
        }
    }
}

/// Nothing is held against the hostname.
fn unclear(standing: &Standing, check: &Check) -> Outcome {
    let before = standing.progress;
    let next_at = again_after_unclear(before.unclear, check.now, check.jitter);
    let progress = Progress {
        lane: lane_of(standing.status),
        next_at: Some(next_at),
        unclear: before.unclear.saturating_add(1),
        ..before
    };
    Outcome { status: standing.status, progress, turn: None }
}

fn passed(standing: &Standing, check: &Check, schedule: &Schedule) -> Outcome {
    let turn = match (standing.status, standing.progress.left_at) {
        (HostnameStatus::Active, None) => None,
        (HostnameStatus::Active, Some(_)) => Some(Turn::Returned),
        _ => Some(Turn::Activated),
    };
    let progress = Progress {
        lane: Lane::Active,
        next_at: Some(turn_of(standing.id, check.now, schedule)),
        tries: 0,
        unclear: 0,
        since: check.now,
        left_at: None,
    };
    Outcome { status: HostnameStatus::Active, progress, turn }
}

/// A pending hostname whose DNS does not lead here yet.
fn waits(standing: &Standing, check: &Check, schedule: &Schedule) -> Outcome {
    let before = standing.progress;
    let tries = before.tries.saturating_add(1);
    let progress = Progress { lane: Lane::Pending, tries, unclear: 0, ..before };
    match tries >= schedule.give_up_after {
        true => Outcome {
            status: HostnameStatus::GivenUp,
            progress: Progress { next_at: None, ..progress },
            turn: Some(Turn::GivenUp),
        },
        false => Outcome {
            status: HostnameStatus::PendingValidation,
            progress: Progress {
                next_at: Some(after(check.now, check.jitter, gap(before.tries))),
                ..progress
            },
            turn: None,
        },
    }
}

/// An active hostname whose DNS does not lead here any more.
fn strays(standing: &Standing, check: &Check, schedule: &Schedule) -> Outcome {
    let before = standing.progress;
    // What lies ahead was said by a clock that was wrong.
    let since = if before.tries == 0 { check.now } else { before.since.min(check.now) };
    let tries = before.tries.saturating_add(1);
    let has_left = tries >= schedule.left_after_failures
        && check.now - since >= time::Duration::try_from(schedule.left_after).unwrap_or_default();
    let turn = (has_left && before.left_at.is_none()).then_some(Turn::Left);
    let left_at = before.left_at.or_else(|| has_left.then_some(check.now));
    let next_at = match left_at {
        Some(_) => turn_of(standing.id, check.now, schedule),
        None => after(check.now, check.jitter, schedule.recheck_failed_every.as_secs_f64()),
    };
    let lane = Lane::Active;
    let progress = Progress { lane, next_at: Some(next_at), tries, unclear: 0, since, left_at };
    Outcome { status: HostnameStatus::Active, progress, turn }
}

fn lane_of(status: HostnameStatus) -> Lane {
    match status {
        HostnameStatus::Active => Lane::Active,
        HostnameStatus::PendingValidation | HostnameStatus::GivenUp | HostnameStatus::TakenOver => {
            Lane::Pending
        }
    }
}

/// The gap after a pending hostname's check, in seconds, of which `failed` went before.
fn gap(failed: u32) -> f64 {
    let growth = if failed < SLOW_GAPS { SLOW_GROWTH } else { GROWTH };
    (FIRST_GAP * growth.powi(exponent(failed))).min(LONGEST_GAP)
}

/// Far above what any gap needs to reach its longest.
fn exponent(count: u32) -> i32 {
    i32::try_from(count.min(1_000)).unwrap_or_default()
}

fn after(now: OffsetDateTime, jitter: Jitter, gap: f64) -> OffsetDateTime {
    let gap = gap * JITTER.mul_add(jitter.0, 1.0);
    now + time::Duration::seconds_f64(gap.max(1.0))
}

/// When an active hostname is checked next: each has a time of its own within the period, so that
/// however many became active at once, their checks are spread. At least half a period off.
fn turn_of(id: HostnameId, now: OffsetDateTime, schedule: &Schedule) -> OffsetDateTime {
    /// 2^64 divided by the golden ratio: neighbouring ids land far apart.
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    let period = schedule.recheck_every.as_secs().max(1);
    let slot = id.0.cast_unsigned().wrapping_mul(SPREAD) % period;
    let earliest = u64::try_from(now.unix_timestamp()).unwrap_or_default() + period / 2;
    let wait = (slot + period - earliest % period) % period;
    now + Duration::from_secs(period / 2 + wait)
}

#[cfg(test)]
mod tests;
