//! Whether a hostname is also served under its wildcard.

use landfall_model::HostPattern;

use super::{Service, ServiceError};
use crate::{
    certificate::CertificateIssuer,
    hostname::{
        HostnameSpec, HostnameStatus, Issuance, ManagedHostname, Placement, Title, names_of,
    },
    store::{self, Change, held_name::Standing},
};

impl Service {
    /// Gives a hostname the names that new settings ask for, and takes from it those that they
    /// don't. What somebody else has, or has names under, isn't given that way: a hostname of the
    /// wildcard's own can claim it.
    pub(super) async fn cover(
        &self,
        change: &mut Change,
        hostname: &ManagedHostname,
        spec: &HostnameSpec,
    ) -> Result<(), ServiceError> {
        let (before, after) = (hostname.names(), names_of(&hostname.name, spec.wish.coverage));
        let same_keys = hostname.wish.key_types == spec.wish.key_types;
        if hostname.title == Title::Claimed || (before == after && same_keys) {
            return Ok(());
        }
        let owner = (hostname.id, hostname.property);
        let placement = &Placement::of(&hostname.name, &self.system_domain);
        for name in after.iter().filter(|name| !before.contains(name)) {
            self.place(name)?;
            let on = change.on();
            match store::held_name::standing(on, hostname.property, name).await? {
                Standing::Free => store::held_name::hold(on, name, placement, owner).await?,
                Standing::Own | Standing::Contested => return Err(ServiceError::WildcardTaken),
            }
        }
        let held = store::held_name::of(change.on(), hostname.id).await?;
        for name in held.iter().filter(|name| !after.contains(name)) {
            store::held_name::release(change.on(), name).await?;
            change.retract_hostname(name).await?;
        }
        self.certify(change, hostname, &after).await
    }

    /// Sees to a managed certificate for all of a hostname's names.
    async fn certify(
        &self,
        change: &mut Change,
        hostname: &ManagedHostname,
        names: &[HostPattern],
    ) -> Result<(), ServiceError> {
        let (id, now) = (hostname.id, change.now());
        let present = store::certificate::summaries(change.on(), id).await?;
        let is_managed = present.iter().all(|own| own.issuer != CertificateIssuer::Uploaded);
        match (hostname.status, hostname.issuance) {
            (HostnameStatus::Active, Issuance::Internal) if is_managed => {
                let certificate = self.issue(names, now)?;
                store::certificate::put(change.on(), id, &certificate, now).await?;
            }
            (HostnameStatus::Active, Issuance::None) if is_managed => {
                store::job::enqueue(change, id).await?;
            }
            _ => {}
        }
        Ok(())
    }
}
