//! Agents at the edges: who gets which job, and what follows from what they report.
//!
//! Start at [`lease`]; [`report`] takes what becomes of a job. Each call is one transaction, in which the
//! planner draws from what the CAs' limits leave: agents can't race each other.

mod assignment;
mod candidate;
mod errands;
mod expiry;
mod failure;
mod issued;
mod lease;
mod means;
pub(crate) mod outlook;
mod questions;
mod report;
mod validation;

use std::time::Duration;

use landfall_issuance::{
    hold::Held,
    ledger::{Bucket, Ledger},
    plan::{Budgets, Rules, Standing},
    protocol::AgentId,
};
use landfall_model::{HostPattern, Hostname, issuance::ChallengeMethod};

use super::{Service, ServiceError};
use crate::{
    authority::Authorities,
    config::IssuanceConfig,
    metrics::issuance::IssuanceMetrics,
    rate::{Buckets, Quota},
    store::{self, Connection},
    token::PopId,
};

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
            metrics,
        }
    }

    /// In whole seconds.
    fn lease_seconds(&self) -> u32 {
        u32::try_from(self.lease.as_secs()).unwrap_or(u32::MAX)
    }
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
