//! What is sealed to which group key.

use std::collections::BTreeMap;

use landfall_feed::record::{Body, WireRecord};
use landfall_model::HostnameId;
use sqlx::Row;

use super::{Connection, StoreError, feed};

/// How many secrets are sealed to a group key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sealings {
    /// Hostnames that are served with a certificate whose private key is: without the key they go dark.
    pub hostnames: u64,
    /// Certificates whose private key is, those that were replaced and may still be served included.
    pub certificates: u64,
    /// Accounts at CAs, and revocations that wait and may need the certificate's own key.
    pub accounts: u64,
    /// Secrets of session tickets.
    pub tickets: u64,
}

/// Counts them, by the key's id.
pub(crate) async fn by_group_key(
    on: &mut Connection,
) -> Result<BTreeMap<String, Sealings>, StoreError> {
    let mut found: BTreeMap<String, Sealings> = BTreeMap::new();
    for (key, count) in counted(on, CERTIFICATES).await? {
        found.entry(key).or_default().certificates += count;
    }
    for (key, count) in counted(on, HOSTNAMES).await? {
        found.entry(key).or_default().hostnames += count;
    }
    for key in account_keys(on).await? {
        found.entry(key).or_default().accounts += 1;
    }
    for key in ticket_keys(on).await? {
        found.entry(key).or_default().tickets += 1;
    }
    Ok(found)
}

/// The group keys that secrets of session tickets are sealed to.
pub(crate) async fn ticket_keys(on: &mut Connection) -> Result<Vec<String>, StoreError> {
    let mut keys = Vec::new();
    for (_, encoded) in feed::tickets(on).await? {
        let record = WireRecord::read(&encoded).and_then(|record| record.decode());
        // One that can't be read is replaced at the next rotation.
        if let Ok(record) = record
            && let Body::Tickets(tickets) = record.body
        {
            keys.push(tickets.secret.key_id);
        }
    }
    Ok(keys)
}

/// At most `limit` hostnames after `after`, in their order, that are served with a certificate whose key is
/// sealed to a group key.
pub(crate) async fn hostnames(
    on: &mut Connection,
    (key, after): (&str, HostnameId),
    limit: u32,
) -> Result<Vec<HostnameId>, StoreError> {
    let found = sqlx::query_scalar::<_, i64>(PAGE)
        .bind(key)
        .bind(after.0)
        .bind(i64::from(limit))
        .fetch_all(on)
        .await
        .map_err(StoreError::on("look for what is sealed to a key"))?;
    Ok(found.into_iter().map(HostnameId).collect())
}

pub(super) const PAGE: &str = "SELECT DISTINCT hostname_id FROM certificate_key \
     WHERE seal_key_id = ? AND hostname_id > ? ORDER BY hostname_id LIMIT ?";

const CERTIFICATES: &str = "SELECT seal_key_id, count(*) FROM
         (SELECT DISTINCT seal_key_id, hostname_id, key_type, 0 FROM certificate_key
          UNION ALL
          SELECT DISTINCT seal_key_id, hostname_id, key_type, 1 FROM predecessor)
     GROUP BY seal_key_id";

const HOSTNAMES: &str = "SELECT seal_key_id, count(*) FROM
         (SELECT DISTINCT seal_key_id, hostname_id FROM certificate_key) GROUP BY seal_key_id";

async fn counted(
    on: &mut Connection,
    query: &'static str,
) -> Result<Vec<(String, u64)>, StoreError> {
    let rows = sqlx::query(query).fetch_all(on).await;
    let rows = rows.map_err(StoreError::on("count sealed keys"))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get::<i64, _>(1).unsigned_abs())).collect())
}

async fn account_keys(on: &mut Connection) -> Result<Vec<String>, StoreError> {
    let keys = sqlx::query_scalar(
        "SELECT seal_key_id FROM account
         UNION ALL
         SELECT next_seal_key_id FROM account WHERE next_seal_key_id IS NOT NULL
         UNION ALL
         SELECT json_extract(seal, '$.key_id') FROM errand WHERE seal IS NOT NULL",
    );
    keys.fetch_all(on).await.map_err(StoreError::on("read the accounts' keys"))
}
