//! Properties.

use landfall_feed::record::PropertyRecord;
use landfall_model::{
    AuthorityName, HostPattern, Hostname, Origin, OriginPool, PropertyId, Route, TlsPolicy,
};
use serde_json::json;
use time::OffsetDateTime;

use super::{
    Creation, Missing, Service, ServiceError, check_version, creation,
    hostnames::{Addition, insert},
    or_taken,
};
use crate::{
    call::Call,
    hostname::{
        HostnameOrigin, HostnameSpec, HostnameStatus, Issuance, Metadata, Placement,
        wish::CertificateWish,
    },
    property::{Property, PropertyName},
    settings::{Fields, PropertySettings},
    store::{self, Change, audit::AuditEntry, hostname::HostnameFilter, property::NewProperty},
    token::random_id,
};

/// A property with the name that its customers' DNS leads to.
#[derive(Clone, Debug)]
pub(crate) struct PropertyView {
    pub(crate) property: Property,
    pub(crate) system_hostname: Hostname,
}

impl Service {
    /// Adds a property and its system hostname, which is served at once.
    pub(crate) async fn create_property(
        &self,
        call: Call,
        settings: Fields,
    ) -> Result<Creation<PropertyView>, ServiceError> {
        let (name, spec) = PropertySettings::create(settings, call.now)?;
        let name: PropertyName = name.parse().map_err(ServiceError::PropertyName)?;
        self.check_pool(&spec.pool, &[])?;
        self.check_default(spec.authority.as_ref())?;
        let system_hostname = self.system_hostname(&name)?;
        let pattern = HostPattern::Exact(system_hostname.clone());
        let certificate = self.issue(std::slice::from_ref(&pattern), call.now)?;
        let zone_id = random_id()?;
        let mut change = self.store.change(call).await?;
        if let Some(id) = creation::earlier(&mut change).await? {
            let property = creation::or_gone(find(&mut change, PropertyId(id)).await)?;
            return Ok(Creation::Repeated(self.view(property)?));
        }
        if store::site::is_used(change.on(), name.as_str()).await? {
            return Err(ServiceError::PropertyNameTaken);
        }
        let new = NewProperty { name: &name, zone_id: &zone_id, spec: &spec };
        let inserted = store::property::insert(change.on(), &new, call.now).await;
        let id = inserted.map_err(|error| or_taken(error, ServiceError::PropertyNameTaken))?;
        let property = find(&mut change, id).await?;
        publish(&mut change, &property).await?;
        let addition = Addition {
            name: &pattern,
            placement: &Placement::Site(name.as_str().to_owned()),
            origin: HostnameOrigin::System,
            spec: &HostnameSpec {
                route: Route::to(id),
                tls: TlsPolicy::default(),
                metadata: Metadata::default(),
                wish: CertificateWish::default(),
            },
            status: HostnameStatus::Active,
            issuance: Issuance::Internal,
            certificates: vec![certificate],
        };
        insert(&mut change, &property, addition, &self.limits).await?;
        creation::keep(&mut change, id.0).await?;
        tell(&mut change, &property, "property.create").await?;
        let revision = change.commit().await?.revision.0;
        let (property_id, hostname) = (id.0, system_hostname.as_str());
        tracing::info!(property = property_id, hostname, revision, "property created");
        Ok(Creation::Made(PropertyView { property, system_hostname }))
    }

    /// Changes what `patch` says of a property's settings, for all of its hostnames at once.
    pub(crate) async fn change_property(
        &self,
        call: Call,
        id: PropertyId,
        patch: Fields,
    ) -> Result<PropertyView, ServiceError> {
        let mut change = self.store.change(call).await?;
        let property = find(&mut change, id).await?;
        check_version(&change, property.version)?;
        let current = &property.spec;
        let spec = PropertySettings::change(current, patch, call.now)?;
        let kept: Vec<&Origin> = origins_of(&current.pool).collect();
        self.check_pool(&spec.pool, &kept)?;
        if spec == *current {
            return self.view(property);
        }
        let chooses_anew = spec.authority != current.authority;
        if chooses_anew {
            self.check_default(spec.authority.as_ref())?;
        }
        store::property::set(change.on(), id, &spec).await?;
        let is_served_otherwise = spec.pool != current.pool;
        let before = current.authority.clone();
        let property = find(&mut change, id).await?;
        tell(&mut change, &property, "property.change").await?;
        if is_served_otherwise {
            publish(&mut change, &property).await?;
        }
        let revision = change.commit().await?.revision.0;
        tracing::info!(property = id.0, revision, "property changed");
        if chooses_anew {
            self.follow_choice(id, before.as_ref(), call.now).await?;
        }
        self.view(property)
    }

