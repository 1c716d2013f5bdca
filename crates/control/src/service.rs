//! What the control plane does with properties, hostnames and certificates: the rules, and each
//! change together with its publication.

mod certificates;
mod error;

use std::sync::Arc;

use landfall_feed::{
    record::{HostnameRecord, HostnameState, PropertyRecord, hostname_id},
    seal::GroupPublicKey,
};
use landfall_model::{
    HostPattern, Hostname, HostnameId, Origin, OriginPool, PropertyId, Route, TlsPolicy,
    TlsPolicyError, WeightedOrigin,
};
use time::OffsetDateTime;

pub(crate) use certificates::Upload;
pub(crate) use error::{Missing, ServiceError};

use crate::{
    ca::InternalCa,
    certificate::{CertificateSummary, SealedCertificate},
    config::{IssuancePolicy, IssuanceScope},
    hostname::{HostnameOrigin, HostnameStatus, Issuance, ManagedHostname, Placement},
    property::{Property, PropertyName},
    store::{
        self, Change, Store, StoreError, hostname::NewHostname, pop::PopCount,
        property::NewProperty,
    },
    token::random_zone_id,
};

/// The rules of the control plane over its store.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) store: Store,
    pub(crate) ca: Arc<InternalCa>,
    pub(crate) group: GroupPublicKey,
    pub(crate) system_domain: Hostname,
    pub(crate) issuance: IssuancePolicy,
}

/// A property with the name that its customers' DNS leads to.
#[derive(Clone, Debug)]
pub(crate) struct PropertyView {
    pub(crate) property: Property,
    pub(crate) system_hostname: Hostname,
}

/// A hostname with what belongs to it.
#[derive(Clone, Debug)]
pub(crate) struct HostnameView {
    pub(crate) hostname: ManagedHostname,
    pub(crate) system_hostname: Hostname,
    pub(crate) certificates: Vec<CertificateSummary>,
}

impl Service {
    /// Adds a property and its system hostname, which is served at once.
    pub(crate) async fn create_property(
        &self,
        name: &PropertyName,
        origins: &[Origin],
        now: OffsetDateTime,
    ) -> Result<PropertyView, ServiceError> {
        let system_hostname = self.system_hostname(name)?;
        let pattern = HostPattern::Exact(system_hostname.clone());
        let certificate = self.issue(&pattern, now)?;
        let zone_id = random_zone_id()?;
        let mut change = self.store.change(now).await?;
        if store::hostname::is_site_used(change.on(), name.as_str()).await? {
            return Err(ServiceError::PropertyNameTaken);
        }
        let new = NewProperty { name, zone_id: &zone_id, origins };
        let inserted = store::property::insert(change.on(), &new, now).await;
        let id = inserted.map_err(|error| or_taken(error, ServiceError::PropertyNameTaken))?;
        let property = find_property(&mut change, id).await?;
        publish_property(&mut change, &property).await?;
        let new = NewHostname {
            property: id,
            name: &pattern,
            placement: &Placement::Site(name.as_str().to_owned()),
            origin: HostnameOrigin::System,
            status: HostnameStatus::Active,
            issuance: Issuance::Internal,
            tls: &TlsPolicy::default(),
        };
        insert_hostname(&mut change, &property, &new, Some(&certificate)).await?;
        let revision = change.commit().await?.revision.0;
        let (property_id, hostname) = (id.0, system_hostname.as_str());
        tracing::info!(property = property_id, hostname, revision, "property created");
        Ok(PropertyView { property, system_hostname })
    }

    /// Finds a property.
    pub(crate) async fn property(&self, id: PropertyId) -> Result<PropertyView, ServiceError> {
        let mut connection = self.store.read().await?;
        let property = store::property::find(&mut connection, id).await?;
        self.view(property.ok_or(ServiceError::Missing(Missing::Property))?)
    }

    /// At most `limit` properties with ids above `after`.
    pub(crate) async fn properties(
        &self,
        after: i64,
        limit: u32,
    ) -> Result<Vec<PropertyView>, ServiceError> {
        let mut connection = self.store.read().await?;
        let found = store::property::list(&mut connection, after, limit).await?;
        found.into_iter().map(|property| self.view(property)).collect()
    }

