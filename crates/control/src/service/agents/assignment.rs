//! A job, and what an agent needs to do it.

use landfall_model::{Fence, issuance::Assignment};

use super::{Service, candidate::Candidate, lease::Targets};
use crate::{
    service::{ServiceError, properties},
    store::{self, Change, lease::Grant},
};

impl Service {
    /// What an agent is told of a job that it has. `None` where the CA is no longer configured.
    pub(super) async fn assignment(
        &self,
        change: &mut Change,
        candidate: &Candidate,
        (grant, fence): (&Grant, Fence),
        Targets { needed, stalled, inactive }: Targets,
    ) -> Result<Option<Assignment>, ServiceError> {
        let name = &grant.authority;
        let Some(authority) = self.authorities.find(name) else { return Ok(None) };
        let owner = properties::find(change, candidate.job.property).await?;
        let target = self.system_hostname(&owner.name)?;
        let account = store::account::find(change.on(), name, &authority.config.directory).await?;
        let order = candidate.job.order.as_ref().filter(|order| order.authority == *name);
        let order = order.filter(|order| self.authorities.knows(order));
        let wanted = order.map(|_| candidate.job.txt.clone()).unwrap_or_default();
        Ok(Some(Assignment {
            job: candidate.job.id,
            fence,
            lease_seconds: self.agents.lease_seconds(),
            hostname: candidate.hostname.id,
            names: candidate.hostname.names(),
            key_types: candidate.hostname.wish.key_types.iter().copied().collect(),
            authority: authority.described(name, account),
            methods: candidate.methods.clone(),
            replaces: candidate.replaces(name),
            order: order.map(|kept| kept.order.clone()),
            records: candidate.records.clone(),
            wanted: wanted.records,
            lasting: wanted.lasting,
            target,
            system_domain: self.system_domain.clone(),
            pops: needed,
            stalled_pops: stalled,
            inactive_pops: inactive,
        }))
    }
}
