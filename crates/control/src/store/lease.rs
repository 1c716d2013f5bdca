//! Jobs of agents: those that may be leased next, and those that are.

use std::collections::BTreeMap;

use landfall_issuance::schedule::History;
use landfall_model::{
    AuthorityName, Fence, HostPattern, HostnameId, PropertyId,
    issuance::{ChallengeMethod, OpenOrder},
};
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, Row, sqlite::SqliteRow};
use time::{Duration, OffsetDateTime};

use super::{
    Connection, StoreError, from_json, from_sql,
    job::{JobId, OwnersRecords, Wait},
    readable::readable,
    time_from_sql, to_json,
};
use crate::hostname::wish::CertificateWish;

/// No lease lasts longer.
const FARTHEST: Duration = Duration::hours(2);

/// A job of agents that is open.
#[derive(Clone, Debug)]
pub(crate) struct AgentJob {
    pub(crate) id: JobId,
    pub(crate) hostname: HostnameId,
    pub(crate) property: PropertyId,
    pub(crate) fence: Fence,
    pub(crate) standing: Standing,
    pub(crate) next_at: OffsetDateTime,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) history: History,
    /// The methods that failed, the latest last.
    pub(crate) failed_methods: Vec<ChallengeMethod>,
    /// The one CA that is to issue; none: any that may.
    pub(crate) choice: Option<AuthorityName>,
    pub(crate) replacing: Replacing,
    /// An order that may still be good.
    pub(crate) order: Option<KeptOrder>,
    /// The TXT records that the owner was asked for, for that order.
    pub(crate) txt: OwnersRecords,
    pub(crate) cause: Cause,
    /// Handshakes with its hostname of late.
    pub(crate) traffic: u64,
    /// Of the last lease.
    pub(crate) grant: Option<Grant>,
}

/// Whether an agent has a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is open, and nobody's.
    Free,
    /// It is open, and an agent's.
    Leased,
    /// It was done.
    Done,
    /// It is no longer to be done.
    Cancelled,
}

/// Why there is a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Somebody, or a change of the hostname, asked for it.
    Asked,
    /// A certificate was due for renewal.
    Renewal,
}

/// Whether orders say which certificate they replace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replacing {
    Said,
    Unsaid,
}

/// What a job was leased for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) authority: AuthorityName,
    /// The CA that the attempt rehearses for, at a staging environment.
    pub(crate) rehearsal_of: Option<AuthorityName>,
    pub(crate) drawn: Drawn,
    /// The PoP whose agent has it.
    pub(crate) pop: String,
    pub(crate) agent: String,
}

/// Whether a CA's limits were drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drawn {
    Yes,
    No,
}

/// Jobs that were looked for.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) jobs: Vec<AgentJob>,
    /// Those whose rows mean nothing: they must not keep others from being done.
    pub(crate) unreadable: Vec<(JobId, StoreError)>,
}

impl Found {
    fn read(rows: &[SqliteRow]) -> Self {
        let mut found = Self::default();
        for row in rows {
            match read(row) {
                Ok(job) => found.jobs.push(job),
                Err(error) => found.unreadable.push((JobId(row.get(0)), error)),
            }
        }
        found
    }
}

/// An order that may still be good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptOrder {
    pub(crate) authority: AuthorityName,
    /// The URL of the CA's directory.
    pub(crate) directory: String,
    pub(crate) order: OpenOrder,
}

const COLUMNS: &str = "id, hostname_id, property_id, fence, state, leased_until, next_at, created_at, \
     failures, hitches, rehearsed, failed_methods, without_replaces, open_order, authority, \
     rehearsal_of, counted, pop, agent, txt, \
     (SELECT name FROM chosen_authority AS own WHERE own.hostname_id = job.hostname_id), forgiven, \
     cause, traffic";

