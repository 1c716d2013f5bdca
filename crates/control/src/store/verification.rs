//! Where the verification of hostnames stands.

use landfall_model::HostnameId;
use time::OffsetDateTime;

use super::{Connection, StoreError};

/// Starts the verification of a new hostname: its first check is due at once.
pub(crate) async fn begin(
    on: &mut Connection,
    hostname: HostnameId,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT OR REPLACE INTO verification (hostname_id, lane, next_at, since) \
         VALUES (?1, 0, ?2, ?2)",
    )
    .bind(hostname.0)
    .bind(now.unix_timestamp())
    .execute(on)
    .await
    .map_err(StoreError::on("begin a verification"))?;
    Ok(())
}
