//! Properties.

use landfall_model::{AuthorityName, PropertyId};
use sqlx::{Row, sqlite::SqliteRow};
use time::OffsetDateTime;

use super::{Connection, StoreError, from_json, readable::Filling, time_from_sql, to_json};
use crate::property::{FallbackOrigin, Property, PropertyName, PropertySpec};

/// A property that is about to be.
pub(crate) struct NewProperty<'a> {
    pub(crate) name: &'a PropertyName,
    pub(crate) zone_id: &'a str,
    pub(crate) spec: &'a PropertySpec,
}

/// Inserts a property. A name that is in use is a unique violation.
pub(crate) async fn insert(
    on: &mut Connection,
    new: &NewProperty<'_>,
    now: OffsetDateTime,
) -> Result<PropertyId, StoreError> {
    let query = "INSERT INTO property (name, zone_id, pool, authority, created_at) \
         VALUES (?, ?, ?, ?, ?)";
    let done = sqlx::query(query)
        .bind(new.name.as_str())
        .bind(new.zone_id)
        .bind(to_json(&new.spec.pool)?)
        .bind(new.spec.authority.as_ref().map(AuthorityName::as_str))
        .bind(now.unix_timestamp())
        .execute(on)
        .await
        .map_err(StoreError::on("add a property"))?;
    Ok(PropertyId(done.last_insert_rowid()))
}

/// Sets what a property's owner sets.
pub(crate) async fn set(
    on: &mut Connection,
    id: PropertyId,
    spec: &PropertySpec,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE property SET pool = ?, authority = ? WHERE id = ?")
        .bind(to_json(&spec.pool)?)
        .bind(spec.authority.as_ref().map(AuthorityName::as_str))
        .bind(id.0)
        .execute(on)
        .await
        .map_err(StoreError::on("change a property"))?;
    Ok(())
}

/// Sets the origin that takes the place of a property's others, or takes it away.
pub(crate) async fn set_fallback(
    on: &mut Connection,
    id: PropertyId,
    fallback: Option<&FallbackOrigin>,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE property SET fallback = ? WHERE id = ?")
        .bind(fallback.map(to_json).transpose()?)
        .bind(id.0)
        .execute(on)
        .await
        .map_err(StoreError::on("change a property"))?;
    Ok(())
}

/// Finds a property.
pub(crate) async fn find(
    on: &mut Connection,
    id: PropertyId,
) -> Result<Option<Property>, StoreError> {
    let query = "SELECT id, name, zone_id, pool, version, created_at, fallback, authority FROM property \
         WHERE id = ?";
    let row = sqlx::query(query).bind(id.0).fetch_optional(on).await;
    row.map_err(StoreError::on("read a property"))?.as_ref().map(read).transpose()
}

/// Finds a property by its zone id.
pub(crate) async fn find_by_zone(
    on: &mut Connection,
    zone_id: &str,
) -> Result<Option<Property>, StoreError> {
    let query = "SELECT id, name, zone_id, pool, version, created_at, fallback, authority FROM property \
         WHERE zone_id = ?";
    let row = sqlx::query(query).bind(zone_id).fetch_optional(on).await;
    row.map_err(StoreError::on("read a property"))?.as_ref().map(read).transpose()
}

/// At most `limit` properties with ids above `after`, in the order of ids: only one, or of all.
pub(crate) async fn list(
    on: &mut Connection,
    only: Option<PropertyId>,
    after: i64,
    limit: u32,
) -> Result<Vec<Property>, StoreError> {
    let mut page = Filling::new(after, limit);
    while let Some((after, limit)) = page.wanted() {
        let rows = sqlx::query(
            "SELECT id, name, zone_id, pool, version, created_at, fallback, authority FROM property \
             WHERE id > ?1 AND (?2 IS NULL OR id = ?2) ORDER BY id LIMIT ?3",
        )
        .bind(after)
        .bind(only.map(|property| property.0))
        .bind(i64::from(limit))
        .fetch_all(&mut *on)
        .await
        .map_err(StoreError::on("list properties"))?;
        page.fill("property", &rows, read);
    }
    Ok(page.done())
}

/// Deletes a property that has no hostname, and the API keys that are for it alone.
pub(crate) async fn delete(on: &mut Connection, id: PropertyId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM property WHERE id = ?")
        .bind(id.0)
        .execute(on)
        .await
        .map_err(StoreError::on("delete a property"))?;
    Ok(())
}

fn read(row: &SqliteRow) -> Result<Property, StoreError> {
    let (name, fallback): (&str, Option<&str>) = (row.get(1), row.get(6));
    let authority = row.get::<Option<&str>, _>(7).map(str::parse).transpose();
    Ok(Property {
        id: PropertyId(row.get(0)),
        name: name.parse().map_err(|_| StoreError::Corrupt("property name"))?,
        zone_id: row.get(2),
        spec: PropertySpec {
            pool: from_json(row.get(3), "pool of origins")?,
            authority: authority.map_err(|_| StoreError::Corrupt("CA's name"))?,
        },
        fallback: fallback.map(|text| from_json(text, "fallback origin")).transpose()?,
        version: row.get(4),
        created_at: time_from_sql(row.get(5))?,
    })
}
