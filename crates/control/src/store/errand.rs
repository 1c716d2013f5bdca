//! What agents do at CAs besides issuing: revocations, and changes of accounts.

use landfall_issuance::acme::RevocationReason;
use landfall_model::{
    AuthorityName, Fence, Fingerprint, HostnameId, JobId, Revision, issuance::SealedName,
};
use sqlx::{AssertSqlSafe, Row, sqlite::SqliteRow};
use time::OffsetDateTime;

use super::{
    Connection, StoreError, from_json, from_sql, readable::readable, time_from_sql, to_json,
};

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A certificate is revoked.
    Revocation(Revoked),
    /// An account gets a new key.
    NewKey,
    /// A CA is told whom it may write to.
    NewContact,
}

/// A certificate that is to be revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Revoked {
    /// Whose it was; they may be gone.
    pub(crate) hostname: HostnameId,
    /// What the hostname was called.
    pub(crate) name: String,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) certificate: Vec<u8>,
    pub(crate) reason: RevocationReason,
    pub(crate) not_after: OffsetDateTime,
    /// Its sealed key, where it was still there and as long as the errand is open.
    pub(crate) key: Option<Box<SealedName>>,
}

/// Where an errand stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It is still to be done.
    Open,
    /// It was done.
    Done,
    /// It is no longer to be done.
    Ended,
}

/// An errand as it is kept.
#[derive(Clone, Debug)]
pub(crate) struct Errand {
    /// Its number, among errands.
    pub(crate) id: JobId,
    pub(crate) purpose: Purpose,
    pub(crate) authority: AuthorityName,
    pub(crate) stage: Stage,
    /// None: it waits until the certificate is replaced, as long as that takes.
    pub(crate) next_at: Option<OffsetDateTime>,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) ended_at: Option<OffsetDateTime>,
    /// How many attempts failed.
    pub(crate) attempts: u32,
    /// The last one's error in the CA's own words.
    pub(crate) error: Option<String>,
    pub(crate) fence: Fence,
    pub(crate) leased_until: Option<OffsetDateTime>,
    /// The PoP whose agent has it, or had it last.
    pub(crate) pop: Option<String>,
}

const COLUMNS: &str = "id, kind, authority, state, next_at, created_at, ended_at, attempts, error, \
     fence, leased_until, hostname_id, hostname, fingerprint, certificate, reason, not_after, pop, seal";

/// No edge may go on with what is to be revoked, as one does that refuses what came in its place. Where its
/// key is known to others (RFC 5280 section 5.3.1: 1), that is not waited for.
const UNUSED: &str = "(kind > 0 OR reason = 1 OR NOT EXISTS (SELECT 1 FROM predecessor AS own \
     WHERE own.hostname_id = errand.hostname_id OR own.fingerprint = errand.fingerprint))";

/// Asks for a certificate to be revoked, at `at` or when it is replaced, whatever is first. What was asked
/// for before is hastened by a more urgent reason, begins anew where it ended without being done, and
/// otherwise stays.
pub(crate) async fn revoke(
    on: &mut Connection,
    authority: &AuthorityName,
    revoked: &Revoked,
    (now, at): (OffsetDateTime, Option<OffsetDateTime>),
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO errand (kind, authority, next_at, created_at, hostname_id, hostname, \
             fingerprint, certificate, reason, not_after, seal) \
         VALUES (0, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) \
         ON CONFLICT (fingerprint) WHERE fingerprint IS NOT NULL DO UPDATE SET \
             next_at = iif(state = 2, ?2, min(ifnull(next_at, ?2), ?2)), reason = ?8, state = 0, \
             ended_at = NULL, attempts = 0, error = NULL, seal = ifnull(?10, seal) \
         WHERE state = 2 OR (state = 0 AND ?2 IS NOT NULL)",
    )
    .bind(authority.as_str())
    .bind(at.map(OffsetDateTime::unix_timestamp))
    .bind(now.unix_timestamp())
    .bind(revoked.hostname.0)
    .bind(&revoked.name)
    .bind(&revoked.fingerprint.0[..])
    .bind(&revoked.certificate)
    .bind(i64::from(revoked.reason.code()))
    .bind(revoked.not_after.unix_timestamp())
    .bind(revoked.key.as_ref().map(to_json).transpose()?)
    .execute(on)
    .await
    .map_err(StoreError::on("ask for a revocation"))?;
    Ok(())
}

