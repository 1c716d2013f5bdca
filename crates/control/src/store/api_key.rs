//! API keys.

use sqlx::Row;
use time::OffsetDateTime;

use super::{Connection, StoreError, time_from_sql};
use crate::token::{ApiKeyId, SecretHash};

/// A key to the API, without its secret.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// What the operator called it.
    pub name: String,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// When it was revoked, if it was.
    pub revoked_at: Option<OffsetDateTime>,
}

/// Inserts a key. A name that is in use is a unique violation.
pub(crate) async fn insert(
    on: &mut Connection,
    name: &str,
    hash: &SecretHash,
    now: OffsetDateTime,
) -> Result<ApiKeyId, StoreError> {
    let done = sqlx::query(
        "INSERT INTO api_key (name, secret_hash, scope, created_at) VALUES (?, ?, 2, ?)",
    )
    .bind(name)
    .bind(hash.as_bytes())
    .bind(now.unix_timestamp())
    .execute(on)
    .await
    .map_err(StoreError::on("add an API key"))?;
    Ok(ApiKeyId(done.last_insert_rowid()))
}

/// Every key, by name.
pub(crate) async fn list(on: &mut Connection) -> Result<Vec<ApiKey>, StoreError> {
    let rows = sqlx::query("SELECT name, created_at, revoked_at FROM api_key ORDER BY name")
        .fetch_all(on)
        .await
        .map_err(StoreError::on("list API keys"))?;
    let read = |row: &sqlx::sqlite::SqliteRow| {
        Ok(ApiKey {
            name: row.get(0),
            created_at: time_from_sql(row.get(1))?,
            revoked_at: row.get::<Option<i64>, _>(2).map(time_from_sql).transpose()?,
        })
    };
    rows.iter().map(read).collect()
}

/// Revokes a key by name, and says whether there was one that was not revoked.
pub(crate) async fn revoke(
    on: &mut Connection,
    name: &str,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let done =
        sqlx::query("UPDATE api_key SET revoked_at = ? WHERE name = ? AND revoked_at IS NULL")
            .bind(now.unix_timestamp())
            .bind(name)
            .execute(on)
            .await
            .map_err(StoreError::on("revoke an API key"))?;
    Ok(done.rows_affected() > 0)
}

/// The hash of a key that is not revoked.
pub(crate) async fn secret_hash(
    on: &mut Connection,
    id: ApiKeyId,
) -> Result<Option<SecretHash>, StoreError> {
    let hash = sqlx::query_scalar::<_, Vec<u8>>(
        "SELECT secret_hash FROM api_key WHERE id = ? AND revoked_at IS NULL",
    )
    .bind(id.0)
    .fetch_optional(on)
    .await
    .map_err(StoreError::on("read an API key"))?;
    SecretHash::from_stored(hash)
}
