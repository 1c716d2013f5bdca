//! Who changed what. Rows are only ever added: the database refuses anything else.

use landfall_model::PropertyId;
use serde_json::Value;

use super::{Connection, StoreError};
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