/// The jobs of agents among these that nobody has.
pub(crate) async fn of_ids(on: &mut Connection, jobs: &[JobId]) -> Result<Found, StoreError> {
    let query = format!(
        "SELECT {COLUMNS} FROM job WHERE id IN (SELECT value FROM json_each(?)) \
         AND state = 0 AND issuer = 0 AND leased_until IS NULL"
    );
    let ids: Vec<i64> = jobs.iter().map(|job| job.0).collect();
    let rows = sqlx::query(AssertSqlSafe(query)).bind(to_json(&ids)?).fetch_all(on).await;
    Ok(Found::read(&rows.map_err(StoreError::on("read jobs"))?))
}

/// The newest property: the highest number that one has.
pub(crate) async fn newest_property(on: &mut Connection) -> Result<PropertyId, StoreError> {
    let id = sqlx::query_scalar::<_, Option<i64>>("SELECT max(id) FROM property").fetch_one(on);
    let id = id.await.map_err(StoreError::on("look for the newest property"))?;
    Ok(PropertyId(id.unwrap_or(0)))
}

pub(super) const FIRST_DUE: &str = "SELECT next_at FROM job \
     WHERE state = 0 AND issuer = 0 AND leased_until IS NULL ORDER BY next_at LIMIT 1";

/// When the first job of agents is due that nobody has; none where there is none.
pub(crate) async fn first_due(on: &mut Connection) -> Result<Option<OffsetDateTime>, StoreError> {
    let due = sqlx::query_scalar::<_, Option<i64>>(FIRST_DUE).fetch_optional(on).await;
    let due = due.map_err(StoreError::on("look for jobs of agents"))?;
    due.flatten().map(time_from_sql).transpose()
}

/// An open job of agents that nobody has, and whose it is.
#[derive(Clone, Debug)]
pub(crate) struct OpenJob {
    pub(crate) job: AgentJob,
    pub(crate) name: HostPattern,
    pub(crate) wish: CertificateWish,
    /// In the place of a certificate that is served: from when on it goes before others.
    pub(crate) deadline: Option<OffsetDateTime>,
}

/// At most `limit` jobs of agents that nobody has, those that are due first.
pub(crate) async fn open(on: &mut Connection, limit: u32) -> Result<Vec<OpenJob>, StoreError> {
    let query = format!(
        "SELECT {COLUMNS}, \
             (SELECT name FROM hostname AS own WHERE own.id = job.hostname_id) AS own_name, \
             (SELECT wish FROM hostname AS own WHERE own.id = job.hostname_id) AS own_wish, \
             deadline AS own_deadline \
         FROM job WHERE state = 0 AND issuer = 0 AND leased_until IS NULL ORDER BY next_at LIMIT ?"
    );
    let rows = sqlx::query(AssertSqlSafe(query)).bind(i64::from(limit)).fetch_all(on).await;
    let rows = rows.map_err(StoreError::on("read jobs"))?;
    let read = |row: &SqliteRow| {
        let name: &str = row.get("own_name");
        Ok(OpenJob {
            job: read(row)?,
            name: name.parse().map_err(|_| StoreError::Corrupt("hostname"))?,
            wish: from_json(row.get("own_wish"), "wish")?,
            deadline: row.get::<Option<i64>, _>("own_deadline").map(time_from_sql).transpose()?,
        })
    };
    Ok(readable("job", &rows, read))
}

/// A job of agents, whatever its state.
pub(crate) async fn find(on: &mut Connection, job: JobId) -> Result<Option<AgentJob>, StoreError> {
    let query = format!("SELECT {COLUMNS} FROM job WHERE id = ? AND issuer = 0");
    let row = sqlx::query(AssertSqlSafe(query)).bind(job.0).fetch_optional(on).await;
    row.map_err(StoreError::on("read a job"))?.as_ref().map(read).transpose()
}

