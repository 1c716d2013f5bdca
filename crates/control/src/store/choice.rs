//! Which CA open jobs are for: the one that the hostname's owner chose, else the property's, else any.

use landfall_model::{AuthorityName, HostnameId, PropertyId};
use sqlx::AssertSqlSafe;

use super::{
    Change, Connection, StoreError,
    job::{APART, UNASKED_APART},
};

/// How many jobs follow in one transaction: others change things between.
pub(crate) const FOLLOWED_AT_ONCE: u64 = 2_000;

/// The choices that jobs have which may be leased; the empty one is any. A CA that is no longer
/// configured is among them as long as jobs are for it.
pub(crate) async fn of_jobs(on: &mut Connection) -> Result<Vec<String>, StoreError> {
    const NEXT: &str = "(SELECT min(choice) FROM job WHERE state = 0 AND issuer = 0 \
         AND leased_until IS NULL AND job.lane = own.lane AND job.choice > own.choice)";
    // A jump from each choice to the next one: nobody counts rows.
    let query = format!(
        "WITH RECURSIVE own (lane, choice) AS ( \
             SELECT value, '' FROM json_each('[0, 1, 2]') \
             UNION ALL \
             SELECT lane, {NEXT} FROM own WHERE choice IS NOT NULL) \
         SELECT DISTINCT choice FROM own WHERE choice IS NOT NULL"
    );
    let choices = sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(on).await;
    choices.map_err(StoreError::on("look for what jobs are for"))
}

/// Has a hostname's open job follow what its owner chooses.
pub(crate) async fn follow_hostname(
    change: &mut Change,
    hostname: HostnameId,
) -> Result<(), StoreError> {
    let jobs = "SELECT id FROM job WHERE state = 0 AND hostname_id = ?2";
    let query = sqlx::query(AssertSqlSafe(follow(jobs)));
    let query = query.bind(change.now().unix_timestamp()).bind(hostname.0);
    query.execute(change.on()).await.map_err(StoreError::on("change what a job is for"))?;
    change.wake_jobs();
    Ok(())
}

/// Has open jobs of a property's hostnames follow what it chooses, [`FOLLOWED_AT_ONCE`] at most, and says
/// how many did. `before` is what it chose. Those that don't yet are done by the right CA too; they
/// only take turns with others.
pub(crate) async fn follow_property(
    change: &mut Change,
    property: PropertyId,
    before: Option<&AuthorityName>,
) -> Result<u64, StoreError> {
    let jobs = format!(
        "SELECT id FROM (SELECT id FROM job INDEXED BY job_turn WHERE state = 0 AND issuer = 0 AND leased_until IS NULL \
             AND lane IN (0, 1, 2) AND choice = ?3 AND property_id = ?2 AND choice <> {CHOSEN} \
             LIMIT {FOLLOWED_AT_ONCE})"
    );
    let query = sqlx::query(AssertSqlSafe(follow(&jobs)))
        .bind(change.now().unix_timestamp())
        .bind(property.0)
        .bind(before.map_or("", AuthorityName::as_str));
    let done = query.execute(change.on()).await;
    let done = done.map_err(StoreError::on("change what jobs are for"))?;
    change.wake_jobs();
    Ok(done.rows_affected())
}

const CHOSEN: &str =
    "(SELECT name FROM chosen_authority AS own WHERE own.hostname_id = job.hostname_id)";

/// What waited for one CA is due, since another one is to do it: as where its owner asks for an attempt.
fn follow(jobs: &str) -> String {
    let (apart, unasked) = (APART.whole_seconds(), UNASKED_APART.whole_seconds());
    format!(
        "UPDATE job SET choice = {CHOSEN}, waits_for = NULL, \
             next_at = min(next_at, max(?1, ifnull(asked_at + {apart}, 0), \
             ifnull(attempted_at + {unasked}, 0))) \
         WHERE issuer = 0 AND id IN ({jobs}) AND choice <> {CHOSEN}"
    )
}
