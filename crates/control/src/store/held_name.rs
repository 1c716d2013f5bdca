//! Who has a name.

use landfall_model::{HostPattern, HostnameId, HostnameState, PropertyId, Revision};
use sqlx::{Row, sqlite::SqliteRow};

use super::{
    Connection, StoreError, from_sql, hostname::PageIds, readable::readable, time_from_sql,
};
use crate::hostname::{Placement, deployment::Publication, parent_of};

/// What stands against giving a name to a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing.
    Free,
    /// The property has it already.
    Own,
    /// Another property has it, or it and another's verified name answer for each other.
    Contested,
}

/// Gives a name to a hostname. A name that is in use is a unique violation.
pub(crate) async fn hold(
    on: &mut Connection,
    name: &HostPattern,
    placement: &Placement,
    (hostname, property): (HostnameId, PropertyId),
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO held_name (name, hostname_id, property_id, parent, site) \
         VALUES (?, ?, ?, ?, ?)",
    )
    .bind(name.to_string())
    .bind(hostname.0)
    .bind(property.0)
    .bind(parent_of(name))
    .bind(placement.label())
    .execute(on)
    .await
    .map_err(StoreError::on("hold a name"))?;
    Ok(())
}

/// Takes a name from who has it.
pub(crate) async fn release(on: &mut Connection, name: &HostPattern) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM held_name WHERE name = ?")
        .bind(name.to_string())
        .execute(on)
        .await
        .map_err(StoreError::on("release a name"))?;
    Ok(())
}

/// The names that a hostname has.
pub(crate) async fn of(
    on: &mut Connection,
    hostname: HostnameId,
) -> Result<Vec<HostPattern>, StoreError> {
    let names = sqlx::query_scalar::<_, String>("SELECT name FROM held_name WHERE hostname_id = ?")
        .bind(hostname.0)
        .fetch_all(on)
        .await
        .map_err(StoreError::on("read a hostname's names"))?;
    let parse = |name: String| name.parse().map_err(|_| StoreError::Corrupt("held name"));
    names.into_iter().map(parse).collect()
}

/// The names that a hostname has, and what edges are told of each.
pub(crate) async fn states(
    on: &mut Connection,
    hostname: HostnameId,
) -> Result<Vec<(HostPattern, HostnameState)>, StoreError> {
    let rows = sqlx::query("SELECT name, verified FROM held_name WHERE hostname_id = ?")
        .bind(hostname.0)
        .fetch_all(on)
        .await
        .map_err(StoreError::on("read what a hostname's names are"))?;
    let read = |row: &SqliteRow| {
        let name = row.get::<String, _>(0).parse();
        let state = match row.get(1) {
            true => HostnameState::Active,
            false => HostnameState::PendingValidation,
        };
        Ok((name.map_err(|_| StoreError::Corrupt("held name"))?, state))
    };
    rows.iter().map(read).collect()
}

/// Who has exactly this name.
pub(crate) async fn holder(
    on: &mut Connection,
    name: &HostPattern,
) -> Result<Option<(HostnameId, PropertyId)>, StoreError> {
    let row = sqlx::query("SELECT hostname_id, property_id FROM held_name WHERE name = ?")
        .bind(name.to_string())
        .fetch_optional(on)
        .await
        .map_err(StoreError::on("look for a name's holder"))?;
    Ok(row.map(|row| (HostnameId(row.get(0)), PropertyId(row.get(1)))))
}

/// The feed records of the names that a hostname has.
pub(crate) async fn publications(
    on: &mut Connection,
    hostname: HostnameId,
) -> Result<Vec<Publication>, StoreError> {
    let rows = sqlx::query(
        "SELECT hostname_id, feed_record.id, revision, changed_at FROM held_name \
         JOIN feed_record ON feed_record.id = 'hostname/' || name WHERE hostname_id = ?",
    )
    .bind(hostname.0)
    .fetch_all(on)
    .await
    .map_err(StoreError::on("read a hostname's records"))?;
    rows.iter().map(|row| Ok(read_publication(row)?.1)).collect()
}

/// The same for a page of [`super::hostname::list`] with the same arguments, each with its hostname.
pub(crate) async fn publications_of_page(
    on: &mut Connection,
    page: &PageIds,
) -> Result<Vec<(HostnameId, Publication)>, StoreError> {
    let rows = sqlx::query(
        "SELECT hostname_id, feed_record.id, revision, changed_at FROM held_name \
         JOIN feed_record ON feed_record.id = 'hostname/' || name WHERE hostname_id IN \
         (SELECT value FROM json_each(?))",
    )
    .bind(page.as_json())
    .fetch_all(on)
    .await
    .map_err(StoreError::on("read hostnames' records"))?;
    Ok(readable("feed_record", &rows, read_publication))
}

fn read_publication(row: &SqliteRow) -> Result<(HostnameId, Publication), StoreError> {
    let publication = Publication {
        id: row.get(1),
        revision: Revision(from_sql(row.get(2), "revision")?),
        at: time_from_sql(row.get(3))?,
    };
    Ok((HostnameId(row.get(0)), publication))
}

/// What stands against giving `name` to `property`.
pub(crate) async fn standing(
    on: &mut Connection,
    property: PropertyId,
    name: &HostPattern,
) -> Result<Standing, StoreError> {
    let owner = holder(on, name).await?.map(|(_, owner)| owner);
    match owner {
        Some(owner) if owner == property => Ok(Standing::Own),
        Some(_) => Ok(Standing::Contested),
        None if is_overlapped(on, property, name).await? => Ok(Standing::Contested),
        None => Ok(Standing::Free),
    }
}

/// Whether another property's verified name answers for this one, or is answered for by it. Those under the
/// system domain don't count: one property has all of a site, and the wildcard of all sites none of them.
pub(crate) async fn is_overlapped(
    on: &mut Connection,
    property: PropertyId,
    name: &HostPattern,
) -> Result<bool, StoreError> {
    let covered = match name {
        HostPattern::Wildcard(base) => base.as_str(),
        HostPattern::Exact(_) => "",
    };
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM held_name \
                        WHERE name = '*.' || ?1 AND property_id <> ?2 AND verified = 1 \
                        AND site IS NULL) \
         OR EXISTS (SELECT 1 FROM held_name \
                    WHERE parent = ?3 AND property_id <> ?2 AND verified = 1 \
                    AND site IS NULL)",
    )
    .bind(parent_of(name))
    .bind(property.0)
    .bind(covered)
    .fetch_one(on)
    .await
    .map_err(StoreError::on("look for names that answer for each other"))
}