/// Asks for an account to be changed, unless that is asked for already.
pub(crate) async fn change_account(
    on: &mut Connection,
    authority: &AuthorityName,
    purpose: &Purpose,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO errand (kind, authority, next_at, created_at) VALUES (?, ?, ?3, ?3) \
         ON CONFLICT DO NOTHING",
    )
    .bind(kind_to_sql(purpose))
    .bind(authority.as_str())
    .bind(now.unix_timestamp())
    .execute(on)
    .await
    .map_err(StoreError::on("ask for a change of an account"))?;
    Ok(())
}

/// Whether a hostname is served with what was asked to be revoked.
pub(crate) async fn any_revoked(
    on: &mut Connection,
    hostname: HostnameId,
) -> Result<bool, StoreError> {
    sqlx::query_scalar::<_, bool>(
        "SELECT EXISTS (SELECT 1 FROM certificate AS own JOIN errand USING (fingerprint) \
         WHERE own.hostname_id = ? AND errand.state <> 2)",
    )
    .bind(hostname.0)
    .fetch_one(on)
    .await
    .map_err(StoreError::on("look for revocations"))
}

/// A hostname's revocations, the newest first.
pub(crate) async fn of(
    on: &mut Connection,
    hostname: HostnameId,
) -> Result<Vec<Errand>, StoreError> {
    let query = format!("SELECT {COLUMNS} FROM errand WHERE hostname_id = ? ORDER BY id DESC");
    let rows = sqlx::query(AssertSqlSafe(query)).bind(hostname.0).fetch_all(on).await;
    rows.map_err(StoreError::on("read revocations"))?.iter().map(read).collect()
}

/// At most `limit` errands that may be leased: edges have `applied` everything up to there. Those of accounts
/// go first.
pub(crate) async fn due(
    on: &mut Connection,
    (now, applied): (OffsetDateTime, Revision),
    limit: u32,
) -> Result<Vec<Errand>, StoreError> {
    let query = format!(
        "SELECT {COLUMNS} FROM errand WHERE state = 0 \
         AND (leased_until IS NULL OR leased_until <= ?1) \
         AND (next_at <= ?1 OR replaced_at <= ?2) AND {UNUSED} ORDER BY kind = 0, next_at LIMIT ?3"
    );
    let rows = sqlx::query(AssertSqlSafe(query))
        .bind(now.unix_timestamp())
        .bind(i64::try_from(applied.0).unwrap_or(i64::MAX))
        .bind(i64::from(limit))
        .fetch_all(on)
        .await
        .map_err(StoreError::on("look for errands"))?;
    Ok(readable("errand", &rows, read))
}

/// Whether [`due`] may have any, whatever edges have applied.
pub(crate) async fn may_be_due(
    on: &mut Connection,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let query = format!(
        "SELECT EXISTS (SELECT 1 FROM errand WHERE state = 0 \
         AND (leased_until IS NULL OR leased_until <= ?1) \
         AND (next_at <= ?1 OR replaced_at IS NOT NULL) AND {UNUSED})"
    );
    let found = sqlx::query_scalar::<_, bool>(AssertSqlSafe(query)).bind(now.unix_timestamp());
    found.fetch_one(on).await.map_err(StoreError::on("look for errands"))
}

