//! Hostnames.

use std::collections::HashMap;

use landfall_feed::seal::sha256;
use landfall_model::{HostPattern, Hostname, HostnameId, PropertyId, TlsPolicy};
use sqlx::{AssertSqlSafe, Row, sqlite::SqliteRow};
use time::OffsetDateTime;

use super::{
    Connection, StoreError, from_json, from_sql,
    readable::{Filling, readable},
    time_from_sql, to_json,
};
use crate::hostname::{
    HostnameOrigin, HostnameSpec, HostnameStatus, Issuance, ManagedHostname, Title,
};

/// A hostname that is about to be.
pub(crate) struct NewHostname<'a> {
    pub(crate) property: PropertyId,
    pub(crate) name: &'a HostPattern,
    pub(crate) ids: &'a HostnameIds,
    pub(crate) origin: HostnameOrigin,
    pub(crate) status: HostnameStatus,
    pub(crate) issuance: Issuance,
    pub(crate) spec: &'a HostnameSpec,
}

/// What a hostname is known by elsewhere, made at random.
pub(crate) struct HostnameIds {
    pub(crate) public_id: String,
    pub(crate) ssl_id: String,
    pub(crate) ownership_token: String,
}

/// Inserts a hostname. A name that the property has is a unique violation.
pub(crate) async fn insert(
    on: &mut Connection,
    new: &NewHostname<'_>,
    now: OffsetDateTime,
) -> Result<HostnameId, StoreError> {
    let spec = new.spec;
    let tls = to_json(&spec.tls)?;
    let done = sqlx::query(
        "INSERT INTO hostname \
         (property_id, name, public_id, ssl_id, ownership_token, system, status, internal, route, \
          tls, policy, metadata, wish, created_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(new.property.0)
    .bind(new.name.to_string())
    .bind(&new.ids.public_id)
    .bind(&new.ids.ssl_id)
    .bind(&new.ids.ownership_token)
    .bind(i64::from(new.origin == HostnameOrigin::System))
    .bind(status_to_sql(new.status))
    .bind(i64::from(new.issuance == Issuance::Internal))
    .bind(to_json(&spec.route)?)
    .bind(&tls)
    .bind(policy_id(&spec.tls, &tls))
    .bind(to_json(&spec.metadata)?)
    .bind(to_json(&spec.wish)?)
    .bind(now.unix_timestamp())
    .execute(on)
    .await
    .map_err(StoreError::on("add a hostname"))?;
    Ok(HostnameId(done.last_insert_rowid()))
}

/// The columns that [`read`] reads.
const COLUMNS: &str = "id, property_id, name, system, status, internal, route, tls, created_at, \
     public_id, ssl_id, ownership_token, metadata, wish, version, claimed";

/// Finds a hostname of any property.
pub(crate) async fn find(
    on: &mut Connection,
    id: HostnameId,
) -> Result<Option<ManagedHostname>, StoreError> {
    let query = format!("SELECT {COLUMNS} FROM hostname WHERE id = ?");
    let row = sqlx::query(AssertSqlSafe(query)).bind(id.0).fetch_optional(on).await;
    row.map_err(StoreError::on("read a hostname"))?.as_ref().map(read).transpose()
}

/// Which hostnames of a property are wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostnameFilter {
    /// Those with one of these; none stands for any.
    pub(crate) statuses: &'static [HostnameStatus],
    /// Those whose name begins so.
    pub(crate) prefix: Option<String>,
}

/// A page of hostnames, by which what belongs to them is found.
pub(crate) struct PageIds(String);

impl PageIds {
    /// The ids of these.
    pub(crate) fn of(hostnames: &[ManagedHostname]) -> Self {
        Self::of_ids(hostnames.iter().map(|own| own.id))
    }

    fn of_ids(ids: impl Iterator<Item = HostnameId>) -> Self {
        let ids: Vec<String> = ids.map(|id| id.0.to_string()).collect();
        Self(format!("[{}]", ids.join(",")))
    }

