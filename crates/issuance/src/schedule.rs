//! When the next attempt is, and what is different about it.

use time::{Duration, OffsetDateTime};

use crate::{
    clock::latest,
    failure::{Failure, FailureClass, HoldScope, Remedy},
    jitter::Jitter,
};

/// After so many failures in a row the next attempt is at a CA's staging environment first.
pub const REHEARSE_AFTER: u32 = 3;
/// How far apart attempts at a CA are, whoever asks for another one.
pub const ASKED_APART: Duration = Duration::minutes(12);

/// After failures that are the name's own: 1, 10 and 100 minutes, then daily.
const BACKOFF: [Duration; 3] =
    [Duration::minutes(1), Duration::minutes(10), Duration::minutes(100)];
const BACKOFF_MAX: Duration = Duration::DAY;
/// The longest wait after a verification that passes.
const VERIFIED_MAX: Duration = Duration::minutes(100);
/// After failures that pass by themselves: from this on, doubling.
const SOON: Duration = Duration::seconds(15);
const SOON_MAX: Duration = Duration::minutes(30);
/// The furthest off that a next attempt is. What is further off was put there by a clock that was ahead.
pub const LONGEST: Duration = Duration::hours(31);
/// Until so many failures in a row another PoP gets at once what one can't do. None of the others may ask
/// for work.
const ELSEWHERE: u32 = 10;
/// How much times are spread, to either side.
const SPREAD: f64 = 0.25;
/// While this part of the time is left until what is served has to be replaced, it is tried once more.
const OF_WHAT_IS_LEFT: i32 = 2;
/// For how long a name isn't tried again with a CA that refuses it.
const REFUSED: Duration = Duration::days(30);
/// A CA that fails whatever it is asked for is left alone from this failure in a row on, for a time that
/// doubles; between, one job at a time goes to see.
pub const OUTAGE_AFTER: u32 = 3;
const HOLD: Duration = Duration::MINUTE;
const HOLD_MAX: Duration = Duration::HOUR;
/// What only an operator can mend is tried again after this: they may have mended it.
const OPERATOR: Duration = Duration::hours(6);

/// How a job has gone so far. Success starts a new one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Attempts in a row that failed by the name's own fault, or by nobody's that is known.
    pub failures: u32,
    /// Attempts in a row that failed by what passes by itself.
    pub hitches: u32,
    /// What of the owner's failures a rehearsal has shown to be mended.
    pub rehearsed: u32,
    /// How many of the failures somebody knew of who asked for another attempt.
    pub forgiven: u32,
}

/// What is left to a job beside what failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Alternatives {
    /// CAs that are permitted, and not on hold for this name.
    pub authorities: u32,
    /// Methods that may be used and have not failed since the last success.
    pub methods: u32,
    /// PoPs that may do what the one that failed can't, where that is its own fault.
    pub pops: u32,
    /// Until when what is served has to be replaced; none where nothing is.
    pub until: Option<OffsetDateTime>,
}

impl Alternatives {
    /// The latest time of the next attempt: with half of what is left, so that there are more of them
    /// the less that is. Once it is over there is no haste: nothing is served any more.
    fn bound(&self, now: OffsetDateTime, at: OffsetDateTime) -> OffsetDateTime {
        match self.until.filter(|until| *until > now) {
            Some(until) => at.min(latest(now, ((until - now) / OF_WHAT_IS_LEFT).max(ASKED_APART))),
            None => at,
        }
    }
}

/// What comes after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    /// When the next attempt is.
    pub when: When,
    /// What is different about it.
    pub change: Change,
    /// What the CA that failed is not asked for until when.
    pub hold: Option<(HoldScope, OffsetDateTime)>,
}

/// When the next attempt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Not before a time.
    At(OffsetDateTime),
    /// Once the hostname's DNS is verified again, and not before a time.
    Verified(OffsetDateTime),
    /// When somebody asks for one.
    Asked,
}

/// What is different about the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    Nothing,
    /// The method that failed comes last.
    Method,
    /// The order doesn't say what it replaces.
    WithoutReplaces,
}

impl History {
    /// How it has gone with this failure.
    #[must_use]
    pub fn after(self, failure: &Failure) -> Self {
        match failure.remedy {
            Remedy::Soon
            | Remedy::RetryAfter { .. }
            | Remedy::WithoutReplaces
            | Remedy::Operator { .. } => Self { hitches: self.hitches.saturating_add(1), ..self },
            Remedy::Backoff
            | Remedy::DnsLoop
            | Remedy::OtherMethod
            | Remedy::OtherAuthority
            | Remedy::Terminal => Self { failures: self.failures.saturating_add(1), ..self },
        }
    }

    /// How it has gone with a rehearsal that passed.
    #[must_use]
    pub const fn after_rehearsal(self) -> Self {
        Self { rehearsed: self.failures, ..self }
    }

