//! From what happened to its class and remedy.

use std::net::IpAddr;

use landfall_model::{AuthorityName, ChallengeMethod, HostPattern};
use time::{Duration, OffsetDateTime};

use super::{
    Failure, FailureClass, HoldScope, Precheck, Problem, ProblemKind, Remedy, Step, Trouble, Words,
    address::address_in, told,
};
use crate::clock::{latest, stated_in};

/// The longest that a CA's word to wait is taken for, where it is for some names alone. No limit that is
/// known takes longer to refill.
const LONGEST_WAIT: Duration = Duration::days(8);
/// The longest where it holds up all that is asked of the CA: to ask once more after it costs one request.
const LONGEST_WAIT_OF_ALL: Duration = Duration::hours(6);
/// The longest where the CA is busy.
const LONGEST_BUSY: Duration = Duration::HOUR;

/// What a failure is judged against.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    /// The time, by the clock of who judges.
    pub now: OffsetDateTime,
    /// The CA.
    pub authority: &'a AuthorityName,
    /// What the CA calls itself in CAA records, such as `letsencrypt.org`.
    pub caa_identity: Option<&'a str>,
    /// The name that was to be proven.
    pub name: &'a HostPattern,
    /// Every address of every PoP.
    pub addresses: &'a [IpAddr],
}

/// Judges what happened.
pub fn classify(trouble: &Trouble, setting: &Setting<'_>) -> Failure {
    let (class, remedy) = judge(trouble, setting);
    Failure {
        class,
        words: words(trouble),
        owner: told::owner(class, remedy, trouble, setting),
        operator: told::operator(class, trouble, setting),
        remedy,
    }
}

fn judge(trouble: &Trouble, setting: &Setting<'_>) -> (FailureClass, Remedy) {
    use FailureClass as C;
    match trouble {
        Trouble::Problem(problem) => judge_problem(problem, setting),
        Trouble::Precheck(precheck) => judge_precheck(precheck),
        Trouble::NoConnection { .. } => (C::AuthorityDown, Remedy::Soon),
        Trouble::Slow { .. } => (C::AuthoritySlow, Remedy::Soon),
        Trouble::Nonsense { status: 404, step: Step::Directory, .. }
        | Trouble::BadDirectory { .. } => {
            (C::BadDirectory, Remedy::Operator { scope: HoldScope::Authority })
        }
        Trouble::Nonsense { status: 429, .. } => {
            (C::RateLimited, wait(HoldScope::Authority, None, setting.now))
        }
        Trouble::Nonsense { status: 500.., .. } => (C::AuthorityBusy, Remedy::Soon),
        Trouble::Nonsense { .. } => (C::AuthorityNonsense, Remedy::Soon),
        Trouble::OrderInvalid { .. } => (C::OrderInvalid, Remedy::Backoff),
        Trouble::OrderExpired => (C::OrderGone, Remedy::Soon),
        Trouble::BadChain { .. } => (C::BadChain, Remedy::OtherAuthority),
        Trouble::AccountUnusable { .. } => {
            (C::AccountUnusable, Remedy::Operator { scope: HoldScope::Account })
        }
        Trouble::ClockOff { .. } => (C::ClockOff, Remedy::Soon),
        Trouble::ControlClockOff { .. } => (C::ControlClock, Remedy::Soon),
        Trouble::NoGroupKey { .. } => (C::GroupKey, Remedy::Soon),
        Trouble::AccountSealed { .. } => (C::AccountSealed, Remedy::Soon),
        Trouble::Disk { .. } => (C::Disk, Remedy::Soon),
        Trouble::Upload { .. } => (C::Upload, Remedy::Soon),
        Trouble::LeaseLost => (C::LeaseLost, Remedy::Soon),
        Trouble::Unknown => (C::Unknown, Remedy::Backoff),
    }
}

fn judge_precheck(precheck: &Precheck) -> (FailureClass, Remedy) {
    match precheck {
        Precheck::Dns { .. } => (FailureClass::DnsNotHere, Remedy::DnsLoop),
        Precheck::Caa { .. } => (FailureClass::CaaForbids, Remedy::OtherAuthority),
        Precheck::CaaLookup { .. } => (FailureClass::CaaForbids, Remedy::DnsLoop),
        Precheck::Challenge { failed, asked, .. } => match failed.len() < *asked as usize {
            true => (FailureClass::PopUnreachable, Remedy::Soon),
            false => (FailureClass::ChallengeUnreachable, Remedy::OtherMethod),
        },
        Precheck::TxtMissing { .. } => (FailureClass::TxtMissing, Remedy::Soon),
        Precheck::NotDelegated { .. } => (FailureClass::TxtMissing, Remedy::DnsLoop),
        Precheck::NoMethod { .. } => (FailureClass::NoMethod, Remedy::DnsLoop),
        Precheck::Unknown => (FailureClass::Unknown, Remedy::Backoff),
    }
}

