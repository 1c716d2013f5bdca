//! TXT records of the zone of challenges: what is to be published, and what of it is.

use landfall_model::JobId;
use sqlx::{Row, sqlite::SqliteRow};
use time::OffsetDateTime;

use super::{Connection, StoreError};
use crate::challenge_zone::record::{ChallengeLabel, TxtValue};

/// The most values that one label has at a time: a name's and its wildcard's, for each type of key, twice.
pub(crate) const MAX_VALUES: usize = 8;

/// One TXT record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DnsChallenge {
    pub(crate) label: ChallengeLabel,
    pub(crate) value: TxtValue,
}

/// What is to become of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// It is to be published.
    There,
    /// It is to be removed.
    Gone,
}

/// Puts these values at a label in place of all that it had, for a job, until `until` or until the job's
/// lease ends. At most [`MAX_VALUES`] are kept.
pub(crate) async fn put(
    on: &mut Connection,
    (job, label): (JobId, &ChallengeLabel),
    values: &[TxtValue],
    until: OffsetDateTime,
) -> Result<(), StoreError> {
    let values = values.get(..MAX_VALUES).unwrap_or(values);
    let names: Vec<&str> = values.iter().map(TxtValue::as_str).collect();
    let query = "UPDATE dns_challenge SET state = 2 WHERE label = ?1 AND state <> 2 \
                 AND value NOT IN (SELECT value FROM json_each(?2))";
    sqlx::query(query)
        .bind(label.as_str())
        .bind(serde_json::json!(names).to_string())
        .execute(&mut *on)
        .await
        .map_err(StoreError::on("withdraw a label's former challenges"))?;
    for value in names {
        // What is published stays so; what was to be removed is published again.
        let query = "INSERT INTO dns_challenge (label, value, job_id, state, until) \
                     VALUES (?1, ?2, ?3, 0, ?4) ON CONFLICT (label, value) DO UPDATE SET \
                     job_id = ?3, until = ?4, state = CASE state WHEN 1 THEN 1 ELSE 0 END";
        sqlx::query(query)
            .bind(label.as_str())
            .bind(value)
            .bind(job.0)
            .bind(until.unix_timestamp())
            .execute(&mut *on)
            .await
            .map_err(StoreError::on("add a challenge to the zone"))?;
    }
    Ok(())
}

/// Whether all that a job has in the zone is published.
pub(crate) async fn is_published(on: &mut Connection, job: JobId) -> Result<bool, StoreError> {
    let query = "SELECT NOT EXISTS (SELECT 1 FROM dns_challenge WHERE job_id = ? AND state = 0)";
    sqlx::query_scalar(query)
        .bind(job.0)
        .fetch_one(on)
        .await
        .map_err(StoreError::on("look for a job's challenges"))
}

/// Withdraws what is over, and says how much that was.
pub(crate) async fn expire(on: &mut Connection, now: OffsetDateTime) -> Result<u64, StoreError> {
    let done = sqlx::query("UPDATE dns_challenge SET state = 2 WHERE until <= ? AND state <> 2")
        .bind(now.unix_timestamp())
        .execute(on)
        .await
        .map_err(StoreError::on("withdraw challenges that are over"))?;
    Ok(done.rows_affected())
}

/// Whether something is over.
pub(crate) async fn any_over(on: &mut Connection, now: OffsetDateTime) -> Result<bool, StoreError> {
    let query = "SELECT EXISTS (SELECT 1 FROM dns_challenge WHERE until <= ? AND state <> 2)";
    sqlx::query_scalar(query)
        .bind(now.unix_timestamp())
        .fetch_one(on)
        .await
        .map_err(StoreError::on("look for challenges that are over"))
}

/// Grows with every change that is to be published.
pub(crate) async fn serial(on: &mut Connection) -> Result<i64, StoreError> {
    sqlx::query_scalar("SELECT serial FROM dns_serial")
        .fetch_one(on)
        .await
        .map_err(StoreError::on("read the serial of the zone of challenges"))
}

/// All that should be in the zone.
pub(crate) async fn all(on: &mut Connection) -> Result<Vec<DnsChallenge>, StoreError> {
    let rows = sqlx::query("SELECT label, value FROM dns_challenge WHERE state <> 2")
        .fetch_all(on)
        .await
        .map_err(StoreError::on("read the zone of challenges"))?;
    Ok(rows.iter().filter_map(read).collect())
}

/// At most `limit` records of one kind.
pub(crate) async fn list(
    on: &mut Connection,
    wanted: Wanted,
    limit: u32,
) -> Result<Vec<DnsChallenge>, StoreError> {
    let query = "SELECT label, value FROM dns_challenge WHERE state = ? LIMIT ?";
    let rows = sqlx::query(query)
        .bind(to_sql(wanted))
        .bind(limit)
        .fetch_all(on)
        .await
        .map_err(StoreError::on("list challenges of the zone"))?;
    Ok(rows.iter().filter_map(read).collect())
}

/// Keeps that records are published, unless they are to be removed since.
pub(crate) async fn published(
    on: &mut Connection,
    records: &[DnsChallenge],
) -> Result<(), StoreError> {
    let query = "UPDATE dns_challenge SET state = 1 WHERE label = ? AND value = ? AND state = 0";
    each(on, query, records).await
}

/// Keeps that records are gone, unless they are wanted since.
pub(crate) async fn removed(
    on: &mut Connection,
    records: &[DnsChallenge],
) -> Result<(), StoreError> {
    let query = "DELETE FROM dns_challenge WHERE label = ? AND value = ? AND state = 2";
    each(on, query, records).await
}

async fn each(
    on: &mut Connection,
    query: &'static str,
    records: &[DnsChallenge],
) -> Result<(), StoreError> {
    for record in records {
        sqlx::query(query)
            .bind(record.label.as_str())
            .bind(record.value.as_str())
            .execute(&mut *on)
            .await
            .map_err(StoreError::on("keep what is in the zone of challenges"))?;
    }
    Ok(())
}

/// What isn't a record was never put there.
fn read(row: &SqliteRow) -> Option<DnsChallenge> {
    let label = ChallengeLabel::parse(row.get(0))?;
    Some(DnsChallenge { label, value: TxtValue::parse(row.get(1))? })
}

const fn to_sql(wanted: Wanted) -> i64 {
    match wanted {
        Wanted::There => 0,
        Wanted::Gone => 2,
    }
}

#[cfg(test)]
mod tests;
