//! What attempts of agents came to, in the CAs' own words.

use landfall_model::{ChallengeMethod, HostnameId};
use sqlx::{Row, sqlite::SqliteRow};
use time::OffsetDateTime;

use super::{Connection, StoreError, job::JobId, time_from_sql};

/// The most attempts that a hostname keeps: the newest.
const KEPT: i64 = 50;

/// What an attempt came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) job: JobId,
    pub(crate) at: OffsetDateTime,
    pub(crate) authority: String,
    /// The PoP whose agent it was.
    pub(crate) pop: String,
    /// The method that failed, or that proved the names, where that is known.
    pub(crate) method: Option<ChallengeMethod>,
    /// The class of its failure; none: it was none.
    pub(crate) class: Option<String>,
    /// The CA's own words.
    pub(crate) words: Option<String>,
    /// What the owner is told.
    pub(crate) owner: Option<String>,
    /// What the operator is told.
    pub(crate) operator: Option<String>,
    /// When the next one is.
    pub(crate) next_at: Option<OffsetDateTime>,
}

/// Keeps an attempt, and removes what is more than a hostname keeps.
pub(crate) async fn add(
    on: &mut Connection,
    hostname: HostnameId,
    attempt: &Attempt,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO attempt (hostname_id, property_id, job_id, at, authority, pop, method, class, \
             words, owner, operator, next_at) \
         SELECT id, property_id, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM hostname WHERE id = ?",
    )
    .bind(attempt.job.0)
    .bind(attempt.at.unix_timestamp())
    .bind(&attempt.authority)
    .bind(&attempt.pop)
    .bind(attempt.method.map(ChallengeMethod::name))
    .bind(&attempt.class)
    .bind(&attempt.words)
    .bind(&attempt.owner)
    .bind(&attempt.operator)
    .bind(attempt.next_at.map(OffsetDateTime::unix_timestamp))
    .bind(hostname.0)
    .execute(&mut *on)
    .await
    .map_err(StoreError::on("keep an attempt"))?;
    sqlx::query(
        "DELETE FROM attempt WHERE hostname_id = ?1 AND id <= \
         (SELECT id FROM attempt WHERE hostname_id = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
    )
    .bind(hostname.0)
    .bind(KEPT)
    .execute(on)
    .await
    .map_err(StoreError::on("remove old attempts"))?;
    Ok(())
}

/// A hostname's attempts, the newest first.
pub(crate) async fn history(
    on: &mut Connection,
    hostname: HostnameId,
) -> Result<Vec<Attempt>, StoreError> {
    let rows = sqlx::query(
        "SELECT job_id, at, authority, pop, method, class, words, owner, operator, next_at FROM attempt \
         WHERE hostname_id = ? ORDER BY id DESC",
    )
    .bind(hostname.0)
    .fetch_all(on)
    .await
    .map_err(StoreError::on("read attempts"))?;
    rows.iter().map(read).collect()
}

/// A hostname's newest attempt by a method.
pub(crate) async fn newest_by(
    on: &mut Connection,
    hostname: HostnameId,
    method: ChallengeMethod,
) -> Result<Option<Attempt>, StoreError> {
    let row = sqlx::query(
        "SELECT job_id, at, authority, pop, method, class, words, owner, operator, next_at FROM attempt \
         WHERE hostname_id = ? AND method = ? ORDER BY id DESC LIMIT 1",
    )
    .bind(hostname.0)
    .bind(method.name())
    .fetch_optional(on)
    .await
    .map_err(StoreError::on("read an attempt"))?;
    row.as_ref().map(read).transpose()
}

fn read(row: &SqliteRow) -> Result<Attempt, StoreError> {
    Ok(Attempt {
        job: JobId(row.get(0)),
        at: time_from_sql(row.get(1))?,
        authority: row.get(2),
        pop: row.get(3),
        method: row.get::<Option<&str>, _>(4).and_then(ChallengeMethod::from_name),
        class: row.get(5),
        words: row.get(6),
        owner: row.get(7),
        operator: row.get(8),
        next_at: row.get::<Option<i64>, _>(9).map(time_from_sql).transpose()?,
    })
}
