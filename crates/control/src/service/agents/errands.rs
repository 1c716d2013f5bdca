//! What agents do at CAs besides issuing: who does it, and what follows.

use landfall_issuance::{
    failure::{Failure, FailureClass, ProblemKind, Remedy, Setting, Trouble, classify},
    jitter::Jitter,
    protocol::{AccountErrand, LeaseState, News, Report, ReportReply, Revocation, Task},
    schedule::{self, Alternatives, History, When},
};
use landfall_model::{AuthorityName, HostPattern, Revision, issuance::Account};
use serde_json::json;
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

use super::{Service, issued::MAX_SEALED, lease::Round};
use crate::{
    call::Call,
    hostname::deployment::Fleet,
    service::{ServiceError, publish},
    store::{
        self, Change,
        errand::{Errand, Purpose, Settled, Stage},
        event::EventKind,
    },
    token::{PopId, random_number},
};

/// The most errands that one agent gets at once.
const AT_ONCE: u32 = 8;
/// Failures that nobody here can mend end a revocation after so many.
const REFUSALS: u32 = 5;
/// An account that was registered later than that is not taken for one that the CA has lost: somebody else has
/// seen to it meanwhile.
const JUST_REGISTERED: Duration = Duration::minutes(10);

impl Service {
    /// Gives an agent at most `limit` errands.
    pub(super) async fn lease_errands(
        &self,
        change: &mut Change,
        round: &Round<'_>,
        (fleet, limit): (&Fleet, u32),
    ) -> Result<Vec<Task>, ServiceError> {
        let now = change.now();
        let closed = store::errand::closed_authorities(change.on(), now).await?;
        let head = store::feed::state(change.on()).await?.revision;
        let applied = applied_everywhere(fleet, head);
        let limit = limit.min(AT_ONCE);
        let mut tasks = Vec::new();
        for errand in store::errand::due(change.on(), (now, applied), limit).await? {
            let is_free = match errand.purpose {
                // With two keys at once, what the other one signs would be refused.
                Purpose::NewKey => {
                    store::errand::running(change.on(), &errand.authority, now).await? == 0
                }
                Purpose::Revocation(_) | Purpose::NewContact => !closed.contains(&errand.authority),
            };
            if is_free {
                tasks.extend(self.lease_errand(change, round, errand).await?);
            }
        }
        Ok(tasks)
    }

    /// `None` where there is nobody to do it for: the CA or its account are gone.
    async fn lease_errand(
        &self,
        change: &mut Change,
        round: &Round<'_>,
        errand: Errand,
    ) -> Result<Option<Task>, ServiceError> {
        let now = change.now();
        let name = &errand.authority;
        let Some(authority) = self.authorities.find(name) else {
            return self.end(change, &errand, "the CA is no longer configured").await;
        };
        let directory = &authority.config.directory;
        let account = store::account::find(change.on(), name, directory).await?;
        let account = account.filter(|own| own.url.is_some());
        let needs_none =
            matches!(&errand.purpose, Purpose::Revocation(revoked) if revoked.key.is_some());
        if account.is_none() && !needs_none {
            return self.end(change, &errand, "there is no account at the CA").await;
        }
        let authority = authority.described(name, account);
        let successor = store::account::successor(change.on(), name, directory).await?;
        let fence =
            store::errand::begin(change.on(), &errand, round.pop, now + self.agents.lease).await?;
        let (job, lease_seconds) = (errand.id, self.agents.lease_seconds());
        let of_account =
            |authority| Box::new(AccountErrand { job, fence, lease_seconds, authority, successor });
        Ok(Some(match errand.purpose {
            Purpose::NewKey => Task::ReplaceKey(of_account(authority)),
            Purpose::NewContact => Task::UpdateAccount(of_account(authority)),
            Purpose::Revocation(revoked) => Task::Revoke(Box::new(Revocation {
                job,
                fence,
                lease_seconds,
                authority,
                certificate: revoked.certificate,
                reason: revoked.reason.code(),
                key: revoked.key.map(|key| *key),
            })),
        }))
    }

    async fn end(
        &self,
        change: &mut Change,
        errand: &Errand,
        reason: &str,
    ) -> Result<Option<Task>, ServiceError> {
        let now = change.now();
        store::errand::finish(change.on(), errand.id, Some(reason), now).await?;
        tracing::warn!(authority = %errand.authority, reason, "an errand can't be done");
        Ok(None)
    }

    /// Does what follows from a report of an errand.
    pub(super) async fn report_errand(
        &self,
        report: Report,
        pop: PopId,
        now: OffsetDateTime,
    ) -> Result<ReportReply, ServiceError> {
        let mut change = self.store.change(Call::system(now)).await?;
        let Some(errand) = store::errand::find(change.on(), report.job).await? else {
            return Ok(reply(LeaseState::Lost));
        };
        let pop = store::pop::name(change.on(), pop).await?;
        if errand.fence != report.fence || errand.pop != pop {
            return Ok(reply(LeaseState::Lost));
        }
        // It was heard before.
        if errand.stage != Stage::Open || errand.leased_until.is_none() {
            return Ok(reply(LeaseState::Ended));
        }
        store::errand::prolong(change.on(), errand.id, now + self.agents.lease).await?;
        let reply = self.take_errand(&mut change, &errand, report.news).await?;
        if reply.lease == LeaseState::Ended {
            change.wake_jobs();
        }
        change.commit().await?;
        Ok(reply)
    }

