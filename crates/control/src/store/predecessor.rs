//! Certificates that others took the place of, for as long as these have not been seen to be served.

use std::collections::BTreeSet;

use landfall_feed::record::CertificateRecord;
use landfall_issuance::acme::RevocationReason;
use landfall_model::{Fingerprint, HostPattern, HostnameId};
use time::OffsetDateTime;

use super::{Connection, StoreError, certificate::read_record, to_json};

/// Sets the certificates of a hostname aside that others are about to take the place of. Where one of the
/// same type of key is set aside already, what came after it was never known to be served: the older one
/// stays, until it has ended and the newer one has not. Nobody goes on with what is revoked, or
/// whose key others know.
pub(crate) async fn retire(
    on: &mut Connection,
    hostname: HostnameId,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO predecessor (hostname_id, key_type, name, fingerprint, not_after, chain, \
             spki_sha256, seal_key_id, seal_enc, seal_cipher) \
         SELECT hostname_id, key_type, name, fingerprint, not_after, chain, spki_sha256, seal_key_id, \
             seal_enc, seal_cipher FROM certificate AS own \
             JOIN certificate_key USING (hostname_id, key_type) \
         WHERE hostname_id = ?1 AND NOT EXISTS (SELECT 1 FROM errand \
             WHERE errand.fingerprint = own.fingerprint AND (state = 1 OR reason = ?3)) \
         ON CONFLICT (hostname_id, key_type, name) DO UPDATE SET \
             fingerprint = excluded.fingerprint, not_after = excluded.not_after, \
             chain = excluded.chain, spki_sha256 = excluded.spki_sha256, \
             seal_key_id = excluded.seal_key_id, seal_enc = excluded.seal_enc, \
             seal_cipher = excluded.seal_cipher \
         WHERE predecessor.not_after <= ?2 AND excluded.not_after > ?2",
    )
    .bind(hostname.0)
    .bind(now.unix_timestamp())
    .bind(i64::from(RevocationReason::KeyCompromise.code()))
    .execute(on)
    .await
    .map_err(StoreError::on("keep replaced certificates"))?;
    Ok(())
}

/// What edges go on with for one of a hostname's names where they can't use its certificates, ECDSA first.
pub(crate) async fn records(
    on: &mut Connection,
    hostname: HostnameId,
    name: &HostPattern,
) -> Result<Vec<CertificateRecord>, StoreError> {
    let rows = sqlx::query(
        "SELECT chain, spki_sha256, seal_key_id, seal_enc, seal_cipher, 0 FROM predecessor \
         WHERE hostname_id = ? AND name = ? ORDER BY key_type",
    )
    .bind(hostname.0)
    .bind(name.to_string())
    .fetch_all(on)
    .await
    .map_err(StoreError::on("read replaced certificates"))?;
    rows.iter().map(read_record).collect()
}

/// At most `limit` hostnames after `after`, in their order, that have replaced certificates. Whether these have
/// come to their end is for edges to judge: the clock here may be wrong for a while.
pub(crate) async fn hostnames(
    on: &mut Connection,
    after: HostnameId,
    limit: u32,
) -> Result<Vec<HostnameId>, StoreError> {
    let found = sqlx::query_scalar::<_, i64>(
        "SELECT DISTINCT hostname_id FROM predecessor WHERE hostname_id > ? \
         ORDER BY hostname_id LIMIT ?",
    )
    .bind(after.0)
    .bind(i64::from(limit))
    .fetch_all(on)
    .await
    .map_err(StoreError::on("look for replaced certificates"))?;
    Ok(found.into_iter().map(HostnameId).collect())
}

/// Forgets a hostname's replaced certificates.
pub(crate) async fn forget(on: &mut Connection, hostname: HostnameId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM predecessor WHERE hostname_id = ?")
        .bind(hostname.0)
        .execute(on)
        .await
        .map_err(StoreError::on("forget replaced certificates"))?;
    Ok(())
}

/// Forgets a replaced certificate that is revoked, and says which hostnames had it.
pub(crate) async fn forget_revoked(
    on: &mut Connection,
    Fingerprint(fingerprint): Fingerprint,
) -> Result<BTreeSet<HostnameId>, StoreError> {
    let query = "DELETE FROM predecessor WHERE fingerprint = ? RETURNING hostname_id";
    let found = sqlx::query_scalar::<_, i64>(query).bind(&fingerprint[..]).fetch_all(on).await;
    let found = found.map_err(StoreError::on("forget replaced certificates"))?;
    Ok(found.into_iter().map(HostnameId).collect())
}

/// Forgets them for names that a hostname has no more.
pub(super) async fn leave_names(
    on: &mut Connection,
    hostname: HostnameId,
    names: &[HostPattern],
) -> Result<(), StoreError> {
    sqlx::query(
        "DELETE FROM predecessor WHERE hostname_id = ? \
         AND name IN (SELECT value FROM json_each(?))",
    )
    .bind(hostname.0)
    .bind(to_json(&names)?)
    .execute(on)
    .await
    .map_err(StoreError::on("forget replaced certificates"))?;
    Ok(())
}
