//! What follows an attempt that failed.

use std::{net::IpAddr, time::Instant};

use landfall_issuance::{
    failure::{Failure, FailureClass, Precheck, Setting, Trouble, classify},
    hold::{Held, Hold},
    jitter::Jitter,
    ledger::Bucket,
    plan::{Budgets, WaitReason},
    schedule::{self, Alternatives, Change as Altered, History, Next, When},
};
use landfall_model::{AuthorityName, HostPattern, Hostname, issuance::ChallengeMethod};
use serde_json::json;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{Service, lease::wait, means::Means, registered_domain, resting::Unable, subjects_of};
use crate::{
    hostname::ManagedHostname,
    service::ServiceError,
    store::{
        self, Change,
        attempt::Attempt,
        event::EventKind,
        job::Cancellation,
        lease::{AgentJob, Drawn, Hearing, Release, Replacing},
    },
    token::random_number,
};

/// The most methods that are remembered as failed.
const METHODS: usize = 8;

/// An attempt that failed, with all that its outcome depends on.
pub(super) struct Failed<'a> {
    pub(super) job: &'a AgentJob,
    pub(super) hostname: &'a ManagedHostname,
    pub(super) authority: &'a AuthorityName,
    pub(super) pop: &'a str,
    pub(super) trouble: &'a Trouble,
    pub(super) hearing: Hearing,
}

/// What was decided.
struct Decision {
    failure: Failure,
    history: History,
    next: Next,
    /// What is left beside what failed.
    left: Alternatives,
}

impl Decision {
    /// When the next attempt is, as far as it can be told. The planner waits for what is held, where it
    /// can't go elsewhere.
    fn told(&self, next_at: Option<OffsetDateTime>) -> Option<OffsetDateTime> {
        let held = self.next.hold.filter(|_| self.left.authorities == 0);
        let until = held.map(|(_, until)| until);
        next_at.map(|at| until.map_or(at, |until| until.max(at)))
    }
}

impl Service {
    /// Does what follows a failure that was found before any CA was chosen.
    pub(super) async fn fail_unasked(
        &self,
        change: &mut Change,
        job: &AgentJob,
        hostname: &ManagedHostname,
        trouble: &Trouble,
    ) -> Result<(), ServiceError> {
        let permitted = self.authorities.permitted(job.choice.as_ref());
        let Some(authority) = permitted.into_iter().next() else {
            return wait(change, job.id, change.now(), &WaitReason::NoAuthority).await;
        };
        // Nobody has drawn for it.
        let job = AgentJob { grant: None, ..job.clone() };
        let (authority, hearing) = (&authority, Hearing::Never);
        let failed = Failed { job: &job, hostname, authority, pop: "", trouble, hearing };
        self.fail(change, &failed).await
    }

    /// Does what follows a failed attempt: gives back what it did not use, holds what the CA refuses, and
    /// puts the job off, or cancels it where nothing is left to try.
    pub(super) async fn fail(
        &self,
        change: &mut Change,
        failed: &Failed<'_>,
    ) -> Result<(), ServiceError> {
        let now = change.now();
        let names = failed.hostname.names();
        let Some(domain) = registered_domain(&names) else { return Ok(()) };
        let addresses = self.addresses_now(change).await?;
        let subjects = subjects_of(&names, &domain);
        let mut budgets = self.budgets(change.on(), &subjects).await?;
        let jitter = Jitter::of_all(&[
            u64::from(random_number()?),
            failed.job.id.0.cast_unsigned(),
            failed.job.fence.0,
        ]);
        let setting = Setting {
            now,
            authority: failed.authority,
            caa_identity: self.caa_identity(failed.authority),
            name: &failed.hostname.name,
            addresses: &addresses,
        };
        let mut failure = classify(failed.trouble, &setting);
        failure.operator = self.tell_behind(change, failed, failure.operator.take()).await?;
        let history = failed.job.history.after(&failure);
        let verification = store::verification::find(change.on(), failed.hostname.id).await?;
        let evidence = verification.and_then(|state| state.evidence);
        let means = self.means(change.on(), failed.hostname, evidence).await?;
        let until = store::renewal::replace_by(change.on(), failed.hostname.id, now).await?;
        let pops = self.rest_pop(change, failed, failure.class).await?;
        let left = Alternatives { until, pops, ..self.alternatives(failed, &budgets, &means) };
        let next = schedule::next(now, &failure, history, left, jitter);
        settle(&mut budgets, failed, (&names, &domain), now);
        store::budget::keep_buckets(change.on(), &budgets.ledger.take_changes()).await?;
        self.forget_lost_account(change, failed.authority, failed.trouble).await?;
        let decision = Decision { failure, history, next, left };
        self.hold(change, failed, &decision, (&names, &domain), jitter).await?;
        self.keep_failure(change, failed, decision).await
    }