/// The CAs whose account is about to get a new key, or gets one: nothing else is asked of them meanwhile.
pub(crate) async fn closed_authorities(
    on: &mut Connection,
    now: OffsetDateTime,
) -> Result<Vec<AuthorityName>, StoreError> {
    let names = sqlx::query_scalar::<_, String>(
        "SELECT authority FROM errand WHERE state = 0 AND kind = 1 \
         AND (unsettled = 1 OR next_at <= ?1 OR leased_until > ?1)",
    )
    .bind(now.unix_timestamp())
    .fetch_all(on)
    .await
    .map_err(StoreError::on("look for errands"))?;
    let name = |name: &String| name.parse().map_err(|_| StoreError::Corrupt("CA's name"));
    names.iter().map(name).collect()
}

/// How many jobs and errands agents have of a CA.
pub(crate) async fn running(
    on: &mut Connection,
    authority: &AuthorityName,
    now: OffsetDateTime,
) -> Result<u64, StoreError> {
    let count = sqlx::query_scalar::<_, i64>(
        "SELECT (SELECT count(*) FROM job WHERE leased_until IS NOT NULL AND authority = ?1) \
              + (SELECT count(*) FROM errand WHERE state = 0 AND leased_until > ?2 \
                 AND authority = ?1)",
    )
    .bind(authority.as_str())
    .bind(now.unix_timestamp())
    .fetch_one(on)
    .await
    .map_err(StoreError::on("count leases"))?;
    from_sql(count, "count")
}

/// Gives an agent an errand, and says under which number.
pub(crate) async fn begin(
    on: &mut Connection,
    errand: &Errand,
    pop: &str,
    until: OffsetDateTime,
) -> Result<Fence, StoreError> {
    let fence = sqlx::query_scalar::<_, i64>(
        "UPDATE errand SET fence = fence + 1, leased_until = ?, pop = ?, unsettled = kind = 1 \
         WHERE id = ? RETURNING fence",
    )
    .bind(until.unix_timestamp())
    .bind(pop)
    .bind(errand.id.0)
    .fetch_one(on)
    .await
    .map_err(StoreError::on("lease an errand"))?;
    from_sql(fence, "fence").map(Fence)
}

/// An errand, whatever its stage.
pub(crate) async fn find(on: &mut Connection, id: JobId) -> Result<Option<Errand>, StoreError> {
    let query = format!("SELECT {COLUMNS} FROM errand WHERE id = ?");
    let row = sqlx::query(AssertSqlSafe(query)).bind(id.0).fetch_optional(on).await;
    row.map_err(StoreError::on("read an errand"))?.as_ref().map(read).transpose()
}

/// Lets a lease last on.
pub(crate) async fn prolong(
    on: &mut Connection,
    errand: JobId,
    until: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE errand SET leased_until = ? WHERE id = ?")
        .bind(until.unix_timestamp())
        .bind(errand.0)
        .execute(on)
        .await
        .map_err(StoreError::on("prolong a lease"))?;
    Ok(())
}

/// Ends an errand, with what the CA has against it where it was not done.
pub(crate) async fn finish(
    on: &mut Connection,
    errand: JobId,
    refused: Option<&str>,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE errand SET state = iif(?1 IS NULL, 1, 2), error = ?1, ended_at = ?2, \
         leased_until = NULL WHERE id = ?3",
    )
    .bind(refused)
    .bind(now.unix_timestamp())
    .bind(errand.0)
    .execute(on)
    .await
    .map_err(StoreError::on("end an errand"))?;
    Ok(())
}

/// Whether it is known what a CA made of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    Yes,
    No,
}

/// Ends a lease whose attempt failed, and says when the next one is.
pub(crate) async fn put_off(
    on: &mut Connection,
    errand: JobId,
    (error, settled): (&str, Settled),
    next_at: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE errand SET attempts = attempts + 1, error = ?, next_at = ?, replaced_at = NULL, \
         leased_until = NULL, unsettled = kind = 1 AND ? WHERE id = ?",
    )
    .bind(error)
    .bind(next_at.unix_timestamp())
    .bind(i64::from(settled == Settled::No))
    .bind(errand.0)
    .execute(on)
    .await
    .map_err(StoreError::on("put an errand off"))?;
    Ok(())
}