/// Gives an agent a job that is nobody's, and says under which number.
pub(crate) async fn begin(
    on: &mut Connection,
    job: JobId,
    grant: &Grant,
    (now, until): (OffsetDateTime, OffsetDateTime),
) -> Result<Option<Fence>, StoreError> {
    let fence = sqlx::query_scalar::<_, i64>(
        "UPDATE job SET fence = fence + 1, leased_until = ?, authority = ?, rehearsal_of = ?, \
         counted = ?, pop = ?, agent = ?, waits_for = NULL, leased_at = ? \
         WHERE id = ? AND state = 0 AND issuer = 0 AND leased_until IS NULL RETURNING fence",
    )
    .bind(until.unix_timestamp())
    .bind(grant.authority.as_str())
    .bind(grant.rehearsal_of.as_ref().map(AuthorityName::as_str))
    .bind(i64::from(grant.drawn == Drawn::Yes))
    .bind(&grant.pop)
    .bind(&grant.agent)
    .bind(now.unix_timestamp())
    .bind(job.0)
    .fetch_optional(on)
    .await
    .map_err(StoreError::on("lease a job"))?;
    fence.map(|fence| from_sql(fence, "fence").map(Fence)).transpose()
}

/// Lets a lease last on, but no longer than `longest` in all.
pub(crate) async fn prolong(
    on: &mut Connection,
    job: JobId,
    until: OffsetDateTime,
    longest: Duration,
) -> Result<(), StoreError> {
    let query = "UPDATE job SET leased_until = min(?, leased_at + ?) \
                 WHERE id = ? AND leased_until IS NOT NULL";
    sqlx::query(query)
        .bind(until.unix_timestamp())
        .bind(longest.whole_seconds())
        .bind(job.0)
        .execute(on)
        .await
        .map_err(StoreError::on("prolong a lease"))?;
    Ok(())
}

/// What a lease ends with that did not do the job.
#[derive(Debug)]
pub(crate) struct Release<'a> {
    /// How it has gone so far.
    pub(crate) history: History,
    pub(crate) failed_methods: &'a [ChallengeMethod],
    pub(crate) replacing: Replacing,
    pub(crate) order: Option<&'a KeptOrder>,
    pub(crate) next_at: OffsetDateTime,
    /// When the attempt failed, and what is shown of it; none where it did not fail.
    pub(crate) failed: Option<(OffsetDateTime, &'a str)>,
    /// When a CA was asked for anything in an attempt that failed.
    pub(crate) asked_at: Option<OffsetDateTime>,
    /// What the agent may still say of it.
    pub(crate) hearing: Hearing,
}

/// What an agent may say of a job that it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hearing {
    /// Again what it said: it may not have heard the answer.
    Again,
    /// Nothing: its time is over.
    Never,
}

/// Ends a lease, and says when the job is due next.
pub(crate) async fn release(
    on: &mut Connection,
    job: JobId,
    release: &Release<'_>,
) -> Result<(), StoreError> {
    let (at, words) = release.failed.unzip();
    sqlx::query(
        "UPDATE job SET leased_until = NULL, failures = ?1, hitches = ?2, rehearsed = ?3, \
         lane = iif(deadline IS NOT NULL, 0, iif(?1 > forgiven, 2, 1)), failed_methods = ?4, \
         without_replaces = ?5, open_order = ?6, next_at = ?7, txt = iif(?6 IS NULL, NULL, txt), \
         attempted_at = ifnull(?8, attempted_at), attempts = attempts + iif(?8 IS NULL, 0, 1), \
         error = ifnull(?9, error), fence = fence + ?10, waits_for = NULL, \
         asked_at = ifnull(?12, asked_at) WHERE id = ?11",
    )
    .bind(i64::from(release.history.failures))
    .bind(i64::from(release.history.hitches))
    .bind(i64::from(release.history.rehearsed))
    .bind(to_json(&release.failed_methods)?)
    .bind(i64::from(release.replacing == Replacing::Unsaid))
    .bind(release.order.map(to_json).transpose()?)
    .bind(release.next_at.unix_timestamp())
    .bind(at.map(OffsetDateTime::unix_timestamp))
    .bind(words)
    .bind(i64::from(release.hearing == Hearing::Never))
    .bind(job.0)
    .bind(release.asked_at.map(OffsetDateTime::unix_timestamp))
    .execute(on)
    .await
    .map_err(StoreError::on("end a lease"))?;
    Ok(())
}

