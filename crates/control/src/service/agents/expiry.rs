//! Leases that ran out, and holds that are lifted.

use landfall_issuance::failure::{FailureClass, Trouble};
use time::OffsetDateTime;

use super::{Service, failure::Failed, lease::set_aside};
use crate::{
    call::Call,
    service::{Missing, ServiceError, jobs::look},
    store::{
        self, Change, StoreError,
        lease::{AgentJob, Hearing},
    },
};

/// How many one transaction takes back: others wait for it.
const AT_ONCE: u32 = 64;

impl Service {
    /// Ends the holds that wait for an operator: who starts the control plane may have mended what they
    /// are for. Says how many there were.
    pub(crate) async fn lift_holds(&self, now: OffsetDateTime) -> Result<u64, ServiceError> {
        let mut change = self.store.change(Call::system(now)).await?;
        let lifted = store::budget::lift_classes(change.on(), &FailureClass::FOR_OPERATORS).await?;
        change.commit().await?;
        Ok(lifted)
    }

    /// Takes back what agents have not reported on in time, and ends what nobody shows to a CA any more.
    /// Says how many leases there were.
    pub(crate) async fn take_back(&self, now: OffsetDateTime) -> Result<usize, ServiceError> {
        let mut connection = self.store.read().await?;
        let expired = store::lease::expired(&mut connection, now, 1).await?;
        drop(connection);
        if expired.jobs.is_empty() && expired.unreadable.is_empty() {
            return Ok(0);
        }
        let mut change = self.store.change(Call::system(now)).await?;
        let expired = store::lease::expired(change.on(), now, AT_ONCE).await?;
        set_aside(&mut change, expired.unreadable).await?;
        let expired = expired.jobs;
        for job in &expired {
            self.take_back_one(&mut change, job).await?;
        }
        if !expired.is_empty() {
            change.wake_jobs();
        }
        change.commit().await?;
        Ok(expired.len())
    }

    /// Ends what edges are told of names that are being validated, where it has run out or nobody has the
    /// job any more.
    pub(crate) async fn end_overdue_validations(
        &self,
        now: OffsetDateTime,
    ) -> Result<(), ServiceError> {
        let mut connection = self.store.read().await?;
        let is_shown = store::validation::any_overdue(&mut connection, now).await?;
        drop(connection);
        if !is_shown {
            return Ok(());
        }
        let mut change = self.store.change(Call::system(now)).await?;
        for name in store::validation::end_overdue(change.on(), now, AT_ONCE).await? {
            change.retract_validation(&name).await?;
        }
        change.commit().await?;
        Ok(())
    }

    async fn take_back_one(&self, change: &mut Change, job: &AgentJob) -> Result<(), ServiceError> {
        let Some(grant) = &job.grant else {
            return set_aside(change, vec![(job.id, StoreError::Corrupt("lease"))]).await;
        };
        let hostname = match look(change.on(), job.hostname).await {
            Ok((hostname, _)) => hostname,
            Err(ServiceError::Missing(Missing::Hostname)) => return Ok(()),
            Err(ServiceError::Store(error @ StoreError::Corrupt(_))) => {
                return set_aside(change, vec![(job.id, error)]).await;
            }
            Err(error) => return Err(error),
        };
        let (authority, pop) = (&grant.authority, grant.pop.as_str());
        self.agents.metrics.expired.with_label_values(&[authority.as_str()]).inc();
        tracing::warn!(hostname = %hostname.name, %authority, pop, "an agent's lease ran out");
        let (trouble, hearing) = (&Trouble::LeaseLost, Hearing::Never);
        let hostname = &hostname;
        self.fail(change, &Failed { job, hostname, authority, pop, trouble, hearing }).await
    }
}
