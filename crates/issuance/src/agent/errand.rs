//! What is done at a CA beside issuing: certificates are revoked, accounts get new keys and contacts.

use std::future::Future;

use landfall_model::{
    AuthorityName, Der, Fence, JobId, SealContext,
    issuance::{Account, Authority, SealedName},
};
use tokio::time::Instant;

use super::{
    account,
    job::Shop,
    lease::{Lease, Stop},
    metrics::Outcome,
    surroundings::{ControlPlane, Vault},
};
use crate::{
    acme::{OwnKey, RevocationReason},
    failure::{ProblemKind, Trouble},
    protocol::{AccountErrand, News, Revocation, Work},
};

impl<C: ControlPlane, V: Vault> Shop<C, V> {
    /// Revokes a certificate (RFC 8555 section 7.6).
    pub(super) async fn revoke(&self, errand: &Revocation, asked: Instant) {
        let lease = self.errand((errand.job, errand.fence), errand.lease_seconds, asked);
        let work = self.try_revoke(errand, &lease);
        self.run_errand("revocation", &errand.authority.name, &lease, work).await;
    }

    /// Gives an account a new key (RFC 8555 section 7.3.5).
    pub(super) async fn replace_key(&self, errand: &AccountErrand, asked: Instant) {
        let lease = self.errand((errand.job, errand.fence), errand.lease_seconds, asked);
        let work = self.try_replace_key(errand, &lease);
        self.run_errand("new key", &errand.authority.name, &lease, work).await;
    }

    /// Tells the CA whom it may write to (RFC 8555 section 7.3.2).
    pub(super) async fn update_account(&self, errand: &AccountErrand, asked: Instant) {
        let lease = self.errand((errand.job, errand.fence), errand.lease_seconds, asked);
        let work = self.try_update_account(&errand.authority, &lease);
        self.run_errand("new contact", &errand.authority.name, &lease, work).await;
    }

    fn errand(&self, (job, fence): (JobId, Fence), seconds: u32, asked: Instant) -> Lease<'_, C> {
        Lease::new(&self.control, (Work::Errand, job, fence), seconds, asked)
    }

    async fn run_errand(
        &self,
        what: &'static str,
        authority: &AuthorityName,
        lease: &Lease<'_, C>,
        work: impl Future<Output = Result<News, Stop>>,
    ) {
        let begun = Instant::now();
        let done = tokio::select! {
            biased;
            done = work => done,
            Err(stop) = lease.keep() => Err(stop),
        };
        let (news, outcome) = match done {
            Ok(news) => (news, Outcome::Done),
            Err(Stop::Lost | Stop::Rests) => return,
            Err(Stop::Trouble(trouble)) => (News::Failed { trouble: *trouble }, Outcome::Failed),
        };
        let heard = lease.end(news).await;
        let outcome = if heard.is_ok() { outcome } else { Outcome::Lost };
        self.metrics.came_to(authority, outcome, begun.elapsed());
        tracing::info!(what, %authority, ?outcome, "an errand ends here");
    }

    async fn try_revoke(&self, errand: &Revocation, lease: &Lease<'_, C>) -> Result<News, Stop> {
        let connection = self.connector.connect(&errand.authority).await?;
        let certificate = Der(errand.certificate.clone());
        let reason = RevocationReason::from_code(errand.reason);
        let by_account = async {
            let session =
                account::known(&errand.authority, &connection, lease, &self.vault).await?;
            Ok::<_, Stop>(session.revoke(&certificate, reason).await?)
        };
        let stopped = match by_account.await {
            Ok(()) => return Ok(News::Revoked),
            Err(stopped) => stopped,
        };
        let sealed = match (&stopped, &errand.key) {
            (Stop::Trouble(trouble), Some(sealed)) if is_of_account(trouble) => sealed,
            (Stop::Trouble(_) | Stop::Lost | Stop::Rests, _) => return Err(stopped),
        };
        // What becomes of the account is not this errand's affair, unless its key can't be used either.
        let Some(key) = self.own_key(&certificate, sealed) else { return Err(stopped) };
        connection.revoke_by_key(&certificate, &key, reason).await?;
        tracing::info!(authority = %errand.authority.name, "revoked by the certificate's own key");
        Ok(News::Revoked)
    }

    fn own_key(&self, certificate: &Der, sealed: &SealedName) -> Option<OwnKey> {
        let spki_sha256 = OwnKey::spki_sha256(&certificate.0)?;
        let context = SealContext::PrivateKey { hostname: &sealed.name, spki_sha256: &spki_sha256 };
        let opened = self.vault.open(&sealed.key, context).ok()?;
        OwnKey::new(&certificate.0, &opened).ok()
    }

    /// The new key is kept by the control plane before the CA hears of it, beside the old one: whoever
    /// comes after an agent that died between finds out which of them the CA knows.
    async fn try_replace_key(
        &self,
        errand: &AccountErrand,
        lease: &Lease<'_, C>,
    ) -> Result<News, Stop> {
        let Authority { name, account, .. } = &errand.authority;
        account::check_group_key(&errand.authority, &self.vault)?;
        let connection = self.connector.connect(&errand.authority).await?;
        let account = account.as_ref().ok_or(Trouble::Unknown)?;
        let url = account.url.as_deref().ok_or(Trouble::Unknown)?;
        let successor = match &errand.successor {
            Some(successor) => successor.clone(),
            None => {
                let account = account::new_key(&errand.authority, &self.vault)?;
                let made = News::SuccessorMade { account };
                lease.report(made).await?.account.ok_or(Trouble::Unknown)?
            }
        };
        let old = account::opened(&errand.authority, account, &self.vault)?;
        let new = account::opened(&errand.authority, &successor, &self.vault)?;
        connection.replace_key(url, &old, &new).await?;
        tracing::info!(authority = %name, account = url, "the account has a new key");
        let Account { thumbprint, .. } = successor;
        Ok(News::KeyReplaced { thumbprint })
    }

    async fn try_update_account(
        &self,
        authority: &Authority,
        lease: &Lease<'_, C>,
    ) -> Result<News, Stop> {
        let connection = self.connector.connect(authority).await?;
        let account = authority.account.as_ref().ok_or(Trouble::Unknown)?;
        let url = account.url.as_deref().ok_or(Trouble::Unknown)?;
        let key = account::usable(authority, account, lease, &self.vault).await?;
        connection.update_contact(url, &key, &authority.contact).await?;
        Ok(News::AccountUpdated { contact: authority.contact.clone() })
    }
}

/// Whether it is for the account that a CA is not asked, or refuses: whoever has the certificate's key needs
/// none.
fn is_of_account(trouble: &Trouble) -> bool {
    match trouble {
        Trouble::Problem(problem) => {
            matches!(problem.kind, ProblemKind::AccountDoesNotExist | ProblemKind::Unauthorized)
                || matches!(problem.status, Some(401 | 403))
        }
        // There is none.
        Trouble::Unknown => true,
        Trouble::AccountUnusable { .. } | Trouble::AccountSealed { .. } => true,
        Trouble::Precheck(_)
        | Trouble::NoConnection { .. }
        | Trouble::Slow { .. }
        | Trouble::Nonsense { .. }
        | Trouble::BadDirectory { .. }
        | Trouble::OrderInvalid { .. }
        | Trouble::OrderExpired
        | Trouble::BadChain { .. }
        | Trouble::ClockOff { .. }
        | Trouble::ControlClockOff { .. }
        | Trouble::NoGroupKey { .. }
        | Trouble::Disk { .. }
        | Trouble::Upload { .. }
        | Trouble::LeaseLost => false,
    }
}
