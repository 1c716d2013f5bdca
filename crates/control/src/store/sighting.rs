//! Which PoPs have shown a certificate in a handshake, and when they are looked at next.

use landfall_model::{Fingerprint, HostPattern, HostnameId, KeyType, Revision};
use serde::{Deserialize, Serialize};
use sqlx::{Row, sqlite::SqliteRow};
use time::OffsetDateTime;

use super::{
    Connection, StoreError,
    certificate::{key_type_from_sql, key_type_to_sql},
    from_sql,
    readable::readable,
    time_from_sql, to_json, to_sql,
};
use crate::watch::{Finding, pop_set::PopSet};

/// A certificate that PoPs are to be looked at for.
#[derive(Clone, Debug)]
pub(crate) struct DueLook {
    pub(crate) hostname: HostnameId,
    pub(crate) key_type: KeyType,
    pub(crate) fingerprint: Fingerprint,
    /// Of the wildcard's that is shown in its place, where it is for standby and there is one.
    pub(crate) stand_in: Option<Fingerprint>,
    /// When it was issued or uploaded here.
    pub(crate) since: OffsetDateTime,
    pub(crate) look_at: OffsetDateTime,
    /// How many looks in a row brought nothing new.
    pub(crate) looks: u32,
    pub(crate) shown_at: Option<OffsetDateTime>,
    pub(crate) shown_by: PopSet,
    /// A name that is served with it, and the revision of its record; none where there is none.
    pub(crate) served: Option<(HostPattern, Revision)>,
}

/// What a PoP showed in the place of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Miss {
    pub(crate) pop: String,
    pub(crate) finding: Finding,
}

/// What the looks for a certificate have come to.
#[derive(Debug)]
pub(crate) struct Sighting<'a> {
    pub(crate) shown_by: &'a PopSet,
    /// When a PoP showed it first; none while none has.
    pub(crate) shown_at: Option<OffsetDateTime>,
    pub(crate) looks: u32,
    /// When PoPs are looked at next.
    pub(crate) look_at: Option<OffsetDateTime>,
    pub(crate) misses: &'a [Miss],
}

pub(super) const DUE: &str = "SELECT due.*, feed_record.revision, held.name, ( \
             SELECT other.fingerprint FROM hostname JOIN certificate AS own \
             ON own.hostname_id = hostname.id AND own.key_type = due.key_type AND own.issuer = 0 \
             JOIN held_name AS above ON above.name = '*.' || held.parent AND above.verified = 1 \
             JOIN certificate AS other \
             ON other.hostname_id = above.hostname_id AND other.key_type = due.key_type \
             WHERE hostname.id = due.hostname_id AND hostname.system = 1) FROM ( \
             SELECT hostname_id, key_type, fingerprint, created_at, look_at, looks, shown_at, \
                 shown_by FROM certificate WHERE look_at <= ? ORDER BY look_at LIMIT ?) AS due \
         LEFT JOIN held_name AS held ON held.name = ( \
             SELECT own.name FROM certificate_key AS own JOIN held_name AS mine \
             ON mine.name = own.name AND mine.hostname_id = own.hostname_id \
             WHERE own.hostname_id = due.hostname_id AND own.key_type = due.key_type \
             ORDER BY own.name DESC LIMIT 1) \
         LEFT JOIN feed_record ON feed_record.id = 'hostname/' || held.name";

/// At most `limit` certificates that are due at `now`, those that have waited longest first.
pub(crate) async fn due(
    on: &mut Connection,
    now: OffsetDateTime,
    limit: u32,
) -> Result<Vec<DueLook>, StoreError> {
    let rows = sqlx::query(DUE)
        .bind(now.unix_timestamp())
        .bind(i64::from(limit))
        .fetch_all(on)
        .await
        .map_err(StoreError::on("look for certificates to be seen"))?;
    Ok(readable("certificate", &rows, read))
}

pub(super) const FIRST_DUE: &str =
    "SELECT look_at FROM certificate WHERE look_at IS NOT NULL ORDER BY look_at LIMIT 1";

