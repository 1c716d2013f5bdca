//! What was seen of the proof of claims.

use landfall_model::HostnameId;

use super::{Connection, StoreError, to_json};
use crate::hostname::ownership::OwnershipEvidence;

/// Keeps what the last look for a claim's token saw.
pub(crate) async fn keep(
    on: &mut Connection,
    hostname: HostnameId,
    evidence: &OwnershipEvidence,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO ownership (hostname_id, record, file, evidence) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (hostname_id) DO UPDATE SET record = ?2, file = ?3, evidence = ?4",
    )
    .bind(hostname.0)
    .bind(evidence.is_in_record())
    .bind(evidence.is_in_file())
    .bind(to_json(evidence)?)
    .execute(on)
    .await
    .map_err(StoreError::on("keep a proof of ownership"))?;
    Ok(())
}

/// Forgets what was seen for a name that was lost since.
pub(crate) async fn forget(on: &mut Connection, hostname: HostnameId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM ownership WHERE hostname_id = ?")
        .bind(hostname.0)
        .execute(on)
        .await
        .map_err(StoreError::on("forget a proof of ownership"))?;
    Ok(())
}

/// What the last look for a hostname's token saw; `None` where there was none.
pub(crate) async fn find(
    on: &mut Connection,
    hostname: HostnameId,
) -> Result<Option<OwnershipEvidence>, StoreError> {
    let text =
        sqlx::query_scalar::<_, String>("SELECT evidence FROM ownership WHERE hostname_id = ?")
            .bind(hostname.0)
            .fetch_optional(on)
            .await
            .map_err(StoreError::on("read a proof of ownership"))?;
    // What another version wrote in another form is as good as none: the next look replaces it.
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}
