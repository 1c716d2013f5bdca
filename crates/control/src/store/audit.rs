//! Who changed what. Rows are only ever added: the database refuses anything else.

use landfall_model::PropertyId;
use serde_json::Value;
use sqlx::{Row, sqlite::SqliteRow};
use time::OffsetDateTime;

use super::{Connection, StoreError, from_json, readable::Filling, time_from_sql};
use crate::call::Call;

/// An entry of the audit log. Nothing in it is a secret.
pub(crate) struct AuditEntry<'a> {
    /// As in `hostname.create`.
    pub(crate) action: &'static str,
    /// What it is about, where it is about one.
    pub(crate) property: Option<PropertyId>,
    /// What was changed: a name.
    pub(crate) object: &'a str,
    /// What else there is to say.
    pub(crate) detail: Value,
}

/// Adds an entry.
pub(crate) async fn add(
    on: &mut Connection,
    call: &Call,
    entry: &AuditEntry<'_>,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO audit (at, actor, action, property_id, object, detail) \
         VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(call.now.unix_timestamp())
    .bind(call.actor.to_string())
    .bind(entry.action)
    .bind(entry.property.map(|property| property.0))
    .bind(entry.object)
    .bind(entry.detail.to_string())
    .execute(on)
    .await
    .map_err(StoreError::on("add to the audit log"))?;
    Ok(())
}

/// An entry as it is read.
#[derive(Clone, Debug)]
pub(crate) struct AuditRow {
    pub(crate) id: i64,
    pub(crate) at: OffsetDateTime,
    /// `key/<id>`, `operator` or `system`.
    pub(crate) actor: String,
    pub(crate) action: String,
    pub(crate) property: Option<PropertyId>,
    pub(crate) object: String,
    pub(crate) detail: Value,
}

/// At most `limit` entries with ids below `before`, the newest first: those about one property, or
/// all.
pub(crate) async fn list(
    on: &mut Connection,
    property: Option<PropertyId>,
    before: i64,
    limit: u32,
) -> Result<Vec<AuditRow>, StoreError> {
    const OF_ONE: &str = "SELECT id, at, actor, action, property_id, object, detail FROM audit \
         WHERE property_id = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3";
    const OF_ALL: &str = "SELECT id, at, actor, action, property_id, object, detail FROM audit \
         WHERE ?1 IS NULL AND id < ?2 ORDER BY id DESC LIMIT ?3";
    let query = if property.is_some() { OF_ONE } else { OF_ALL };
    let mut page = Filling::new(before, limit);
    while let Some((before, limit)) = page.wanted() {
        let rows = sqlx::query(query)
            .bind(property.map(|property| property.0))
            .bind(before)
            .bind(i64::from(limit))
            .fetch_all(&mut *on)
            .await
            .map_err(StoreError::on("read the audit log"))?;
        page.fill("audit", &rows, read);
    }
    Ok(page.done())
}

fn read(row: &SqliteRow) -> Result<AuditRow, StoreError> {
    Ok(AuditRow {
        id: row.get(0),
        at: time_from_sql(row.get(1))?,
        actor: row.get(2),
        action: row.get(3),
        property: row.get::<Option<i64>, _>(4).map(PropertyId),
        object: row.get(5),
        detail: from_json(row.get(6), "audit entry")?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::call::Call;
    use crate::store::{Store, audit::AuditEntry};
    use time::OffsetDateTime;

    #[tokio::test]
    async fn what_was_added_is_neither_changed_nor_removed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let store = Store::open(file.path()).await.unwrap();
        let mut change = store.change(Call::system(OffsetDateTime::now_utc())).await.unwrap();
        let entry = AuditEntry { action: "test", property: None, object: "x", detail: json!({}) };
        change.audit(&entry).await.unwrap();
        for statement in ["UPDATE audit SET actor = 'nobody'", "DELETE FROM audit"] {
            let error = sqlx::query(statement).execute(change.on()).await.unwrap_err();
            assert!(error.to_string().contains("append-only"), "{error}");
        }
        assert_eq!(super::list(change.on(), None, i64::MAX, 10).await.unwrap().len(), 1);
    }
}
