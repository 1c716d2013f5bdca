//! Jobs of agents that wait: those of which the next ones to be leased are chosen.

use landfall_model::{JobId, PropertyId};
use sqlx::{AssertSqlSafe, Row, sqlite::SqliteRow};
use time::OffsetDateTime;

use super::{Connection, StoreError, to_json};

/// The most properties whose new names are looked at for one lease, from a place on, and from the first on.
const PROPERTIES: i64 = 16;
/// Of the most urgent and of the busiest, so many are looked at for each that is wanted: some are not due, for
/// they have failed.
const PRESSING: i64 = 16;

/// Jobs of one kind that are for one choice of a CA, those first that go first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) kind: Kind,
    /// The CA that is to issue; empty: any that may.
    pub(crate) choice: String,
    pub(crate) jobs: Vec<JobId>,
}

/// What a job that waits is looked at for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// It is a renewal that is, or becomes, urgent before others.
    Pressing,
    /// It is a renewal for one of the hostnames with the most handshakes.
    Busy,
    /// It is a renewal that has been due for longest.
    Renewal,
    /// It is for a new name of a property.
    New(PropertyId),
    /// It is for a new name of a property, and has failed.
    Failing(PropertyId),
}

/// The jobs that may be leased at `now`, at most `limit` of each kind and choice of a CA; of new names some of
/// each of many properties, which take turns from `first` on. Of what is found nothing else is read.
pub(crate) async fn find(
    on: &mut Connection,
    now: OffsetDateTime,
    (choices, limit): (&[String], u32),
    first: PropertyId,
) -> Result<Vec<Waiting>, StoreError> {
    let rows = sqlx::query(AssertSqlSafe(waiting_query()))
        .bind(to_json(&choices)?)
        .bind(now.unix_timestamp())
        .bind(i64::from(limit))
        .bind(to_json(&[first.0, 0])?)
        .bind(PROPERTIES)
        .fetch_all(on)
        .await
        .map_err(StoreError::on("look for jobs of agents"))?;
    rows.iter().map(read).collect()
}

pub(super) fn waiting_query() -> String {
    const FREE: &str = "state = 0 AND issuer = 0 AND leased_until IS NULL";
    format!(
        "WITH RECURSIVE turn (lane, choice, property, count) AS ( \
             SELECT l.value, c.value, (SELECT property_id FROM job WHERE {FREE} \
                 AND lane = l.value AND choice = c.value AND property_id >= p.value \
                 ORDER BY property_id LIMIT 1), 1 \
             FROM json_each('[1, 2]') AS l, json_each(?1) AS c, json_each(?4) AS p \
             UNION ALL \
             SELECT lane, choice, (SELECT property_id FROM job WHERE {FREE} \
                 AND job.lane = turn.lane AND job.choice = turn.choice \
                 AND property_id > turn.property ORDER BY property_id LIMIT 1), count + 1 \
             FROM turn WHERE property IS NOT NULL AND count < ?5) \
         SELECT 0 AS kind, c.value AS choice, NULL AS property, \
             (SELECT group_concat(id) FROM (SELECT id FROM \
                 (SELECT id, next_at FROM job WHERE {FREE} AND choice = c.value \
                     AND deadline IS NOT NULL ORDER BY deadline LIMIT ?3 * {PRESSING}) \
                 WHERE next_at <= ?2 LIMIT ?3)) AS jobs \
         FROM json_each(?1) AS c \
         UNION ALL \
         SELECT 3, c.value, NULL, (SELECT group_concat(id) FROM (SELECT id FROM \
             (SELECT id, next_at FROM job WHERE {FREE} AND choice = c.value \
                 AND deadline IS NOT NULL AND traffic > 0 ORDER BY traffic DESC \
                 LIMIT ?3 * {PRESSING}) \
             WHERE next_at <= ?2 LIMIT ?3)) \
         FROM json_each(?1) AS c \
         UNION ALL \
         SELECT 4, c.value, NULL, (SELECT group_concat(id) FROM (SELECT id FROM job WHERE {FREE} \
             AND lane = 0 AND choice = c.value AND next_at <= ?2 ORDER BY next_at LIMIT ?3)) \
         FROM json_each(?1) AS c \
         UNION ALL \
         SELECT lane, choice, property, (SELECT group_concat(id) FROM (SELECT id FROM job \
             WHERE {FREE} AND job.lane = turn.lane AND job.choice = turn.choice \
             AND property_id = turn.property AND next_at <= ?2 ORDER BY next_at LIMIT ?3)) \
         FROM turn WHERE property IS NOT NULL"
    )
}

fn read(row: &SqliteRow) -> Result<Waiting, StoreError> {
    const CORRUPT: StoreError = StoreError::Corrupt("job");
    let property = row.get::<Option<i64>, _>(2).map(PropertyId).ok_or(CORRUPT);
    let jobs: Option<&str> = row.get(3);
    let jobs = jobs.unwrap_or_default().split_terminator(',');
    Ok(Waiting {
        kind: match row.get::<i64, _>(0) {
            0 => Kind::Pressing,
            1 => Kind::New(property?),
            2 => Kind::Failing(property?),
            3 => Kind::Busy,
            _ => Kind::Renewal,
        },
        choice: row.get(1),
        jobs: jobs
            .map(|id| id.parse().map(JobId).map_err(|_| CORRUPT))
            .collect::<Result<_, _>>()?,
    })
}
