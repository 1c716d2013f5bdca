//! What may be asked of CAs: what their limits leave, holds, and how often each failed in a row.

use std::collections::BTreeMap;

use landfall_issuance::{
    failure::{FailureClass, HoldScope},
    hold::{Held, Hold},
    ledger::{Bucket, BucketKind, Entry},
};
use landfall_model::AuthorityName;
use sqlx::{Row, sqlite::SqliteRow};
use time::OffsetDateTime;

use super::{Connection, StoreError, from_json, readable, time_from_sql, to_json};

/// The buckets that are not full of these subjects.
pub(crate) async fn buckets(
    on: &mut Connection,
    subjects: &[String],
) -> Result<Vec<Entry>, StoreError> {
    let rows = sqlx::query(
        "SELECT authority, kind, subject, arrival FROM bucket \
         WHERE subject IN (SELECT value FROM json_each(?))",
    )
    .bind(to_json(&subjects)?)
    .fetch_all(on)
    .await
    .map_err(StoreError::on("read limits"))?;
    Ok(readable(&rows, read_bucket))
}

/// Keeps buckets as they are now.
pub(crate) async fn keep_buckets(on: &mut Connection, entries: &[Entry]) -> Result<(), StoreError> {
    for entry in entries {
        sqlx::query(
            "INSERT OR REPLACE INTO bucket (subject, kind, authority, arrival) VALUES (?, ?, ?, ?)",
        )
        .bind(entry.bucket.subject())
        .bind(entry.bucket.kind().name())
        .bind(entry.authority.as_str())
        // Rounded up: less is left than is said, never more.
        .bind((entry.arrival + time::Duration::nanoseconds(999_999_999)).unix_timestamp())
        .execute(&mut *on)
        .await
        .map_err(StoreError::on("keep limits"))?;
    }
    Ok(())
}

/// The holds of these subjects.
pub(crate) async fn holds(
    on: &mut Connection,
    subjects: &[String],
) -> Result<Vec<Hold>, StoreError> {
    let rows = sqlx::query(
        "SELECT authority, scope, subject, since, until, class FROM hold \
         WHERE subject IN (SELECT value FROM json_each(?))",
    )
    .bind(to_json(&subjects)?)
    .fetch_all(on)
    .await
    .map_err(StoreError::on("read holds"))?;
    Ok(readable(&rows, read_hold))
}

/// Keeps a hold. Of two for the same, the later end counts.
pub(crate) async fn keep_hold(on: &mut Connection, hold: &Hold) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO hold (subject, scope, authority, since, until, class) \
         VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET \
         since = excluded.since, until = excluded.until, class = excluded.class \
         WHERE excluded.until > until OR since > excluded.since",
    )
    .bind(hold.held.subject())
    .bind(to_json(&hold.held.scope())?)
    .bind(hold.authority.as_str())
    .bind(hold.since.unix_timestamp())
    .bind(hold.until.unix_timestamp())
    .bind(hold.class.name())
    .execute(on)
    .await
    .map_err(StoreError::on("keep a hold"))?;
    Ok(())
}

/// Ends the holds of these classes, and says how many there were.
pub(crate) async fn lift_classes(
    on: &mut Connection,
    classes: &[FailureClass],
) -> Result<u64, StoreError> {
    let names: Vec<&str> = classes.iter().map(|class| class.name()).collect();
    let done = sqlx::query("DELETE FROM hold WHERE class IN (SELECT value FROM json_each(?))")
        .bind(to_json(&names)?)
        .execute(on)
        .await
        .map_err(StoreError::on("lift holds"))?;
    Ok(done.rows_affected())
}

/// How often each CA failed in a row.
pub(crate) async fn outages(
    on: &mut Connection,
) -> Result<BTreeMap<AuthorityName, u32>, StoreError> {
    let rows = sqlx::query("SELECT authority, count FROM outage").fetch_all(on).await;
    let rows = rows.map_err(StoreError::on("read outages"))?;
    let read = |row: &SqliteRow| {
        let count =
            u32::try_from(row.get::<i64, _>(1)).map_err(|_| StoreError::Corrupt("count"))?;
        Ok((authority(row.get(0))?, count))
    };
    Ok(readable(&rows, read).into_iter().collect())
}

