//! When CAs want certificates renewed.

use landfall_model::{AuthorityName, Fingerprint, HostnameId, KeyType, issuance::RenewalAdvice};
use sqlx::{AssertSqlSafe, Row, sqlite::SqliteRow};
use time::{Duration, OffsetDateTime};

use super::{
    Connection, StoreError, certificate::key_type_from_sql, from_json, time_from_sql, to_json,
};
use crate::token::PopId;

/// A certificate that an agent obtained, as far as its renewal goes by it.
#[derive(Clone, Debug)]
pub(crate) struct Renewable {
    pub(crate) hostname: HostnameId,
    pub(crate) authority: AuthorityName,
    /// What the CA knows it by (RFC 9773 section 4.1).
    pub(crate) ari_id: Option<String>,
    pub(crate) key_type: KeyType,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) not_before: OffsetDateTime,
    pub(crate) not_after: OffsetDateTime,
    pub(crate) issued_at: OffsetDateTime,
    /// When the next one is asked for.
    pub(crate) renew_at: OffsetDateTime,
    pub(crate) advice: Option<RenewalAdvice>,
    pub(crate) polled_at: Option<OffsetDateTime>,
    /// Whose agent asks the CA now, and until when that PoP may answer.
    pub(crate) asked: Option<(PopId, OffsetDateTime)>,
}

impl Renewable {
    /// As the rules of renewals take it.
    pub(crate) fn as_served(&self) -> landfall_issuance::renewal::Certificate<'_> {
        landfall_issuance::renewal::Certificate {
            hostname: self.hostname,
            seed: seed(&self.fingerprint.0),
            not_before: self.not_before,
            not_after: self.not_after,
            issued_at: self.issued_at,
            advice: self.advice.as_ref(),
        }
    }
}

/// When a certificate is to be renewed.
#[derive(Clone, Debug)]
pub(crate) struct PlannedRenewal {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) renew_at: OffsetDateTime,
    /// What its CA has said last, where it says anything.
    pub(crate) advice: Option<RenewalAdvice>,
}

/// When a hostname's certificates are renewed by themselves, the first one first.
pub(crate) async fn planned(
    on: &mut Connection,
    hostname: HostnameId,
) -> Result<Vec<PlannedRenewal>, StoreError> {
    let rows = sqlx::query(
        "SELECT fingerprint, renew_at, advice FROM certificate \
         WHERE hostname_id = ? AND renew_at IS NOT NULL ORDER BY renew_at",
    )
    .bind(hostname.0)
    .fetch_all(on)
    .await
    .map_err(StoreError::on("read when certificates are renewed"))?;
    let read = |row: &SqliteRow| {
        let (fingerprint, advice): (&[u8], Option<&str>) = (row.get(0), row.get(2));
        let corrupt = |_| StoreError::Corrupt("fingerprint");
        Ok(PlannedRenewal {
            fingerprint: Fingerprint(fingerprint.try_into().map_err(corrupt)?),
            renew_at: time_from_sql(row.get(1))?,
            advice: advice.map(|text| from_json(text, "advice")).transpose()?,
        })
    };
    rows.iter().map(read).collect()
}

/// Until when a certificate that an agent obtained has to be replaced: it ends then, or is revoked. None where
/// none is served.
pub(crate) async fn replace_by(
    on: &mut Connection,
    hostname: HostnameId,
    now: OffsetDateTime,
) -> Result<Option<OffsetDateTime>, StoreError> {
    let until = sqlx::query_scalar::<_, Option<i64>>(
        "SELECT min(until) FROM ( \
             SELECT not_after AS until FROM certificate WHERE hostname_id = ?1 AND issuer = 3 \
             UNION ALL \
             SELECT next_at FROM errand WHERE hostname_id = ?1 AND kind = 0 AND state = 0) \
         WHERE until > ?2",
    )
    .bind(hostname.0)
    .bind(now.unix_timestamp())
    .fetch_one(on)
    .await
    .map_err(StoreError::on("read until when certificates are good"))?;
    until.map(time_from_sql).transpose()
}

