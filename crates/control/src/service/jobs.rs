//! Does the jobs of the internal CA: issues what was asked for, or finds that it is no longer wanted.

use landfall_dns::Evidence;
use landfall_model::HostnameId;
use serde_json::json;
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

use super::{Missing, Service, ServiceError, publish};
use crate::{
    api::problem::chain,
    call::Call,
    certificate::{CertificateIssuer, SealedCertificate},
    hostname::{HostnameStatus, ManagedHostname, Title},
    store::{
        self, Connection, StoreError,
        event::EventKind,
        job::{Cancellation, Enqueued, JobState},
        lease::Cause,
    },
};

/// How long after a failed attempt the next one is, and the last of them after each further one.
const RETRY_AFTER: [Duration; 4] =
    [Duration::minutes(1), Duration::minutes(10), Duration::minutes(100), Duration::days(1)];

/// The longest that a job waits for its next attempt. One that is due later than that was put off by a
/// clock that was wrong.
pub(super) const LONGEST_RETRY: Duration = Duration::hours(30);

/// What owners are told where it is nothing that they or a CA could help.
const OWN_FAILURE: &str = "the control plane failed; its operator finds the reason in its log";

/// What an attempt at a job came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// There is a certificate.
    Issued,
    /// None is wanted any more.
    Cancelled,
    /// It failed, and is tried again later.
    Failed,
    /// The hostname or the job changed meanwhile: what is then due is found at the next look.
    Overtaken,
}

/// What is to be done about a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Issue,
    Cancel(Cancellation),
}

impl Service {
    /// Attempts a job. `random` spreads the next attempt, where one is needed.
    ///
    /// # Errors
    /// Where the database fails. What the CA has against it is kept with the job.
    pub(crate) async fn attempt_job(
        &self,
        job: &JobState,
        now: OffsetDateTime,
        random: u16,
    ) -> Result<Attempt, ServiceError> {
        let found = look(&mut *self.store.read_at_once().await?, job.hostname).await;
        let (hostname, step) = match found {
            Ok(found) => found,
            Err(ServiceError::Missing(_)) => return Ok(Attempt::Overtaken),
            Err(error) => return Err(error),
        };
        if let Step::Cancel(reason) = step {
            return self.cancel_job(job, reason, now).await;
        }
        let issued = match self.issue(&hostname.names(), now) {
            Ok(certificate) => self.keep_issued(job, &hostname, &certificate, now).await,
            Err(error) => Err(error),
        };
        match issued {
            Ok(attempt) => Ok(attempt),
            Err(error @ (ServiceError::Store(_) | ServiceError::Interrupted)) => Err(error),
            Err(error) => self.put_off(job, &hostname, &error, (now, random)).await,
        }
    }

    /// Keeps a certificate, publishes it and ends the job, unless anything changed meanwhile.
    async fn keep_issued(
        &self,
        job: &JobState,
        hostname: &ManagedHostname,
        certificate: &SealedCertificate,
        now: OffsetDateTime,
    ) -> Result<Attempt, ServiceError> {
        let id = job.hostname;
        let mut change = self.store.change(Call::system(now)).await?;
        let is_wanted = match look(change.on(), id).await {
            Ok((current, Step::Issue)) => current.names() == hostname.names(),
            Ok((_, Step::Cancel(_))) | Err(ServiceError::Missing(_)) => false,
            Err(error) => return Err(error),
        };
        if !is_wanted || !store::job::finish(change.on(), job.id, now).await? {
            return Ok(Attempt::Overtaken);
        }
        store::certificate::remove(change.on(), id, CertificateIssuer::Inherited).await?;
        store::certificate::put(change.on(), id, certificate, now).await?;
        let detail = json!({"job": job.id.0, "fingerprint": certificate.fingerprint.to_string()});
        change.event(id, EventKind::CertificateIssued, &detail).await?;
        publish(&mut change, id).await?;
        let revision = change.commit().await?.revision.0;
        let (hostname, fingerprint) = (&hostname.name, certificate.fingerprint);
        tracing::info!(%hostname, revision, %fingerprint, "certificate issued");
        Ok(Attempt::Issued)
    }

    async fn cancel_job(
        &self,
        job: &JobState,
        reason: Cancellation,
        now: OffsetDateTime,
    ) -> Result<Attempt, ServiceError> {
        let mut change = self.store.change(Call::system(now)).await?;
        let cancelled = store::job::cancel(&mut change, job.hostname, reason).await?;
        change.commit().await?;
        let (hostname, reason) = (job.hostname.0, reason.name());
        tracing::info!(hostname, reason, "a certificate is no longer to be issued");
        Ok(cancelled.map_or(Attempt::Overtaken, |_| Attempt::Cancelled))
    }

    async fn put_off(
        &self,
        job: &JobState,
        hostname: &ManagedHostname,
        error: &ServiceError,
        (now, random): (OffsetDateTime, u16),
    ) -> Result<Attempt, ServiceError> {
        let next_at = now + retry_after(job.attempts, random);
        let error = chain(error);
        let mut change = self.store.change(Call::system(now)).await?;
        if !store::job::put_off(change.on(), job.id, &error, (now, next_at)).await? {
            return Ok(Attempt::Overtaken);
        }
        let detail = json!({
            "job": job.id.0,
            "attempt": job.attempts + 1,
            "error": error,
            "nextAttemptAt": next_at.format(&Rfc3339).unwrap_or_default(),
        });
        change.event(hostname.id, EventKind::CertificateAttemptFailed, &detail).await?;
        change.commit().await?;
        let hostname = &hostname.name;
        tracing::warn!(%hostname, error, %next_at, "a certificate can't be issued yet");
        Ok(Attempt::Failed)
    }

