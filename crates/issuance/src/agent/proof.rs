//! An order's names are proven.

use landfall_dns::{Delegation, Verifier, challenge_name};
use landfall_model::{
    ChallengeMethod, Thumbprint,
    issuance::{Assignment, OpenOrder, TxtRecord, TxtRecords},
};
use tokio::time::{Instant, sleep};

use super::{
    AgentSettings,
    announcement::Announcement,
    lease::{Lease, Stop},
    probe::{Prober, Question},
    surroundings::ControlPlane,
};
use crate::{
    acme::{AcmeError, Authorization, AuthorizationStatus, Challenge, ChallengeStatus, Order},
    failure::{Precheck, Trouble},
    protocol::News,
};

/// Between two looks at a TXT record of ours.
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_secs(1);

/// By which means names are proven, and for whom.
pub(super) struct Proof<'a, C> {
    pub(super) settings: &'a AgentSettings,
    pub(super) verifier: &'a Verifier,
    pub(super) prober: &'a Prober,
    pub(super) lease: &'a Lease<'a, C>,
    pub(super) job: &'a Assignment,
    pub(super) method: ChallengeMethod,
    pub(super) thumbprint: &'a Thumbprint,
    /// What the owner could make for all orders to come.
    pub(super) lasting: Option<TxtRecord>,
}

impl<C: ControlPlane> Proof<'_, C> {
    /// What comes before an order: HTTP-01 is answered and seen at every PoP without one, and DNS-01 has
    /// somewhere to be answered.
    pub(super) async fn rehearse(&self) -> Result<(), Stop> {
        match self.method {
            ChallengeMethod::Http01 => self.rehearse_http().await,
            // The record was seen when the method was chosen.
            ChallengeMethod::TlsAlpn01 | ChallengeMethod::DnsPersist01 => Ok(()),
            ChallengeMethod::Dns01 => self.check_delegation().await,
        }
    }

    async fn check_delegation(&self) -> Result<(), Stop> {
        let (TxtRecords::ByUs { target }, Some(name)) = (&self.job.records, self.job.names.first())
        else {
            return Ok(());
        };
        match self.verifier.challenge_delegation(name, target).await {
            Delegation::Present | Delegation::Unclear => Ok(()),
            Delegation::Absent | Delegation::Elsewhere { .. } => {
                let (name, target) = (challenge_name(name).into(), target.as_str().into());
                Err(Trouble::Precheck(Precheck::NotDelegated { name, target }).into())
            }
        }
    }

    async fn rehearse_http(&self) -> Result<(), Stop> {
        let announcement = self.announcement(&[]);
        announcement.reach_all(self.lease, self.settings.propagation).await?;
        let question = Question::Http { thumbprint: self.thumbprint };
        for name in &self.job.names {
            self.prober.ask_all(name.base(), question, &self.job.pops).await?;
        }
        Ok(())
    }

    /// Has the CA look at the challenges, once they are answered.
    pub(super) async fn give(&self, order: &mut Order, open: &OpenOrder) -> Result<(), Stop> {
        let challenges = self.challenges(order).await?;
        if challenges.is_empty() {
            return Ok(());
        }
        match self.method {
            // It was answered before there was an order.
            ChallengeMethod::Http01 | ChallengeMethod::DnsPersist01 => {}
            ChallengeMethod::TlsAlpn01 => self.show_certificates(&challenges).await?,
            ChallengeMethod::Dns01 => self.show_records(order, &challenges, open).await?,
        }
        for challenge in &challenges {
            // An earlier lease may have told the CA already.
            if challenge.status == ChallengeStatus::Pending {
                order.answer(&challenge.name, self.method).await?;
            }
        }
        Ok(())
    }

    /// One for each name that is not proven yet.
    async fn challenges(&self, order: &mut Order) -> Result<Vec<Challenge>, Stop> {
        let mut challenges = Vec::new();
        for name in order.authorizations().await? {
            if name.status == AuthorizationStatus::Valid {
                continue;
            }
            let Some(challenge) = name.challenge(self.method) else {
                let (name, method) = (name.name, self.method);
                return Err(AcmeError::NotOffered { name, method }.into());
            };
            challenges.push(challenge.clone());
        }
        Ok(challenges)
    }

    fn announcement(&self, challenges: &[Challenge]) -> Announcement<'_> {
        Announcement {
            method: self.method,
            thumbprint: self.thumbprint,
            challenges: challenges.iter().map(Challenge::published).collect(),
            pops: &self.job.pops,
        }
    }

    async fn show_certificates(&self, challenges: &[Challenge]) -> Result<(), Stop> {
        let announcement = self.announcement(challenges);
        announcement.reach_all(self.lease, self.settings.propagation).await?;
        for challenge in challenges {
            let digest = challenge.digest();
            let question = Question::TlsAlpn { digest: &digest };
            self.prober.ask_all(challenge.name.base(), question, &self.job.pops).await?;
        }
        Ok(())
    }

    async fn show_records(
        &self,
        order: &mut Order,
        challenges: &[Challenge],
        open: &OpenOrder,
    ) -> Result<(), Stop> {
        let records: Vec<TxtRecord> = challenges.iter().map(record).collect();
        match &self.job.records {
            TxtRecords::ByOwner if first_missing(self.verifier, &records).await.is_some() => {
                let lasting = self.offered(order).await?;
                self.lease
                    .report(News::TxtWanted { records, lasting, order: open.clone() })
                    .await?;
                Err(Stop::Rests)
            }
            TxtRecords::ByOwner => Ok(()),
            TxtRecords::ByUs { .. } => {
                let announcement = self.announcement(challenges);
                announcement.reach_all(self.lease, self.settings.propagation).await?;
                self.wait_for(&records).await
            }
        }
    }

    /// The record that would last, where the CA takes such for every name.
    async fn offered(&self, order: &mut Order) -> Result<Option<TxtRecord>, Stop> {
        let names = order.authorizations().await?;
        let takes_it = |name: &Authorization| {
            name.status == AuthorizationStatus::Valid
                || name.challenge(ChallengeMethod::DnsPersist01).is_some()
        };
        Ok(self.lasting.clone().filter(|_| names.iter().all(takes_it)))
    }

    async fn wait_for(&self, records: &[TxtRecord]) -> Result<(), Stop> {
        let deadline = Instant::now() + self.settings.propagation;
        while let Some(missing) = first_missing(self.verifier, records).await {
            if Instant::now() >= deadline {
                let name = missing.name.as_str().into();
                return Err(Trouble::Precheck(Precheck::TxtMissing { name }).into());
            }
            sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }
}

/// The first record that can't be seen.
pub(super) async fn first_missing<'r>(
    verifier: &Verifier,
    records: &'r [TxtRecord],
) -> Option<&'r TxtRecord> {
    for record in records {
        if !verifier.challenge_txt(&record.name, &record.value).await.found {
            return Some(record);
        }
    }
    None
}

/// RFC 8555 section 8.4.
fn record(challenge: &Challenge) -> TxtRecord {
    TxtRecord { name: challenge_name(&challenge.name), value: challenge.txt_value() }
}
