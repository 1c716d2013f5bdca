//! What becomes of a job, as its agent says.

use std::collections::BTreeSet;

use landfall_issuance::{
    failure::Trouble,
    protocol::{LeaseState, News, Report, ReportReply, Work},
};
use landfall_model::{
    ChallengeMethod, KeyType, Thumbprint,
    issuance::{IssuedCertificate, OpenOrder, PublishedChallenge},
};
use time::{Duration, OffsetDateTime};

use super::{
    Service,
    account::may_be_at,
    failure::Failed,
    issued::{Expected, check},
    records::keep_for_names,
};
use crate::{
    call::Call,
    certificate::SealedCertificate,
    hostname::ManagedHostname,
    service::{
        Missing, ServiceError,
        jobs::{Step, look},
    },
    store::{
        self, Change,
        job::OwnersRecords,
        lease::{AgentJob, Grant, Hearing, KeptOrder, Release, Standing},
    },
    token::PopId,
};

/// How long a job rests whose owner is to make TXT records: a tenth of the time that it has waited, and in
/// any case so long. Who asks for the certificate ends the rest.
const TXT_REST: Duration = Duration::minutes(1);
const LONGEST_TXT_REST: Duration = Duration::hours(1);

/// Who reports of what.
struct Told<'a> {
    job: &'a AgentJob,
    grant: &'a Grant,
    hostname: &'a ManagedHostname,
}

impl Service {
    /// Does what follows from a report of a PoP's agent, and says whether the job is still the agent's.
    pub(crate) async fn report(
        &self,
        pop: PopId,
        report: Report,
        now: OffsetDateTime,
    ) -> Result<ReportReply, ServiceError> {
        if report.work == Work::Errand {
            return self.report_errand(report, pop, now).await;
        }
        let checked = self.check_issued(&report, now).await?;
        let mut change = self.store.change(Call::system(now)).await?;
        let Some(job) = store::lease::find(change.on(), report.job).await? else {
            return Ok(reply(LeaseState::Lost));
        };
        match job.standing {
            _ if job.fence != report.fence => return Ok(reply(LeaseState::Lost)),
            Standing::Leased => {}
            Standing::Free | Standing::Done => return Ok(reply(LeaseState::Ended)),
            Standing::Cancelled => return Ok(reply(LeaseState::Lost)),
        }
        let pop = store::pop::name(change.on(), pop).await?;
        let grant = job.grant.clone().filter(|grant| Some(&grant.pop) == pop.as_ref());
        let Some(grant) = grant else { return Ok(reply(LeaseState::Lost)) };
        let hostname = match look(change.on(), job.hostname).await {
            Ok((hostname, Step::Issue)) => hostname,
            Ok((_, Step::Cancel(reason))) => {
                store::job::cancel(&mut change, job.hostname, reason).await?;
                self.end_validation(&mut change, job.id).await?;
                change.commit().await?;
                return Ok(reply(LeaseState::Lost));
            }
            Err(ServiceError::Missing(Missing::Hostname)) => return Ok(reply(LeaseState::Lost)),
            Err(error) => return Err(error),
        };
        let (until, longest) = (now + self.agents.lease, self.agents.longest_lease());
        store::lease::prolong(change.on(), job.id, until, longest).await?;
        let told = Told { job: &job, grant: &grant, hostname: &hostname };
        let reply = self.take(&mut change, &told, report.news, checked).await?;
        if reply.lease == LeaseState::Ended {
            // What it kept from others, they may have now.
            change.wake_jobs();
        }
        change.commit().await?;
        Ok(reply)
    }

    /// Off the async threads, before the database is kept waiting: chains have signatures.
    async fn check_issued(
        &self,
        report: &Report,
        now: OffsetDateTime,
    ) -> Result<Option<Result<Vec<SealedCertificate>, Trouble>>, ServiceError> {
        let News::Issued { certificates, .. } = &report.news else { return Ok(None) };
        let mut connection = self.store.read_at_once().await?;
        let job = store::lease::find(&mut connection, report.job).await?;
        let Some((job, grant)) = job.and_then(|job| job.grant.clone().map(|grant| (job, grant)))
        else {
            return Ok(None);
        };
        let hostname = store::hostname::find(&mut connection, job.hostname).await?;
        let Some(hostname) = hostname else { return Ok(None) };
        let names = hostname.names();
        let is_for = |one: &IssuedCertificate| one.keys.iter().map(|key| &key.name).eq(&names);
        if !certificates.iter().all(is_for) {
            return Ok(None);
        }
        let expected = Expected {
            hostname: hostname.id,
            names,
            authority: grant.authority,
            group: self.group.id().to_owned(),
            now,
        };
        let certificates = certificates.clone();
        let checked = tokio::task::spawn_blocking(move || check(&certificates, &expected)).await;
        checked.map(Some).map_err(|_| ServiceError::Interrupted)
    }

