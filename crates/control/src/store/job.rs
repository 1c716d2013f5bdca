//! Certificates that are to be issued, and were: one open job per hostname, and its last ended ones.

use landfall_model::issuance::TxtRecord;
use landfall_model::{AuthorityName, HostnameId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;
use sqlx::{AssertSqlSafe, Row, sqlite::SqliteRow};
use time::{Duration, OffsetDateTime};

use super::{
    Change, Connection, StoreError, event::EventKind, from_json, from_sql, lease::Cause,
    readable::readable, time_from_sql,
};

/// The most ended jobs that a hostname keeps: the newest.
const KEPT: i64 = 20;
/// How far apart attempts at a CA are, whoever asks for another one: a CA counts them.
pub(super) const APART: Duration = Duration::minutes(12);
/// How far apart those are that ended before a CA was asked.
pub(super) const UNASKED_APART: Duration = Duration::minutes(1);

// Ids grow: of two jobs of a hostname, the higher is the newer.
pub(crate) use landfall_model::JobId;

/// What became of asking for a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Enqueued {
    /// There is now a job.
    New(JobId),
    /// There was one already, which is not put off any longer than it has to be.
    Open(JobId),
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JobStage {
    /// It is still to be done.
    Open,
    /// The certificate was issued.
    Done,
    /// It is no longer to be done.
    Cancelled,
}

/// Who does a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JobIssuer {
    /// Agents at the edges.
    Agents,
    /// The internal CA.
    Internal,
}

/// Why a job is no longer to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cancellation {
    /// The owner uploaded a certificate.
    CertificateUploaded,
    /// The hostname's DNS no longer leads here.
    DnsLeft,
    /// The hostname is not active.
    NotActive,
    /// Another property has the name.
    NotHeld,
    /// Every CA that may issue refuses the name.
    Refused,
    /// It was made when a clock was wrong: what is served is not due for renewal.
    NotDue,
}

/// A job as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JobState {
    pub(crate) id: JobId,
    pub(crate) hostname: HostnameId,
    pub(crate) issuer: JobIssuer,
    pub(crate) stage: JobStage,
    /// How many attempts failed.
    pub(crate) attempts: u32,
    /// When the last attempt failed.
    pub(crate) attempted_at: Option<OffsetDateTime>,
    /// When the last one failed that asked a CA for anything.
    pub(crate) asked_at: Option<OffsetDateTime>,
    /// Not before then is it attempted next.
    pub(crate) next_at: OffsetDateTime,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) ended_at: Option<OffsetDateTime>,
    /// The last failed attempt's error in the CA's own words; of a cancelled job, why it is one.
    pub(crate) error: Option<String>,
    /// What an open job of agents waits for.
    pub(crate) waits_for: Option<Wait>,
    /// The CA of the last lease.
    pub(crate) authority: Option<String>,
    /// Until when it is an agent's.
    pub(crate) leased_until: Option<OffsetDateTime>,
    /// The TXT records that the hostname's owner is to make.
    pub(crate) txt: OwnersRecords,
}

/// TXT records that a hostname's owner is to make for an order. Stored as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct OwnersRecords {
    /// Those of the order.
    pub(crate) records: Vec<TxtRecord>,
    /// The one that does in their place, for this order and all to come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lasting: Option<TxtRecord>,
}

impl JobState {
    /// Not before then is it attempted next, by itself or by what it waits for.
    pub(crate) fn due_at(&self) -> OffsetDateTime {
        let wait = self.waits_for.as_ref().filter(|_| self.leased_until.is_none());
        let until = wait.and_then(|wait| OffsetDateTime::from_unix_timestamp(wait.until).ok());
        until.map_or(self.next_at, |until| until.max(self.next_at))
    }