    /// Gives a PoP no more of what it can't do for a while, where there are others; says how many may do it.
    async fn rest_pop(
        &self,
        change: &mut Change,
        failed: &Failed<'_>,
        class: FailureClass,
    ) -> Result<u32, ServiceError> {
        let Some(unable) = Unable::of(class, failed.authority) else { return Ok(0) };
        let (at, now) = (change.now(), Instant::now());
        let fleet = self.fleet(change.on(), at).await?;
        let others = || fleet.active_pops().filter(|pop| pop.name != failed.pop);
        let resting = &self.agents.resting;
        let able = others().filter(|pop| {
            let own = resting.of(&pop.name, now);
            let keeps = |own: &Unable| own.authority().is_none_or(|of| of == failed.authority);
            !own.iter().any(keeps)
        });
        let able = u32::try_from(able.count()).unwrap_or(u32::MAX);
        if others().next().is_some() {
            resting.begin(failed.pop, unable, now);
        }
        Ok(able)
    }

    /// Every address of every PoP.
    async fn addresses_now(&self, change: &mut Change) -> Result<Vec<IpAddr>, ServiceError> {
        let now = change.now();
        let fleet = self.fleet(change.on(), now).await?;
        Ok(fleet.pops.iter().flat_map(|pop| pop.addresses.iter().copied()).collect())
    }

    fn caa_identity(&self, authority: &AuthorityName) -> Option<&str> {
        self.authorities.find(authority)?.config.caa_identities.first().map(String::as_str)
    }

    /// What is left to a job beside what failed.
    fn alternatives(&self, failed: &Failed<'_>, budgets: &Budgets, means: &Means) -> Alternatives {
        let others =
            self.authorities.permitted(failed.job.choice.as_ref()).into_iter().filter(|other| {
                other != failed.authority && budgets.authorities.contains_key(other)
            });
        let mut tried = failed.job.failed_methods.clone();
        tried.extend(method_of(failed.trouble));
        let methods = self.methods(failed.hostname, means, &[]).unwrap_or_default();
        let fresh = methods.iter().filter(|method| !tried.contains(method));
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Alternatives {
            authorities: count(others.count()),
            methods: count(fresh.count()),
            pops: 0,
            until: None,
        }
    }

    /// Keeps for whom the CA is not to be asked, and how often in a row it failed whatever was asked.
    async fn hold(
        &self,
        change: &mut Change,
        failed: &Failed<'_>,
        decision: &Decision,
        (names, domain): (&[HostPattern], &Hostname),
        jitter: Jitter,
    ) -> Result<(), ServiceError> {
        let now = change.now();
        let class = decision.failure.class;
        let mut holds: Vec<(Held, OffsetDateTime)> = Vec::new();
        if let Some((scope, until)) = decision.next.hold {
            holds.push((Held::new(scope, names, domain), until));
        }
        let known = store::budget::outages(change.on()).await?;
        let before = known.get(failed.authority).copied().unwrap_or(0);
        let scope = decision.next.hold.map(|(scope, _)| scope);
        // What was found before a CA was asked says nothing of it.
        let is_asked =
            failed.job.grant.is_some() && !matches!(failed.trouble, Trouble::Precheck(_));
        if let Some(count) = schedule::outages(before, class, scope).filter(|_| is_asked) {
            store::budget::keep_outages(change.on(), failed.authority, count).await?;
            if let Some(until) = schedule::authority_hold(now, count, jitter) {
                holds.push((Held::Authority, until));
            }
        }
        for (held, until) in holds {
            let authority = failed.authority.clone();
            let hold = Hold { authority, held, since: now, until, class };
            store::budget::keep_hold(change.on(), &hold).await?;
        }
        Ok(())
    }

    /// Puts the job off, and keeps and tells why.
    async fn keep_failure(
        &self,
        change: &mut Change,
        failed: &Failed<'_>,
        decision: Decision,
    ) -> Result<(), ServiceError> {
        let now = change.now();
        let next_at = match decision.next.when {
            When::At(at) => Some(at),
            When::Verified(at) => {
                store::verification::queue::hasten_one(change.on(), failed.hostname.id, now)
                    .await?;
                Some(at)
            }
            When::Asked => None,
        };
        let told_at = decision.told(next_at);
        let Decision { failure, history, next, .. } = decision;
        let told = failure.words.as_ref().map(|words| words.as_str().to_owned());
        let shown = told.clone().or_else(|| failure.owner.clone());
        let shown = shown.unwrap_or_else(|| failure.class.name().to_owned());
        let mut failed_methods = failed.job.failed_methods.clone();
        if let (Altered::Method, Some(method)) = (next.change, method_of(failed.trouble)) {
            failed_methods.retain(|known| *known != method);
            failed_methods.push(method);
            failed_methods.truncate(METHODS);
        }
        let replacing = match next.change {
            Altered::WithoutReplaces => Replacing::Unsaid,
            Altered::Nothing | Altered::Method => failed.job.replacing,
        };
        let release = Release {
            history,
            failed_methods: &failed_methods,
            replacing,
            order: failed.job.order.as_ref().filter(|_| keeps_order(failed.trouble)),
            next_at: next_at.unwrap_or(now),
            failed: Some((now, &shown)),
            asked_at: failed.trouble.asks_a_ca().then_some(now),
            hearing: failed.hearing,
        };
        store::lease::release(change.on(), failed.job.id, &release).await?;
        self.tell_failure(change, failed, &failure, told_at).await?;
        if next_at.is_none() {
            store::job::cancel(change, failed.hostname.id, Cancellation::Refused).await?;
        }
        self.end_validation(change, failed.job.id).await
    }

