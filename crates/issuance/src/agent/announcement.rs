//! Challenges published: to the edges, and to the DNS.

use landfall_model::{
    ChallengeMethod, Thumbprint,
    issuance::{PopTarget, PublishedChallenge},
};
use tokio::time::{Duration, Instant, sleep};

use super::{
    backoff::chance,
    lease::{Lease, Stop},
    surroundings::ControlPlane,
};
use crate::{
    failure::{Precheck, Trouble, Words},
    protocol::News,
};

/// Between two questions whether all PoPs have it: at first, and at most.
const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(3);

/// What is to be answered.
pub(super) struct Announcement<'a> {
    pub(super) method: ChallengeMethod,
    pub(super) thumbprint: &'a Thumbprint,
    /// What can't be answered from the thumbprint alone.
    pub(super) challenges: Vec<PublishedChallenge>,
    /// Who is to answer.
    pub(super) pops: &'a [PopTarget],
}

impl Announcement<'_> {
    /// Publishes it, and does not wait.
    pub(super) async fn publish<C: ControlPlane>(
        &self,
        lease: &Lease<'_, C>,
    ) -> Result<Vec<String>, Stop> {
        let (thumbprint, challenges) = (self.thumbprint.clone(), self.challenges.clone());
        let reply = lease.report(News::Validating { thumbprint, challenges }).await?;
        Ok(reply.waiting_for)
    }

    /// Publishes it, and waits until every PoP has it.
    pub(super) async fn reach_all<C: ControlPlane>(
        &self,
        lease: &Lease<'_, C>,
        limit: Duration,
    ) -> Result<(), Stop> {
        let deadline = Instant::now() + limit;
        let mut pause = FIRST;
        loop {
            let missing = self.publish(lease).await?;
            if missing.is_empty() {
                return Ok(());
            }
            if Instant::now() + pause > deadline {
                // With this edge's own disk full, it is among those that are missing.
                let disk =
                    lease.disk_trouble().map(|detail| Trouble::Disk { detail: detail.into() });
                return Err(disk.unwrap_or_else(|| self.missed(missing, limit)).into());
            }
            sleep(pause.mul_f64(0.75 + chance().fraction() / 2.0)).await;
            pause = pause.mul_f32(1.5).min(LONGEST);
        }
    }

    fn missed(&self, missing: Vec<String>, limit: Duration) -> Trouble {
        let asked = match self.method {
            // PoPs have no part in it.
            ChallengeMethod::Dns01 | ChallengeMethod::DnsPersist01 => missing.len(),
            ChallengeMethod::Http01 | ChallengeMethod::TlsAlpn01 => {
                self.pops.len().max(missing.len())
            }
        };
        Trouble::Precheck(Precheck::Challenge {
            method: self.method,
            failed: missing.into_iter().map(Words::from).collect(),
            asked: u32::try_from(asked).unwrap_or(u32::MAX),
            detail: format!("they have not taken it up within {} seconds", limit.as_secs()).into(),
        })
    }
}