    /// When it may be attempted where somebody asks for that.
    pub(crate) fn soonest(&self, now: OffsetDateTime) -> OffsetDateTime {
        let after = |last: Option<OffsetDateTime>, apart| last.map_or(now, |last| last + apart);
        now.max(after(self.asked_at, APART)).max(after(self.attempted_at, UNASKED_APART))
    }

    /// What an open job waits for.
    pub(crate) fn waiting_for(&self, now: OffsetDateTime) -> String {
        let is_early = self.next_at > now;
        let reason = match (self.issuer, &self.waits_for) {
            (JobIssuer::Internal, _) if is_early => "next_attempt",
            (JobIssuer::Internal, _) => "issuance",
            (JobIssuer::Agents, _) if self.leased_until.is_some() => "issuance",
            (JobIssuer::Agents, _) if !self.txt.records.is_empty() => "owner_records",
            (JobIssuer::Agents, Some(wait)) => &wait.reason,
            (JobIssuer::Agents, None) if is_early => "next_attempt",
            (JobIssuer::Agents, None) => "agent",
        };
        reason.to_owned()
    }
}

/// What a job waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wait {
    /// As `landfall_issuance::plan::WaitReason` is called.
    pub(crate) reason: String,
    /// Which CA's, where it is one's.
    pub(crate) authority: Option<AuthorityName>,
    /// Until when, in seconds since 1970.
    pub(crate) until: i64,
}

/// What open jobs there are.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backlog {
    /// Those that the internal CA is to do.
    pub(crate) internal: u64,
    /// Those that agents are to do.
    pub(crate) agents: u64,
    /// Those of them that an agent has.
    pub(crate) leased: u64,
    /// When the oldest job was made.
    pub(crate) oldest: Option<OffsetDateTime>,
}

impl Cancellation {
    /// As the API has it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::CertificateUploaded => "certificate_uploaded",
            Self::DnsLeft => "dns_left",
            Self::NotActive => "hostname_not_active",
            Self::NotHeld => "name_not_held",
            Self::Refused => "refused_by_authorities",
            Self::NotDue => "not_due",
        }
    }
}

/// Asks for a certificate for a hostname: a job is made, or the open one made due. Whoever does jobs
/// is woken once the change is made.
pub(crate) async fn enqueue(
    change: &mut Change,
    hostname: HostnameId,
) -> Result<Enqueued, StoreError> {
    let now = change.now();
    let enqueued = match newest(change.on(), hostname).await? {
        Some(job) if job.stage == JobStage::Open => {
            hasten(change.on(), job.id, job.soonest(now)).await?;
            keep_cause(change.on(), job.id, Cause::Asked).await?;
            Enqueued::Open(job.id)
        }
        _ => {
            let id = insert(change.on(), hostname, now).await?;
            let detail = json!({"job": id.0});
            change.event(hostname, EventKind::CertificateRequested, &detail).await?;
            Enqueued::New(id)
        }
    };
    change.wake_jobs();
    Ok(enqueued)
}

/// Keeps why there is a job.
pub(crate) async fn keep_cause(
    on: &mut Connection,
    job: JobId,
    cause: Cause,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE job SET cause = ? WHERE id = ?")
        .bind(match cause {
            Cause::Asked => 0,
            Cause::Renewal => 1,
        })
        .bind(job.0)
        .execute(on)
        .await
        .map_err(StoreError::on("keep why there is a job"))?;
    Ok(())
}

/// Cancels a hostname's open job, if there is one.
pub(crate) async fn cancel(
    change: &mut Change,
    hostname: HostnameId,
    reason: Cancellation,
) -> Result<Option<JobId>, StoreError> {
    let cancelled = sqlx::query_scalar::<_, i64>(
        "UPDATE job SET state = ?, ended_at = ?, error = ?, leased_until = NULL WHERE hostname_id = ? AND state = 0 \
         RETURNING id",
    )
    .bind(stage_to_sql(JobStage::Cancelled))
    .bind(change.now().unix_timestamp())
    .bind(reason.name())
    .bind(hostname.0)
    .fetch_optional(change.on())
    .await
    .map_err(StoreError::on("cancel a job"))?
    .map(JobId);
    if let Some(job) = cancelled {
        let detail = json!({"job": job.0, "reason": reason.name()});
        change.event(hostname, EventKind::CertificateRequestCancelled, &detail).await?;
    }
    Ok(cancelled)
}