/// Keeps what a job waits for, and until when it is not looked at; none: it is looked at each time.
pub(crate) async fn keep_wait(
    on: &mut Connection,
    job: JobId,
    wait: &Wait,
    until: Option<OffsetDateTime>,
) -> Result<(), StoreError> {
    let text = to_json(wait)?;
    sqlx::query(
        "UPDATE job SET waits_for = ?1, next_at = ifnull(?2, next_at) \
         WHERE id = ?3 AND (waits_for IS NOT ?1 OR ?2 IS NOT NULL)",
    )
    .bind(text)
    .bind(until.map(OffsetDateTime::unix_timestamp))
    .bind(job.0)
    .execute(on)
    .await
    .map_err(StoreError::on("keep what a job waits for"))?;
    Ok(())
}

/// Keeps an order that was made, and the TXT records that it needs of the owner.
pub(crate) async fn keep_order(
    on: &mut Connection,
    job: JobId,
    order: &KeptOrder,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE job SET open_order = ? WHERE id = ?")
        .bind(to_json(order)?)
        .bind(job.0)
        .execute(on)
        .await
        .map_err(StoreError::on("keep an order"))?;
    Ok(())
}

/// Keeps the TXT records that a hostname's owner is to make; JSON.
pub(crate) async fn keep_txt(
    on: &mut Connection,
    job: JobId,
    records: &OwnersRecords,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE job SET txt = ? WHERE id = ?")
        .bind(to_json(records)?)
        .bind(job.0)
        .execute(on)
        .await
        .map_err(StoreError::on("keep TXT records"))?;
    Ok(())
}

/// At most `limit` jobs whose lease has run out, or was given by a clock that was ahead.
pub(crate) async fn expired(
    on: &mut Connection,
    now: OffsetDateTime,
    limit: u32,
) -> Result<Found, StoreError> {
    let query = format!(
        "SELECT {COLUMNS} FROM job WHERE (leased_until <= ? OR leased_until > ?) AND state = 0 \
         ORDER BY leased_until LIMIT ?"
    );
    let rows = sqlx::query(AssertSqlSafe(query))
        .bind(now.unix_timestamp())
        .bind((now + FARTHEST).unix_timestamp())
        .bind(i64::from(limit))
        .fetch_all(on)
        .await
        .map_err(StoreError::on("look for leases that ran out"))?;
    Ok(Found::read(&rows))
}

/// How many orders of a property wait for TXT records of its hostnames' owners, or may come to.
pub(crate) async fn owners_orders(
    on: &mut Connection,
    property: PropertyId,
) -> Result<u32, StoreError> {
    let query = "SELECT count(*) FROM job WHERE property_id = ? AND state = 0 AND txt IS NOT NULL";
    let count = sqlx::query_scalar::<_, i64>(query).bind(property.0).fetch_one(on).await;
    let count = count.map_err(StoreError::on("count orders that wait for owners"))?;
    u32::try_from(count).map_err(|_| StoreError::Corrupt("count"))
}

/// Takes a job from whoever has it, and lets nobody have it until then.
pub(crate) async fn set_aside(
    on: &mut Connection,
    job: JobId,
    until: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE job SET leased_until = NULL, fence = fence + 1, next_at = ? WHERE id = ?")
        .bind(until.unix_timestamp())
        .bind(job.0)
        .execute(on)
        .await
        .map_err(StoreError::on("set a job aside"))?;
    Ok(())
}

