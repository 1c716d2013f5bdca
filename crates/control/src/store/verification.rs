//! Where the verification of hostnames stands.

use landfall_dns::Evidence;
use landfall_model::HostnameId;
use sqlx::{Row, sqlite::SqliteRow};
use time::OffsetDateTime;

use super::{Connection, StoreError, hostname::PageIds, time_from_sql};

/// Where a hostname's verification stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VerificationState {
    /// Which queue it waits in.
    pub(crate) lane: Lane,
    /// When it is checked next; `None`: not by itself.
    pub(crate) next_at: Option<OffsetDateTime>,
    /// How many checks in a row did not pass.
    pub(crate) tries: u32,
    /// When this series of checks began.
    pub(crate) since: OffsetDateTime,
    /// When an active hostname's DNS was found to have left.
    pub(crate) left_at: Option<OffsetDateTime>,
    /// When it was last checked.
    pub(crate) checked_at: Option<OffsetDateTime>,
    /// What the last check saw.
    pub(crate) evidence: Option<Evidence>,
}

/// Hostnames that are checked apart from others, so that many of one kind don't hold up the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// A pending hostname's first check.
    Fresh,
    /// A pending one's later checks.
    Pending,
    /// An active one's.
    Active,
}

/// Starts a series of checks: the first is due at once.
pub(crate) async fn begin(
    on: &mut Connection,
    hostname: HostnameId,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO verification (hostname_id, lane, next_at, since) VALUES (?1, 0, ?2, ?2) \
         ON CONFLICT (hostname_id) DO UPDATE \
         SET lane = 0, next_at = ?2, tries = 0, since = ?2, left_at = NULL",
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
        "SELECT hostname_id, lane, next_at, tries, since, left_at, checked_at, evidence \
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
        "SELECT hostname_id, lane, next_at, tries, since, left_at, checked_at, evidence \
         FROM verification WHERE hostname_id IN \
         (SELECT value FROM json_each(?))",
    )
    .bind(page.as_json())
    .fetch_all(on)
    .await
    .map_err(StoreError::on("read verifications"))?;
    rows.iter().map(|row| Ok((HostnameId(row.get(0)), read(row)?))).collect()
}

fn read(row: &SqliteRow) -> Result<VerificationState, StoreError> {
    let time = |column: usize| row.get::<Option<i64>, _>(column).map(time_from_sql).transpose();
    let evidence: Option<&str> = row.get(7);
    Ok(VerificationState {
        lane: lane_from_sql(row.get(1))?,
        next_at: time(2)?,
        tries: u32::try_from(row.get::<i64, _>(3)).map_err(|_| StoreError::Corrupt("count"))?,
        since: time_from_sql(row.get(4))?,
        left_at: time(5)?,
        checked_at: time(6)?,
        // What another version wrote in another form is as good as none: the next check replaces it.
        evidence: evidence.and_then(|text| serde_json::from_str(text).ok()),
    })
}

fn lane_from_sql(number: i64) -> Result<Lane, StoreError> {
    match number {
        0 => Ok(Lane::Fresh),
        1 => Ok(Lane::Pending),
        2 => Ok(Lane::Active),
        _ => Err(StoreError::Corrupt("verification lane")),
    }
}