/// Ends an open job as done, and says whether it was open.
pub(crate) async fn finish(
    on: &mut Connection,
    job: JobId,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE job SET state = ?, ended_at = ?, error = NULL, leased_until = NULL \
         WHERE id = ? AND state = 0",
    )
    .bind(stage_to_sql(JobStage::Done))
    .bind(now.unix_timestamp())
    .bind(job.0)
    .execute(on)
    .await
    .map_err(StoreError::on("end a job"))?;
    Ok(done.rows_affected() > 0)
}

/// Keeps why an attempt failed, and when the next one is. Says whether the job is open.
pub(crate) async fn put_off(
    on: &mut Connection,
    job: JobId,
    error: &str,
    (now, next_at): (OffsetDateTime, OffsetDateTime),
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE job SET attempts = attempts + 1, attempted_at = ?, next_at = ?, error = ? \
         WHERE id = ? AND state = 0",
    )
    .bind(now.unix_timestamp())
    .bind(next_at.unix_timestamp())
    .bind(error)
    .bind(job.0)
    .execute(on)
    .await
    .map_err(StoreError::on("put a job off"))?;
    Ok(done.rows_affected() > 0)
}

/// A hostname's newest job: the open one, or the one that ended last.
pub(crate) async fn newest(
    on: &mut Connection,
    hostname: HostnameId,
) -> Result<Option<JobState>, StoreError> {
    let query = format!("SELECT {COLUMNS} FROM job WHERE hostname_id = ? ORDER BY id DESC LIMIT 1");
    let row = sqlx::query(AssertSqlSafe(query)).bind(hostname.0).fetch_optional(on).await;
    row.map_err(StoreError::on("read a job"))?.as_ref().map(read).transpose()
}

/// A hostname's jobs, the newest first.
pub(crate) async fn history(
    on: &mut Connection,
    hostname: HostnameId,
) -> Result<Vec<JobState>, StoreError> {
    let query = format!("SELECT {COLUMNS} FROM job WHERE hostname_id = ? ORDER BY id DESC");
    let rows = sqlx::query(AssertSqlSafe(query)).bind(hostname.0).fetch_all(on).await;
    rows.map_err(StoreError::on("read jobs"))?.iter().map(read).collect()
}

/// The newest job of each hostname of a page of [`super::hostname::list`] with the same arguments.
pub(crate) async fn newest_of_page(
    on: &mut Connection,
    page: &super::hostname::PageIds,
) -> Result<Vec<JobState>, StoreError> {
    let query = format!(
        "SELECT {COLUMNS} FROM job WHERE id IN \
         (SELECT (SELECT max(job.id) FROM job WHERE hostname_id = value) FROM json_each(?))"
    );
    let rows = sqlx::query(AssertSqlSafe(query))
        .bind(page.as_json())
        .fetch_all(on)
        .await
        .map_err(StoreError::on("read jobs"))?;
    Ok(readable("job", &rows, read))
}

/// At most `limit` open jobs of the internal CA that are due at `now`, the longest due first.
pub(crate) async fn due(
    on: &mut Connection,
    now: OffsetDateTime,
    limit: u32,
) -> Result<Vec<JobState>, StoreError> {
    let query = format!(
        "SELECT {COLUMNS} FROM job WHERE state = 0 AND issuer = ? AND next_at <= ? \
         ORDER BY next_at LIMIT ?"
    );
    let rows = sqlx::query(AssertSqlSafe(query))
        .bind(issuer_to_sql(JobIssuer::Internal))
        .bind(now.unix_timestamp())
        .bind(i64::from(limit))
        .fetch_all(on)
        .await
        .map_err(StoreError::on("look for jobs"))?;
    Ok(readable("job", &rows, read))
}

