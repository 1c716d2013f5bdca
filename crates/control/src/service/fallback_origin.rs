//! The origin that takes the place of a property's others.

use landfall_feed::record::property_id;
use landfall_model::{Origin, PropertyId};
use time::OffsetDateTime;

use super::{Missing, PropertyView, Service, ServiceError, check_version, properties};
use crate::{
    call::Call,
    hostname::deployment::{Deployment, Published},
    property::{FallbackOrigin, Property},
    store,
};

impl Service {
    /// Sends a property's requests to this origin in place of its own.
    pub(crate) async fn set_fallback_origin(
        &self,
        call: Call,
        id: PropertyId,
        origin: Origin,
    ) -> Result<PropertyView, ServiceError> {
        self.check_origins([&origin], &[])?;
        let mut change = self.store.change(call).await?;
        let property = properties::find(&mut change, id).await?;
        check_version(&change, property.version)?;
        let created_at = property.fallback.as_ref().map_or(call.now, |own| own.created_at);
        let fallback = FallbackOrigin { origin, created_at, updated_at: call.now };
        store::property::set_fallback(change.on(), id, Some(&fallback)).await?;
        let property = properties::find(&mut change, id).await?;
        properties::tell(&mut change, &property, "property.fallback_origin.set").await?;
        properties::publish(&mut change, &property).await?;
        let revision = change.commit().await?.revision.0;
        tracing::info!(property = id.0, revision, "fallback origin set");
        self.view(property)
    }

    /// Sends a property's requests to its own origins again. Says what it was before.
    pub(crate) async fn unset_fallback_origin(
        &self,
        call: Call,
        id: PropertyId,
    ) -> Result<FallbackOrigin, ServiceError> {
        let mut change = self.store.change(call).await?;
        let property = properties::find(&mut change, id).await?;
        check_version(&change, property.version)?;
        let missing = ServiceError::Missing(Missing::FallbackOrigin);
        let before = property.fallback.clone().ok_or(missing)?;
        store::property::set_fallback(change.on(), id, None).await?;
        let property = Property { fallback: None, ..property };
        properties::tell(&mut change, &property, "property.fallback_origin.unset").await?;
        properties::publish(&mut change, &property).await?;
        let revision = change.commit().await?.revision.0;
        tracing::info!(property = id.0, revision, "fallback origin unset");
        Ok(before)
    }

    /// How far a property's origins have got as they stand.
    pub(crate) async fn property_deployment(
        &self,
        id: PropertyId,
        now: OffsetDateTime,
    ) -> Result<Deployment, ServiceError> {
        let mut connection = self.store.read_at_once().await?;
        let record = store::feed::publication(&mut connection, &property_id(id)).await?;
        let fleet = self.fleet(&mut connection, now).await?;
        Ok(Published { fleet, records: record.into_iter().collect() }.deployment())
    }
}
