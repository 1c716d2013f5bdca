//! `/api/Audit`

use axum::{Extension, Json, extract::State};
use landfall_model::PropertyId;
use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::{
    SharedApp,
    list::{AuditQuery, Filter, Page, Wanted, WantedQuery},
    problem::Problem,
};
use crate::{api_key::Caller, schema, store::audit::AuditRow};

/// An entry of the audit log.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditEntry)]
#[serde(rename_all = "camelCase")]
pub(super) struct AuditBody {
    /// Its id.
    #[schema(value_type = schema::Id)]
    id: i64,
    /// When it was done.
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    /// Who did it: `key/<id>`, `operator` or `system`.
    actor: String,
    /// What was done, as in `hostname.create`.
    action: String,
    /// The property that it is about, which may be gone; null: none.
    #[schema(value_type = Option<schema::Id>, required)]
    property: Option<PropertyId>,
    /// What it was done to: a name.
    object: String,
    /// What else there is to say.
    #[schema(value_type = Object)]
    detail: Value,
}

impl From<AuditRow> for AuditBody {
    fn from(row: AuditRow) -> Self {
        let AuditRow { id, at, actor, action, property, object, detail } = row;
        Self { id, at, actor, action, property, object, detail }
    }
}

/// Lists the audit log
///
/// The newest first. A key for one property sees what is about that one.
#[utoipa::path(
    get,
    path = "/api/Audit",
    operation_id = "listAudit",
    tag = "Audit",
    params(WantedQuery, AuditQuery),
    responses(
        (status = 200, description = "A page of entries.", body = Page<AuditBody>),
        (status = 404, description = "`not_found`: the property is not the key's."),
    )
)]
pub(super) async fn list(
    State(app): State<SharedApp>,
    Extension(caller): Extension<Caller>,
    wanted: Wanted<AuditFilter>,
) -> Result<Json<Page<AuditBody>>, Problem> {
    let asked = wanted.filter.property.map(PropertyId);
    if asked.is_some_and(|property| !caller.sees(property)) {
        return Err(Problem::not_found("property"));
    }
    let property = asked.or(caller.property);
    let before = match wanted.after {
        0 => i64::MAX,
        after => after,
    };
    let rows = app.service.audit_log(property, before, wanted.rows()).await?;
    Ok(Json(wanted.page(rows, |row| row.id, AuditBody::from)))
}

/// Which entries are wanted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AuditFilter {
    property: Option<i64>,
}

impl Filter for AuditFilter {
    const NAMES: &'static [&'static str] = &["property"];

    fn set(&mut self, name: &str, value: &str) -> Result<(), Problem> {
        let id = value.parse().map_err(|_| {
            Problem::bad_parameter(name, "invalid_property", "Expected a property's id.")
        })?;
        self.property = Some(id);
        Ok(())
    }
}