/// At most `limit` open jobs of one issuer that are due after `latest`.
pub(crate) async fn due_after(
    on: &mut Connection,
    issuer: JobIssuer,
    latest: OffsetDateTime,
    limit: u32,
) -> Result<Vec<JobId>, StoreError> {
    let query = "SELECT id FROM job WHERE state = 0 AND issuer = ? AND next_at > ? LIMIT ?";
    let ids = sqlx::query_scalar::<_, i64>(query)
        .bind(issuer_to_sql(issuer))
        .bind(latest.unix_timestamp())
        .bind(i64::from(limit))
        .fetch_all(on)
        .await
        .map_err(StoreError::on("look for jobs that wait"))?;
    Ok(ids.into_iter().map(JobId).collect())
}

/// What open jobs there are.
pub(crate) async fn backlog(on: &mut Connection) -> Result<Backlog, StoreError> {
    let row = sqlx::query(
        "SELECT (SELECT count FROM tally WHERE kind = 'job' AND label = 3), \
                (SELECT sum(count) FROM tally WHERE kind = 'job' AND label < 3), \
                (SELECT min(first) FROM ( \
                     SELECT min(created_at) AS first FROM job WHERE state = 0 AND issuer = 0 \
                     UNION ALL \
                     SELECT min(created_at) FROM job WHERE state = 0 AND issuer = 1)), \
                (SELECT count(*) FROM job WHERE leased_until IS NOT NULL)",
    )
    .fetch_one(on)
    .await
    .map_err(StoreError::on("count jobs"))?;
    Ok(Backlog {
        internal: from_sql(row.get(0), "count")?,
        agents: from_sql(row.get(1), "count")?,
        leased: from_sql(row.get(3), "count")?,
        oldest: row.get::<Option<i64>, _>(2).map(time_from_sql).transpose()?,
    })
}

/// Adds an open job of the hostname's issuer, and removes what is more than a hostname keeps.
async fn insert(
    on: &mut Connection,
    hostname: HostnameId,
    now: OffsetDateTime,
) -> Result<JobId, StoreError> {
    // A hostname's issuer is the internal CA or agents: its column has the numbers of ours.
    let done = sqlx::query(
        "INSERT INTO job (hostname_id, property_id, issuer, state, lane, deadline, choice, \
             next_at, created_at, traffic) \
         SELECT id, property_id, internal, 0, iif(served.urgent IS NULL, 1, 0), served.urgent, \
             (SELECT name FROM chosen_authority WHERE hostname_id = ?1), ?2, ?2, \
             ifnull((SELECT count + before FROM traffic WHERE hostname_id = ?1), 0) \
         FROM hostname, (SELECT min(ifnull(urgent_at, not_after)) AS urgent FROM certificate \
             WHERE hostname_id = ?1 AND issuer = 3 AND not_after > ?2) AS served \
         WHERE id = ?1",
    )
    .bind(hostname.0)
    .bind(now.unix_timestamp())
    .execute(&mut *on)
    .await
    .map_err(StoreError::on("add a job"))?;
    sqlx::query(
        "DELETE FROM job WHERE hostname_id = ?1 AND state <> 0 AND id <= \
         (SELECT id FROM job WHERE hostname_id = ?1 AND state <> 0 \
          ORDER BY id DESC LIMIT 1 OFFSET ?2)",
    )
    .bind(hostname.0)
    .bind(KEPT)
    .execute(on)
    .await
    .map_err(StoreError::on("remove old jobs"))?;
    Ok(JobId(done.last_insert_rowid()))
}