/// Makes what a CA failed at last due at once, and says how much that is.
pub(crate) async fn retry(
    on: &mut Connection,
    authority: &AuthorityName,
    now: OffsetDateTime,
) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "UPDATE errand SET next_at = ?1 WHERE state = 0 AND attempts > 0 AND next_at > ?1 \
         AND authority = ?2",
    )
    .bind(now.unix_timestamp())
    .bind(authority.as_str())
    .execute(on)
    .await
    .map_err(StoreError::on("hasten errands"))?;
    Ok(done.rows_affected())
}

/// Ends revocations of certificates that are over, and forgets what ended before `before`.
pub(crate) async fn prune(
    on: &mut Connection,
    (now, before): (OffsetDateTime, OffsetDateTime),
    limit: u32,
) -> Result<u64, StoreError> {
    let ended = sqlx::query(
        "UPDATE errand SET state = 2, ended_at = ?1, error = 'the certificate is over' WHERE id IN \
         (SELECT id FROM errand WHERE state = 0 AND not_after <= ?1 LIMIT ?2)",
    )
    .bind(now.unix_timestamp())
    .bind(i64::from(limit))
    .execute(&mut *on)
    .await
    .map_err(StoreError::on("end revocations"))?;
    // What is served and revoked is remembered for as long as it is.
    let forgotten = sqlx::query(
        "DELETE FROM errand WHERE id IN (SELECT id FROM errand WHERE ended_at < ? \
         AND NOT EXISTS (SELECT 1 FROM certificate \
             WHERE certificate.fingerprint = errand.fingerprint AND issuer = 3) LIMIT ?)",
    )
    .bind(before.unix_timestamp())
    .bind(i64::from(limit))
    .execute(on)
    .await
    .map_err(StoreError::on("forget errands"))?;
    Ok(ended.rows_affected() + forgotten.rows_affected())
}

fn read(row: &SqliteRow) -> Result<Errand, StoreError> {
    let time = |seconds: Option<i64>| seconds.map(time_from_sql).transpose();
    Ok(Errand {
        id: JobId(row.get(0)),
        purpose: match row.get::<i64, _>(1) {
            0 => Purpose::Revocation(read_revoked(row)?),
            1 => Purpose::NewKey,
            _ => Purpose::NewContact,
        },
        authority: row.get::<&str, _>(2).parse().map_err(|_| StoreError::Corrupt("CA's name"))?,
        stage: match row.get::<i64, _>(3) {
            0 => Stage::Open,
            1 => Stage::Done,
            _ => Stage::Ended,
        },
        next_at: time(row.get(4))?,
        created_at: time_from_sql(row.get(5))?,
        ended_at: time(row.get(6))?,
        attempts: u32::try_from(row.get::<i64, _>(7)).map_err(|_| StoreError::Corrupt("count"))?,
        error: row.get(8),
        fence: Fence(from_sql(row.get(9), "fence")?),
        leased_until: time(row.get(10))?,
        pop: row.get(17),
    })
}

fn read_revoked(row: &SqliteRow) -> Result<Revoked, StoreError> {
    let fingerprint: &[u8] = row.get(13);
    let corrupt = || StoreError::Corrupt("certificate fingerprint");
    let reason = u8::try_from(row.get::<i64, _>(15)).map_err(|_| StoreError::Corrupt("reason"))?;
    Ok(Revoked {
        hostname: HostnameId(row.get(11)),
        name: row.get(12),
        fingerprint: Fingerprint(fingerprint.try_into().map_err(|_| corrupt())?),
        certificate: row.get(14),
        reason: RevocationReason::from_code(reason),
        not_after: time_from_sql(row.get(16))?,
        key: row.get::<Option<&str>, _>(18).map(|key| from_json(key, "sealed key")).transpose()?,
    })
}

fn kind_to_sql(purpose: &Purpose) -> i64 {
    match purpose {
        Purpose::Revocation(_) => 0,
        Purpose::NewKey => 1,
        Purpose::NewContact => 2,
    }
}
