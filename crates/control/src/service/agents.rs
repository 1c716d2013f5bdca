//! Agents at the edges: who gets which job, and what follows from what they report.
//!
//! Start at [`lease`]; [`report`] takes what becomes of a job. Each call is one transaction, in which the
//! planner draws from what the CAs' limits leave: agents can't race each other.

mod account;
mod assignment;
mod behind;
mod candidate;
mod errands;
mod expiry;
mod failure;
mod issued;
mod lease;
mod means;
pub(crate) mod outlook;
mod questions;
mod records;
mod report;
mod resting;
mod stalled;
mod turns;
mod validation;

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use landfall_issuance::{
    failure::FailureClass,
    hold::{Held, Hold},
    ledger::{Bucket, Ledger, NameSet},
    plan::{Budgets, Rules, Standing},
    protocol::AgentId,
};
use landfall_model::{HostPattern, Hostname, JobId, issuance::ChallengeMethod};
use time::OffsetDateTime;

use super::{Service, ServiceError};
use crate::{
    authority::Authorities,
    call::Call,
    config::IssuanceConfig,
    hostname::ManagedHostname,
    metrics::issuance::IssuanceMetrics,
    rate::{Buckets, Quota},
    store::{
        self, Change, Connection,
        job::{JobStage, Wait},
    },
    token::PopId,
};

/// As a wait for other orders is called, which wait for TXT records of owners.
pub(crate) const OWNERS_ORDERS: &str = "owners_orders";
/// As a wait for a hold is called.
pub(crate) const HELD: &str = "hold";
/// As a wait is called while no agent asks for work.
pub(crate) const NO_AGENT: &str = "no_agent";
/// After what time without an agent's asking for work it is said that none does: each asks every half minute.
const SILENCE: time::Duration = time::Duration::minutes(5);
/// The longest that an agent has a job, where that is longer than a lease.
const LONGEST_LEASE: time::Duration = time::Duration::minutes(20);

/// How agents are set to work.
pub(crate) struct AgentRules {
    /// The one method that the operator has fixed.
    method: Option<ChallengeMethod>,
    /// How long an agent has a job without a word.
    lease: Duration,
    rules: Rules,
    /// Questions to CAs when they want certificates renewed.
    questions: Buckets<()>,
    lull: lease::Lull,
    resting: resting::Resting,
    /// When an agent last asked for work, in seconds since 1970; at first when the process began.
    heard_at: AtomicI64,
    pub(crate) metrics: IssuanceMetrics,
}

impl AgentRules {
    /// As the configuration has them.
    pub(crate) fn of(config: &IssuanceConfig, metrics: IssuanceMetrics) -> Self {
        let per_minute = config.renewal_questions_per_minute;
        let quota = Quota { per_minute, burst: per_minute };
        Self {
            method: config.method,
            lease: config.lease,
            rules: config.rules,
            questions: Buckets::new(quota, 1),
            lull: lease::Lull::default(),
            resting: resting::Resting::default(),
            heard_at: AtomicI64::new(OffsetDateTime::now_utc().unix_timestamp()),
            metrics,
        }
    }

    /// Notes that an agent asked for work.
    pub(crate) fn hear(&self, now: OffsetDateTime) {
        self.heard_at.store(now.unix_timestamp(), Ordering::Relaxed);
        self.metrics.standing.agent_seen(now);
    }

    /// What a job waits for while no agent asks for work.
    pub(crate) fn silence(&self, due_at: OffsetDateTime, now: OffsetDateTime) -> Option<Wait> {
        let heard_at = self.heard_at.load(Ordering::Relaxed);
        let wait = || Wait { reason: NO_AGENT.to_owned(), authority: None, until: 0 };
        is_silent(heard_at, due_at, now).then(wait)
    }

    /// The longest that an agent has a job, whatever it says: an attempt at a CA takes less.
    fn longest_lease(&self) -> time::Duration {
        LONGEST_LEASE.max(self.lease.try_into().unwrap_or(LONGEST_LEASE))
    }

    /// How long an agent has a job without a word.
    pub(crate) const fn lease(&self) -> Duration {
        self.lease
    }

    /// In whole seconds.
    fn lease_seconds(&self) -> u32 {
        u32::try_from(self.lease.as_secs()).unwrap_or(u32::MAX)
    }
}

/// Whether a job that is due since `due_at` waits because no agent has asked for work since `heard_at`, in
/// seconds since 1970.
fn is_silent(heard_at: i64, due_at: OffsetDateTime, now: OffsetDateTime) -> bool {
    let since = due_at.unix_timestamp().max(heard_at);
    now.unix_timestamp().saturating_sub(since) >= SILENCE.whole_seconds()
}

/// An agent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Agent<'a> {
    /// Where it runs.
    pub(crate) pop: PopId,
    pub(crate) id: &'a AgentId,
}

/// The registered domain that names are under; a public suffix stands for itself.
fn registered_domain(names: &[HostPattern]) -> Option<Hostname> {
    let base = names.first()?.base();
    Some(landfall_dns::registered_domain(base).unwrap_or_else(|| base.clone()))
}

