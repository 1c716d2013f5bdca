//! Where a hostname stands, in whole: for whoever asks why it isn't served.

use landfall_model::{HostnameId, PropertyId};
use time::OffsetDateTime;

use super::{
    HostnameView, Service, ServiceError, owned,
    summary::{Course, Reader, summary},
};
use crate::{
    hostname::{HostnameStatus, ownership::OwnershipEvidence},
    store::{
        self,
        attempt::Attempt,
        errand::Errand,
        event::Event,
        job::{JobIssuer, JobStage, JobState},
        renewal::PlannedRenewal,
    },
};

/// Where a hostname stands, in whole.
#[derive(Clone, Debug)]
pub(crate) struct Explanation {
    pub(crate) view: HostnameView,
    /// One sentence: where it stands, and what to do.
    pub(crate) summary: String,
    /// When something is next attempted by itself that is still missing.
    pub(crate) next_attempt_at: Option<OffsetDateTime>,
    /// What the last look for an ownership token saw.
    pub(crate) ownership: Option<OwnershipEvidence>,
    /// The newest first.
    pub(crate) jobs: Vec<JobState>,
    /// The newest first.
    pub(crate) attempts: Vec<Attempt>,
    /// When its certificates are renewed, the first one first.
    pub(crate) renewals: Vec<PlannedRenewal>,
    /// Of its certificates, the newest first.
    pub(crate) revocations: Vec<Errand>,
}

impl Service {
    /// Where a hostname of a property stands, in whole.
    pub(crate) async fn explain(
        &self,
        (property, id): (PropertyId, HostnameId),
        reader: Reader,
    ) -> Result<Explanation, ServiceError> {
        let owner = self.property(property).await?;
        let mut connection = self.store.read_at_once().await?;
        let hostname = owned(store::hostname::find(&mut connection, id).await?, property)?;
        let now = OffsetDateTime::now_utc();
        let system_hostname = owner.system_hostname;
        let mut view = self.view_of(&mut connection, hostname, system_hostname, now).await?;
        let waiting = view.job.as_mut().filter(|job| {
            job.stage == JobStage::Open
                && job.issuer == JobIssuer::Agents
                && job.leased_until.is_none()
        });
        // Nobody may have looked at it since: the planner looks at those that go first.
        if let Some(job) = waiting {
            let held = self.held_up(&mut connection, job.id, now).await?;
            let held = held.or_else(|| self.agents.silence(job.due_at(), now));
            job.waits_for = held.or(job.waits_for.take());
        }
        let ownership = store::ownership::find(&mut connection, id).await?;
        let mut jobs = store::job::history(&mut connection, id).await?;
        for job in &mut jobs {
            let shown = view.job.as_ref().filter(|shown| shown.id == job.id);
            job.waits_for = shown.map_or(job.waits_for.take(), |shown| shown.waits_for.clone());
        }
        let mut attempts = store::attempt::history(&mut connection, id).await?;
        foretell(&mut attempts, &view);
        let revocations = store::errand::of(&mut connection, id).await?;
        let renewals = store::renewal::planned(&mut connection, id).await?;
        let course = Course::of(&view, &attempts, &revocations, reader);
        let (summary, next_attempt_at) = (summary(&view, course), next_attempt(&view, now));
        Ok(Explanation {
            view,
            summary,
            next_attempt_at,
            ownership,
            jobs,
            attempts,
            renewals,
            revocations,
        })
    }

    /// At most `limit` events of a hostname, the newest first; of those before the one with the id
    /// `before`, where it is given.
    pub(crate) async fn events(
        &self,
        (property, id): (PropertyId, HostnameId),
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<Event>, ServiceError> {
        self.property(property).await?;
        let mut connection = self.store.read_at_once().await?;
        owned(store::hostname::find(&mut connection, id).await?, property)?;
        store::event::list(&mut connection, id, before, limit).await.map_err(ServiceError::from)
    }
}

/// Of the last attempt, the next one is when its job says, once it is known what that waits for: since the
/// attempt failed it may have been put off.
fn foretell(attempts: &mut [Attempt], view: &HostnameView) {
    let waits = |job: &&JobState| {
        job.stage == JobStage::Open && job.leased_until.is_none() && job.waits_for.is_some()
    };
    if let (Some(job), Some(last)) = (view.job.as_ref().filter(waits), attempts.first_mut())
        && last.job == job.id
        && last.class.is_some()
    {
        last.next_at = Some(job.due_at());
    }
}

fn next_attempt(view: &HostnameView, now: OffsetDateTime) -> Option<OffsetDateTime> {
    let open = view.job.as_ref().filter(|job| job.stage == JobStage::Open);
    match view.hostname.status {
        HostnameStatus::PendingValidation => view.verification.as_ref()?.next_at,
        HostnameStatus::Active => match open {
            Some(job) => Some(job.due_at().max(now)),
            None => view.left_at().and(view.verification.as_ref()?.next_at),
        },
        HostnameStatus::GivenUp | HostnameStatus::TakenOver => None,
    }
}
