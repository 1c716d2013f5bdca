//! Names that a CA is being shown to be their owner's.

use landfall_model::{Hostname, Revision};
use sqlx::{AssertSqlSafe, Row, sqlite::SqliteRow};
use time::OffsetDateTime;

use super::{Connection, StoreError, from_sql, job::JobId, to_sql};

/// Of a name whose time is over, or whose job nobody does any more.
const OVERDUE: &str = "(until <= ? OR NOT EXISTS \
     (SELECT 1 FROM job WHERE job.id = job_id AND leased_until IS NOT NULL))";

/// What is published of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Published {
    pub(crate) job: JobId,
    /// What was asked for.
    pub(crate) challenges: String,
    /// Of the feed's record.
    pub(crate) revision: Revision,
    /// Until when, in seconds since 1970.
    pub(crate) until: i64,
}

/// What is published of a name.
pub(crate) async fn find(
    on: &mut Connection,
    name: &Hostname,
) -> Result<Option<Published>, StoreError> {
    let row =
        sqlx::query("SELECT job_id, challenges, revision, until FROM validation WHERE name = ?")
            .bind(name.as_str())
            .fetch_optional(on)
            .await
            .map_err(StoreError::on("read a validation"))?;
    let read = |row: SqliteRow| {
        Ok(Published {
            job: JobId(row.get(0)),
            challenges: row.get(1),
            revision: Revision(from_sql(row.get(2), "revision")?),
            until: row.get(3),
        })
    };
    row.map(read).transpose()
}

/// From which revision of the feed on it says of all names that a job is being shown for; `None`: of none.
pub(crate) async fn revision(
    on: &mut Connection,
    job: JobId,
) -> Result<Option<Revision>, StoreError> {
    let query = "SELECT max(revision) FROM validation WHERE job_id = ?";
    let revision = sqlx::query_scalar::<_, Option<i64>>(query).bind(job.0).fetch_one(on).await;
    let revision = revision.map_err(StoreError::on("read validations"))?;
    revision.map(|revision| from_sql(revision, "revision").map(Revision)).transpose()
}

/// Keeps what is published of a name.
pub(crate) async fn keep(
    on: &mut Connection,
    name: &Hostname,
    published: &Published,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT OR REPLACE INTO validation (name, job_id, challenges, revision, until) \
         VALUES (?, ?, ?, ?, ?)",
    )
    .bind(name.as_str())
    .bind(published.job.0)
    .bind(&published.challenges)
    .bind(to_sql(published.revision.0))
    .bind(published.until)
    .execute(on)
    .await
    .map_err(StoreError::on("keep a validation"))?;
    Ok(())
}

/// Forgets the names that a job is being shown for, and says which.
pub(crate) async fn end(on: &mut Connection, job: JobId) -> Result<Vec<Hostname>, StoreError> {
    let names =
        sqlx::query_scalar::<_, String>("DELETE FROM validation WHERE job_id = ? RETURNING name")
            .bind(job.0)
            .fetch_all(on)
            .await
            .map_err(StoreError::on("end validations"))?;
    parsed(names)
}

/// Whether [`end_overdue`] would end any.
pub(crate) async fn any_overdue(
    on: &mut Connection,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let query = format!("SELECT EXISTS (SELECT 1 FROM validation WHERE {OVERDUE})");
    let any = sqlx::query_scalar(AssertSqlSafe(query)).bind(now.unix_timestamp());
    any.fetch_one(on).await.map_err(StoreError::on("look for validations that are over"))
}

/// Forgets at most `limit` names whose time is over, or whose job nobody does any more, and says which.
pub(crate) async fn end_overdue(
    on: &mut Connection,
    now: OffsetDateTime,
    limit: u32,
) -> Result<Vec<Hostname>, StoreError> {
    let query = format!(
        "DELETE FROM validation WHERE name IN (SELECT name FROM validation WHERE {OVERDUE} LIMIT ?) \
         RETURNING name"
    );
    let names = sqlx::query_scalar::<_, String>(AssertSqlSafe(query))
        .bind(now.unix_timestamp())
        .bind(i64::from(limit))
        .fetch_all(on)
        .await
        .map_err(StoreError::on("end validations"))?;
    parsed(names)
}

fn parsed(names: Vec<String>) -> Result<Vec<Hostname>, StoreError> {
    let parse = |name: String| name.parse().map_err(|_| StoreError::Corrupt("validated name"));
    names.into_iter().map(parse).collect()
}