/// Whom limits and holds of certificates for these names may be about.
fn subjects_of(names: &[HostPattern], domain: &Hostname) -> Vec<String> {
    let mut subjects: Vec<String> = names.iter().map(|name| name.base().to_string()).collect();
    subjects.extend(Bucket::of_order(names, domain).iter().map(Bucket::subject));
    let scope = landfall_issuance::failure::HoldScope::Name;
    subjects.push(Held::new(scope, names, domain).subject());
    subjects.push(domain.to_string());
    subjects.push(String::new());
    subjects.sort_unstable();
    subjects.dedup();
    subjects
}

impl Service {
    /// Ends what CAs are not asked for a hostname's names because they refused them.
    pub(crate) async fn lift_refusals(
        &self,
        change: &mut Change,
        hostname: &ManagedHostname,
    ) -> Result<(), ServiceError> {
        let now = change.now();
        let names = Held::Names(NameSet::new(&hostname.names()));
        store::budget::lift_refusals(change.on(), &names, now).await?;
        Ok(())
    }

    /// Lets CAs be asked again for a hostname's names, and at once, that CAA records kept from it until
    /// now. Says whether there was one.
    pub(crate) async fn caa_is_mended(
        &self,
        call: Call,
        hostname: &ManagedHostname,
    ) -> Result<bool, ServiceError> {
        let names = Held::Names(NameSet::new(&hostname.names()));
        let subject = [names.subject()];
        let holds = store::budget::holds(&mut *self.store.read_at_once().await?, &subject).await?;
        let is_held =
            |hold: &Hold| hold.class == FailureClass::CaaForbids && hold.is_in_force(call.now);
        if !holds.iter().any(is_held) {
            return Ok(false);
        }
        let mut change = self.store.change(call).await?;
        let lifted = store::budget::lift_caa(change.on(), &names, call.now).await?;
        let newest = store::job::newest(change.on(), hostname.id).await?;
        if let Some(job) = newest.filter(|job| job.stage == JobStage::Open) {
            store::job::hasten(change.on(), job.id, job.soonest(call.now)).await?;
            change.wake_jobs();
        }
        change.commit().await?;
        Ok(lifted > 0)
    }

    /// What a job waits for while every CA that may do it is on hold for all names.
    pub(crate) async fn held_up(
        &self,
        on: &mut Connection,
        job: JobId,
        now: OffsetDateTime,
    ) -> Result<Option<Wait>, ServiceError> {
        let Some(job) = store::lease::find(on, job).await? else { return Ok(None) };
        let budgets = self.budgets(on, &[String::new()]).await?;
        let mut first: Option<Wait> = None;
        for authority in self.authorities.permitted(job.choice.as_ref()) {
            let held = budgets.held(&authority, &[Held::Authority, Held::Account], now);
            let Some(hold) = held else { return Ok(None) };
            let until = hold.until.unix_timestamp();
            if first.as_ref().is_none_or(|first| until < first.until) {
                let reason = HELD.to_owned();
                first = Some(Wait { reason, authority: Some(authority), until });
            }
        }
        Ok(first)
    }

    /// What may be asked of CAs for these subjects.
    async fn budgets(
        &self,
        on: &mut Connection,
        subjects: &[String],
    ) -> Result<Budgets, ServiceError> {
        budgets_of(on, &self.authorities, self.agents.rules, subjects).await
    }
}

/// What CAs' limits and holds leave for these subjects.
async fn budgets_of(
    on: &mut Connection,
    authorities: &Authorities,
    rules: Rules,
    subjects: &[String],
) -> Result<Budgets, ServiceError> {
    let outages = store::budget::outages(on).await?;
    let standing = authorities.all.iter().map(|(name, own)| {
        let standing = Standing {
            max_running: own.config.at_once,
            outages: outages.get(name).copied().unwrap_or(0),
            staging: own.config.staging.clone(),
        };
        (name.clone(), standing)
    });
    let mut ledger = Ledger::new(authorities.limits());
    ledger.load(store::budget::buckets(on, subjects).await?);
    let mut budgets = Budgets::new(standing.collect(), ledger, rules);
    for hold in store::budget::holds(on, subjects).await? {
        budgets.hold(hold);
    }
    Ok(budgets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_due_job_waits_for_an_agent_once_none_has_asked_for_five_minutes() {
        let at = |seconds| OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(seconds);
        let table = [
            // Heard, due, now.
            ((1_000, 1_000, 1_299), false),
            ((1_000, 1_000, 1_300), true),
            ((1_000, 9_000, 9_001), false),
            ((9_000, 1_000, 9_010), false),
            ((1_000, 9_000, 9_300), true),
            ((9_000, 1_000, 1_000), false),
        ];
        for ((heard, due, now), expected) in table {
            assert_eq!(is_silent(heard, at(due), at(now)), expected, "{heard} {due} {now}");
        }
    }
}