const COLUMNS: &str = "hostname_id, authority, ari_id, fingerprint, not_before, not_after, \
     created_at, advice, polled_at, key_type, asked_pop, poll_at, renew_at";

/// No question is put off for longer, unless a clock was ahead: the longest time between two, and some.
const FARTHEST: Duration = Duration::days(2);
/// How long a certificate is not asked about whose row means nothing.
const UNREADABLE: Duration = Duration::days(1);

/// A hostname's certificates that agents obtained, the first to end first.
pub(crate) async fn of(
    on: &mut Connection,
    hostname: HostnameId,
) -> Result<Vec<Renewable>, StoreError> {
    let query = format!(
        "SELECT {COLUMNS} FROM certificate WHERE hostname_id = ? AND issuer = 3 ORDER BY not_after"
    );
    let rows = sqlx::query(AssertSqlSafe(query)).bind(hostname.0).fetch_all(on).await;
    rows.map_err(StoreError::on("read certificates"))?.iter().map(read).collect()
}

/// Whether there is a certificate about which its CA is to be asked at `now`.
pub(crate) async fn is_any_due(
    on: &mut Connection,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM certificate WHERE poll_at <= ? AND issuer = 3) \
         OR EXISTS (SELECT 1 FROM certificate WHERE poll_at > ? AND issuer = 3)",
    )
    .bind(now.unix_timestamp())
    .bind((now + FARTHEST).unix_timestamp())
    .fetch_one(on)
    .await
    .map_err(StoreError::on("look for certificates to ask about"))
}

pub(super) fn to_ask_query() -> String {
    format!(
        "SELECT {COLUMNS} FROM (SELECT * FROM certificate \
             WHERE poll_at <= ?1 AND issuer = 3 ORDER BY poll_at LIMIT ?3) \
         UNION ALL SELECT {COLUMNS} FROM (SELECT * FROM certificate \
             WHERE poll_at > ?2 AND issuer = 3 ORDER BY poll_at LIMIT ?3)"
    )
}

/// At most `limit` certificates about which CAs are to be asked at `now`. Those whose rows mean nothing are
/// put off: they must not keep others from being asked about.
pub(crate) async fn to_ask(
    on: &mut Connection,
    now: OffsetDateTime,
    limit: u32,
) -> Result<Vec<Renewable>, StoreError> {
    let rows = sqlx::query(AssertSqlSafe(to_ask_query()))
        .bind(now.unix_timestamp())
        .bind((now + FARTHEST).unix_timestamp())
        .bind(i64::from(limit))
        .fetch_all(&mut *on)
        .await
        .map_err(StoreError::on("look for certificates to ask about"))?;
    let mut found = Vec::with_capacity(rows.len());
    for row in &rows {
        match read(row) {
            Ok(one) => found.push(one),
            Err(error) => {
                let hostname = HostnameId(row.get(0));
                tracing::error!(?hostname, %error, "a certificate can't be read, and is put off");
                sqlx::query(
                    "UPDATE certificate SET poll_at = ? WHERE hostname_id = ? AND issuer = 3",
                )
                .bind((now + UNREADABLE).unix_timestamp())
                .bind(hostname.0)
                .execute(&mut *on)
                .await
                .map_err(StoreError::on("keep when a CA is asked"))?;
            }
        }
    }
    Ok(found)
}

/// Keeps when a certificate's CA is asked next, and by whose agent it is asked until then.
pub(crate) async fn put_off(
    on: &mut Connection,
    certificate: &Renewable,
    (poll_at, asked): (OffsetDateTime, Option<PopId>),
) -> Result<(), StoreError> {
    let query = "UPDATE certificate SET poll_at = ?, asked_pop = ? \
                 WHERE hostname_id = ? AND ari_id = ?";
    sqlx::query(query)
        .bind(poll_at.unix_timestamp())
        .bind(asked.map(|pop| pop.0))
        .bind(certificate.hostname.0)
        .bind(&certificate.ari_id)
        .execute(on)
        .await
        .map_err(StoreError::on("keep when a CA is asked"))?;
    Ok(())
}