    /// Adds a hostname to a property and publishes it.
    pub(crate) async fn add_hostname(
        &self,
        property: PropertyId,
        name: &HostPattern,
        tls: &TlsPolicy,
        now: OffsetDateTime,
    ) -> Result<HostnameView, ServiceError> {
        let placement = Placement::of(name, &self.system_domain);
        if placement == Placement::Reserved {
            return Err(ServiceError::NameReserved);
        }
        let everywhere = self.issuance.scope == IssuanceScope::EveryHostname;
        let (status, issuance, certificate) = match placement.site().is_some() || everywhere {
            true => (HostnameStatus::Active, Issuance::Internal, Some(self.issue(name, now)?)),
            false => (HostnameStatus::PendingValidation, Issuance::None, None),
        };
        let mut change = self.store.change(now).await?;
        let owner = find_property(&mut change, property).await?;
        if store::hostname::is_taken(change.on(), property, name, &placement).await? {
            return Err(ServiceError::HostnameTaken);
        }
        let origin = HostnameOrigin::Added;
        let placement = &placement;
        let new = NewHostname { property, name, placement, origin, status, issuance, tls };
        let id = insert_hostname(&mut change, &owner, &new, certificate.as_ref()).await?;
        let view = self.view_in(&mut change, &owner, id).await?;
        let revision = change.commit().await?.revision.0;
        tracing::info!(property = property.0, hostname = %name, revision, "hostname added");
        Ok(view)
    }

    /// Finds a hostname of a property.
    pub(crate) async fn hostname(
        &self,
        property: PropertyId,
        id: HostnameId,
    ) -> Result<HostnameView, ServiceError> {
        let owner = self.property(property).await?;
        let mut connection = self.store.read_at_once().await?;
        let hostname = store::hostname::find(&mut connection, id).await?;
        let hostname = owned(hostname, property)?;
        let certificates = store::certificate::summaries(&mut connection, id).await?;
        Ok(HostnameView { hostname, system_hostname: owner.system_hostname, certificates })
    }

    /// On how many PoPs a hostname is live: they have acknowledged it as it stands.
    pub(crate) async fn live_on(&self, view: &HostnameView) -> Result<PopCount, ServiceError> {
        let mut connection = self.store.read_at_once().await?;
        let epoch = store::feed::state(&mut connection).await?.epoch;
        let id = hostname_id(&view.hostname.name);
        let count = store::pop::count_current(&mut connection, &id, epoch).await?;
        // Without a certificate its handshakes are refused, wherever it is known.
        let live = if view.certificates.is_empty() { 0 } else { count.live };
        Ok(PopCount { live, ..count })
    }

    /// At most `limit` hostnames of a property with ids above `after`.
    pub(crate) async fn hostnames(
        &self,
        property: PropertyId,
        after: i64,
        limit: u32,
    ) -> Result<Vec<HostnameView>, ServiceError> {
        let owner = self.property(property).await?;
        let mut connection = self.store.read_at_once().await?;
        let hostnames = store::hostname::list(&mut connection, property, after, limit).await?;
        let found =
            store::certificate::summaries_of_page(&mut connection, property, after, limit).await?;
        let view = |hostname: ManagedHostname| {
            let own = found.iter().filter(|certificate| certificate.hostname == hostname.id);
            let certificates = own.cloned().collect();
            let system_hostname = owner.system_hostname.clone();
            HostnameView { hostname, system_hostname, certificates }
        };
        Ok(hostnames.into_iter().map(view).collect())
    }

    /// Changes which TLS a hostname offers: `edit` makes the new policy out of the current one.
    pub(crate) async fn set_tls(
        &self,
        property: PropertyId,
        id: HostnameId,
        edit: impl FnOnce(TlsPolicy) -> Result<TlsPolicy, TlsPolicyError>,
        now: OffsetDateTime,
    ) -> Result<HostnameView, ServiceError> {
        let mut change = self.store.change(now).await?;
        let owner = find_property(&mut change, property).await?;
        let hostname = owned(store::hostname::find(change.on(), id).await?, property)?;
        let tls = edit(hostname.tls.clone()).map_err(ServiceError::Tls)?;
        let changed = tls != hostname.tls;
        if changed {
            store::hostname::set_tls(change.on(), id, &tls).await?;
            publish(&mut change, &owner, id).await?;
        }
        let view = self.view_in(&mut change, &owner, id).await?;
        let revision = change.commit().await?.revision.0;
        if changed {
            let hostname = hostname.name;
            tracing::info!(property = property.0, %hostname, revision, "hostname changed");
        }
        Ok(view)
    }