    async fn take_errand(
        &self,
        change: &mut Change,
        errand: &Errand,
        news: News,
    ) -> Result<ReportReply, ServiceError> {
        let now = change.now();
        let name = &errand.authority;
        let Some(authority) = self.authorities.find(name) else {
            return Ok(reply(LeaseState::Lost));
        };
        let place = (name, authority.config.directory.as_str());
        match (news, &errand.purpose) {
            (News::Alive, _) => return Ok(reply(LeaseState::Held)),
            (News::SuccessorMade { account }, Purpose::NewKey) => {
                let account = self.keep_successor(change, place, &account).await?;
                return Ok(ReportReply { account, ..reply(LeaseState::Held) });
            }
            (News::KeyReplaced { thumbprint }, Purpose::NewKey) => {
                store::account::promote(change.on(), place, &thumbprint).await?;
                let thumbprint = thumbprint.as_str();
                tracing::info!(authority = %name, thumbprint, "the account has a new key");
            }
            (News::AccountResealed { account, .. }, _) => {
                self.keep_resealed(change, place, &account).await?;
                return Ok(reply(LeaseState::Held));
            }
            (News::AccountUpdated { contact }, Purpose::NewContact) => {
                store::account::keep_contact(change.on(), place, &contact).await?;
                tracing::info!(authority = %name, "the CA knows whom it may write to");
            }
            (News::Revoked, Purpose::Revocation(_)) => {}
            (News::Failed { trouble }, _) => {
                self.fail_errand(change, errand, &trouble).await?;
                return Ok(reply(LeaseState::Ended));
            }
            // Nobody has leased it for that.
            (_, _) => return Ok(reply(LeaseState::Lost)),
        }
        store::errand::finish(change.on(), errand.id, None, now).await?;
        if let Purpose::Revocation(revoked) = &errand.purpose {
            let (hostname, reason) = (&revoked.name, revoked.reason.name());
            tracing::info!(hostname, authority = %name, reason, "certificate revoked");
            for id in store::predecessor::forget_revoked(change.on(), revoked.fingerprint).await? {
                publish(change, id).await?;
            }
        }
        self.tell_of_errand(change, errand, EventKind::CertificateRevoked, None).await?;
        Ok(reply(LeaseState::Ended))
    }

    /// Keeps a new key, unless there is one, and answers the account with the one that counts.
    async fn keep_successor(
        &self,
        change: &mut Change,
        place: (&AuthorityName, &str),
        made: &Account,
    ) -> Result<Option<Account>, ServiceError> {
        if made.key.key_id == self.group.id() {
            store::account::keep_successor(change.on(), place, made).await?;
        }
        Ok(store::account::successor(change.on(), place.0, place.1).await?)
    }

    /// Keeps the key of an account that was sealed to an older group key.
    pub(super) async fn keep_resealed(
        &self,
        change: &mut Change,
        (authority, directory): (&AuthorityName, &str),
        account: &Account,
    ) -> Result<(), ServiceError> {
        let Account { key, .. } = account;
        if key.key_id != self.group.id()
            || key.ciphertext.is_empty()
            || key.ciphertext.len() + key.enc.len() > MAX_SEALED
        {
            return Ok(());
        }
        if store::account::reseal(change.on(), (authority, directory), account).await? {
            tracing::info!(%authority, "the account's key is sealed to the new group key");
        }
        Ok(())
    }

    /// Puts an errand off, or ends it where trying again would come to the same.
    async fn fail_errand(
        &self,
        change: &mut Change,
        errand: &Errand,
        trouble: &Trouble,
    ) -> Result<(), ServiceError> {
        let now = change.now();
        let name = self.name_of(errand);
        let setting = Setting {
            now,
            authority: &errand.authority,
            caa_identity: None,
            name: &name,
            addresses: &[],
        };
        let failure = classify(trouble, &setting);
        let words = failure.words.as_ref().map(|words| words.as_str().to_owned());
        let words = words.or_else(|| failure.operator.clone());
        let words = words.unwrap_or_else(|| failure.class.name().to_owned());
        self.agents
            .metrics
            .errand_failures
            .with_label_values(&[errand.authority.as_str(), failure.class.name()])
            .inc();
        let authority = &errand.authority;
        let class = failure.class.name();
        tracing::warn!(%authority, class, error = words, "an errand failed");
        self.forget_lost_account(change, authority, trouble).await?;
        let is_refused = errand.attempts + 1 >= REFUSALS && is_final(&failure);
        if is_refused && matches!(errand.purpose, Purpose::Revocation(_)) {
            store::errand::finish(change.on(), errand.id, Some(&words), now).await?;
        } else {
            let next_at = next_at(now, errand, &failure)?;
            // What a CA has refused it has not done.
            let is_known = matches!(trouble, Trouble::Problem(_));
            let settled = if is_known { Settled::Yes } else { Settled::No };
            let failed = (words.as_str(), settled);
            store::errand::put_off(change.on(), errand.id, failed, next_at).await?;
        }
        let kind = EventKind::CertificateRevocationFailed;
        self.tell_of_errand(change, errand, kind, Some(&words)).await
    }