/// Keeps how often a CA failed in a row.
pub(crate) async fn keep_outages(
    on: &mut Connection,
    authority: &AuthorityName,
    count: u32,
) -> Result<(), StoreError> {
    sqlx::query("INSERT OR REPLACE INTO outage (authority, count) VALUES (?, ?)")
        .bind(authority.as_str())
        .bind(i64::from(count))
        .execute(on)
        .await
        .map_err(StoreError::on("keep outages"))?;
    Ok(())
}

/// Ends what CAs are not asked for these names because CAA records forbade it, and says how much that was.
pub(crate) async fn lift_caa(
    on: &mut Connection,
    names: &Held,
    now: OffsetDateTime,
) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "UPDATE hold SET until = ?1 \
         WHERE subject = ?2 AND scope = ?3 AND class = ?4 AND until > ?1",
    )
    .bind(now.unix_timestamp())
    .bind(names.subject())
    .bind(to_json(&names.scope())?)
    .bind(FailureClass::CaaForbids.name())
    .execute(on)
    .await
    .map_err(StoreError::on("lift holds of names"))?;
    Ok(done.rows_affected())
}

/// Ends what CAs are not asked for these names because they refused them: where CAA records forbade it at
/// once, for these may be mended; where the CA's policy did, a day after it did.
pub(crate) async fn lift_refusals(
    on: &mut Connection,
    names: &Held,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE hold SET until = min(until, CASE class WHEN ?3 THEN ?5 ELSE since + 86400 END) \
         WHERE subject = ?1 AND scope = ?2 AND class IN (?3, ?4)",
    )
    .bind(names.subject())
    .bind(to_json(&names.scope())?)
    .bind(FailureClass::CaaForbids.name())
    .bind(FailureClass::NameRefused.name())
    .bind(now.unix_timestamp())
    .execute(on)
    .await
    .map_err(StoreError::on("lift holds of names"))?;
    Ok(())
}

/// Forgets why a CA is not asked: holds and failures in a row.
pub(crate) async fn lift(on: &mut Connection, authority: &AuthorityName) -> Result<(), StoreError> {
    for query in ["DELETE FROM hold WHERE authority = ?", "DELETE FROM outage WHERE authority = ?"]
    {
        let done = sqlx::query(query).bind(authority.as_str()).execute(&mut *on).await;
        done.map_err(StoreError::on("lift holds"))?;
    }
    Ok(())
}

/// Forgets at most `limit` buckets that are full and holds that are over, and says how many.
pub(crate) async fn prune(
    on: &mut Connection,
    now: OffsetDateTime,
    limit: u32,
) -> Result<u64, StoreError> {
    let mut removed = 0;
    for query in [
        "DELETE FROM bucket WHERE (subject, kind, authority) IN \
         (SELECT subject, kind, authority FROM bucket WHERE arrival < ? LIMIT ?)",
        "DELETE FROM hold WHERE (subject, scope, authority) IN \
         (SELECT subject, scope, authority FROM hold WHERE until < ? LIMIT ?)",
    ] {
        let done = sqlx::query(query)
            .bind(now.unix_timestamp())
            .bind(i64::from(limit))
            .execute(&mut *on)
            .await
            .map_err(StoreError::on("forget limits that are whole again"))?;
        removed += done.rows_affected();
    }
    Ok(removed)
}

fn read_bucket(row: &SqliteRow) -> Result<Entry, StoreError> {
    let kind = BucketKind::from_name(row.get(1)).ok_or(StoreError::Corrupt("limit"))?;
    Ok(Entry {
        authority: authority(row.get(0))?,
        bucket: Bucket::from_parts(kind, row.get(2)).ok_or(StoreError::Corrupt("limit"))?,
        arrival: time_from_sql(row.get(3))?,
    })
}

fn read_hold(row: &SqliteRow) -> Result<Hold, StoreError> {
    let scope: HoldScope = from_json(row.get(1), "hold")?;
    Ok(Hold {
        authority: authority(row.get(0))?,
        held: Held::from_parts(scope, row.get(2)).ok_or(StoreError::Corrupt("hold"))?,
        since: time_from_sql(row.get(3))?,
        until: time_from_sql(row.get(4))?,
        class: FailureClass::from_name(row.get(5)).ok_or(StoreError::Corrupt("hold"))?,
    })
}

fn authority(name: &str) -> Result<AuthorityName, StoreError> {
    name.parse().map_err(|_| StoreError::Corrupt("CA's name"))
}
