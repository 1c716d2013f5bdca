//! How issuance stands, for those who watch it. Each statement is a look at the end of an index, or a count
//! that ends at [`MOST`]: nothing grows with the number of hostnames.

use std::collections::BTreeMap;

use sqlx::{Row, sqlite::SqliteRow};
use time::{Duration, OffsetDateTime};

use super::{Connection, StoreError, time_from_sql, to_json};

/// Where counts end: more are told as so many.
const MOST: i64 = 10_000;
/// How long after its time a renewal is overdue.
const OVERDUE: Duration = Duration::DAY;
/// How near an end is that is counted.
const NEAR: Duration = Duration::DAY;

/// How issuance stands.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    /// Agents' open jobs.
    pub(crate) lanes: [LaneCount; 3],
    /// Certificates, by the number of their issuer.
    pub(crate) certificates: BTreeMap<i64, i64>,
    /// Certificates whose time for renewal has come, and those of them for which it came a day ago.
    pub(crate) renewals_due: i64,
    pub(crate) renewals_overdue: i64,
    /// Certificates that are renewed by themselves and end within a day.
    pub(crate) near_end: i64,
    /// When the first certificate ends that has not ended.
    pub(crate) first_end: Option<OffsetDateTime>,
    /// When the first question to a CA is due that has not been asked.
    pub(crate) first_question: Option<OffsetDateTime>,
}

/// Agents' open jobs of a lane.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LaneCount {
    pub(crate) open: i64,
    /// When the first of them was due that no agent has.
    pub(crate) first_due: Option<OffsetDateTime>,
}

/// Of a certificate that is renewed by itself.
const IS_RENEWED: &str = "NOT EXISTS (SELECT 1 FROM verification \
     WHERE verification.hostname_id = due.hostname_id AND left_at IS NOT NULL)";

/// Reads how issuance stands at `now`. `choices` are [`super::choice::of_jobs`].
pub(crate) async fn read(
    on: &mut Connection,
    now: OffsetDateTime,
    choices: &[String],
) -> Result<Counts, StoreError> {
    let (mut counts, at) = (Counts::default(), now.unix_timestamp());
    for (kind, label, count) in tallies(on).await? {
        match (kind.as_str(), label) {
            ("job", 0..3) => {
                let lane = usize::try_from(label).ok().and_then(|lane| counts.lanes.get_mut(lane));
                lane.into_iter().for_each(|lane| lane.open = count);
            }
            ("certificate", _) => drop(counts.certificates.insert(label, count)),
            _ => {}
        }
    }
    for (number, lane) in (0_i64..).zip(&mut counts.lanes) {
        lane.first_due = first_due(on, number, choices).await?;
    }
    let overdue = at - OVERDUE.whole_seconds();
    counts.renewals_due = renewals(on, at).await?;
    counts.renewals_overdue = renewals(on, overdue).await?;
    counts.near_end = near_end(on, (at, at + NEAR.whole_seconds())).await?;
    counts.first_end = first(on, FIRST_END, at).await?;
    counts.first_question = first(on, FIRST_QUESTION, at).await?;
    Ok(counts)
}

async fn tallies(on: &mut Connection) -> Result<Vec<(String, i64, i64)>, StoreError> {
    let rows = sqlx::query("SELECT kind, label, count FROM tally").fetch_all(on).await;
    let read = |row: &SqliteRow| (row.get(0), row.get(1), row.get(2));
    Ok(rows.map_err(StoreError::on("read tallies"))?.iter().map(read).collect())
}

const FIRST_DUE: &str = "SELECT min(first) FROM (SELECT (SELECT next_at FROM job \
     WHERE state = 0 AND issuer = 0 AND leased_until IS NULL AND lane = ? AND choice = one.value \
     ORDER BY next_at LIMIT 1) AS first FROM json_each(?) AS one)";

async fn first_due(
    on: &mut Connection,
    lane: i64,
    choices: &[String],
) -> Result<Option<OffsetDateTime>, StoreError> {
    let first = sqlx::query_scalar::<_, Option<i64>>(FIRST_DUE)
        .bind(lane)
        .bind(to_json(&choices)?)
        .fetch_one(on)
        .await
        .map_err(StoreError::on("look for the first job"))?;
    first.map(time_from_sql).transpose()
}

const RENEWALS: &str = "SELECT count(*) FROM (SELECT hostname_id FROM certificate \
     WHERE renew_at <= ? ORDER BY renew_at LIMIT ?) AS due";

async fn renewals(on: &mut Connection, until: i64) -> Result<i64, StoreError> {
    let query = format!("{RENEWALS} WHERE {IS_RENEWED}");
    sqlx::query_scalar(sqlx::AssertSqlSafe(query))
        .bind(until)
        .bind(MOST)
        .fetch_one(on)
        .await
        .map_err(StoreError::on("count renewals"))
}

const NEAR_END: &str = "SELECT count(*) FROM (SELECT hostname_id, issuer FROM certificate \
     WHERE not_after > ? AND not_after <= ? ORDER BY not_after LIMIT ?) AS due \
     WHERE issuer IN (0, 3)";

async fn near_end(on: &mut Connection, (from, to): (i64, i64)) -> Result<i64, StoreError> {
    let query = format!("{NEAR_END} AND {IS_RENEWED}");
    sqlx::query_scalar(sqlx::AssertSqlSafe(query))
        .bind(from)
        .bind(to)
        .bind(MOST)
        .fetch_one(on)
        .await
        .map_err(StoreError::on("count certificates that end"))
}

const FIRST_END: &str =
    "SELECT not_after FROM certificate WHERE not_after > ? ORDER BY not_after LIMIT 1";
const FIRST_QUESTION: &str =
    "SELECT poll_at FROM certificate WHERE poll_at <= ? ORDER BY poll_at LIMIT 1";

async fn first(
    on: &mut Connection,
    query: &'static str,
    at: i64,
) -> Result<Option<OffsetDateTime>, StoreError> {
    let first = sqlx::query_scalar::<_, i64>(query).bind(at).fetch_optional(on).await;
    first.map_err(StoreError::on("look at certificates"))?.map(time_from_sql).transpose()
}

#[cfg(test)]
mod tests;
