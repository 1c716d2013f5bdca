//! What the planner is told of a job.

use std::{collections::BTreeMap, net::IpAddr};

use landfall_issuance::{
    failure::{Precheck, Trouble},
    plan::{self, Purpose},
    renewal::Standing,
};
use landfall_model::{
    AuthorityName, Hostname, KeyType,
    issuance::{ChallengeMethod, TxtRecords},
};
use time::OffsetDateTime;

use super::{Service, registered_domain};
use crate::{
    hostname::ManagedHostname,
    service::{
        Missing, ServiceError,
        jobs::{Looked, Step, look_closely},
    },
    store::{
        self, Change,
        job::Cancellation,
        lease::{AgentJob, Cause, Replacing},
        renewal::Renewable,
    },
};

/// Whether what a hostname is served with is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    Good,
    /// It was asked to be revoked.
    Revoked,
}

/// A job that may be leased.
pub(super) struct Candidate {
    pub(super) job: AgentJob,
    pub(super) hostname: ManagedHostname,
    pub(super) domain: Hostname,
    /// The certificates that it replaces, the first to end first.
    pub(super) served: Vec<Renewable>,
    /// Whether one of them is to be revoked, or is.
    pub(super) trust: Trust,
    /// By which its names may be proven, the preferred one first.
    pub(super) methods: Vec<ChallengeMethod>,
    /// Who makes TXT records.
    pub(super) records: TxtRecords,
    /// Where its DNS was last seen to lead.
    pub(super) leads_to: Vec<IpAddr>,
}

impl Candidate {
    /// As the planner takes it.
    pub(super) fn planned(&self, service: &Service, now: OffsetDateTime) -> plan::Job {
        let ordered = self.job.order.as_ref().filter(|order| service.authorities.knows(order));
        plan::Job {
            id: self.job.id,
            property: self.job.property,
            names: self.hostname.names(),
            registered_domain: self.domain.clone(),
            certificates: u32::try_from(self.hostname.wish.key_types.len()).unwrap_or(1),
            purpose: self.purpose(now),
            next_at: self.job.next_at,
            created_at: self.job.created_at,
            expires_at: self.served.first().map(|served| served.not_after),
            history: self.job.history,
            ordered: ordered.map(|order| order.authority.clone()),
            authorities: service.authorities.permitted(self.job.choice.as_ref()),
            traffic: self.job.traffic,
        }
    }

    fn purpose(&self, now: OffsetDateTime) -> Purpose {
        let Some(served) = self.served.first() else { return Purpose::New };
        let certificate = served.as_served();
        let is_wanted = certificate.is_wanted(now) && !self.replaces(&served.authority).is_empty();
        let wanted_by = is_wanted.then(|| served.authority.clone());
        match certificate.standing(now) {
            _ if self.trust == Trust::Revoked => Purpose::Urgent { wanted_by },
            Standing::Urgent { .. } => Purpose::Urgent { wanted_by },
            Standing::Due | Standing::Waits { .. } => Purpose::Renewal { wanted_by },
        }
    }

    /// Whether its order will wait for its owner's TXT records, and does not yet.
    pub(super) fn would_rest(&self) -> bool {
        let by_txt = matches!(
            self.methods.first(),
            Some(ChallengeMethod::Dns01 | ChallengeMethod::DnsPersist01)
        );
        by_txt
            && self.records == TxtRecords::ByOwner
            && self.served.is_empty()
            && self.job.order.is_none()
    }

    /// What orders at this CA say that they replace.
    pub(super) fn replaces(&self, authority: &AuthorityName) -> BTreeMap<KeyType, String> {
        match self.job.replacing {
            Replacing::Said => {
                let own = self.served.iter().filter(|served| served.authority == *authority);
                own.filter_map(|own| Some((own.key_type, own.ari_id.clone()?))).collect()
            }
            Replacing::Unsaid => BTreeMap::new(),
        }
    }
}

impl Service {
    /// Looks at a job that may be leased. One that is no longer to be done is cancelled, and one whose
    /// names can't be proven fails, before anything is asked of a CA.
    pub(super) async fn candidate(
        &self,
        change: &mut Change,
        job: AgentJob,
    ) -> Result<Option<Candidate>, ServiceError> {
        let now = change.now();
        let (hostname, evidence) = match look_closely(change.on(), job.hostname).await {
            Ok(Looked { hostname, step: Step::Issue, evidence }) => (hostname, evidence),
            Ok(Looked { step: Step::Cancel(reason), .. }) => {
                store::job::cancel(change, job.hostname, reason).await?;
                return Ok(None);
            }
            Err(ServiceError::Missing(Missing::Hostname)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(domain) = registered_domain(&hostname.names()) else { return Ok(None) };
        let means = self.means(change.on(), &hostname, evidence).await?;
        let methods = match self.methods(&hostname, &means, &job.failed_methods) {
            Ok(methods) => methods,
            // Nobody may issue, which is what the planner has it wait for.
            Err(_) if self.authorities.permitted(job.choice.as_ref()).is_empty() => Vec::new(),
            Err(reason) => {
                let detail = self.without_method(&hostname, reason).into();
                let trouble = Trouble::Precheck(Precheck::NoMethod { detail });
                self.fail_unasked(change, &job, &hostname, &trouble).await?;
                return Ok(None);
            }
        };
        let mut served = store::renewal::of(change.on(), hostname.id).await?;
        let is_due = served.iter().any(|own| own.renew_at <= now);
        served.retain(|served| served.not_after > now);
        let trust = match store::errand::any_revoked(change.on(), hostname.id).await? {
            true => Trust::Revoked,
            false => Trust::Good,
        };
        if job.cause == Cause::Renewal && !served.is_empty() && trust == Trust::Good && !is_due {
            store::job::cancel(change, hostname.id, Cancellation::NotDue).await?;
            return Ok(None);
        }
        let (records, leads_to) = (means.records, means.leads_to);
        Ok(Some(Candidate { job, hostname, domain, served, trust, methods, records, leads_to }))
    }
}