/// When the first certificate is due; none where none is.
pub(crate) async fn first_due(on: &mut Connection) -> Result<Option<OffsetDateTime>, StoreError> {
    let due = sqlx::query_scalar::<_, i64>(FIRST_DUE)
        .fetch_optional(on)
        .await
        .map_err(StoreError::on("look for certificates to be seen"))?;
    due.map(time_from_sql).transpose()
}

/// Keeps what the looks for a certificate have come to, unless there is another one by now. Says whether
/// that was so.
pub(crate) async fn keep(
    on: &mut Connection,
    due: &DueLook,
    sighting: &Sighting<'_>,
) -> Result<bool, StoreError> {
    let misses = (!sighting.misses.is_empty()).then(|| to_json(&sighting.misses)).transpose()?;
    let kept = sqlx::query(
        "UPDATE certificate SET shown_by = ?, shown_at = ?, looks = ?, look_at = ?, missed = ? \
         WHERE hostname_id = ? AND key_type = ? AND fingerprint = ?",
    )
    .bind(sighting.shown_by.as_bytes())
    .bind(sighting.shown_at.map(OffsetDateTime::unix_timestamp))
    .bind(i64::from(sighting.looks))
    .bind(sighting.look_at.map(OffsetDateTime::unix_timestamp))
    .bind(misses)
    .bind(due.hostname.0)
    .bind(key_type_to_sql(due.key_type))
    .bind(&due.fingerprint.0[..])
    .execute(on)
    .await
    .map_err(StoreError::on("keep what PoPs showed"))?;
    Ok(kept.rows_affected() > 0)
}

/// Notes that a hostname is served, and says how many milliseconds after it became active that was the
/// first time; none where it was not the first, or the hostname was never active.
pub(crate) async fn mark_served(
    on: &mut Connection,
    hostname: HostnameId,
    now: OffsetDateTime,
) -> Result<Option<u64>, StoreError> {
    let now = now.unix_timestamp_nanos() / 1_000_000;
    let now = to_sql(u64::try_from(now).unwrap_or(0));
    let took = sqlx::query_scalar::<_, Option<i64>>(
        "UPDATE hostname SET served_ms = ?1 WHERE id = ?2 AND served_ms IS NULL \
         RETURNING max(?1 - activated_ms, 0)",
    )
    .bind(now)
    .bind(hostname.0)
    .fetch_optional(on)
    .await
    .map_err(StoreError::on("note that a hostname is served"))?;
    took.flatten().map(|took| from_sql(took, "time")).transpose()
}

fn read(row: &SqliteRow) -> Result<DueLook, StoreError> {
    let fingerprint = |bytes: &[u8]| match bytes.try_into() {
        Ok(bytes) => Ok(Fingerprint(bytes)),
        Err(_) => Err(StoreError::Corrupt("certificate fingerprint")),
    };
    let served = match (row.get::<Option<&str>, _>(9), row.get::<Option<i64>, _>(8)) {
        (Some(name), Some(revision)) => {
            let name = name.parse().map_err(|_| StoreError::Corrupt("held name"))?;
            Some((name, Revision(from_sql(revision, "revision")?)))
        }
        _ => None,
    };
    Ok(DueLook {
        hostname: HostnameId(row.get(0)),
        key_type: key_type_from_sql(row.get(1)),
        fingerprint: fingerprint(row.get(2))?,
        stand_in: row.get::<Option<&[u8]>, _>(10).map(fingerprint).transpose()?,
        since: time_from_sql(row.get(3))?,
        look_at: time_from_sql(row.get(4))?,
        looks: u32::try_from(row.get::<i64, _>(5)).map_err(|_| StoreError::Corrupt("count"))?,
        shown_at: row.get::<Option<i64>, _>(6).map(time_from_sql).transpose()?,
        shown_by: PopSet::from_stored(row.get::<Option<&[u8]>, _>(7).unwrap_or_default()),
        served,
    })
}
