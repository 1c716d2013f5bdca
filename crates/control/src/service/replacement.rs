//! Certificates are issued anew before they are due: their keys are sealed to a group key that is to go.
//!
//! What is served stays until the new one is there. Whoever issues does as for any job: the internal CA at
//! once, agents as the CAs' limits let them.

use landfall_issuance::acme::RevocationReason;
use landfall_model::HostnameId;
use time::OffsetDateTime;

use super::{Missing, ServiceError, jobs, jobs::Step, revocation};
use crate::store::{
    self, Change, Connection, StoreError,
    job::{Cancellation, Enqueued, JobStage},
};

/// What becomes of certificates that are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaced {
    /// Nothing: nobody else has their keys.
    Unrevoked,
    /// CAs revoke theirs: others may have the keys.
    Revoked,
}

/// What came of asking for a hostname's certificates to be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// There is now a job.
    Now,
    /// There was one already.
    Before,
    /// None can be issued at present.
    Not(Cancellation),
    /// What is kept of the hostname can't be read.
    Unreadable,
}

/// Asks for a hostname's certificates to be replaced, and says how many of them are to be revoked.
pub(crate) async fn replace(
    change: &mut Change,
    id: HostnameId,
    replaced: Replaced,
) -> Result<(Asked, usize), ServiceError> {
    let (hostname, step) = match jobs::look(change.on(), id).await {
        Ok(found) => found,
        Err(ServiceError::Store(error @ StoreError::Corrupt(_))) => {
            tracing::error!(hostname = id.0, %error, "a hostname can't be read");
            return Ok((Asked::Unreadable, 0));
        }
        Err(error) => return Err(error),
    };
    let asked = match step {
        Step::Issue => match store::job::enqueue(change, id).await? {
            Enqueued::New(_) => Asked::Now,
            Enqueued::Open(_) => Asked::Before,
        },
        Step::Cancel(reason) => Asked::Not(reason),
    };
    if replaced == Replaced::Unrevoked {
        return Ok((asked, 0));
    }
    match revocation::revoke(change, &hostname, RevocationReason::KeyCompromise).await {
        Ok(revoked) => Ok((asked, revoked)),
        Err(ServiceError::Missing(Missing::IssuedCertificate)) => Ok((asked, 0)),
        Err(error) => Err(error),
    }
}

/// How a hostname's certificates stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) name: String,
    /// Where its certificates are from.
    pub(crate) issuers: Vec<String>,
    /// Whether others are on their way, in the words of the API.
    pub(crate) next: String,
}

/// Finds out how a hostname's certificates stand.
pub(crate) async fn standing(
    on: &mut Connection,
    id: HostnameId,
    now: OffsetDateTime,
) -> Result<Standing, ServiceError> {
    let (hostname, step) = jobs::look(on, id).await?;
    let issuers = store::certificate::issuers(on, id).await?;
    let job = store::job::newest(on, id).await?.filter(|job| job.stage == JobStage::Open);
    let next = match (step, job) {
        (Step::Cancel(reason), _) => format!("none: {}", reason.name()),
        (Step::Issue, Some(job)) => format!("asked for, waits for: {}", job.waiting_for(now)),
        (Step::Issue, None) => "not asked for".to_owned(),
    };
    Ok(Standing { name: hostname.name.to_string(), issuers, next })
}
