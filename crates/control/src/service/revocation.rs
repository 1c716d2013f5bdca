//! Certificates of CAs are revoked: what is asked for, and when it is done.
//!
//! A hostname that is served never goes dark for it. A new certificate is asked for at once, and the one
//! that is to be revoked is served until the new one takes its place; then it is revoked. Where its key
//! is known to others, that is not waited for longer than [`COMPROMISED_AFTER`]: it is revoked, and goes on
//! being served until there is another one.

use landfall_issuance::acme::RevocationReason;
use landfall_model::{AuthorityName, HostnameId, PropertyId};
use serde_json::json;
use time::Duration;

use super::{
    HostnameView, Missing, Service, ServiceError, check_version, jobs, jobs::Step, owned,
    properties,
};
use crate::{
    call::Call,
    hostname::{Issuance, ManagedHostname},
    store::{self, Change, audit::AuditEntry, errand::Revoked, event::EventKind},
};

/// How long a certificate whose key is known to others waits for the one in its place. CAs have a day to
/// revoke one, once they know (Baseline Requirements section 4.9.1.1).
const COMPROMISED_AFTER: Duration = Duration::HOUR;
/// Until when a job is to be done whose certificate is to be revoked: before those that end later.
const REPLACED_WITHIN: Duration = Duration::DAY;

impl Service {
    /// Asks for a hostname's certificates of CAs to be revoked, and for others in their place.
    pub(crate) async fn revoke_certificates(
        &self,
        call: Call,
        (property, id): (PropertyId, HostnameId),
        reason: RevocationReason,
    ) -> Result<HostnameView, ServiceError> {
        let mut change = self.store.change(call).await?;
        let owner = properties::find(&mut change, property).await?;
        let hostname = owned(store::hostname::find(change.on(), id).await?, property)?;
        check_version(&change, hostname.version)?;
        let revoked = revoke(&mut change, &hostname, reason).await?;
        let view = self.view_in(&mut change, &owner, id).await?;
        change.commit().await?;
        let (hostname, reason) = (&view.hostname.name, reason.name());
        tracing::info!(property = property.0, %hostname, revoked, reason, "asked for a revocation");
        Ok(view)
    }
}

/// Asks for a hostname's certificates of CAs to be revoked, and says how many there are.
pub(crate) async fn revoke(
    change: &mut Change,
    hostname: &ManagedHostname,
    reason: RevocationReason,
) -> Result<usize, ServiceError> {
    let (id, now) = (hostname.id, change.now());
    let issued = store::renewal::of(change.on(), id).await?;
    let issued: Vec<_> = issued.into_iter().filter(|own| own.not_after > now).collect();
    if issued.is_empty() {
        return Err(ServiceError::Missing(Missing::IssuedCertificate));
    }
    let at = (reason == RevocationReason::KeyCompromise).then(|| now + COMPROMISED_AFTER);
    for own in &issued {
        let chain = store::certificate::chain(change.on(), id, own.key_type).await?;
        let revoked = Revoked {
            hostname: id,
            name: hostname.name.to_string(),
            fingerprint: own.fingerprint,
            certificate: chain.into_iter().next().map(|leaf| leaf.0).unwrap_or_default(),
            reason,
            not_after: own.not_after,
            key: store::certificate::sealed_key(change.on(), id, own.key_type).await?.map(Box::new),
        };
        store::errand::revoke(change.on(), &own.authority, &revoked, (now, at)).await?;
        tell(change, hostname, &own.authority, &revoked).await?;
    }
    replace(change, hostname).await?;
    Ok(issued.len())
}

/// Sees to new certificates, where the hostname may have any.
async fn replace(change: &mut Change, hostname: &ManagedHostname) -> Result<(), ServiceError> {
    let now = change.now();
    store::renewal::hasten(change.on(), hostname.id, now).await?;
    if let (_, Step::Issue) = jobs::look(change.on(), hostname.id).await?
        && hostname.issuance == Issuance::None
    {
        store::job::enqueue(change, hostname.id).await?;
        store::job::expedite(change.on(), hostname.id, now + REPLACED_WITHIN).await?;
    }
    Ok(())
}

async fn tell(
    change: &mut Change,
    hostname: &ManagedHostname,
    authority: &AuthorityName,
    revoked: &Revoked,
) -> Result<(), ServiceError> {
    let (property, object) = (Some(hostname.property), &hostname.name.to_string());
    let detail = json!({
        "hostnameId": hostname.id,
        "authority": authority.as_str(),
        "fingerprint": revoked.fingerprint.to_string(),
        "reason": revoked.reason.name(),
    });
    let kind = EventKind::CertificateRevocationRequested;
    change.event(hostname.id, kind, &detail).await?;
    let action = "certificate.revoke";
    change.audit(&AuditEntry { action, property, object, detail }).await?;
    Ok(())
}