/// How many jobs are leased.
#[derive(Clone, Debug, Default)]
pub(crate) struct Running {
    pub(crate) by_authority: BTreeMap<AuthorityName, u32>,
    /// Those of one PoP.
    pub(crate) of_pop: BTreeMap<AuthorityName, u32>,
    /// How many of them are for new names.
    pub(crate) new: u32,
}

/// How many jobs are leased, by their CA, and how many of them a PoP has.
pub(crate) async fn running(on: &mut Connection, pop: &str) -> Result<Running, StoreError> {
    let rows = sqlx::query(
        "SELECT authority, pop IS ?1, count(*), sum(lane = 1) FROM job \
         WHERE leased_until IS NOT NULL GROUP BY authority, pop IS ?1",
    )
    .bind(pop)
    .fetch_all(on)
    .await
    .map_err(StoreError::on("count leases"))?;
    let mut running = Running::default();
    for row in &rows {
        let count =
            u32::try_from(row.get::<i64, _>(2)).map_err(|_| StoreError::Corrupt("count"))?;
        // One that names no CA is set aside when its time is over.
        if let Ok(Some(name)) = authority(row.get(0)) {
            if row.get::<i64, _>(1) != 0 {
                *running.of_pop.entry(name.clone()).or_default() += count;
            }
            *running.by_authority.entry(name).or_default() += count;
        }
        running.new +=
            u32::try_from(row.get::<i64, _>(3)).map_err(|_| StoreError::Corrupt("count"))?;
    }
    Ok(running)
}

fn read(row: &SqliteRow) -> Result<AgentJob, StoreError> {
    let count = |index: usize| {
        u32::try_from(row.get::<i64, _>(index)).map_err(|_| StoreError::Corrupt("count"))
    };
    let leased_until: Option<i64> = row.get(5);
    let order: Option<&str> = row.get(13);
    let txt: Option<&str> = row.get(19);
    Ok(AgentJob {
        id: JobId(row.get(0)),
        hostname: HostnameId(row.get(1)),
        property: PropertyId(row.get(2)),
        fence: Fence(from_sql(row.get(3), "fence")?),
        standing: match (row.get::<i64, _>(4), leased_until) {
            (0, None) => Standing::Free,
            (0, Some(_)) => Standing::Leased,
            (1, _) => Standing::Done,
            _ => Standing::Cancelled,
        },
        next_at: time_from_sql(row.get(6))?,
        created_at: time_from_sql(row.get(7))?,
        history: History {
            failures: count(8)?,
            hitches: count(9)?,
            rehearsed: count(10)?,
            forgiven: count(21)?,
        },
        failed_methods: from_json(row.get(11), "methods")?,
        choice: authority(Some(row.get(20)).filter(|choice: &&str| !choice.is_empty()))?,
        replacing: match row.get::<i64, _>(12) {
            0 => Replacing::Said,
            _ => Replacing::Unsaid,
        },
        order: order.map(|order| from_json(order, "order")).transpose()?,
        txt: txt.map(|txt| from_json(txt, "TXT records")).transpose()?.unwrap_or_default(),
        cause: match row.get::<i64, _>("cause") {
            1 => Cause::Renewal,
            _ => Cause::Asked,
        },
        traffic: from_sql(row.get("traffic"), "count")?,
        grant: read_grant(row)?,
    })
}

fn read_grant(row: &SqliteRow) -> Result<Option<Grant>, StoreError> {
    let Some(name) = authority(row.get(14))? else { return Ok(None) };
    Ok(Some(Grant {
        authority: name,
        rehearsal_of: authority(row.get(15))?,
        drawn: if row.get::<i64, _>(16) == 0 { Drawn::No } else { Drawn::Yes },
        pop: row.get::<Option<String>, _>(17).unwrap_or_default(),
        agent: row.get::<Option<String>, _>(18).unwrap_or_default(),
    }))
}

fn authority(name: Option<&str>) -> Result<Option<AuthorityName>, StoreError> {
    name.map(str::parse).transpose().map_err(|_| StoreError::Corrupt("CA's name"))
}
