//! API keys.

use landfall_model::PropertyId;
use sqlx::{AssertSqlSafe, Row, sqlite::SqliteRow};
use time::OffsetDateTime;

use super::{Connection, StoreError, from_sql, readable::Filling, time_from_sql};
use crate::{
    api_key::{ApiKey, Grant, PlainName, Scope},
    token::{ApiKeyId, SecretHash},
};

/// What a key that is in force may do, and what proves it.
pub(crate) struct ValidKey {
    pub(crate) hash: SecretHash,
    pub(crate) scope: Scope,
    pub(crate) property: Option<PropertyId>,
}

/// Inserts a key. A name that is in use for the same property is a unique violation.
pub(crate) async fn insert(
    on: &mut Connection,
    name: &PlainName,
    grant: &Grant,
    hash: &SecretHash,
    now: OffsetDateTime,
) -> Result<ApiKeyId, StoreError> {
    let done = sqlx::query(
        "INSERT INTO api_key (name, secret_hash, scope, property_id, expires_at, created_at) \
         VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(name.as_str())
    .bind(hash.as_bytes())
    .bind(scope_to_sql(grant.scope))
    .bind(grant.property.map(|property| property.0))
    .bind(grant.expires_at.map(OffsetDateTime::unix_timestamp))
    .bind(now.unix_timestamp())
    .execute(on)
    .await
    .map_err(StoreError::on("add an API key"))?;
    Ok(ApiKeyId(done.last_insert_rowid()))
}

/// The columns that [`read`] reads.
const COLUMNS: &str =
    "id, name, scope, property_id, created_at, expires_at, revoked_at, last_used_at";

/// Finds a key.
pub(crate) async fn find(on: &mut Connection, id: ApiKeyId) -> Result<Option<ApiKey>, StoreError> {
    let query = format!("SELECT {COLUMNS} FROM api_key WHERE id = ?");
    let row = sqlx::query(AssertSqlSafe(query)).bind(id.0).fetch_optional(on).await;
    row.map_err(StoreError::on("read an API key"))?.as_ref().map(read).transpose()
}

/// Finds a key by its name among those for the same property, or for all.
pub(crate) async fn find_by_name(
    on: &mut Connection,
    name: &str,
    property: Option<PropertyId>,
) -> Result<Option<ApiKey>, StoreError> {
    let query = format!("SELECT {COLUMNS} FROM api_key WHERE name = ? AND property_id IS ?");
    let row = sqlx::query(AssertSqlSafe(query))
        .bind(name)
        .bind(property.map(|property| property.0))
        .fetch_optional(on)
        .await;
    row.map_err(StoreError::on("read an API key"))?.as_ref().map(read).transpose()
}

/// At most `limit` keys with ids above `after`, in the order of ids: those of one property, or all.
pub(crate) async fn list(
    on: &mut Connection,
    property: Option<PropertyId>,
    after: i64,
    limit: u32,
) -> Result<Vec<ApiKey>, StoreError> {
    let query = format!(
        "SELECT {COLUMNS} FROM api_key WHERE id > ?1 AND (?2 IS NULL OR property_id = ?2) \
         ORDER BY id LIMIT ?3"
    );
    let mut page = Filling::new(after, limit);
    while let Some((after, limit)) = page.wanted() {
        let rows = sqlx::query(AssertSqlSafe(query.as_str()))
            .bind(after)
            .bind(property.map(|property| property.0))
            .bind(i64::from(limit))
            .fetch_all(&mut *on)
            .await
            .map_err(StoreError::on("list API keys"))?;
        page.fill("api_key", &rows, read);
    }
    Ok(page.done())
}

/// How many keys for a property are neither revoked nor expired.
pub(crate) async fn count_valid(
    on: &mut Connection,
    property: PropertyId,
    now: OffsetDateTime,
) -> Result<u64, StoreError> {
    let count = sqlx::query_scalar::<_, i64>(
        "SELECT count(*) FROM api_key WHERE property_id = ? AND revoked_at IS NULL \
         AND (expires_at IS NULL OR expires_at > ?)",
    )
    .bind(property.0)
    .bind(now.unix_timestamp())
    .fetch_one(on)
    .await
    .map_err(StoreError::on("count API keys"))?;
    from_sql(count, "count")
}

/// Revokes a key, and says whether it was not revoked before.
pub(crate) async fn revoke(
    on: &mut Connection,
    id: ApiKeyId,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let done = sqlx::query("UPDATE api_key SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL")
        .bind(now.unix_timestamp())
        .bind(id.0)
        .execute(on)
        .await
        .map_err(StoreError::on("revoke an API key"))?;
    Ok(done.rows_affected() > 0)
}

/// Finds a key that is neither revoked nor expired.
pub(crate) async fn find_valid(
    on: &mut Connection,
    id: ApiKeyId,
    now: OffsetDateTime,
) -> Result<Option<ValidKey>, StoreError> {
    let row = sqlx::query(
        "SELECT secret_hash, scope, property_id FROM api_key \
         WHERE id = ? AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?)",
    )
    .bind(id.0)
    .bind(now.unix_timestamp())
    .fetch_optional(on)
    .await
    .map_err(StoreError::on("read an API key"))?;
    let read = |row: SqliteRow| {
        let hash = SecretHash::from_stored(Some(row.get(0)))?;
        Ok(ValidKey {
            hash: hash.ok_or(StoreError::Corrupt("secret's hash"))?,
            scope: scope_from_sql(row.get(1))?,
            property: row.get::<Option<i64>, _>(2).map(PropertyId),
        })
    };
    row.map(read).transpose()
}

/// Keeps when a key was last used.
pub(crate) async fn note_use(
    on: &mut Connection,
    id: ApiKeyId,
    at: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE api_key SET last_used_at = max(ifnull(last_used_at, 0), ?) WHERE id = ?")
        .bind(at.unix_timestamp())
        .bind(id.0)
        .execute(on)
        .await
        .map_err(StoreError::on("note the use of an API key"))?;
    Ok(())
}

fn read(row: &SqliteRow) -> Result<ApiKey, StoreError> {
    let time = |column: usize| row.get::<Option<i64>, _>(column).map(time_from_sql).transpose();
    Ok(ApiKey {
        id: row.get(0),
        name: row.get(1),
        grant: Grant {
            scope: scope_from_sql(row.get(2))?,
            property: row.get::<Option<i64>, _>(3).map(PropertyId),
            expires_at: time(5)?,
        },
        created_at: time_from_sql(row.get(4))?,
        revoked_at: time(6)?,
        last_used_at: time(7)?,
    })
}

fn scope_to_sql(scope: Scope) -> i64 {
    match scope {
        Scope::Read => 0,
        Scope::Write => 1,
        Scope::Admin => 2,
    }
}

fn scope_from_sql(number: i64) -> Result<Scope, StoreError> {
    match number {
        0 => Ok(Scope::Read),
        1 => Ok(Scope::Write),
        2 => Ok(Scope::Admin),
        _ => Err(StoreError::Corrupt("scope")),
    }
}
