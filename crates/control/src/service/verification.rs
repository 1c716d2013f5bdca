//! Verifying hostnames' DNS, and what follows from it.
//!
//! A check asks DNS outside any transaction and can take seconds. What it found is kept only where
//! nobody has changed the hostname's standing meanwhile.

mod delegation;
mod evidence;
mod hasten;
mod in_flight;
mod places;
pub(crate) mod results;
mod sockets;
mod subject;

use std::sync::Arc;

use landfall_dns::{CaIdentity, CaaVerdict, DnsConfig, DnsError, Evidence, Verdict, Verifier};
use landfall_model::{AuthorityName, Hostname, HostnameId, PropertyId};
use serde_json::json;
use time::OffsetDateTime;

use super::{
    HostnameView, Service, ServiceError, VerificationError,
    hostnames::tell,
    owned,
    ownership::{self, Reach},
    properties, publish,
};
use crate::{
    authority::Authorities,
    call::Call,
    certificate::CertificateIssuer,
    config::{IssuanceConfig, IssuanceScope, Schedule, VerificationConfig},
    hostname::{HostnameStatus, ManagedHostname, Title, wish::CertificateWish},
    metrics::verification::{Asker, VerificationMetrics},
    rate::{Buckets, Quota},
    store::{
        self, Change,
        audit::AuditEntry,
        event::EventKind,
        job::{Cancellation, Enqueued},
        line::Line,
        verification::CheckResult,
    },
    token::random_number,
    verification::{Check, Jitter, Lane, Outcome, Trigger, Turn, decide},
};
use in_flight::InFlight;
use places::Places;
use results::{NotKept, Results};
use subject::Subject;

/// What verifications go by and share.
#[derive(Clone, Debug)]
pub(crate) struct Verification {
    pub(super) verifier: Verifier,
    /// The CAs that may issue, by name.
    authorities: Arc<[AuthorityName]>,
    /// The same as CAA records name them; none where the internal CA issues.
    cas: Arc<[CaIdentity]>,
    schedule: Schedule,
    in_flight: InFlight,
    places: Places,
    results: Results,
    metrics: VerificationMetrics,
    /// Of each property, by registered domain.
    pub(super) token_files: Arc<Buckets<(PropertyId, Hostname)>>,
    /// Of all properties together, by registered domain.
    pub(super) all_token_files: Arc<Buckets<Hostname>>,
}

/// The most domains of which it is remembered when files were fetched from them.
const TOKEN_FILE_DOMAINS: usize = 65_536;
/// How many properties may have as many files of one domain fetched as one may: whoever claims names
/// under it for nothing keeps no owner from proving theirs.
const TOKEN_FILE_SHARES: u32 = 20;

impl Verification {
    /// # Errors
    /// Where there is no resolver.
    pub(crate) fn new(
        config: &VerificationConfig,
        (scope, issuance): (IssuanceScope, &IssuanceConfig),
        results: Results,
        metrics: VerificationMetrics,
    ) -> Result<Self, DnsError> {
        let authorities = issuance.order.clone().into();
        let cas = match scope {
            IssuanceScope::SystemDomain => Authorities::identities(issuance).into(),
            IssuanceScope::VerifiedHostnames | IssuanceScope::EveryHostname => Arc::default(),
        };
        let sockets = sockets::affordable(config.dns.sockets);
        Ok(Self {
            verifier: Verifier::new(&DnsConfig { sockets, ..config.dns.clone() })?,
            authorities,
            cas,
            schedule: config.schedule,
            in_flight: InFlight::default(),
            places: Places::default(),
            results,
            metrics,
            token_files: Arc::new(Buckets::new(config.token_files, TOKEN_FILE_DOMAINS)),
            all_token_files: Arc::new(Buckets::new(
                Quota {
                    per_minute: config.token_files.per_minute.saturating_mul(TOKEN_FILE_SHARES),
                    burst: config.token_files.burst.saturating_mul(TOKEN_FILE_SHARES),
                },
                TOKEN_FILE_DOMAINS,
            )),
        })
    }

    /// Counts a check that failed for a reason of ours.
    pub(crate) fn count_error(&self, lane: Lane) {
        self.metrics.count_error(lane);
    }

    /// Refuses a hostname's CA that the operator has not configured.
    pub(super) fn check_wish(&self, wish: &CertificateWish) -> Result<(), ServiceError> {
        let chosen = wish.authority.as_ref().map(AuthorityName::as_str);
        self.check_authority(chosen, "managedCertificate.authority")
    }