    /// Has open jobs follow the CA that their property chooses now, some in each transaction.
    async fn follow_choice(
        &self,
        id: PropertyId,
        before: Option<&AuthorityName>,
        now: OffsetDateTime,
    ) -> Result<(), ServiceError> {
        loop {
            let mut change = self.store.change(Call::system(now)).await?;
            let followed = store::choice::follow_property(&mut change, id, before).await?;
            change.commit().await?;
            if followed < store::choice::FOLLOWED_AT_ONCE {
                return Ok(());
            }
        }
    }

    /// Deletes a property that has no hostname left but its system hostname, and that with it: what
    /// is served doesn't go dark along with something else.
    pub(crate) async fn delete_property(
        &self,
        call: Call,
        id: PropertyId,
    ) -> Result<(), ServiceError> {
        let mut change = self.store.change(call).await?;
        let property = find(&mut change, id).await?;
        check_version(&change, property.version)?;
        // One more than the one that may be there.
        let hostnames =
            store::hostname::list(change.on(), id, &HostnameFilter::default(), (0, 2)).await?;
        if hostnames.iter().any(|hostname| hostname.origin == HostnameOrigin::Added) {
            return Err(ServiceError::PropertyNotEmpty);
        }
        for hostname in hostnames {
            for name in store::held_name::of(change.on(), hostname.id).await? {
                change.retract_hostname(&name).await?;
            }
            store::hostname::delete(change.on(), hostname.id).await?;
        }
        change.retract_property(id).await?;
        store::property::delete(change.on(), id).await?;
        tell(&mut change, &property, "property.delete").await?;
        let revision = change.commit().await?.revision.0;
        tracing::info!(property = id.0, revision, "property deleted");
        Ok(())
    }

    /// Finds a property.
    pub(crate) async fn property(&self, id: PropertyId) -> Result<PropertyView, ServiceError> {
        let mut connection = self.store.read().await?;
        let property = store::property::find(&mut connection, id).await?;
        self.view(property.ok_or(ServiceError::Missing(Missing::Property))?)
    }

    /// At most `limit` properties with ids above `after`: only one, or of all.
    pub(crate) async fn properties(
        &self,
        only: Option<PropertyId>,
        after: i64,
        limit: u32,
    ) -> Result<Vec<PropertyView>, ServiceError> {
        let mut connection = self.store.read().await?;
        let found = store::property::list(&mut connection, only, after, limit).await?;
        found.into_iter().map(|property| self.view(property)).collect()
    }

    /// Checks that the operator allows these origins. Those that are `kept` are where they were.
    pub(super) fn check_origins<'a>(
        &self,
        origins: impl IntoIterator<Item = &'a Origin>,
        kept: &[&Origin],
    ) -> Result<(), ServiceError> {
        let mut origins = origins.into_iter();
        let refused = origins.find(|origin| !kept.contains(origin) && !self.origins.allows(origin));
        match refused {
            Some(origin) => {
                Err(ServiceError::OriginRefused { origin: origin.clone(), place: None })
            }
            None => Ok(()),
        }
    }

    /// The same for a property's, and tells which it is.
    fn check_pool(&self, pool: &OriginPool, kept: &[&Origin]) -> Result<(), ServiceError> {
        self.check_origins(origins_of(pool), kept).map_err(|mut error| {
            if let ServiceError::OriginRefused { origin, place } = &mut error {
                *place = origins_of(pool).position(|own| own == origin);
            }
            error
        })
    }

    fn check_default(&self, authority: Option<&AuthorityName>) -> Result<(), ServiceError> {
        let chosen = authority.map(AuthorityName::as_str);
        self.verification.check_authority(chosen, "certificateAuthority")
    }

    pub(super) fn system_hostname(&self, name: &PropertyName) -> Result<Hostname, ServiceError> {
        self.system_domain.child(name.as_str()).map_err(ServiceError::SystemName)
    }

    pub(super) fn view(&self, property: Property) -> Result<PropertyView, ServiceError> {
        let system_hostname = self.system_hostname(&property.name)?;
        Ok(PropertyView { property, system_hostname })
    }
}

pub(super) async fn find(change: &mut Change, id: PropertyId) -> Result<Property, ServiceError> {
    let property = store::property::find(change.on(), id).await?;
    property.ok_or(ServiceError::Missing(Missing::Property))
}

fn origins_of(pool: &OriginPool) -> impl Iterator<Item = &Origin> {
    pool.origins.iter().map(|origin| &origin.url)
}

/// Publishes what the hostnames of a property have in common.
pub(super) async fn publish(change: &mut Change, property: &Property) -> Result<(), ServiceError> {
    let record = PropertyRecord { property: property.id, pool: property.pool_in_force() };
    change.publish_property(&record).await.map_err(ServiceError::from)
}

/// Tells the audit log what was done.
pub(super) async fn tell(
    change: &mut Change,
    property: &Property,
    action: &'static str,
) -> Result<(), ServiceError> {
    let (id, object) = (Some(property.id), property.name.as_str());
    let entry = AuditEntry { action, property: id, object, detail: json!({}) };
    change.audit(&entry).await.map_err(ServiceError::from)
}
