//! What the control plane does with properties, hostnames and certificates: the rules, and each
//! change together with its publication.

mod certificates;
mod error;
mod properties;
mod tickets;

use std::sync::Arc;

use landfall_feed::{
    record::{
        HostnameRecord, HostnameState, MAX_RECORD_LEN, WireRecord, encode_record, hostname_id,
    },
    seal::GroupPublicKey,
};
use landfall_model::{
    HostPattern, Hostname, HostnameId, Origin, PropertyId, Revision, Route, TlsPolicy,
};
use time::OffsetDateTime;

pub(crate) use certificates::Upload;
pub(crate) use error::{Missing, ServiceError};
pub(crate) use properties::PropertyView;

use crate::{
    ca::InternalCa,
    certificate::{CertificateSummary, SealedCertificate},
    config::{IssuancePolicy, IssuanceScope, OriginPolicy},
    hostname::{HostnameOrigin, HostnameStatus, Issuance, ManagedHostname, Placement},
    property::Property,
    settings::{Fields, HostnameSettings},
    store::{self, Change, Store, StoreError, hostname::NewHostname, pop::PopCount},
};

/// The most different TLS policies of one property's hostnames, the default apart. An edge has
/// room for 4,096 of all tenants.
pub(crate) const MAX_TLS_POLICIES: u64 = 64;
/// The most bytes of a hostname's record that its settings may take: the rest is for certificates,
/// which are issued anew long after nobody looks at an answer any more.
pub(crate) const MAX_SETTINGS_LEN: usize = MAX_RECORD_LEN / 2;

/// The rules of the control plane over its store.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) store: Store,
    pub(crate) ca: Arc<InternalCa>,
    pub(crate) group: GroupPublicKey,
    pub(crate) system_domain: Hostname,
    pub(crate) issuance: IssuancePolicy,
    pub(crate) origins: OriginPolicy,
}

/// A hostname with what belongs to it.
#[derive(Clone, Debug)]
pub(crate) struct HostnameView {
    pub(crate) hostname: ManagedHostname,
    pub(crate) system_hostname: Hostname,
    pub(crate) certificates: Vec<CertificateSummary>,
}

impl Service {
    /// Adds a hostname to a property and publishes it.
    pub(crate) async fn add_hostname(
        &self,
        property: PropertyId,
        settings: Fields,
        now: OffsetDateTime,
    ) -> Result<HostnameView, ServiceError> {
        let (name, route, tls) = HostnameSettings::create(settings, property, now)?;
        let name: &HostPattern = &name.parse().map_err(ServiceError::HostnameName)?;
        self.check_origins(origins_of(&route), &[])?;
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
        let owner = properties::find(&mut change, property).await?;
        if store::hostname::is_taken(change.on(), property, name, &placement).await? {
            return Err(ServiceError::HostnameTaken);
        }
        let origin = HostnameOrigin::Added;
        let (placement, route, tls) = (&placement, &route, &tls);
        let new = NewHostname { property, name, placement, origin, status, issuance, route, tls };
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

    /// Changes what `patch` says of a hostname's route and TLS policy.
    pub(crate) async fn change_hostname(
        &self,
        property: PropertyId,
        id: HostnameId,
        patch: Fields,
        now: OffsetDateTime,
    ) -> Result<HostnameView, ServiceError> {
        let mut change = self.store.change(now).await?;
        let owner = properties::find(&mut change, property).await?;
        let hostname = owned(store::hostname::find(change.on(), id).await?, property)?;
        let current = (&hostname.route, &hostname.tls);
        let (route, tls) = HostnameSettings::change(current, patch, now)?;
        let kept: Vec<&Origin> = origins_of(&hostname.route).collect();
        self.check_origins(origins_of(&route), &kept)?;
        let changed = (&route, &tls) != current;
        if changed {
            store::hostname::set(change.on(), id, &route, &tls).await?;
            let settings = record(&hostname.name, &route, &tls);
            check_share(&mut change, property, settings).await?;
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
        properties::find(&mut change, property).await?;
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
    check_share(change, owner.id, record(new.name, new.route, new.tls)).await?;
    publish(change, owner, id).await?;
    Ok(id)
}

/// Checks that settings leave room for certificates in their record, and that a property's policies
/// leave room for those of others: each takes memory at every edge.
async fn check_share(
    change: &mut Change,
    property: PropertyId,
    settings: HostnameRecord,
) -> Result<(), ServiceError> {
    let len = encode_record(&WireRecord::hostname(Revision(0), &settings)).len();
    if len > MAX_SETTINGS_LEN {
        return Err(ServiceError::SettingsTooLarge { len });
    }
    match store::hostname::count_policies(change.on(), property).await? {
        0..=MAX_TLS_POLICIES => Ok(()),
        _ => Err(ServiceError::TooManyPolicies),
    }
}

/// Every origin that a route names itself.
fn origins_of(route: &Route) -> impl Iterator<Item = &Origin> {
    let custom = route.custom_origin.iter().map(|custom| &custom.server);
    let paths = route.paths.iter().flat_map(|path| &path.origins);
    custom.chain(paths.map(|origin| &origin.url))
}

/// A hostname with these settings and nothing else.
fn record(name: &HostPattern, route: &Route, tls: &TlsPolicy) -> HostnameRecord {
    HostnameRecord {
        name: name.clone(),
        hostname_id: HostnameId(0),
        state: HostnameState::PendingValidation,
        route: route.clone(),
        tls: tls.clone(),
        certificates: Vec::new(),
    }
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
    let settings = record(&hostname.name, &hostname.route, &hostname.tls);
    let record = HostnameRecord { hostname_id: id, state, certificates, ..settings };
    change.publish_hostname(&record).await.map_err(ServiceError::from)
}

fn or_taken(error: StoreError, taken: ServiceError) -> ServiceError {
    match error.is_unique_violation() {
        true => taken,
        false => ServiceError::Store(error),
    }
}