fn judge_problem(problem: &Problem, setting: &Setting<'_>) -> (FailureClass, Remedy) {
    use FailureClass as C;
    use ProblemKind as K;
    let account = Remedy::Operator { scope: HoldScope::Account };
    let (kind, detail) = problem.heart();
    match kind {
        K::RateLimited => judge_limit(problem, detail, setting),
        K::Unauthorized | K::Malformed | K::Compound | K::Unlisted
            if refuses_binding(problem) && problem.status.is_none_or(|status| status < 500) =>
        {
            (C::AccountRefused, account)
        }
        _ if problem.status == Some(429) => judge_limit(problem, detail, setting),
        K::Caa => (C::CaaForbids, Remedy::OtherAuthority),
        K::Connection | K::Dns | K::IncorrectResponse | K::Tls => {
            judge_validation(kind, problem, detail, setting)
        }
        K::Unauthorized => match problem.method.is_none() && problem.step != Step::Validation {
            true => (C::AccountGone, account),
            false => judge_validation(kind, problem, detail, setting),
        },
        K::BadNonce => (C::NonceRefused, Remedy::Soon),
        K::ServerInternal => (C::AuthorityBusy, soon(problem, setting.now)),
        K::RejectedIdentifier | K::UnsupportedIdentifier => (C::NameRefused, Remedy::Terminal),
        K::AlreadyReplaced | K::Conflict => (C::ReplacesRefused, Remedy::WithoutReplaces),
        // It is forgotten, and another one is registered.
        K::AccountDoesNotExist => (C::AccountGone, Remedy::Soon),
        K::ExternalAccountRequired
        | K::UserActionRequired
        | K::InvalidContact
        | K::UnsupportedContact
        | K::BadPublicKey
        | K::BadSignatureAlgorithm => (C::AccountRefused, account),
        K::InvalidProfile => (C::ProfileRefused, Remedy::Operator { scope: HoldScope::Authority }),
        K::OrderNotReady => (C::OrderGone, Remedy::Soon),
        K::BadCsr | K::AlreadyRevoked | K::BadRevocationReason => {
            (C::RequestRefused, Remedy::Backoff)
        }
        K::Malformed | K::Compound | K::Unlisted => judge_rest(problem, detail, setting),
    }
}

/// Whether a CA refuses the external account that an account is to be registered with (RFC 8555 section
/// 7.3.4): that has no kind of its own, so that some call it unauthorized and some malformed.
pub(super) fn refuses_binding(problem: &Problem) -> bool {
    let (_, detail) = problem.heart();
    let names = ["external account", "externalaccount", "eab"];
    problem.step == Step::Account && names.iter().any(|name| detail.mention(name))
}

/// A challenge that did not pass.
fn judge_validation(
    kind: ProblemKind,
    problem: &Problem,
    detail: &Words,
    setting: &Setting<'_>,
) -> (FailureClass, Remedy) {
    if detail.mention("secondary validation") {
        return (FailureClass::PerspectivesDiffer, Remedy::Backoff);
    }
    // Some CAs have no kind of its own for it.
    if kind == ProblemKind::Connection && detail.mention("could not resolve") {
        return (FailureClass::DnsNotHere, Remedy::DnsLoop);
    }
    if kind == ProblemKind::Dns {
        return match detail.mention("nxdomain") || detail.mention("no valid ip addresses") {
            true => (FailureClass::DnsNotHere, Remedy::DnsLoop),
            false => (FailureClass::DnsBroken, Remedy::Backoff),
        };
    }
    let stale =
        !matches!(problem.method, Some(ChallengeMethod::Dns01 | ChallengeMethod::DnsPersist01))
            && address_in(detail).is_some_and(|address| !setting.addresses.contains(&address));
    if stale {
        return (FailureClass::StaleAddress, Remedy::Backoff);
    }
    match (problem.method, kind) {
        (Some(ChallengeMethod::TlsAlpn01), _) => (FailureClass::AlpnRefused, Remedy::OtherMethod),
        (_, ProblemKind::Connection) => (FailureClass::Connection, Remedy::Backoff),
        _ => (FailureClass::WrongAnswer, Remedy::Backoff),
    }
}