    /// Forgets an account that its CA says it does not have: another one is registered.
    pub(super) async fn forget_lost_account(
        &self,
        change: &mut Change,
        authority: &AuthorityName,
        trouble: &Trouble,
    ) -> Result<(), ServiceError> {
        let is_lost = matches!(
            trouble,
            Trouble::Problem(problem) if problem.kind == ProblemKind::AccountDoesNotExist
        );
        let before = change.now() - JUST_REGISTERED;
        if is_lost && store::account::forget(change.on(), authority, before).await? {
            tracing::warn!(%authority, "the CA does not have our account: another one is registered");
        }
        Ok(())
    }

    /// Tells a hostname's owner what became of a revocation, where there still is a hostname.
    async fn tell_of_errand(
        &self,
        change: &mut Change,
        errand: &Errand,
        kind: EventKind,
        error: Option<&str>,
    ) -> Result<(), ServiceError> {
        let Purpose::Revocation(revoked) = &errand.purpose else { return Ok(()) };
        if store::hostname::find(change.on(), revoked.hostname).await?.is_none() {
            return Ok(());
        }
        let current = store::errand::find(change.on(), errand.id).await?;
        let next_at = current.filter(|own| own.stage == Stage::Open).and_then(|own| own.next_at);
        let detail = json!({
            "authority": errand.authority.as_str(),
            "fingerprint": revoked.fingerprint.to_string(),
            "reason": revoked.reason.name(),
            "error": error,
            "nextAttemptAt": next_at.and_then(|at| at.format(&Rfc3339).ok()),
        });
        change.event(revoked.hostname, kind, &detail).await?;
        Ok(())
    }

    /// The name that an errand is about: a certificate's, or what all of ours are under.
    fn name_of(&self, errand: &Errand) -> HostPattern {
        let own = match &errand.purpose {
            Purpose::Revocation(revoked) => revoked.name.parse().ok(),
            Purpose::NewKey | Purpose::NewContact => None,
        };
        own.unwrap_or_else(|| HostPattern::Exact(self.system_domain.clone()))
    }

    /// Asks for what CAs are told of us to be what the configuration has.
    pub(crate) async fn update_accounts(&self, now: OffsetDateTime) -> Result<(), ServiceError> {
        let mut change = self.store.change(Call::system(now)).await?;
        for own in store::account::list(change.on()).await? {
            let Some(authority) = self.authorities.find(&own.authority) else { continue };
            let config = &authority.config;
            if own.directory == config.directory
                && own.url.is_some()
                && own.contact != config.contact
            {
                let purpose = &Purpose::NewContact;
                store::errand::change_account(change.on(), &own.authority, purpose, now).await?;
            }
        }
        change.commit().await?;
        Ok(())
    }
}

/// Up to where every active PoP has the feed; everything, where it has all there is.
fn applied_everywhere(fleet: &Fleet, head: Revision) -> Revision {
    let applied = fleet.active_pops().map(|pop| {
        let ack = pop.ack.as_ref().filter(|ack| ack.epoch == fleet.epoch);
        ack.map_or(Revision(0), |ack| ack.applied)
    });
    match applied.min() {
        Some(least) if least < head => least,
        _ => Revision(u64::MAX),
    }
}

/// Whether the CA would say the same again.
fn is_final(failure: &Failure) -> bool {
    matches!(failure.class, FailureClass::RequestRefused | FailureClass::AccountGone)
}

/// When an errand is attempted next: as a job of the same history is.
fn next_at(
    now: OffsetDateTime,
    errand: &Errand,
    failure: &Failure,
) -> Result<OffsetDateTime, ServiceError> {
    let jitter =
        Jitter::of_all(&[u64::from(random_number()?), errand.id.0.cast_unsigned(), errand.fence.0]);
    let history =
        History { failures: errand.attempts, hitches: errand.attempts, ..History::default() };
    let next =
        schedule::next(now, failure, history.after(failure), Alternatives::default(), jitter);
    Ok(match (failure.remedy, next.when) {
        // Sooner than its hold: nothing else waits for it.
        (Remedy::Operator { .. }, _) | (_, When::Asked) => now + Duration::HOUR,
        (_, When::At(at) | When::Verified(at)) => at,
    })
}

fn reply(lease: LeaseState) -> ReportReply {
    ReportReply { lease, account: None, waiting_for: Vec::new() }
}
