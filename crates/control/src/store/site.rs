//! Whose the labels right below the system domain are.

use landfall_model::PropertyId;

use super::{Connection, StoreError};

/// The property that a site belongs to, which may be gone.
pub(crate) async fn owner(
    on: &mut Connection,
    site: &str,
) -> Result<Option<PropertyId>, StoreError> {
    let owner = sqlx::query_scalar::<_, i64>("SELECT property_id FROM site WHERE name = ?")
        .bind(site)
        .fetch_optional(on)
        .await
        .map_err(StoreError::on("look for a site's owner"))?;
    Ok(owner.map(PropertyId))
}

/// Gives a site to a property.
pub(crate) async fn give(
    on: &mut Connection,
    site: &str,
    property: PropertyId,
) -> Result<(), StoreError> {
    let query = "INSERT INTO site (name, property_id) VALUES (?1, ?2) \
                 ON CONFLICT (name) DO UPDATE SET property_id = ?2";
    sqlx::query(query)
        .bind(site)
        .bind(property.0)
        .execute(on)
        .await
        .map_err(StoreError::on("give a site away"))?;
    Ok(())
}

/// Whether anybody has a name in a site.
pub(crate) async fn is_used(on: &mut Connection, site: &str) -> Result<bool, StoreError> {
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM held_name WHERE site = ?)")
        .bind(site)
        .fetch_one(on)
        .await
        .map_err(StoreError::on("look for a site in use"))
}