    /// Whether it goes behind those that don't fail. Who is asked for goes with these once more.
    pub const fn is_failing(self) -> bool {
        self.failures > self.forgiven
    }

    /// Whether the next attempt is to be a rehearsal, at a staging environment.
    pub const fn is_rehearsal_due(self) -> bool {
        self.failures >= REHEARSE_AFTER && self.rehearsed < self.failures
    }
}

/// What comes after a failure; `history` is [`History::after`] it.
pub fn next(
    now: OffsetDateTime,
    failure: &Failure,
    history: History,
    left: Alternatives,
    jitter: Jitter,
) -> Next {
    let backoff = left.bound(now, latest(now, backoff(history.failures, jitter)));
    let soon = left.bound(now, latest(now, soon(history.hitches, jitter)));
    let other = left.authorities > 0;
    let plain = |when| Next { when, change: Change::Nothing, hold: None };
    match failure.remedy {
        Remedy::Backoff => plain(When::At(backoff)),
        // The verification's own schedule is what waits; this keeps two that disagree apart.
        Remedy::DnsLoop => plain(When::Verified(backoff.min(latest(now, VERIFIED_MAX)))),
        Remedy::Soon if left.pops > 0 && history.hitches <= ELSEWHERE => plain(When::At(now)),
        Remedy::Soon => plain(When::At(soon)),
        // The planner waits for the hold, or goes elsewhere.
        Remedy::RetryAfter { scope, until } => {
            Next { hold: Some((scope, until)), ..plain(When::At(soon)) }
        }
        Remedy::OtherMethod => {
            let when = if left.methods > 0 { soon } else { backoff };
            Next { change: Change::Method, ..plain(When::At(when)) }
        }
        Remedy::OtherAuthority => {
            let when = if other { soon } else { backoff };
            Next { hold: Some((HoldScope::Name, backoff)), ..plain(When::At(when)) }
        }
        Remedy::WithoutReplaces => {
            Next { change: Change::WithoutReplaces, ..plain(When::At(soon)) }
        }
        Remedy::Operator { scope } => {
            let until = latest(now, jitter.spread(OPERATOR, SPREAD));
            Next { hold: Some((scope, until)), ..plain(When::At(soon)) }
        }
        Remedy::Terminal => {
            let until = left.bound(now, latest(now, REFUSED));
            let when = match left.until {
                _ if other => When::At(soon),
                // What is served must not end for a word that may have been a slip.
                Some(_) => When::At(until),
                None => When::Asked,
            };
            Next { hold: Some((HoldScope::Name, until)), ..plain(when) }
        }
    }
}

/// The wait after the `failures`th failure in a row.
fn backoff(failures: u32, jitter: Jitter) -> Duration {
    let step = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
    jitter.spread(BACKOFF.get(step).copied().unwrap_or(BACKOFF_MAX), SPREAD)
}

fn soon(hitches: u32, jitter: Jitter) -> Duration {
    jitter.spread(doubled(SOON, SOON_MAX, hitches.saturating_sub(1)), SPREAD)
}

fn doubled(first: Duration, most: Duration, times: u32) -> Duration {
    let factor = 1i32.checked_shl(times.min(20)).unwrap_or(i32::MAX);
    (first * factor).min(most)
}

/// How many failures in a row a CA has had that are outages, once `class` came of an attempt; none where
/// that says nothing of the CA. Success makes it 0. What holds up all that is asked of the CA counts as
/// [`OUTAGE_AFTER`] at least: one job goes to see first once it is over.
pub fn outages(before: u32, class: FailureClass, hold: Option<HoldScope>) -> Option<u32> {
    let outages = if class.is_outage() {
        Some(before.saturating_add(1))
    } else if class.is_agents_own() {
        None
    } else {
        Some(0)
    };
    match hold {
        Some(HoldScope::Authority | HoldScope::Account) => {
            Some(outages.unwrap_or(0).max(before).max(OUTAGE_AFTER))
        }
        Some(HoldScope::RegisteredDomain | HoldScope::Name) | None => outages,
    }
}

/// Until when a CA is left alone that has had so many [`outages`]. Once that time has come, one job goes
/// to see.
pub fn authority_hold(now: OffsetDateTime, outages: u32, jitter: Jitter) -> Option<OffsetDateTime> {
    let times = outages.checked_sub(OUTAGE_AFTER)?;
    Some(latest(now, jitter.spread(doubled(HOLD, HOLD_MAX, times), SPREAD)))
}

/// When an attempt may be made that somebody asks for. A last attempt in the future is one of a clock
/// that was ahead.
pub fn asked(now: OffsetDateTime, last_attempt: Option<OffsetDateTime>) -> OffsetDateTime {
    last_attempt.map_or(now, |last| latest(last.min(now), ASKED_APART).max(now))
}

#[cfg(test)]
mod tests;