    /// Refuses a CA, chosen in `field`, that the operator has not configured.
    pub(super) fn check_authority(
        &self,
        chosen: Option<&str>,
        field: &'static str,
    ) -> Result<(), ServiceError> {
        match chosen {
            Some(wanted) if !self.authorities.iter().any(|own| own.as_str() == wanted) => {
                Err(ServiceError::AuthorityNotConfigured {
                    field,
                    wanted: wanted.to_owned(),
                    configured: self.authorities.iter().map(AuthorityName::to_string).collect(),
                })
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl Service {
    /// Verifies the DNS of a property's hostname because somebody asks for it, keeps what was seen and
    /// does what follows. Whoever asks while a check runs gets what that one finds. `None` where the
    /// hostname is never verified.
    pub(crate) async fn verify(
        &self,
        call: Call,
        (property, id): (PropertyId, HostnameId),
    ) -> Result<Option<Arc<Evidence>>, ServiceError> {
        let place = self.verification.places.take(property);
        let _place = place.ok_or(VerificationError::TooMany)?;
        self.check(call, id, Trigger::Request).await
    }

    /// Verifies a hostname's DNS if that is due.
    pub(crate) async fn verify_due(
        &self,
        id: HostnameId,
        now: OffsetDateTime,
    ) -> Result<(), ServiceError> {
        self.check(Call::system(now), id, Trigger::Schedule).await.map(drop)
    }

    /// Puts a hostname's check off that failed for a reason of ours.
    pub(crate) async fn put_check_off(
        &self,
        id: HostnameId,
        now: OffsetDateTime,
    ) -> Result<(), ServiceError> {
        let jitter = Jitter::of(random_number()?);
        let mut change = self.store.change(Call::system(now)).await?;
        store::verification::queue::put_off(change.on(), id, now, jitter).await?;
        change.commit().await?;
        Ok(())
    }

    /// Does what a request for a certificate means: external hostnames are verified first; those whose
    /// DNS leads here, and all others, get a job, unless one is open or what they have lasts: a CA
    /// counts what it issues.
    pub(crate) async fn request_certificate(
        &self,
        call: Call,
        property: PropertyId,
        id: HostnameId,
    ) -> Result<HostnameView, ServiceError> {
        let view = self.hostname(property, id).await?;
        let version = view.hostname.version;
        if !call.conditions.expected.admits(version) {
            return Err(ServiceError::Stale { version });
        }
        if view.certificates.iter().any(|own| own.issuer == CertificateIssuer::Uploaded) {
            return Err(VerificationError::UploadedCertificate.into());
        }
        if let Some(evidence) = self.verify(call, (property, id)).await? {
            match evidence.verdict() {
                Verdict::Passed => {}
                Verdict::Failed => return Err(VerificationError::Failed(evidence).into()),
                Verdict::Inconclusive => {
                    return Err(VerificationError::Inconclusive(evidence).into());
                }
            }
        }
        let mut change = self.store.change(call).await?;
        let owner = properties::find(&mut change, property).await?;
        let hostname = owned(store::hostname::find(change.on(), id).await?, property)?;
        if hostname.status != HostnameStatus::Active {
            return Err(match hostname.title {
                Title::Claimed => VerificationError::OwnershipNotProven,
                Title::Held => VerificationError::Changed,
            }
            .into());
        }
        let view = self.view_in(&mut change, &owner, id).await?;
        if view.is_served_well() {
            return Ok(view);
        }
        self.lift_refusals(&mut change, &hostname).await?;
        let enqueued = store::job::enqueue(&mut change, id).await?;
        let (Enqueued::New(job) | Enqueued::Open(job)) = enqueued;
        store::job::forgive(change.on(), job).await?;
        if let Enqueued::New(_) = enqueued {
            let (object, detail) = (&hostname.name.to_string(), json!({"hostnameId": id}));
            let action = "hostname.request_certificate";
            change.audit(&AuditEntry { action, property: Some(property), object, detail }).await?;
        }
        let view = self.view_in(&mut change, &owner, id).await?;
        change.commit().await?;
        Ok(view)
    }

    async fn check(
        &self,
        call: Call,
        id: HostnameId,
        trigger: Trigger,
    ) -> Result<Option<Arc<Evidence>>, ServiceError> {
        let place = self.verification.in_flight.enter(id);
        let Some(mut found) = place.wait().await else { return Ok(None) };
        if let Some(evidence) = &*found {
            return Ok(Some(Arc::clone(evidence)));
        }
        let Some(subject) = self.asked_for(call, id, trigger).await? else { return Ok(None) };
        let is_due = subject.progress.next_at.is_some_and(|next_at| next_at <= call.now);
        if trigger == Trigger::Schedule && !is_due {
            return Ok(None);
        }
        // Whoever claims a name proves that it is theirs: nothing else makes them its holder. Beside
        // that, so that both take no more than the time of one.
        let reach = match (trigger, subject.progress.lane) {
            (Trigger::Request, _) | (Trigger::Schedule, Lane::Fresh) => Reach::RecordAndFile,
            (Trigger::Schedule, Lane::Pending | Lane::Active) => Reach::Record,
        };
        let (title, evidence) = tokio::join!(
            self.prove(call, &self.verification.verifier, (&subject.hostname, reach)),
            self.look(&subject, call.now, trigger)
        );
        let subject = match title? {
            Title::Held if subject.hostname.title == Title::Claimed => {
                self.subject(id, call.now).await?
            }
            Title::Held | Title::Claimed => Some(subject),
        };
        let Some(subject) = subject else { return Ok(None) };
        let evidence = Arc::new(evidence);
        self.conclude(call, &subject, trigger, &evidence).await?;
        *found = Some(Arc::clone(&evidence));
        Ok(Some(evidence))
    }

    /// What is to be checked.
    async fn asked_for(
        &self,
        call: Call,
        id: HostnameId,
        trigger: Trigger,
    ) -> Result<Option<Subject>, ServiceError> {
        let subject = self.subject(id, call.now).await?;
        if subject.is_none() && trigger == Trigger::Request && self.resume(call, id).await? {
            return self.subject(id, call.now).await;
        }
        Ok(subject)
    }

    /// Starts the checks of a hostname that another property has taken over. Says whether it did.
    async fn resume(&self, call: Call, id: HostnameId) -> Result<bool, ServiceError> {
        let mut change = self.store.change(call).await?;
        let found = store::hostname::find(change.on(), id).await?;
        let taken = |hostname: &ManagedHostname| hostname.status == HostnameStatus::TakenOver;
        let Some(hostname) = found.filter(taken) else { return Ok(false) };
        store::hostname::set_status(change.on(), id, HostnameStatus::PendingValidation).await?;
        store::verification::begin(change.on(), id, call.now).await?;
        let (kind, action) = words(Turn::Resumed);
        tell(&mut change, &hostname, action, kind).await?;
        change.commit().await?;
        Ok(true)
    }

    async fn look(&self, subject: &Subject, now: OffsetDateTime, trigger: Trigger) -> Evidence {
        let (verification, name) = (&self.verification, &subject.hostname.name);
        let _running = verification.metrics.begin();
        let verifier = &verification.verifier;
        let (mut seen, challenge) = tokio::join!(
            verifier.verify(name, &subject.expectation, now),
            delegation::look(verifier, subject)
        );
        seen.challenge = challenge;
        let asker = match trigger {
            Trigger::Schedule => Asker::Lane(subject.progress.lane),
            Trigger::Request => Asker::Request,
        };
        verification.metrics.count(asker, &seen);
        tracing::debug!(hostname = %name, finding = seen.finding.name(), "hostname verified");
        evidence::bounded(seen)
    }

    /// Keeps what a check saw, and does what follows.
    async fn conclude(
        &self,
        call: Call,
        subject: &Subject,
        trigger: Trigger,
        evidence: &Evidence,
    ) -> Result<(), ServiceError> {
        let verdict = match (evidence.verdict(), subject.hostname.title) {
            // Whoever has the name would be served for it: a claim alone activates nothing.
            (Verdict::Passed, Title::Claimed) => Verdict::Failed,
            (verdict, Title::Held | Title::Claimed) => verdict,
        };
        let jitter = Jitter::of(random_number()?);
        let check = Check { trigger, verdict, now: call.now, jitter };
        let outcome = decide(&subject.standing(), &check, &self.verification.schedule);
        let result = CheckResult {
            hostname: subject.hostname.id,
            before: subject.progress,
            after: outcome.progress,
            checked_at: call.now,
            finding: evidence.finding,
            evidence: evidence::to_json(evidence)?,
        };
        let kept = match outcome.turn {
            None => self.verification.results.keep(result).await?,
            Some(turn) => self.turn(call, subject, (outcome, turn), (&result, evidence)).await?,
        };
        if kept && delegation::is_new(subject, evidence) {
            self.go_on(call, subject.hostname.id).await?;
        }
        let permits = matches!(evidence.caa.verdict, CaaVerdict::Permitted | CaaVerdict::NotJudged);
        if kept && verdict == Verdict::Passed && permits {
            self.caa_is_mended(call, &subject.hostname).await?;
        }
        if !kept {
            let hostname = &subject.hostname.name;
            tracing::debug!(%hostname, "a check's result was dropped: the hostname was changed");
        }
        Ok(())
    }

    /// Makes a change that the hostname's owner is told of. Says whether it was made: not where the
    /// hostname has changed since the check began.
    async fn turn(
        &self,
        call: Call,
        subject: &Subject,
        (outcome, turn): (Outcome, Turn),
        (result, evidence): (&CheckResult, &Evidence),
    ) -> Result<bool, ServiceError> {
        let (before, id) = (&subject.hostname, subject.hostname.id);
        let _turn = self.store.turn(Line::Checks).await;
        let mut change = self.store.change(call).await?;
        let found = store::hostname::find(change.on(), id).await?;
        let same = found.filter(|now| now.status == before.status && now.title == before.title);
        let Some(hostname) = same else { return Ok(false) };
        if !store::verification::keep(change.on(), result).await? {
            return Ok(false);
        }
        if turn == Turn::Activated && ownership::is_disputed(&mut change, &hostname).await? {
            ownership::give_way(&mut change, &hostname).await?;
            change.commit().await?;
            return Ok(true);
        }
        if outcome.status != hostname.status {
            store::hostname::set_status(change.on(), id, outcome.status).await?;
        }
        follow_with_jobs(&mut change, id, turn).await?;
        let (kind, action) = words(turn);
        let object = &hostname.name.to_string();
        let detail = json!({"hostnameId": id, "finding": evidence.finding});
        let property = Some(hostname.property);
        change.audit(&AuditEntry { action, property, object, detail }).await?;
        let detail = json!({"finding": evidence.finding, "advice": evidence.advice});
        change.event(id, kind, &detail).await?;
        if turn == Turn::Activated {
            publish(&mut change, id).await?;
        }
        let revision = change.commit().await?.revision.0;
        let (property, finding) = (hostname.property.0, evidence.finding.name());
        tracing::info!(property, hostname = %hostname.name, revision, finding, turn = action, "hostname verified");
        Ok(true)
    }
}

/// What a hostname needs that is activated, or came back without a certificate, and one that has left
/// no longer does.
async fn follow_with_jobs(
    change: &mut Change,
    id: HostnameId,
    turn: Turn,
) -> Result<(), ServiceError> {
    match turn {
        Turn::Activated => {
            let present = store::certificate::summaries(change.on(), id).await?;
            if !present.iter().any(|own| own.issuer == CertificateIssuer::Uploaded) {
                store::job::enqueue(change, id).await?;
            }
        }
        Turn::Returned => {
            let present = store::certificate::summaries(change.on(), id).await?;
            if present.iter().all(|own| own.issuer == CertificateIssuer::Inherited) {
                store::job::enqueue(change, id).await?;
            }
        }
        Turn::Left => {
            store::job::cancel(change, id, Cancellation::DnsLeft).await?;
        }
        Turn::Resumed | Turn::GivenUp => {}
    }
    Ok(())
}

/// The event and the audit log's action.
fn words(turn: Turn) -> (EventKind, &'static str) {
    match turn {
        Turn::Activated => (EventKind::Activated, "hostname.activate"),
        Turn::Resumed => (EventKind::VerificationResumed, "hostname.resume_verification"),
        Turn::GivenUp => (EventKind::GivenUp, "hostname.give_up"),
        Turn::Left => (EventKind::DnsLeft, "hostname.dns_left"),
        Turn::Returned => (EventKind::DnsReturned, "hostname.dns_returned"),
    }
}

impl From<NotKept> for ServiceError {
    fn from(NotKept: NotKept) -> Self {
        Self::Interrupted
    }
}
