//! How much of what CAs do each property got of late.

use std::collections::{BTreeMap, BTreeSet};

use landfall_model::PropertyId;
use sqlx::Row;
use time::OffsetDateTime;

use super::{Connection, StoreError, from_sql, to_json};

/// Over how long it is counted, in seconds: the longest that a CA's limits of what all names share usually
/// take to refill.
const SPAN: i64 = 3 * 3_600;

/// Counts an order that a property began for a new name.
pub(crate) async fn count(
    on: &mut Connection,
    property: PropertyId,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO turn (property_id, span, count, before) VALUES (?1, ?2, 1, 0) \
         ON CONFLICT DO UPDATE SET span = ?2, \
             before = CASE ?2 - span WHEN 0 THEN before WHEN 1 THEN count ELSE 0 END, \
             count = iif(span = ?2, count + 1, 1)",
    )
    .bind(property.0)
    .bind(now.unix_timestamp().div_euclid(SPAN))
    .execute(on)
    .await
    .map_err(StoreError::on("count a turn"))?;
    Ok(())
}

/// How many orders for new names these properties began in the last three hours, about: of the span before
/// this one, the part that is not over.
pub(crate) async fn recent(
    on: &mut Connection,
    properties: &BTreeSet<PropertyId>,
    now: OffsetDateTime,
) -> Result<BTreeMap<PropertyId, u32>, StoreError> {
    let ids: Vec<i64> = properties.iter().map(|property| property.0).collect();
    let rows = sqlx::query(
        "SELECT property_id, CASE ?2 - span \
             WHEN 0 THEN count + before * ?3 / ?4 WHEN 1 THEN count * ?3 / ?4 ELSE 0 END \
         FROM turn WHERE property_id IN (SELECT value FROM json_each(?1))",
    )
    .bind(to_json(&ids)?)
    .bind(now.unix_timestamp().div_euclid(SPAN))
    .bind(SPAN - now.unix_timestamp().rem_euclid(SPAN))
    .bind(SPAN)
    .fetch_all(on)
    .await
    .map_err(StoreError::on("read turns"))?;
    let mut recent = BTreeMap::new();
    for row in &rows {
        let count: u64 = from_sql(row.get(1), "count")?;
        recent.insert(PropertyId(row.get(0)), u32::try_from(count).unwrap_or(u32::MAX));
    }
    Ok(recent)
}