/// Puts a hostname's open job before those that are urgent from after `deadline` on.
pub(crate) async fn expedite(
    on: &mut Connection,
    hostname: HostnameId,
    deadline: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE job SET deadline = min(ifnull(deadline, ?1), ?1), lane = 0 \
         WHERE hostname_id = ?2 AND state = 0",
    )
    .bind(deadline.unix_timestamp())
    .bind(hostname.0)
    .execute(on)
    .await
    .map_err(StoreError::on("expedite a job"))?;
    Ok(())
}

/// Lets a job go once with those that have not failed.
pub(crate) async fn forgive(on: &mut Connection, job: JobId) -> Result<(), StoreError> {
    sqlx::query("UPDATE job SET forgiven = failures, lane = iif(lane = 2, 1, lane) WHERE id = ?")
        .bind(job.0)
        .execute(on)
        .await
        .map_err(StoreError::on("forgive a job's failures"))?;
    Ok(())
}

/// Makes due at `now` what waits for a CA, or failed there last, and says how many jobs that are.
pub(crate) async fn retry(
    on: &mut Connection,
    authority: &AuthorityName,
    now: OffsetDateTime,
) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "UPDATE job SET next_at = min(next_at, ?1), waits_for = NULL \
         WHERE state = 0 AND issuer = 0 AND leased_until IS NULL \
         AND (authority = ?2 OR waits_for ->> '$.authority' = ?2)",
    )
    .bind(now.unix_timestamp())
    .bind(authority.as_str())
    .execute(on)
    .await
    .map_err(StoreError::on("hasten jobs"))?;
    Ok(done.rows_affected())
}

/// Makes a job due at `soonest`, unless it is before.
pub(crate) async fn hasten(
    on: &mut Connection,
    job: JobId,
    soonest: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE job SET next_at = min(next_at, ?) WHERE id = ?")
        .bind(soonest.unix_timestamp())
        .bind(job.0)
        .execute(on)
        .await
        .map_err(StoreError::on("hasten a job"))?;
    Ok(())
}

/// The columns that [`read`] reads.
const COLUMNS: &str = "id, hostname_id, issuer, state, attempts, attempted_at, next_at, \
     created_at, ended_at, error, waits_for, authority, leased_until, txt, asked_at";

fn read(row: &SqliteRow) -> Result<JobState, StoreError> {
    let time = |seconds: Option<i64>| seconds.map(time_from_sql).transpose();
    Ok(JobState {
        id: JobId(row.get(0)),
        hostname: HostnameId(row.get(1)),
        issuer: match row.get::<i64, _>(2) {
            0 => JobIssuer::Agents,
            _ => JobIssuer::Internal,
        },
        stage: match row.get::<i64, _>(3) {
            0 => JobStage::Open,
            1 => JobStage::Done,
            _ => JobStage::Cancelled,
        },
        attempts: u32::try_from(row.get::<i64, _>(4)).map_err(|_| StoreError::Corrupt("count"))?,
        attempted_at: time(row.get(5))?,
        next_at: time_from_sql(row.get(6))?,
        created_at: time_from_sql(row.get(7))?,
        ended_at: time(row.get(8))?,
        error: row.get(9),
        waits_for: optional(row.get(10), "wait")?,
        authority: row.get(11),
        leased_until: time(row.get(12))?,
        txt: optional(row.get(13), "TXT records")?.unwrap_or_default(),
        asked_at: time(row.get(14))?,
    })
}

/// JSON, or null.
fn optional<T: DeserializeOwned>(
    text: Option<&str>,
    what: &'static str,
) -> Result<Option<T>, StoreError> {
    text.map(|text| from_json(text, what)).transpose()
}

fn stage_to_sql(stage: JobStage) -> i64 {
    match stage {
        JobStage::Open => 0,
        JobStage::Done => 1,
        JobStage::Cancelled => 2,
    }
}

fn issuer_to_sql(issuer: JobIssuer) -> i64 {
    match issuer {
        JobIssuer::Agents => 0,
        JobIssuer::Internal => 1,
    }
}