    /// Puts off a job whose attempt failed for a reason of ours, so that it holds up no other.
    pub(crate) async fn put_job_off(
        &self,
        job: &JobState,
        error: &ServiceError,
        (now, random): (OffsetDateTime, u16),
    ) -> Result<(), ServiceError> {
        let next_at = now + retry_after(job.attempts, random);
        let mut change = self.store.change(Call::system(now)).await?;
        store::job::put_off(change.on(), job.id, OWN_FAILURE, (now, next_at)).await?;
        change.commit().await?;
        let (job, hostname, error) = (job.id.0, job.hostname.0, chain(error));
        tracing::warn!(job, hostname, error, %next_at, "cannot do a job");
        Ok(())
    }

    /// Asks for certificates that are due for renewal, and for those of the internal CA that are missing, at most
    /// `limit`, and says how many jobs were made.
    pub(crate) async fn request_due(
        &self,
        now: OffsetDateTime,
        limit: u32,
    ) -> Result<usize, StoreError> {
        let mut connection = self.store.read().await?;
        let mut due = store::certificate::due_for_renewal(&mut connection, now, limit).await?;
        let left = limit.saturating_sub(u32::try_from(due.len()).unwrap_or(limit));
        due.extend(store::hostname::without_certificate(&mut connection, left).await?);
        drop(connection);
        if due.is_empty() {
            return Ok(0);
        }
        let mut change = self.store.change(Call::system(now)).await?;
        let mut made = 0;
        for hostname in &due {
            if let Enqueued::New(job) = store::job::enqueue(&mut change, *hostname).await? {
                store::job::keep_cause(change.on(), job, Cause::Renewal).await?;
                made += 1;
            }
        }
        change.commit().await?;
        Ok(made)
    }
}

/// A hostname whose job is looked at.
pub(super) struct Looked {
    pub(super) hostname: ManagedHostname,
    pub(super) step: Step,
    /// What the last verification saw.
    pub(super) evidence: Option<Evidence>,
}

/// What is to be done about a job of a hostname.
pub(super) async fn look(
    on: &mut Connection,
    id: HostnameId,
) -> Result<(ManagedHostname, Step), ServiceError> {
    let Looked { hostname, step, .. } = look_closely(on, id).await?;
    Ok((hostname, step))
}

/// As [`look`], with what it was found out from.
pub(super) async fn look_closely(
    on: &mut Connection,
    id: HostnameId,
) -> Result<Looked, ServiceError> {
    let hostname = store::hostname::find(on, id).await?;
    let hostname = hostname.ok_or(ServiceError::Missing(Missing::Hostname))?;
    let verification = store::verification::find(on, id).await?;
    let left_at = verification.as_ref().and_then(|state| state.left_at);
    let step = match store::certificate::any_uploaded(on, id).await? {
        true => Step::Cancel(Cancellation::CertificateUploaded),
        false => step((hostname.status, hostname.title), left_at),
    };
    Ok(Looked { hostname, step, evidence: verification.and_then(|state| state.evidence) })
}

fn step(standing: (HostnameStatus, Title), left_at: Option<OffsetDateTime>) -> Step {
    match (standing, left_at) {
        ((HostnameStatus::TakenOver, _) | (_, Title::Claimed), _) => {
            Step::Cancel(Cancellation::NotHeld)
        }
        ((HostnameStatus::PendingValidation | HostnameStatus::GivenUp, _), _) => {
            Step::Cancel(Cancellation::NotActive)
        }
        ((HostnameStatus::Active, Title::Held), Some(_)) => Step::Cancel(Cancellation::DnsLeft),
        ((HostnameStatus::Active, Title::Held), None) => Step::Issue,
    }
}

/// How long after an attempt that failed, with `failed` ones before it, the next one is: a quarter
/// more or less, so that what failed together is not tried together.
fn retry_after(failed: u32, random: u16) -> Duration {
    let index = usize::try_from(failed).unwrap_or(usize::MAX).min(RETRY_AFTER.len() - 1);
    let after = RETRY_AFTER.get(index).copied().unwrap_or(Duration::DAY);
    after * (0.75 + f64::from(random) / f64::from(u16::MAX) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_a_minute_ten_a_hundred_and_then_a_day_apart_a_quarter_more_or_less() {
        let minutes = |failed, random| retry_after(failed, random).as_seconds_f64() / 60.0;
        for (failed, expected) in [(0, 1.0), (1, 10.0), (2, 100.0), (3, 1_440.0), (99, 1_440.0)] {
            assert_eq!(minutes(failed, 0), expected * 0.75);
            assert_eq!(minutes(failed, u16::MAX), expected * 1.25);
            assert!(retry_after(failed, u16::MAX) <= LONGEST_RETRY);
        }
    }

    #[test]
    fn a_certificate_is_issued_for_who_is_active_and_has_the_name_and_no_other() {
        use HostnameStatus::{Active, GivenUp, PendingValidation, TakenOver};
        use Title::{Claimed, Held};
        let left = Some(OffsetDateTime::UNIX_EPOCH);
        let table = [
            ((Active, Held), None, Step::Issue),
            ((Active, Held), left, Step::Cancel(Cancellation::DnsLeft)),
            ((Active, Claimed), None, Step::Cancel(Cancellation::NotHeld)),
            ((TakenOver, Claimed), None, Step::Cancel(Cancellation::NotHeld)),
            ((PendingValidation, Held), None, Step::Cancel(Cancellation::NotActive)),
            ((GivenUp, Held), None, Step::Cancel(Cancellation::NotActive)),
        ];
        for (standing, left_at, expected) in table {
            assert_eq!(step(standing, left_at), expected, "{standing:?} {left_at:?}");
        }
    }
}