    /// Deletes a hostname, its certificates and its place at the edges.
    pub(crate) async fn delete_hostname(
        &self,
        property: PropertyId,
        id: HostnameId,
        now: OffsetDateTime,
    ) -> Result<(), ServiceError> {
        let mut change = self.store.change(now).await?;
        find_property(&mut change, property).await?;
        let hostname = owned(store::hostname::find(change.on(), id).await?, property)?;
        if hostname.origin == HostnameOrigin::System {
            return Err(ServiceError::SystemHostname);
        }
        store::hostname::delete(change.on(), id).await?;
        change.retract_hostname(&hostname.name).await?;
        let revision = change.commit().await?.revision.0;
        let hostname = hostname.name;
        tracing::info!(property = property.0, %hostname, revision, "hostname deleted");
        Ok(())
    }

    fn system_hostname(&self, name: &PropertyName) -> Result<Hostname, ServiceError> {
        self.system_domain.child(name.as_str()).map_err(ServiceError::SystemName)
    }

    fn view(&self, property: Property) -> Result<PropertyView, ServiceError> {
        let system_hostname = self.system_hostname(&property.name)?;
        Ok(PropertyView { property, system_hostname })
    }

    async fn view_in(
        &self,
        change: &mut Change,
        owner: &Property,
        id: HostnameId,
    ) -> Result<HostnameView, ServiceError> {
        let hostname = owned(store::hostname::find(change.on(), id).await?, owner.id)?;
        let certificates = store::certificate::summaries(change.on(), id).await?;
        let system_hostname = self.system_hostname(&owner.name)?;
        Ok(HostnameView { hostname, system_hostname, certificates })
    }
}

async fn find_property(change: &mut Change, id: PropertyId) -> Result<Property, ServiceError> {
    let property = store::property::find(change.on(), id).await?;
    property.ok_or(ServiceError::Missing(Missing::Property))
}

/// A hostname of another property is as unknown as none.
fn owned(
    hostname: Option<ManagedHostname>,
    property: PropertyId,
) -> Result<ManagedHostname, ServiceError> {
    hostname
        .filter(|hostname| hostname.property == property)
        .ok_or(ServiceError::Missing(Missing::Hostname))
}

async fn insert_hostname(
    change: &mut Change,
    owner: &Property,
    new: &NewHostname<'_>,
    certificate: Option<&SealedCertificate>,
) -> Result<HostnameId, ServiceError> {
    let now = change.now();
    let inserted = store::hostname::insert(change.on(), new, now).await;
    let id = inserted.map_err(|error| or_taken(error, ServiceError::HostnameTaken))?;
    if let Some(certificate) = certificate {
        store::certificate::put(change.on(), id, certificate).await?;
    }
    publish(change, owner, id).await?;
    Ok(id)
}

/// Publishes what the hostnames of a property have in common.
async fn publish_property(change: &mut Change, property: &Property) -> Result<(), ServiceError> {
    let origins = property.origins.iter().cloned().map(WeightedOrigin::from);
    let pool = OriginPool::with(origins.collect());
    let record = PropertyRecord { property: property.id, pool };
    change.publish_property(&record).await.map_err(ServiceError::from)
}

/// Publishes a hostname as it now stands.
async fn publish(
    change: &mut Change,
    owner: &Property,
    id: HostnameId,
) -> Result<(), ServiceError> {
    let hostname = owned(store::hostname::find(change.on(), id).await?, owner.id)?;
    let certificates = store::certificate::records(change.on(), id).await?;
    let state = match hostname.status {
        HostnameStatus::Active => HostnameState::Active,
        HostnameStatus::PendingValidation | HostnameStatus::Error => {
            HostnameState::PendingValidation
        }
    };
    let record = HostnameRecord {
        name: hostname.name,
        hostname_id: id,
        state,
        route: Route::to(owner.id),
        tls: hostname.tls,
        certificates,
    };
    change.publish_hostname(&record).await.map_err(ServiceError::from)
}

fn or_taken(error: StoreError, taken: ServiceError) -> ServiceError {
    match error.is_unique_violation() {
        true => taken,
        false => ServiceError::Store(error),
    }
}
