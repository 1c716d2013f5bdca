//! Which checks are due, and whose turn it is.

use std::time::Duration;

use landfall_model::{HostnameId, PropertyId};
use sqlx::{Row, sqlite::SqliteRow};
use time::OffsetDateTime;

use super::{lane_from_sql, lane_to_sql};
use crate::{
    store::{Connection, StoreError, from_sql, time_from_sql, to_sql},
    verification::{Jitter, Lane, again_after_unclear},
};

/// How many checks of a lane are due, and since when the oldest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backlog {
    pub(crate) lane: Lane,
    pub(crate) due: u64,
    pub(crate) oldest: OffsetDateTime,
}

/// Properties with hostnames of a lane whose check is due at `now`: in the order of their ids, from the
/// one after `last` on, once around.
pub(crate) async fn properties_due(
    on: &mut Connection,
    lane: Lane,
    now: OffsetDateTime,
    (last, limit): (PropertyId, usize),
) -> Result<Vec<PropertyId>, StoreError> {
    let ids = sqlx::query_scalar::<_, i64>(PROPERTIES_DUE)
        .bind(lane_to_sql(lane))
        .bind(now.unix_timestamp())
        .bind(last.0)
        .bind(count_to_sql(limit))
        .fetch_all(on)
        .await
        .map_err(StoreError::on("look for properties with hostnames to verify"))?;
    Ok(ids.into_iter().map(PropertyId).collect())
}

/// A property's hostnames of a lane whose check is due at `now`.
pub(crate) async fn hostnames_due(
    on: &mut Connection,
    (lane, property): (Lane, PropertyId),
    now: OffsetDateTime,
    (order, limit): (Order, usize),
) -> Result<Vec<HostnameId>, StoreError> {
    let query = match order {
        Order::OldestFirst => OLDEST_DUE,
        Order::NewestFirst => NEWEST_DUE,
    };
    let ids = sqlx::query_scalar::<_, i64>(query)
        .bind(lane_to_sql(lane))
        .bind(property.0)
        .bind(now.unix_timestamp())
        .bind(count_to_sql(limit))
        .fetch_all(on)
        .await
        .map_err(StoreError::on("look for hostnames to verify"))?;
    Ok(ids.into_iter().map(HostnameId).collect())
}

/// As many rows are read as properties are due, however many hostnames those have.
const PROPERTIES_DUE: &str = "SELECT property_id FROM verification_turn \
     INDEXED BY verification_turn_due WHERE lane = ? AND next_at <= ? \
     ORDER BY property_id <= ?, property_id LIMIT ?";
const OLDEST_DUE: &str = "SELECT hostname_id FROM verification \
     WHERE lane = ? AND property_id = ? AND next_at <= ? ORDER BY next_at LIMIT ?";
const NEWEST_DUE: &str = "SELECT hostname_id FROM verification \
     WHERE lane = ? AND property_id = ? AND next_at <= ? ORDER BY next_at DESC LIMIT ?";

/// Which of those that are due come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    OldestFirst,
    NewestFirst,
}

/// Puts off a hostname whose check failed for a reason of ours, for longer each time.
pub(crate) async fn put_off(
    on: &mut Connection,
    hostname: HostnameId,
    now: OffsetDateTime,
    jitter: Jitter,
) -> Result<(), StoreError> {
    let query = "SELECT unclear FROM verification WHERE hostname_id = ?";
    let unclear = sqlx::query_scalar::<_, i64>(query)
        .bind(hostname.0)
        .fetch_optional(&mut *on)
        .await
        .map_err(StoreError::on("read a verification"))?;
    let unclear = u32::try_from(unclear.unwrap_or_default()).unwrap_or(u32::MAX);
    let query = "UPDATE verification SET next_at = ?, unclear = ? WHERE hostname_id = ?";
    sqlx::query(query)
        .bind(again_after_unclear(unclear, now, jitter).unix_timestamp())
        .bind(i64::from(unclear.saturating_add(1)))
        .bind(hostname.0)
        .execute(on)
        .await
        .map_err(StoreError::on("put a check off"))?;
    Ok(())
}