/// When what is to become of a certificate's renewal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timetable {
    /// When it is asked for.
    pub(crate) renew_at: OffsetDateTime,
    /// From when on it goes before others.
    pub(crate) urgent_at: OffsetDateTime,
    /// When its CA is asked next.
    pub(crate) poll_at: OffsetDateTime,
}

/// Keeps what a CA said, and what follows from it, for the open job too.
pub(crate) async fn keep(
    on: &mut Connection,
    certificate: &Renewable,
    times: Timetable,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE job SET deadline = min(deadline, ?) \
         WHERE hostname_id = ? AND state = 0 AND deadline IS NOT NULL",
    )
    .bind(times.urgent_at.unix_timestamp())
    .bind(certificate.hostname.0)
    .execute(&mut *on)
    .await
    .map_err(StoreError::on("hasten a renewal"))?;
    sqlx::query(
        "UPDATE certificate SET advice = ?, polled_at = ?, renew_at = ?, urgent_at = ?, poll_at = ?, \
             asked_pop = NULL \
         WHERE hostname_id = ? AND ari_id = ?",
    )
    .bind(certificate.advice.as_ref().map(to_json).transpose()?)
    .bind(certificate.polled_at.map(OffsetDateTime::unix_timestamp))
    .bind(times.renew_at.unix_timestamp())
    .bind(times.urgent_at.unix_timestamp())
    .bind(times.poll_at.unix_timestamp())
    .bind(certificate.hostname.0)
    .bind(&certificate.ari_id)
    .execute(on)
    .await
    .map_err(StoreError::on("keep when a CA wants a renewal"))?;
    Ok(())
}

/// Makes a hostname's certificates that agents obtained due for renewal.
pub(crate) async fn hasten(
    on: &mut Connection,
    hostname: HostnameId,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE certificate SET renew_at = min(renew_at, ?) WHERE hostname_id = ? AND issuer = 3",
    )
    .bind(now.unix_timestamp())
    .bind(hostname.0)
    .execute(on)
    .await
    .map_err(StoreError::on("hasten a renewal"))?;
    Ok(())
}

fn read(row: &SqliteRow) -> Result<Renewable, StoreError> {
    let authority: Option<&str> = row.get(1);
    let advice: Option<&str> = row.get(7);
    let fingerprint: &[u8] = row.get(3);
    let corrupt = || StoreError::Corrupt("certificate fingerprint");
    Ok(Renewable {
        hostname: HostnameId(row.get(0)),
        authority: authority
            .and_then(|name| name.parse().ok())
            .ok_or(StoreError::Corrupt("CA's name"))?,
        ari_id: row.get(2),
        fingerprint: Fingerprint(fingerprint.try_into().map_err(|_| corrupt())?),
        not_before: time_from_sql(row.get(4))?,
        not_after: time_from_sql(row.get(5))?,
        issued_at: time_from_sql(row.get(6))?,
        renew_at: time_from_sql(row.get(12))?,
        // What means nothing is asked for again.
        advice: advice.and_then(|advice| from_json(advice, "advice").ok()),
        polled_at: row.get::<Option<i64>, _>(8).map(time_from_sql).transpose()?,
        key_type: key_type_from_sql(row.get(9)),
        asked: match (row.get::<Option<i64>, _>(10), row.get::<Option<i64>, _>(11)) {
            (Some(pop), Some(until)) => Some((PopId(pop), time_from_sql(until)?)),
            (None, _) | (_, None) => None,
        },
    })
}

/// The first bytes of a fingerprint.
pub(crate) fn seed(fingerprint: &[u8]) -> u64 {
    fingerprint.iter().take(8).fold(0, |seed, byte| seed << 8 | u64::from(*byte))
}