    /// For `json_each`.
    pub(super) fn as_json(&self) -> &str {
        &self.0
    }
}

/// Those of these hostnames that there are, in the order of `ids`.
pub(crate) async fn find_all(
    on: &mut Connection,
    ids: &[HostnameId],
) -> Result<Vec<ManagedHostname>, StoreError> {
    let query =
        format!("SELECT {COLUMNS} FROM hostname WHERE id IN (SELECT value FROM json_each(?))");
    let rows = sqlx::query(AssertSqlSafe(query))
        .bind(PageIds::of_ids(ids.iter().copied()).0)
        .fetch_all(on)
        .await
        .map_err(StoreError::on("read hostnames"))?;
    let mut found = HashMap::with_capacity(rows.len());
    for hostname in readable("hostname", &rows, read) {
        found.insert(hostname.id, hostname);
    }
    Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
}

/// At most `limit` of the hostnames of a property with ids above `after` that `filter` lets through,
/// in the order of ids.
pub(crate) async fn list(
    on: &mut Connection,
    property: PropertyId,
    filter: &HostnameFilter,
    (after, limit): (i64, u32),
) -> Result<Vec<ManagedHostname>, StoreError> {
    // A unary plus keeps SQLite from walking every id where the index of names finds the few.
    let (order, names) = match filter.prefix {
        Some(_) => ("+id", " AND name >= ?3 AND name < ?3 || char(127)"),
        None => ("id", ""),
    };
    let statuses: Vec<String> =
        filter.statuses.iter().map(|status| status_to_sql(*status).to_string()).collect();
    let statuses = match statuses.as_slice() {
        [] => String::new(),
        some => format!(" AND status IN ({})", some.join(",")),
    };
    let query = format!(
        "SELECT {COLUMNS} FROM hostname WHERE property_id = ?1 AND {order} > ?2{names}{statuses} \
         ORDER BY {order} LIMIT ?4"
    );
    let mut page = Filling::new(after, limit);
    while let Some((after, limit)) = page.wanted() {
        let rows = sqlx::query(AssertSqlSafe(query.as_str()))
            .bind(property.0)
            .bind(after)
            .bind(filter.prefix.as_deref())
            .bind(i64::from(limit))
            .fetch_all(&mut *on)
            .await
            .map_err(StoreError::on("list hostnames"))?;
        page.fill("hostname", &rows, read);
    }
    Ok(page.done())
}

/// The hostname of a property with this name.
pub(crate) async fn find_by_name(
    on: &mut Connection,
    property: PropertyId,
    name: &HostPattern,
) -> Result<Option<ManagedHostname>, StoreError> {
    let query = format!("SELECT {COLUMNS} FROM hostname WHERE property_id = ? AND name = ?");
    let row = sqlx::query(AssertSqlSafe(query))
        .bind(property.0)
        .bind(name.to_string())
        .fetch_optional(on)
        .await;
    row.map_err(StoreError::on("read a hostname"))?.as_ref().map(read).transpose()
}

/// The hostname that has a name, whoever's it is.
pub(crate) async fn holder(
    on: &mut Connection,
    name: &HostPattern,
) -> Result<Option<ManagedHostname>, StoreError> {
    let query = format!(
        "SELECT {COLUMNS} FROM hostname WHERE id = \
         (SELECT hostname_id FROM held_name WHERE held_name.name = ?)"
    );
    let row = sqlx::query(AssertSqlSafe(query)).bind(name.to_string()).fetch_optional(on).await;
    row.map_err(StoreError::on("read a hostname"))?.as_ref().map(read).transpose()
}