/// The CA wants less to be asked of it: for whom that holds is in its words alone.
fn judge_limit(problem: &Problem, detail: &Words, setting: &Setting<'_>) -> (FailureClass, Remedy) {
    if detail.mention("paused") {
        return (FailureClass::NamePaused, Remedy::Operator { scope: HoldScope::Name });
    }
    let scope = if detail.mention("exact set") || detail.mention("failed authorizations") {
        HoldScope::Name
    } else if detail.mention("certificates") && detail.mention("already issued") {
        HoldScope::RegisteredDomain
    } else if detail.mention("new orders") {
        HoldScope::Account
    } else {
        HoldScope::Authority
    };
    let until = problem.retry_after.or_else(|| stated_in(detail.as_str()));
    (FailureClass::RateLimited, wait(scope, until, setting.now))
}

/// What has no kind that decides: the HTTP status does.
fn judge_rest(problem: &Problem, detail: &Words, setting: &Setting<'_>) -> (FailureClass, Remedy) {
    let of_an_order =
        matches!(problem.step, Step::Order | Step::Validation | Step::Finalize | Step::Download);
    if problem.step == Step::Order && detail.mention("replace") {
        return (FailureClass::ReplacesRefused, Remedy::WithoutReplaces);
    }
    match problem.status {
        Some(404 | 410) if of_an_order => (FailureClass::OrderGone, Remedy::Soon),
        Some(408 | 500..) => (FailureClass::AuthorityBusy, soon(problem, setting.now)),
        None if problem.method.is_some() => (FailureClass::WrongAnswer, Remedy::Backoff),
        _ => (FailureClass::RequestRefused, Remedy::Backoff),
    }
}

/// A CA that is busy may say for how long.
fn soon(problem: &Problem, now: OffsetDateTime) -> Remedy {
    match problem.retry_after {
        Some(until) => {
            let until = until.min(latest(now, LONGEST_BUSY));
            wait(HoldScope::Authority, Some(until), now)
        }
        None => Remedy::Soon,
    }
}

/// Until when to wait: what the CA says, within bounds, else what its limits usually take to refill.
fn wait(scope: HoldScope, said: Option<OffsetDateTime>, now: OffsetDateTime) -> Remedy {
    let usual = match scope {
        HoldScope::Authority | HoldScope::Name => Duration::hours(1),
        HoldScope::Account => Duration::minutes(10),
        HoldScope::RegisteredDomain => Duration::hours(4),
    };
    let longest = match scope {
        HoldScope::Authority | HoldScope::Account => LONGEST_WAIT_OF_ALL,
        HoldScope::RegisteredDomain | HoldScope::Name => LONGEST_WAIT,
    };
    let until = said.filter(|said| *said > now).unwrap_or_else(|| latest(now, usual));
    Remedy::RetryAfter { scope, until: until.min(latest(now, longest)) }
}

fn words(trouble: &Trouble) -> Option<Words> {
    let words = match trouble {
        Trouble::Problem(problem) => match problem.heart().1 {
            heart if heart.is_empty() => &problem.detail,
            heart => heart,
        },
        Trouble::NoConnection { detail, .. }
        | Trouble::Nonsense { excerpt: detail, .. }
        | Trouble::BadDirectory { detail }
        | Trouble::OrderInvalid { detail }
        | Trouble::BadChain { detail }
        | Trouble::AccountUnusable { detail }
        | Trouble::Disk { detail }
        | Trouble::Upload { detail }
        | Trouble::Precheck(
            Precheck::Dns { advice: detail }
            | Precheck::Challenge { detail, .. }
            | Precheck::NoMethod { detail },
        ) => detail,
        Trouble::Precheck(
            Precheck::Caa { .. }
            | Precheck::CaaLookup { .. }
            | Precheck::TxtMissing { .. }
            | Precheck::NotDelegated { .. }
            | Precheck::Unknown,
        )
        | Trouble::Slow { .. }
        | Trouble::OrderExpired
        | Trouble::ClockOff { .. }
        | Trouble::ControlClockOff { .. }
        | Trouble::NoGroupKey { .. }
        | Trouble::AccountSealed { .. }
        | Trouble::LeaseLost
        | Trouble::Unknown => return None,
    };
    (!words.is_empty()).then(|| words.clone())
}
