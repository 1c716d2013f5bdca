//! `/api/Property`

use axum::{
    Extension, Json,
    extract::{Path, Request, State, rejection::PathRejection},
};
use http::StatusCode;
use landfall_model::PropertyId;
use serde::Serialize;
use time::OffsetDateTime;

use super::{
    SharedApp,
    body::read_json,
    condition::Tagged,
    list::{Page, Wanted},
    problem::Problem,
};
use crate::{api_key::Caller, call::Call, service::PropertyView, settings::PropertySettings};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PropertyBody {
    id: PropertyId,
    name: String,
    system_hostname: String,
    zone_id: String,
    #[serde(flatten)]
    settings: PropertySettings,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
}

impl From<PropertyView> for Tagged<PropertyBody> {
    fn from(view: PropertyView) -> Self {
        Self { version: view.property.version, body: view.into() }
    }
}

impl From<PropertyView> for PropertyBody {
    fn from(view: PropertyView) -> Self {
        Self {
            id: view.property.id,
            name: view.property.name.to_string(),
            system_hostname: view.system_hostname.to_string(),
            zone_id: view.property.zone_id,
            settings: PropertySettings::from(&view.property.pool),
            created_at: view.property.created_at,
        }
    }
}

pub(super) async fn create(
    State(app): State<SharedApp>,
    Extension(call): Extension<Call>,
    request: Request,
) -> Result<(StatusCode, Tagged<PropertyBody>), Problem> {
    let settings = read_json(request, app.limits.max_body).await?;
    let view = app.service.create_property(call, settings).await?;
    Ok((StatusCode::CREATED, view.into()))
}

pub(super) async fn list(
    State(app): State<SharedApp>,
    Extension(caller): Extension<Caller>,
    wanted: Wanted,
) -> Result<Json<Page<PropertyBody>>, Problem> {
    let rows = app.service.properties(caller.property, wanted.after, wanted.rows()).await?;
    Ok(Json(wanted.page(rows, |view| view.property.id.0, PropertyBody::from)))
}

pub(super) async fn show(
    State(app): State<SharedApp>,
    path: Result<Path<i64>, PathRejection>,
) -> Result<Tagged<PropertyBody>, Problem> {
    let id = property_id(path)?;
    Ok(app.service.property(id).await?.into())
}

pub(super) async fn change(
    State(app): State<SharedApp>,
    Extension(call): Extension<Call>,
    path: Result<Path<i64>, PathRejection>,
    request: Request,
) -> Result<Tagged<PropertyBody>, Problem> {
    let id = property_id(path)?;
    let patch = read_json(request, app.limits.max_body).await?;
    Ok(app.service.change_property(call, id, patch).await?.into())
}

pub(super) async fn delete(
    State(app): State<SharedApp>,
    Extension(call): Extension<Call>,
    path: Result<Path<i64>, PathRejection>,
) -> Result<StatusCode, Problem> {
    app.service.delete_property(call, property_id(path)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// An id that is no number names nothing.
pub(super) fn property_id(path: Result<Path<i64>, PathRejection>) -> Result<PropertyId, Problem> {
    path.map(|Path(id)| PropertyId(id)).map_err(|_| Problem::not_found("property"))
}