pub(super) const WITHOUT_CERTIFICATE: &str = "SELECT id FROM hostname WHERE internal = 1 AND status = 1 \
         AND EXISTS (SELECT 1 FROM held_name WHERE hostname_id = hostname.id) \
         AND NOT EXISTS (SELECT 1 FROM certificate WHERE hostname_id = hostname.id AND issuer <> 2) \
         AND NOT EXISTS (SELECT 1 FROM job WHERE hostname_id = hostname.id AND state = 0) \
         AND NOT EXISTS (SELECT 1 FROM verification \
                         WHERE hostname_id = hostname.id AND left_at IS NOT NULL) LIMIT ?";

/// At most `limit` hostnames that should have a certificate of the internal CA, have none of their
/// own, and have not asked for one.
pub(crate) async fn without_certificate(
    on: &mut Connection,
    limit: u32,
) -> Result<Vec<HostnameId>, StoreError> {
    let ids = sqlx::query_scalar::<_, i64>(WITHOUT_CERTIFICATE)
        .bind(i64::from(limit))
        .fetch_all(on)
        .await
        .map_err(StoreError::on("look for missing certificates"))?;
    Ok(ids.into_iter().map(HostnameId).collect())
}

/// A system hostname that is not its property's name under `system_domain`, if there is one.
pub(crate) async fn system_hostname_outside(
    on: &mut Connection,
    system_domain: &Hostname,
) -> Result<Option<String>, StoreError> {
    sqlx::query_scalar(
        "SELECT hostname.name FROM hostname JOIN property ON property.id = property_id \
         WHERE system = 1 AND hostname.name <> property.name || '.' || ? LIMIT 1",
    )
    .bind(system_domain.as_str())
    .fetch_optional(on)
    .await
    .map_err(StoreError::on("look at system hostnames"))
}

/// Sets where a hostname stands.
pub(crate) async fn set_status(
    on: &mut Connection,
    id: HostnameId,
    status: HostnameStatus,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE hostname SET status = ?, version = version + 1 WHERE id = ?")
        .bind(status_to_sql(status))
        .bind(id.0)
        .execute(on)
        .await
        .map_err(StoreError::on("set a hostname's status"))?;
    Ok(())
}

/// Marks a hostname as taken over, and gives it another ownership token.
pub(crate) async fn take_over(
    on: &mut Connection,
    id: HostnameId,
    token: &str,
) -> Result<(), StoreError> {
    let query = "UPDATE hostname SET status = ?, ownership_token = ?, version = version + 1 \
                 WHERE id = ?";
    sqlx::query(query)
        .bind(status_to_sql(HostnameStatus::TakenOver))
        .bind(token)
        .bind(id.0)
        .execute(on)
        .await
        .map_err(StoreError::on("take a hostname over"))?;
    Ok(())
}

/// Sets what a hostname's owner sets.
pub(crate) async fn set(
    on: &mut Connection,
    id: HostnameId,
    spec: &HostnameSpec,
) -> Result<(), StoreError> {
    let text = to_json(&spec.tls)?;
    let query = "UPDATE hostname SET route = ?, tls = ?, policy = ?, metadata = ?, wish = ? \
                 WHERE id = ?";
    sqlx::query(query)
        .bind(to_json(&spec.route)?)
        .bind(&text)
        .bind(policy_id(&spec.tls, &text))
        .bind(to_json(&spec.metadata)?)
        .bind(to_json(&spec.wish)?)
        .bind(id.0)
        .execute(on)
        .await
        .map_err(StoreError::on("change a hostname"))?;
    Ok(())
}

/// Calls a hostname by another name.
pub(crate) async fn rename(
    on: &mut Connection,
    id: HostnameId,
    name: &HostPattern,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE hostname SET name = ? WHERE id = ?")
        .bind(name.to_string())
        .bind(id.0)
        .execute(on)
        .await
        .map_err(StoreError::on("rename a hostname"))?;
    Ok(())
}

