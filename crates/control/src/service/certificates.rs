//! Uploading, removing and issuing certificates.

use landfall_model::{HostPattern, HostnameId, PropertyId};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::{
    HostnameView, Missing, Service, ServiceError, VerificationError, check_version,
    hostnames::tell, owned, properties, publish,
};
use crate::{
    call::Call,
    certificate::{
        CertificateIssuer, SealedCertificate,
        upload::{CheckedUpload, UploadError},
    },
    hostname::{HostnameStatus, Issuance, ManagedHostname, names_of, wish::Coverage},
    store::{self, Change, event::EventKind, job::Cancellation},
};

/// A certificate chain and its private key as they were uploaded, both PEM.
pub(crate) struct Upload {
    pub(crate) certificate: String,
    pub(crate) private_key: Zeroizing<String>,
    /// Where the two are in the request: a JSON pointer (RFC 6901), empty for the whole body.
    pub(crate) within: &'static str,
}

impl Service {
    /// Checks one certificate and key, or one of each type of key, seals the keys, and publishes
    /// all of them in the place of what the hostname has for these types. What a CA issued for it
    /// goes, and so does what came with the name from another property: a client that no
    /// longer trusts one of two is worse off than with one.
    pub(crate) async fn upload_certificates(
        &self,
        call: Call,
        property: PropertyId,
        id: HostnameId,
        uploads: Vec<Upload>,
    ) -> Result<HostnameView, ServiceError> {
        let name = self.hostname(property, id).await?.hostname.name;
        let certificates = self.check_and_seal(uploads, name, call.now).await?;
        let mut change = self.store.change(call).await?;
        let owner = properties::find(&mut change, property).await?;
        let hostname = owned(store::hostname::find(change.on(), id).await?, property)?;
        check_version(&change, hostname.version)?;
        keep_uploaded(&mut change, &hostname, &certificates).await?;
        publish(&mut change, id).await?;
        let view = self.view_in(&mut change, &owner, id).await?;
        let revision = change.commit().await?.revision.0;
        let hostname = &view.hostname.name;
        for certificate in &certificates {
            let fingerprint = certificate.fingerprint;
            tracing::info!(property = property.0, %hostname, revision, %fingerprint, "certificate uploaded");
        }
        Ok(view)
    }

    /// Removes a hostname's uploaded certificates. What the internal CA issues comes back; of another
    /// issuer one is asked for.
    pub(crate) async fn remove_certificate(
        &self,
        call: Call,
        property: PropertyId,
        id: HostnameId,
    ) -> Result<HostnameView, ServiceError> {
        let hostname = self.hostname(property, id).await?.hostname;
        let next = match (hostname.issuance, hostname.status) {
            (Issuance::Internal, HostnameStatus::Active) => {
                Some(self.issue(&hostname.names(), call.now)?)
            }
            (Issuance::Internal | Issuance::None, _) => None,
        };
        let mut change = self.store.change(call).await?;
        let owner = properties::find(&mut change, property).await?;
        let hostname = owned(store::hostname::find(change.on(), id).await?, property)?;
        check_version(&change, hostname.version)?;
        let uploaded = CertificateIssuer::Uploaded;
        if store::certificate::remove(change.on(), id, uploaded).await? == 0 {
            return Err(ServiceError::Missing(Missing::UploadedCertificate));
        }
        // What the owner takes back may be among what others took the place of.
        store::predecessor::forget(change.on(), id).await?;
        match next {
            Some(next) => store::certificate::put(change.on(), id, &next, call.now).await?,
            None if hostname.status == HostnameStatus::Active => {
                store::job::enqueue(&mut change, id).await?;
            }
            None => {}
        }
        let kind = EventKind::CertificateRemoved;
        tell(&mut change, &hostname, "certificate.remove", kind).await?;
        publish(&mut change, id).await?;
        let view = self.view_in(&mut change, &owner, id).await?;
        let revision = change.commit().await?.revision.0;
        let hostname = &view.hostname.name;
        tracing::info!(property = property.0, %hostname, revision, "uploaded certificate removed");
        Ok(view)
    }

    pub(super) fn issue(
        &self,
        names: &[HostPattern],
        now: OffsetDateTime,
    ) -> Result<SealedCertificate, ServiceError> {
        let issued = self.ca.issue(names, self.issuance.lifetime, &self.group, now);
        issued.map_err(ServiceError::Ca)
    }

    /// Off the async threads: the signatures of a chain of large keys take milliseconds.
    pub(super) async fn check_and_seal(
        &self,
        uploads: Vec<Upload>,
        name: HostPattern,
        now: OffsetDateTime,
    ) -> Result<Vec<SealedCertificate>, ServiceError> {
        let group = self.group.clone();
        // Whether the hostname is served with its wildcard may change later, when nobody here can
        // open the key any more: it is sealed for both.
        let names = names_of(&name, Coverage::NameAndWildcard);
        let check = move || {
            let refused = |within| move |source| ServiceError::Upload { within, source };
            let seal = |upload: &Upload| {
                CheckedUpload::check(&upload.certificate, &upload.private_key, &names, now)
                    .map_err(refused(upload.within))?
                    .seal(&group)
                    .map_err(ServiceError::Seal)
            };
            match uploads.as_slice() {
                [only] => Ok(vec![seal(only)?]),
                [one, other] => match (seal(one)?, seal(other)?) {
                    (one, other) if one.key_type == other.key_type => {
                        Err(refused("")(UploadError::SameKeyType))
                    }
                    (one, other) => Ok(vec![one, other]),
                },
                _ => Err(refused("")(UploadError::PairCount { len: uploads.len() })),
            }
        };
        let checked = tokio::task::spawn_blocking(check).await;
        checked.map_err(|_| ServiceError::Interrupted)?
    }
}

/// Keeps certificates that were uploaded in the place of what a hostname has for their types of key,
/// and of what a CA issued.
pub(super) async fn keep_uploaded(
    change: &mut Change,
    hostname: &ManagedHostname,
    certificates: &[SealedCertificate],
) -> Result<(), ServiceError> {
    // Sealed to the name that it had: since then it has lost that, and goes on as its wildcard.
    let is_for = |own: &SealedCertificate| own.keys.iter().any(|key| key.name == hostname.name);
    if !certificates.iter().all(is_for) {
        return Err(VerificationError::Changed.into());
    }
    let now = change.now();
    store::predecessor::retire(change.on(), hostname.id, now).await?;
    for issuer in [CertificateIssuer::Internal, CertificateIssuer::Authority] {
        store::certificate::remove(change.on(), hostname.id, issuer).await?;
    }
    for certificate in certificates {
        store::certificate::put(change.on(), hostname.id, certificate, now).await?;
    }
    store::job::cancel(change, hostname.id, Cancellation::CertificateUploaded).await?;
    tell(change, hostname, "certificate.upload", EventKind::CertificateUploaded).await
}
