//! What creations made that may be sent again.

use sqlx::Row;
use time::OffsetDateTime;

use super::{Connection, StoreError};
use crate::call::Once;

/// What was made before under the same key.
pub(crate) struct Earlier {
    /// The SHA-256 of what was asked for.
    pub(crate) fingerprint: Vec<u8>,
    /// The id of what was made.
    pub(crate) object: i64,
}

/// Finds what was made before.
pub(crate) async fn find(on: &mut Connection, once: &Once) -> Result<Option<Earlier>, StoreError> {
    let row = sqlx::query(
        "SELECT fingerprint, object_id FROM idempotency WHERE api_key_id = ? AND key = ?",
    )
    .bind(once.api_key.0)
    .bind(&once.key[..])
    .fetch_optional(on)
    .await
    .map_err(StoreError::on("look for an earlier creation"))?;
    Ok(row.map(|row| Earlier { fingerprint: row.get(0), object: row.get(1) }))
}

/// Keeps what was made.
pub(crate) async fn keep(
    on: &mut Connection,
    once: &Once,
    object: i64,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO idempotency (api_key_id, key, fingerprint, object_id, created_at) \
         VALUES (?, ?, ?, ?, ?)",
    )
    .bind(once.api_key.0)
    .bind(&once.key[..])
    .bind(&once.fingerprint[..])
    .bind(object)
    .bind(now.unix_timestamp())
    .execute(on)
    .await
    .map_err(StoreError::on("keep a creation"))?;
    Ok(())
}

/// Forgets at most `limit` creations from before `before`, and says how many.
pub(crate) async fn prune(
    on: &mut Connection,
    before: OffsetDateTime,
    limit: u32,
) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "DELETE FROM idempotency WHERE rowid IN \
         (SELECT rowid FROM idempotency WHERE created_at < ? LIMIT ?)",
    )
    .bind(before.unix_timestamp())
    .bind(i64::from(limit))
    .execute(on)
    .await
    .map_err(StoreError::on("forget creations"))?;
    Ok(done.rows_affected())
}