    async fn tell_failure(
        &self,
        change: &mut Change,
        failed: &Failed<'_>,
        failure: &Failure,
        next_at: Option<OffsetDateTime>,
    ) -> Result<(), ServiceError> {
        let (hostname, class) = (failed.hostname, failure.class.name());
        let words = failure.words.as_ref().map(|words| words.as_str().to_owned());
        let attempt = Attempt {
            job: failed.job.id,
            at: change.now(),
            authority: failed.authority.to_string(),
            pop: failed.pop.to_owned(),
            method: method_of(failed.trouble),
            class: Some(class.to_owned()),
            words: words.clone(),
            owner: failure.owner.clone(),
            operator: failure.operator.clone(),
            next_at,
        };
        store::attempt::add(change.on(), hostname.id, &attempt).await?;
        let detail = json!({
            "job": failed.job.id.0,
            "authority": failed.authority.as_str(),
            "class": class,
            "error": words,
            "advice": failure.owner,
            "nextAttemptAt": next_at.and_then(|at| at.format(&Rfc3339).ok()),
        });
        change.event(hostname.id, EventKind::CertificateAttemptFailed, &detail).await?;
        self.agents.metrics.attempts.with_label_values(&[failed.authority.as_str(), class]).inc();
        let (name, authority) = (&hostname.name, failed.authority);
        match &failure.operator {
            Some(operator) => {
                tracing::warn!(hostname = %name, %authority, class, operator, "an attempt failed");
            }
            None => tracing::debug!(hostname = %name, %authority, class, "an attempt failed"),
        }
        Ok(())
    }
}

/// Gives back what the attempt did not use of the CA's limits, and counts what it has.
fn settle(
    budgets: &mut Budgets,
    failed: &Failed<'_>,
    (names, domain): (&[HostPattern], &Hostname),
    now: OffsetDateTime,
) {
    let Some(grant) = &failed.job.grant else { return };
    let (authority, ledger) = (failed.authority, &mut budgets.ledger);
    if grant.drawn == Drawn::Yes {
        let drawn = Bucket::of_order(names, domain);
        ledger.give_back(authority, &drawn, 1, failed.trouble.spent());
    }
    if failed.trouble.spends_an_authorization() {
        let mut bases: Vec<&Hostname> = names.iter().map(HostPattern::base).collect();
        bases.dedup();
        for base in bases {
            ledger.charge(authority, &Bucket::FailedAuthorizations(base.clone()), now);
        }
    }
}

/// The method by which the names could not be proven.
fn method_of(trouble: &Trouble) -> Option<ChallengeMethod> {
    match trouble {
        Trouble::Problem(problem) => problem.method,
        Trouble::Precheck(Precheck::Challenge { method, .. }) => Some(*method),
        Trouble::Precheck(_)
        | Trouble::NoConnection { .. }
        | Trouble::Slow { .. }
        | Trouble::Nonsense { .. }
        | Trouble::BadDirectory { .. }
        | Trouble::OrderInvalid { .. }
        | Trouble::OrderExpired
        | Trouble::BadChain { .. }
        | Trouble::AccountUnusable { .. }
        | Trouble::ClockOff { .. }
        | Trouble::ControlClockOff { .. }
        | Trouble::NoGroupKey { .. }
        | Trouble::AccountSealed { .. }
        | Trouble::Disk { .. }
        | Trouble::Upload { .. }
        | Trouble::LeaseLost
        | Trouble::Unknown => None,
    }
}

/// Whether an order may still be good.
fn keeps_order(trouble: &Trouble) -> bool {
    match trouble {
        Trouble::Precheck(_)
        | Trouble::NoConnection { .. }
        | Trouble::Slow { .. }
        | Trouble::Nonsense { .. }
        | Trouble::BadDirectory { .. }
        | Trouble::AccountUnusable { .. }
        | Trouble::ClockOff { .. }
        | Trouble::ControlClockOff { .. }
        | Trouble::NoGroupKey { .. }
        | Trouble::AccountSealed { .. }
        | Trouble::Disk { .. }
        | Trouble::LeaseLost => true,
        Trouble::Problem(_)
        | Trouble::OrderInvalid { .. }
        | Trouble::OrderExpired
        | Trouble::BadChain { .. }
        | Trouble::Upload { .. }
        | Trouble::Unknown => false,
    }
}
