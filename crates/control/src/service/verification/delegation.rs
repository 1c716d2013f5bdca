//! Whether a hostname's owner has left its DNS challenges to us.

use landfall_dns::{Delegation, DelegationEvidence, Evidence, Verifier, challenge_name};
use landfall_model::HostnameId;

use super::subject::Subject;
use crate::{
    call::Call,
    service::{Service, ServiceError},
    store::{self, job::JobStage, line::Line},
};

/// Looks at it, where there is a zone of challenges. What can't be told stays as it was.
pub(super) async fn look(verifier: &Verifier, subject: &Subject) -> Option<DelegationEvidence> {
    let target = subject.challenges_at.clone()?;
    let name = &subject.hostname.name;
    let delegation = verifier.challenge_delegation(name, &target).await;
    let before = subject.delegation.clone().filter(|before| before.target == target);
    match (delegation, before) {
        (Delegation::Unclear, Some(before)) => Some(before),
        (delegation, _) => {
            Some(DelegationEvidence { name: challenge_name(name), target, delegation })
        }
    }
}

/// Whether it is there since the last look.
pub(super) fn is_new(subject: &Subject, evidence: &Evidence) -> bool {
    let is_there = |seen: &DelegationEvidence| seen.delegation == Delegation::Present;
    evidence.challenge.as_ref().is_some_and(is_there)
        && !subject.delegation.as_ref().is_some_and(is_there)
}

impl Service {
    /// Makes a hostname's open job due: there is a way to prove its names that was not there before.
    pub(super) async fn go_on(&self, call: Call, id: HostnameId) -> Result<(), ServiceError> {
        let _turn = self.store.turn(Line::Checks).await;
        let open = store::job::newest(&mut *self.store.read_at_once().await?, id).await?;
        let Some(job) = open.filter(|job| job.stage == JobStage::Open) else { return Ok(()) };
        let mut change = self.store.change(call).await?;
        store::job::hasten(change.on(), job.id, call.now).await?;
        change.wake_jobs();
        change.commit().await?;
        Ok(())
    }
}