/// How many hostnames a property has, and how many of them are claims: no more than `most`, of which
/// there may be many once others have proven what it had.
pub(crate) async fn count(
    on: &mut Connection,
    property: PropertyId,
    most: u32,
) -> Result<(u64, u64), StoreError> {
    let row = sqlx::query(
        "SELECT hostnames, (SELECT count(*) FROM (SELECT 1 FROM hostname \
             WHERE property_id = ?1 AND claimed = 1 LIMIT ?2)) FROM property WHERE id = ?1",
    )
    .bind(property.0)
    .bind(i64::from(most))
    .fetch_one(on)
    .await
    .map_err(StoreError::on("count hostnames"))?;
    Ok((from_sql(row.get(0), "count")?, from_sql(row.get(1), "count")?))
}

/// How many different TLS policies a property's hostnames have, the default apart. Takes as many
/// look-ups as there are policies, however many hostnames have them.
pub(crate) async fn count_policies(
    on: &mut Connection,
    property: PropertyId,
) -> Result<u64, StoreError> {
    let count = sqlx::query_scalar::<_, i64>(
        "WITH RECURSIVE found (policy) AS ( \
             SELECT min(policy) FROM hostname WHERE property_id = ?1 AND policy IS NOT NULL \
             UNION ALL \
             SELECT (SELECT min(policy) FROM hostname \
                     WHERE property_id = ?1 AND policy IS NOT NULL AND policy > found.policy) \
             FROM found WHERE found.policy IS NOT NULL) \
         SELECT count(policy) FROM found",
    )
    .bind(property.0)
    .fetch_one(on)
    .await
    .map_err(StoreError::on("count TLS policies"))?;
    from_sql(count, "count")
}

/// Deletes a hostname and its certificates.
pub(crate) async fn delete(on: &mut Connection, id: HostnameId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM hostname WHERE id = ?")
        .bind(id.0)
        .execute(on)
        .await
        .map_err(StoreError::on("delete a hostname"))?;
    Ok(())
}

fn read(row: &SqliteRow) -> Result<ManagedHostname, StoreError> {
    let name: &str = row.get(2);
    Ok(ManagedHostname {
        id: HostnameId(row.get(0)),
        property: PropertyId(row.get(1)),
        name: name.parse().map_err(|_| StoreError::Corrupt("hostname"))?,
        origin: match row.get::<i64, _>(3) {
            0 => HostnameOrigin::Added,
            _ => HostnameOrigin::System,
        },
        status: status_from_sql(row.get(4))?,
        issuance: match row.get::<i64, _>(5) {
            0 => Issuance::None,
            _ => Issuance::Internal,
        },
        route: from_json(row.get(6), "route")?,
        tls: from_json(row.get(7), "TLS policy")?,
        created_at: time_from_sql(row.get(8))?,
        public_id: row.get(9),
        ssl_id: row.get(10),
        ownership_token: row.get(11),
        metadata: from_json(row.get(12), "metadata")?,
        wish: from_json(row.get(13), "wish")?,
        version: row.get(14),
        title: match row.get::<i64, _>(15) {
            0 => Title::Held,
            _ => Title::Claimed,
        },
    })
}

/// What tells a policy from others: `text` is its JSON.
fn policy_id(policy: &TlsPolicy, text: &str) -> Option<Vec<u8>> {
    (*policy != TlsPolicy::default()).then(|| sha256(text.as_bytes()).to_vec())
}

fn status_to_sql(status: HostnameStatus) -> i64 {
    match status {
        HostnameStatus::PendingValidation => 0,
        HostnameStatus::Active => 1,
        HostnameStatus::GivenUp => 2,
        HostnameStatus::TakenOver => 3,
    }
}

fn status_from_sql(number: i64) -> Result<HostnameStatus, StoreError> {
    match number {
        0 => Ok(HostnameStatus::PendingValidation),
        1 => Ok(HostnameStatus::Active),
        2 => Ok(HostnameStatus::GivenUp),
        3 => Ok(HostnameStatus::TakenOver),
        _ => Err(StoreError::Corrupt("hostname status")),
    }
}
