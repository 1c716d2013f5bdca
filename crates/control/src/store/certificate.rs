//! Certificates and sealed keys.

use landfall_feed::record::CertificateRecord;
use landfall_model::{
    Der, Fingerprint, HostPattern, HostnameId, KeyType, NameError, Sealed, issuance::SealedName,
};
use sqlx::{AssertSqlSafe, Row, sqlite::SqliteRow};
use time::OffsetDateTime;

use super::{
    Connection, StoreError, from_json, hostname::PageIds, predecessor, readable::readable,
    time_from_sql, to_json,
};
use crate::{
    certificate::{
        CertificateIssuer, CertificateSummary, SealedCertificate, SealedKey, Sighted,
        chain::split_der, details::CertificateDetails,
    },
    watch::pop_set::PopSet,
};

/// Keeps a certificate in the place of the hostname's other one with its type of key.
pub(crate) async fn put(
    on: &mut Connection,
    hostname: HostnameId,
    certificate: &SealedCertificate,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let chain: Vec<u8> = certificate.chain.iter().flat_map(|Der(der)| der).copied().collect();
    let source = certificate.source.as_ref();
    // Its keys go with the one that was there; and with the first one of its own, what came with
    // the name from another property.
    sqlx::query("DELETE FROM certificate WHERE hostname_id = ? AND (key_type = ? OR issuer = ?)")
        .bind(hostname.0)
        .bind(key_type_to_sql(certificate.key_type))
        .bind(issuer_to_sql(CertificateIssuer::Inherited))
        .execute(&mut *on)
        .await
        .map_err(StoreError::on("replace a certificate"))?;
    sqlx::query(
        "INSERT INTO certificate \
         (hostname_id, key_type, issuer, fingerprint, not_before, not_after, renew_at, chain, \
          spki_sha256, created_at, authority, ari_id, advice, polled_at, poll_at, urgent_at, \
          look_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(hostname.0)
    .bind(key_type_to_sql(certificate.key_type))
    .bind(issuer_to_sql(certificate.issuer))
    .bind(&certificate.fingerprint.0[..])
    .bind(certificate.not_before.unix_timestamp())
    .bind(certificate.not_after.unix_timestamp())
    .bind(certificate.renew_at.map(OffsetDateTime::unix_timestamp))
    .bind(chain)
    .bind(&certificate.spki_sha256[..])
    .bind(now.unix_timestamp())
    .bind(source.map(|source| source.authority.as_str()))
    .bind(source.and_then(|source| source.ari_id.as_deref()))
    .bind(source.and_then(|source| source.advice.as_ref()).map(to_json).transpose()?)
    .bind(source.and_then(|source| source.advice.as_ref()).map(|_| now.unix_timestamp()))
    .bind(source.and_then(|source| source.poll_at).map(OffsetDateTime::unix_timestamp))
    .bind(source.map(|source| source.urgent_at.unix_timestamp()))
    .bind(now.unix_timestamp())
    .execute(&mut *on)
    .await
    .map_err(StoreError::on("keep a certificate"))?;
    for key in &certificate.keys {
        put_key(on, hostname, certificate.key_type, key).await?;
    }
    Ok(())
}

async fn put_key(
    on: &mut Connection,
    hostname: HostnameId,
    key_type: KeyType,
    key: &SealedKey,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO certificate_key \
         (hostname_id, key_type, name, seal_key_id, seal_enc, seal_cipher) \
         VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(hostname.0)
    .bind(key_type_to_sql(key_type))
    .bind(key.name.to_string())
    .bind(&key.sealed.key_id)
    .bind(&key.sealed.enc)
    .bind(&key.sealed.ciphertext)
    .execute(on)
    .await
    .map_err(StoreError::on("keep a certificate's key"))?;
    Ok(())
}

/// Removes a hostname's certificates of one issuer, and says how many there were.
pub(crate) async fn remove(
    on: &mut Connection,
    hostname: HostnameId,
    issuer: CertificateIssuer,
) -> Result<u64, StoreError> {
    let done = sqlx::query("DELETE FROM certificate WHERE hostname_id = ? AND issuer = ?")
        .bind(hostname.0)
        .bind(issuer_to_sql(issuer))
        .execute(on)
        .await
        .map_err(StoreError::on("remove a certificate"))?;
    Ok(done.rows_affected())
}

/// Removes all certificates of a hostname, and those that they took the place of.
pub(crate) async fn remove_all(
    on: &mut Connection,
    hostname: HostnameId,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM certificate WHERE hostname_id = ?")
        .bind(hostname.0)
        .execute(&mut *on)
        .await
        .map_err(StoreError::on("remove certificates"))?;
    predecessor::forget(on, hostname).await
}

/// Lets a hostname that has no certificate have the ones that another is served with for `names`.
/// What the other's owner uploaded is no more than borrowed.
pub(crate) async fn inherit(
    on: &mut Connection,
    (from, to): (HostnameId, HostnameId),
    names: &[HostPattern],
) -> Result<(), StoreError> {
    let names = to_json(&names)?;
    sqlx::query(
        "INSERT INTO certificate (hostname_id, key_type, issuer, fingerprint, not_before, \
             not_after, renew_at, chain, spki_sha256, created_at, authority, ari_id, advice, \
             polled_at, poll_at, urgent_at, shown_at, shown_by, look_at) \
         SELECT ?2, key_type, iif(issuer = 1, 2, issuer), fingerprint, not_before, not_after, \
             renew_at, chain, spki_sha256, created_at, authority, ari_id, advice, polled_at, \
             poll_at, urgent_at, shown_at, shown_by, look_at FROM certificate \
         WHERE hostname_id = ?1 AND NOT EXISTS (SELECT 1 FROM certificate WHERE hostname_id = ?2) \
         AND EXISTS (SELECT 1 FROM certificate_key AS own WHERE own.hostname_id = ?1 \
             AND own.key_type = certificate.key_type \
             AND own.name IN (SELECT value FROM json_each(?3)))",
    )
    .bind(from.0)
    .bind(to.0)
    .bind(&names)
    .execute(&mut *on)
    .await
    .map_err(StoreError::on("hand certificates on"))?;
    // Of those that came over now, which have the former ones' fingerprints.
    sqlx::query(
        "INSERT INTO certificate_key \
             (hostname_id, key_type, name, seal_key_id, seal_enc, seal_cipher) \
         SELECT ?2, key_type, name, seal_key_id, seal_enc, seal_cipher FROM certificate_key AS own \
         WHERE own.hostname_id = ?1 AND own.name IN (SELECT value FROM json_each(?3)) \
         AND EXISTS (SELECT 1 FROM certificate AS before JOIN certificate AS after \
             USING (key_type, fingerprint) WHERE before.hostname_id = ?1 \
             AND after.hostname_id = ?2 AND key_type = own.key_type) \
         ON CONFLICT DO NOTHING",
    )
    .bind(from.0)
    .bind(to.0)
    .bind(&names)
    .execute(on)
    .await
    .map_err(StoreError::on("hand certificates' keys on"))?;
    Ok(())
}

/// Takes from a hostname's certificates the keys for `names`, which it has no more, and those of its
/// certificates that are then for nothing.
pub(crate) async fn leave_names(
    on: &mut Connection,
    hostname: HostnameId,
    names: &[HostPattern],
) -> Result<(), StoreError> {
    predecessor::leave_names(on, hostname, names).await?;
    let names = to_json(&names)?;
    sqlx::query(
        "DELETE FROM certificate_key WHERE hostname_id = ? \
         AND name IN (SELECT value FROM json_each(?))",
    )
    .bind(hostname.0)
    .bind(&names)
    .execute(&mut *on)
    .await
    .map_err(StoreError::on("remove certificates' keys"))?;
    sqlx::query(
        "DELETE FROM certificate WHERE hostname_id = ? AND NOT EXISTS (SELECT 1 \
         FROM certificate_key AS own WHERE own.hostname_id = certificate.hostname_id \
         AND own.key_type = certificate.key_type)",
    )
    .bind(hostname.0)
    .execute(on)
    .await
    .map_err(StoreError::on("remove certificates without a key"))?;
    Ok(())
}

/// A hostname's certificates as edges get them for one of its names, ECDSA first. Those of the internal CA for
/// system hostnames are for standby.
pub(crate) async fn records(
    on: &mut Connection,
    hostname: HostnameId,
    name: &HostPattern,
) -> Result<Vec<CertificateRecord>, StoreError> {
    let rows = sqlx::query(
        "SELECT chain, spki_sha256, seal_key_id, seal_enc, seal_cipher, issuer = ? AND EXISTS \
             (SELECT 1 FROM hostname WHERE hostname.id = hostname_id AND system = 1) \
         FROM certificate JOIN certificate_key USING (hostname_id, key_type) \
         WHERE hostname_id = ? AND name = ? ORDER BY key_type",
    )
    .bind(issuer_to_sql(CertificateIssuer::Internal))
    .bind(hostname.0)
    .bind(name.to_string())
    .fetch_all(on)
    .await
    .map_err(StoreError::on("read certificates"))?;
    rows.iter().map(read_record).collect()
}

/// What [`read_summary`] reads.
const SUMMARY: &str = "SELECT hostname_id, key_type, issuer, fingerprint, not_before, not_after, \
     created_at, chain, (SELECT group_concat(name, ' ') FROM certificate_key AS own \
     WHERE own.hostname_id = certificate.hostname_id AND own.key_type = certificate.key_type \
     AND EXISTS (SELECT 1 FROM held_name AS held WHERE held.name = own.name \
                 AND held.hostname_id = own.hostname_id)), shown_at, shown_by, missed \
     FROM certificate";

/// The chain of a hostname's certificate with this type of key, the leaf first.
pub(crate) async fn chain(
    on: &mut Connection,
    hostname: HostnameId,
    key_type: KeyType,
) -> Result<Vec<Der>, StoreError> {
    let query = "SELECT chain FROM certificate WHERE hostname_id = ? AND key_type = ?";
    let chain = sqlx::query_scalar::<_, Vec<u8>>(query)
        .bind(hostname.0)
        .bind(key_type_to_sql(key_type))
        .fetch_optional(on)
        .await
        .map_err(StoreError::on("read a certificate"))?;
    split(&chain.unwrap_or_default())
}

/// A sealed key of a hostname's certificate with this type of key.
pub(crate) async fn sealed_key(
    on: &mut Connection,
    hostname: HostnameId,
    key_type: KeyType,
) -> Result<Option<SealedName>, StoreError> {
    let row = sqlx::query(
        "SELECT name, seal_key_id, seal_enc, seal_cipher FROM certificate_key \
         WHERE hostname_id = ? AND key_type = ? ORDER BY name LIMIT 1",
    )
    .bind(hostname.0)
    .bind(key_type_to_sql(key_type))
    .fetch_optional(on)
    .await
    .map_err(StoreError::on("read a certificate's key"))?;
    let read = |row: SqliteRow| {
        let name: &str = row.get(0);
        Ok(SealedName {
            name: name.parse().map_err(|_| StoreError::Corrupt("certificate's name"))?,
            key: Sealed { key_id: row.get(1), enc: row.get(2), ciphertext: row.get(3) },
        })
    };
    row.map(read).transpose()
}

/// The chains that the owners of the hostnames of a page have uploaded.
pub(crate) async fn uploaded_chains_of_page(
    on: &mut Connection,
    page: &PageIds,
) -> Result<Vec<(HostnameId, KeyType, Vec<Der>)>, StoreError> {
    let rows = sqlx::query(
        "SELECT hostname_id, key_type, chain FROM certificate \
         WHERE hostname_id IN (SELECT value FROM json_each(?)) AND issuer = ?",
    )
    .bind(page.as_json())
    .bind(issuer_to_sql(CertificateIssuer::Uploaded))
    .fetch_all(on)
    .await
    .map_err(StoreError::on("read certificates"))?;
    let read = |row: &SqliteRow| {
        let chain = split(row.get(2))?;
        Ok((HostnameId(row.get(0)), key_type_from_sql(row.get(1)), chain))
    };
    Ok(readable("certificate", &rows, read))
}

fn split(chain: &[u8]) -> Result<Vec<Der>, StoreError> {
    let chain = split_der(chain).ok_or(StoreError::Corrupt("certificate chain"))?;
    Ok(chain.into_iter().map(|der| Der(der.to_vec())).collect())
}

/// What the API says of one hostname's certificates, ECDSA first.
pub(crate) async fn summaries(
    on: &mut Connection,
    hostname: HostnameId,
) -> Result<Vec<CertificateSummary>, StoreError> {
    let query = format!("{SUMMARY} WHERE hostname_id = ? ORDER BY key_type");
    let rows = sqlx::query(AssertSqlSafe(query))
        .bind(hostname.0)
        .fetch_all(on)
        .await
        .map_err(StoreError::on("read certificates"))?;
    rows.iter().map(read_summary).collect()
}

/// The same for a page of [`super::hostname::list`] with the same arguments.
pub(crate) async fn summaries_of_page(
    on: &mut Connection,
    page: &PageIds,
) -> Result<Vec<CertificateSummary>, StoreError> {
    let query = format!(
        "{SUMMARY} WHERE hostname_id IN \
         (SELECT value FROM json_each(?)) \
         ORDER BY hostname_id, key_type"
    );
    let rows = sqlx::query(AssertSqlSafe(query))
        .bind(page.as_json())
        .fetch_all(on)
        .await
        .map_err(StoreError::on("read certificates"))?;
    Ok(readable("certificate", &rows, read_summary))
}

/// Where a hostname's certificates are from: the name of a CA that an agent asked, else a word.
pub(crate) async fn issuers(
    on: &mut Connection,
    hostname: HostnameId,
) -> Result<Vec<String>, StoreError> {
    let query = "SELECT DISTINCT CASE issuer WHEN 0 THEN 'internal' WHEN 1 THEN 'uploaded' \
             WHEN 2 THEN 'inherited' ELSE ifnull(authority, '-') END \
         FROM certificate WHERE hostname_id = ? ORDER BY 1";
    let found = sqlx::query_scalar(query).bind(hostname.0).fetch_all(on).await;
    found.map_err(StoreError::on("read where certificates are from"))
}

/// Whether a hostname has a certificate that its owner uploaded.
pub(crate) async fn any_uploaded(
    on: &mut Connection,
    hostname: HostnameId,
) -> Result<bool, StoreError> {
    let query = "SELECT EXISTS (SELECT 1 FROM certificate WHERE hostname_id = ? AND issuer = ?)";
    sqlx::query_scalar(query)
        .bind(hostname.0)
        .bind(issuer_to_sql(CertificateIssuer::Uploaded))
        .fetch_one(on)
        .await
        .map_err(StoreError::on("look for uploaded certificates"))
}

pub(super) const DUE_FOR_RENEWAL: &str = "SELECT hostname_id FROM certificate \
         WHERE renew_at <= ? AND unasked = 1 ORDER BY renew_at LIMIT ?";

/// What the internal CA issued while the clock was ahead is not valid yet.
pub(super) const POSTDATED: &str = "SELECT hostname_id FROM certificate \
         WHERE issuer = 0 AND unasked = 1 AND not_before > ? LIMIT ?";

/// At most `limit` hostnames whose managed certificate is due at `now` and not asked for, the most
/// urgent first: before all others those of the internal CA that are not valid yet. Those whose DNS has
/// left are not renewed.
pub(crate) async fn due_for_renewal(
    on: &mut Connection,
    now: OffsetDateTime,
    limit: u32,
) -> Result<Vec<HostnameId>, StoreError> {
    let mut ids = Vec::new();
    for query in [POSTDATED, DUE_FOR_RENEWAL] {
        let left = i64::from(limit).saturating_sub(i64::try_from(ids.len()).unwrap_or(i64::MAX));
        let found = sqlx::query_scalar::<_, i64>(query)
            .bind(now.unix_timestamp())
            .bind(left.max(0))
            .fetch_all(&mut *on)
            .await
            .map_err(StoreError::on("look for certificates to renew"))?;
        ids.extend(found);
    }
    Ok(ids.into_iter().map(HostnameId).collect())
}

pub(super) fn read_record(row: &SqliteRow) -> Result<CertificateRecord, StoreError> {
    let chain: &[u8] = row.get(0);
    let chain = split_der(chain).ok_or(StoreError::Corrupt("certificate chain"))?;
    Ok(CertificateRecord {
        chain: chain.into_iter().map(|der| Der(der.to_vec())).collect(),
        spki_sha256: row.get(1),
        key: Sealed { key_id: row.get(2), enc: row.get(3), ciphertext: row.get(4) },
        standby: row.get(5),
    })
}

fn read_summary(row: &SqliteRow) -> Result<CertificateSummary, StoreError> {
    let fingerprint: &[u8] = row.get(3);
    let fingerprint =
        fingerprint.try_into().map_err(|_| StoreError::Corrupt("certificate fingerprint"))?;
    let details = CertificateDetails::read(row.get(7));
    let misses = row.get::<Option<&str>, _>(11).map(|misses| from_json(misses, "looks at PoPs"));
    let misses = misses.transpose()?;
    let names: Option<&str> = row.get(8);
    let serves = names.unwrap_or_default().split_whitespace().map(str::parse).collect();
    let serves: Result<Vec<HostPattern>, NameError> = serves;
    Ok(CertificateSummary {
        hostname: HostnameId(row.get(0)),
        key_type: key_type_from_sql(row.get(1)),
        issuer: match row.get::<i64, _>(2) {
            0 => CertificateIssuer::Internal,
            1 => CertificateIssuer::Uploaded,
            3 => CertificateIssuer::Authority,
            _ => CertificateIssuer::Inherited,
        },
        fingerprint: Fingerprint(fingerprint),
        not_before: time_from_sql(row.get(4))?,
        not_after: time_from_sql(row.get(5))?,
        details: details.ok_or(StoreError::Corrupt("certificate"))?,
        serves: serves.map_err(|_| StoreError::Corrupt("certificate's name"))?,
        created_at: time_from_sql(row.get(6))?,
        sighted: Sighted {
            at: row.get::<Option<i64>, _>(9).map(time_from_sql).transpose()?,
            by: PopSet::from_stored(row.get::<Option<&[u8]>, _>(10).unwrap_or_default()),
            misses: misses.unwrap_or_default(),
        },
    })
}

pub(super) fn key_type_from_sql(number: i64) -> KeyType {
    match number {
        0 => KeyType::Ecdsa,
        _ => KeyType::Rsa,
    }
}

pub(super) fn key_type_to_sql(key_type: KeyType) -> i64 {
    match key_type {
        KeyType::Ecdsa => 0,
        KeyType::Rsa => 1,
    }
}

fn issuer_to_sql(issuer: CertificateIssuer) -> i64 {
    match issuer {
        CertificateIssuer::Internal => 0,
        CertificateIssuer::Uploaded => 1,
        CertificateIssuer::Inherited => 2,
        CertificateIssuer::Authority => 3,
    }
}
