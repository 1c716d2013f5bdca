//! Where the verification of hostnames stands.

pub(crate) mod queue;

use landfall_dns::{Evidence, Finding};
use landfall_model::HostnameId;
use sqlx::{Row, sqlite::SqliteRow};
use time::OffsetDateTime;

use super::{
    Connection, StoreError, from_sql, hostname::PageIds, readable::readable, time_from_sql,
};
use crate::verification::{Lane, Progress};

/// Where a hostname's verification stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VerificationState {
    /// Which queue it waits in.
    pub(crate) lane: Lane,
    /// When it is checked next; `None`: not by itself.
    pub(crate) next_at: Option<OffsetDateTime>,
    /// How many checks in a row failed.
    pub(crate) tries: u32,
    /// How many checks in a row could not tell.
    pub(crate) unclear: u32,
    /// As [`Progress::since`].
    pub(crate) since: OffsetDateTime,
    /// When an active hostname's DNS was found to have left.
    pub(crate) left_at: Option<OffsetDateTime>,
    /// When it was last checked.
    pub(crate) checked_at: Option<OffsetDateTime>,
    /// What the last check saw.
    pub(crate) evidence: Option<Evidence>,
}

impl VerificationState {
    /// Where the series of checks stands.
    pub(crate) fn progress(&self) -> Progress {
        Progress {
            lane: self.lane,
            next_at: self.next_at,
            tries: self.tries,
            unclear: self.unclear,
            since: self.since,
            left_at: self.left_at,
        }
    }
}

/// What a check changes in a verification that nobody else has changed since.
#[derive(Clone, Debug)]
pub(crate) struct CheckResult {
    pub(crate) hostname: HostnameId,
    /// What the check began from.
    pub(crate) before: Progress,
    pub(crate) after: Progress,
    pub(crate) checked_at: OffsetDateTime,
    pub(crate) finding: Finding,
    /// The evidence as JSON.
    pub(crate) evidence: String,
}

/// Starts a series of checks: the first is due at once.
pub(crate) async fn begin(
    on: &mut Connection,
    hostname: HostnameId,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO verification (hostname_id, property_id, lane, next_at, since) \
         SELECT id, property_id, 0, ?2, ?2 FROM hostname WHERE id = ?1 \
         ON CONFLICT (hostname_id) DO UPDATE \
         SET lane = 0, next_at = ?2, tries = 0, unclear = 0, since = ?2, left_at = NULL, \
         awaits_pop = 0",
    )
    .bind(hostname.0)
    .bind(now.unix_timestamp())
    .execute(on)
    .await
    .map_err(StoreError::on("begin a verification"))?;
    Ok(())
}

/// Ends the verification of a hostname that is not verified any more.
pub(crate) async fn end(on: &mut Connection, hostname: HostnameId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM verification WHERE hostname_id = ?")
        .bind(hostname.0)
        .execute(on)
        .await
        .map_err(StoreError::on("end a verification"))?;
    Ok(())
}

/// Where a hostname's verification stands; `None` where it is never verified.
pub(crate) async fn find(
    on: &mut Connection,
    hostname: HostnameId,
) -> Result<Option<VerificationState>, StoreError> {
    let row = sqlx::query(
        "SELECT hostname_id, lane, next_at, tries, unclear, since, left_at, checked_at, evidence \
         FROM verification WHERE hostname_id = ?",
    )
    .bind(hostname.0)
    .fetch_optional(on)
    .await
    .map_err(StoreError::on("read a verification"))?;
    row.as_ref().map(read).transpose()
}

/// Where the verification stands of the hostnames that [`super::hostname::list`] gives for the same
/// page.
pub(crate) async fn of_page(
    on: &mut Connection,
    page: &PageIds,
) -> Result<Vec<(HostnameId, VerificationState)>, StoreError> {
    let rows = sqlx::query(
        "SELECT hostname_id, lane, next_at, tries, unclear, since, left_at, checked_at, evidence \
         FROM verification WHERE hostname_id IN \
         (SELECT value FROM json_each(?))",
    )
    .bind(page.as_json())
    .fetch_all(on)
    .await
    .map_err(StoreError::on("read verifications"))?;
    let read = |row: &SqliteRow| Ok((HostnameId(row.get(0)), read(row)?));
    Ok(readable("verification", &rows, read))
}

/// Keeps a check's result, and says whether it did: a series that began anew meanwhile goes on as if
/// the check had not been.
pub(crate) async fn keep(on: &mut Connection, result: &CheckResult) -> Result<bool, StoreError> {
    let seconds = |time: Option<OffsetDateTime>| time.map(OffsetDateTime::unix_timestamp);
    let (before, after) = (&result.before, &result.after);
    let done = sqlx::query(
        "UPDATE verification SET lane = ?, next_at = ?, tries = ?, unclear = ?, since = ?, \
         left_at = ?, checked_at = ?, evidence = ?, awaits_pop = ? \
         WHERE hostname_id = ? AND lane = ? AND tries = ? AND unclear = ? AND since = ?",
    )
    .bind(lane_to_sql(after.lane))
    .bind(seconds(after.next_at))
    .bind(i64::from(after.tries))
    .bind(i64::from(after.unclear))
    .bind(after.since.unix_timestamp())
    .bind(seconds(after.left_at))
    .bind(result.checked_at.unix_timestamp())
    .bind(&result.evidence)
    .bind(i64::from(awaits_pop(result.finding)))
    .bind(result.hostname.0)
    .bind(lane_to_sql(before.lane))
    .bind(i64::from(before.tries))
    .bind(i64::from(before.unclear))
    .bind(before.since.unix_timestamp())
    .execute(on)
    .await
    .map_err(StoreError::on("keep a check's result"))?;
    Ok(done.rows_affected() > 0)
}

/// How many active hostnames' DNS has left.
pub(crate) async fn count_left(on: &mut Connection) -> Result<u64, StoreError> {
    let query = "SELECT count(*) FROM verification WHERE left_at IS NOT NULL";
    let count = sqlx::query_scalar::<_, i64>(query).fetch_one(on).await;
    from_sql(count.map_err(StoreError::on("count hostnames that have left"))?, "count")
}

fn read(row: &SqliteRow) -> Result<VerificationState, StoreError> {
    let time = |column: usize| row.get::<Option<i64>, _>(column).map(time_from_sql).transpose();
    let count = |column: usize| {
        u32::try_from(row.get::<i64, _>(column)).map_err(|_| StoreError::Corrupt("count"))
    };
    let evidence: Option<&str> = row.get(8);
    Ok(VerificationState {
        lane: lane_from_sql(row.get(1))?,
        next_at: time(2)?,
        tries: count(3)?,
        unclear: count(4)?,
        since: time_from_sql(row.get(5))?,
        left_at: time(6)?,
        checked_at: time(7)?,
        // What another version wrote in another form is as good as none: the next check replaces it.
        evidence: evidence.and_then(|text| serde_json::from_str(text).ok()),
    })
}

/// Whether a PoP that becomes active can change what was found.
fn awaits_pop(finding: Finding) -> bool {
    matches!(finding, Finding::NoActivePop | Finding::InactivePop | Finding::TargetUnready)
}

fn lane_to_sql(lane: Lane) -> i64 {
    match lane {
        Lane::Fresh => 0,
        Lane::Pending => 1,
        Lane::Active => 2,
    }
}

fn lane_from_sql(number: i64) -> Result<Lane, StoreError> {
    match number {
        0 => Ok(Lane::Fresh),
        1 => Ok(Lane::Pending),
        2 => Ok(Lane::Active),
        _ => Err(StoreError::Corrupt("verification lane")),
    }
}