    async fn take(
        &self,
        change: &mut Change,
        told: &Told<'_>,
        news: News,
        checked: Option<Result<Vec<SealedCertificate>, Trouble>>,
    ) -> Result<ReportReply, ServiceError> {
        let held = reply(LeaseState::Held);
        match news {
            News::Alive => Ok(held),
            // A CA that is no longer configured has no accounts.
            News::AccountMade { .. } | News::AccountRegistered { .. } | News::Ordered(_)
                if self.directory_of(told).is_none() =>
            {
                Ok(reply(LeaseState::Lost))
            }
            News::AccountMade { account, replaces, .. } => {
                let name = &told.grant.authority;
                let account = self.keep_account(change, name, (&account, replaces)).await?;
                Ok(ReportReply { account, ..held })
            }
            News::AccountRegistered { thumbprint, url, .. } => {
                let name = &told.grant.authority;
                self.account_registered(change, name, (&thumbprint, &url)).await?;
                Ok(held)
            }
            News::AccountResealed { account, .. } => {
                if let Some(directory) = self.directory_of(told) {
                    let place = (&told.grant.authority, directory);
                    self.keep_resealed(change, place, &account).await?;
                }
                Ok(held)
            }
            News::Validating { thumbprint, challenges } => {
                self.validating(change, told, (&thumbprint, &challenges)).await
            }
            News::Ordered(order) => {
                let kept = self.kept(told, order);
                if may_be_at(&kept.order.url, &kept.directory) {
                    store::lease::keep_order(change.on(), told.job.id, &kept).await?;
                }
                Ok(held)
            }
            News::TxtWanted { records, lasting, order } => {
                let wanted = OwnersRecords { records, lasting };
                self.rest(change, told, (wanted, self.kept(told, order))).await?;
                Ok(reply(LeaseState::Ended))
            }
            News::Issued { method, .. } => {
                self.take_issued(change, told, (method, checked)).await?;
                Ok(reply(LeaseState::Ended))
            }
            // These are errands.
            News::Revoked
            | News::SuccessorMade { .. }
            | News::KeyReplaced { .. }
            | News::AccountUpdated { .. } => Ok(reply(LeaseState::Lost)),
            News::Failed { trouble } => {
                self.take_failure(change, told, &trouble).await?;
                Ok(reply(LeaseState::Ended))
            }
        }
    }

    /// The URL of the CA's directory, where it is configured.
    fn directory_of(&self, told: &Told<'_>) -> Option<&str> {
        let authority = self.authorities.find(&told.grant.authority)?;
        Some(&authority.config.directory)
    }

    fn kept(&self, told: &Told<'_>, order: OpenOrder) -> KeptOrder {
        let directory = self.directory_of(told).unwrap_or_default().to_owned();
        KeptOrder { authority: told.grant.authority.clone(), directory, order }
    }

    async fn validating(
        &self,
        change: &mut Change,
        told: &Told<'_>,
        (thumbprint, challenges): (&Thumbprint, &[PublishedChallenge]),
    ) -> Result<ReportReply, ServiceError> {
        let account = self.account_of(change, &told.grant.authority).await?;
        if account.is_none_or(|account| account.thumbprint != *thumbprint) {
            return Ok(reply(LeaseState::Lost));
        }
        let subject = (told.job, told.hostname);
        let waiting_for = self.begin_validation(change, subject, thumbprint, challenges).await?;
        Ok(ReportReply { waiting_for, ..reply(LeaseState::Held) })
    }

    /// Lets a job rest until its owner has made the TXT records, which are shown to them.
    async fn rest(
        &self,
        change: &mut Change,
        told: &Told<'_>,
        (mut wanted, order): (OwnersRecords, KeptOrder),
    ) -> Result<(), ServiceError> {
        let account = self.account_of(change, &told.grant.authority).await?;
        let url = account.as_ref().and_then(|account| account.url.as_deref());
        keep_for_names(&mut wanted, &told.hostname.names(), url);
        let job = told.job;
        let waited: Duration = (change.now() - job.created_at) / 10;
        let rest = waited.clamp(TXT_REST, LONGEST_TXT_REST);
        let release = Release {
            history: job.history,
            failed_methods: &job.failed_methods,
            replacing: job.replacing,
            order: Some(&order).filter(|kept| may_be_at(&kept.order.url, &kept.directory)),
            next_at: change.now() + rest,
            failed: None,
            asked_at: None,
            hearing: Hearing::Again,
        };
        store::lease::release(change.on(), job.id, &release).await?;
        store::lease::keep_txt(change.on(), job.id, &wanted).await?;
        self.end_validation(change, job.id).await
    }

    async fn take_issued(
        &self,
        change: &mut Change,
        told: &Told<'_>,
        (method, checked): (
            Option<ChallengeMethod>,
            Option<Result<Vec<SealedCertificate>, Trouble>>,
        ),
    ) -> Result<(), ServiceError> {
        let subject = (told.job, told.grant, method);
        match checked {
            Some(Ok(_)) if told.grant.rehearsal_of.is_some() => {
                self.keep_rehearsal(change, subject, told.hostname).await
            }
            Some(Ok(certificates)) if is_for(&certificates, told.hostname) => {
                self.keep_authorities(change, subject, told.hostname, &certificates).await
            }
            Some(Err(trouble)) => self.take_failure(change, told, &trouble).await,
            // The hostname changed since it was looked at.
            Some(Ok(_)) | None => self.take_failure(change, told, &Trouble::LeaseLost).await,
        }
    }

    async fn take_failure(
        &self,
        change: &mut Change,
        told: &Told<'_>,
        trouble: &Trouble,
    ) -> Result<(), ServiceError> {
        let Told { job, grant, hostname } = told;
        let (authority, pop, hearing) = (&grant.authority, grant.pop.as_str(), Hearing::Again);
        self.fail(change, &Failed { job, hostname, authority, pop, trouble, hearing }).await
    }
}

/// Whether there is one of each type of key that the hostname is to have now, each with its key for every
/// name.
fn is_for(certificates: &[SealedCertificate], hostname: &ManagedHostname) -> bool {
    let names = hostname.names();
    let has_all = |one: &SealedCertificate| one.keys.iter().map(|key| &key.name).eq(names.iter());
    let key_types: BTreeSet<KeyType> = certificates.iter().map(|one| one.key_type).collect();
    key_types == hostname.wish.key_types && certificates.iter().all(has_all)
}

fn reply(lease: LeaseState) -> ReportReply {
    ReportReply { lease, account: None, waiting_for: Vec::new() }
}