/// Which hostnames wait for longer than they should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overlong {
    /// Those of the lane that are due after this time, which no schedule says.
    Misdated(Lane, OffsetDateTime),
    /// Those that waited for a PoP, and are due after this time.
    AwaitingPop(OffsetDateTime),
}

/// How many wait for longer than they should.
pub(crate) async fn count_overlong(
    on: &mut Connection,
    overlong: Overlong,
) -> Result<u64, StoreError> {
    let count = match overlong {
        Overlong::Misdated(lane, after) => sqlx::query_scalar::<_, i64>(
            "SELECT count(*) FROM verification WHERE lane = ? AND next_at > ?",
        )
        .bind(lane_to_sql(lane))
        .bind(after.unix_timestamp()),
        Overlong::AwaitingPop(after) => sqlx::query_scalar::<_, i64>(
            "SELECT count(*) FROM verification WHERE awaits_pop = 1 AND next_at > ?",
        )
        .bind(after.unix_timestamp()),
    };
    let count = count.fetch_one(on).await;
    from_sql(count.map_err(StoreError::on("count hostnames that wait"))?, "count")
}

/// Makes at most `limit` of those that wait for longer than they should due, the last one `over` from
/// now; says how many.
pub(crate) async fn hasten(
    on: &mut Connection,
    overlong: Overlong,
    (now, over): (OffsetDateTime, Duration),
    limit: u32,
) -> Result<u64, StoreError> {
    let update = match overlong {
        Overlong::Misdated(lane, after) => sqlx::query(
            "UPDATE verification SET next_at = ? + hostname_id % ? WHERE hostname_id IN ( \
             SELECT hostname_id FROM verification WHERE lane = ? AND next_at > ? LIMIT ?)",
        )
        .bind(now.unix_timestamp())
        .bind(to_sql(over.as_secs().max(1)))
        .bind(lane_to_sql(lane))
        .bind(after.unix_timestamp()),
        Overlong::AwaitingPop(after) => sqlx::query(
            "UPDATE verification SET next_at = ? + hostname_id % ? WHERE hostname_id IN ( \
             SELECT hostname_id FROM verification WHERE awaits_pop = 1 AND next_at > ? LIMIT ?)",
        )
        .bind(now.unix_timestamp())
        .bind(to_sql(over.as_secs().max(1)))
        .bind(after.unix_timestamp()),
    };
    let done = update.bind(i64::from(limit)).execute(on).await;
    Ok(done.map_err(StoreError::on("hasten checks"))?.rows_affected())
}

/// Makes a hostname's check due at `now`, if it is checked by itself.
pub(crate) async fn hasten_one(
    on: &mut Connection,
    hostname: HostnameId,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE verification SET next_at = ?1 WHERE hostname_id = ?2 AND next_at > ?1")
        .bind(now.unix_timestamp())
        .bind(hostname.0)
        .execute(on)
        .await
        .map_err(StoreError::on("hasten a check"))?;
    Ok(())
}

/// What is due at `now`, by lane. Lanes without any are left out.
pub(crate) async fn backlog(
    on: &mut Connection,
    now: OffsetDateTime,
) -> Result<Vec<Backlog>, StoreError> {
    let rows = sqlx::query(
        "SELECT lane, count(*), min(next_at) FROM verification WHERE next_at <= ? GROUP BY lane",
    )
    .bind(now.unix_timestamp())
    .fetch_all(on)
    .await
    .map_err(StoreError::on("count hostnames to verify"))?;
    let read = |row: &SqliteRow| {
        Ok(Backlog {
            lane: lane_from_sql(row.get(0))?,
            due: from_sql(row.get(1), "count")?,
            oldest: time_from_sql(row.get(2))?,
        })
    };
    rows.iter().map(read).collect()
}

fn count_to_sql(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
