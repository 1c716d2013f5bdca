//! `/api/Property`

use axum::{
    Json,
    extract::{Path, Request, State, rejection::PathRejection},
};
use http::StatusCode;
use landfall_model::{Origin, PropertyId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{
    SharedApp,
    body::read_json,
    list::{Page, Wanted},
    problem::Problem,
};
use crate::service::PropertyView;

/// What an origin is in the API.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OriginBody {
    url: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPropertyBody {
    name: String,
    origins: Vec<OriginBody>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PropertyBody {
    id: PropertyId,
    name: String,
    system_hostname: String,
    zone_id: String,
    origins: Vec<OriginBody>,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
}

impl From<PropertyView> for PropertyBody {
    fn from(view: PropertyView) -> Self {
        let origins = view.property.origins.iter();
        Self {
            id: view.property.id,
            name: view.property.name.to_string(),
            system_hostname: view.system_hostname.to_string(),
            zone_id: view.property.zone_id,
            origins: origins.map(|origin| OriginBody { url: origin.to_string() }).collect(),
            created_at: view.property.created_at,
        }
    }
}

pub(super) async fn create(
    State(app): State<SharedApp>,
    request: Request,
) -> Result<(StatusCode, Json<PropertyBody>), Problem> {
    let body: NewPropertyBody = read_json(request, app.limits.max_body).await?;
    let name = body
        .name
        .parse()
        .map_err(|error| Problem::invalid("name", "invalid_name", format!("{error}.")))?;
    let [OriginBody { url }] = body.origins.as_slice() else {
        let detail = "Expected exactly one origin; more are not supported yet.";
        return Err(Problem::invalid("origins", "invalid_origins", detail));
    };
    let origin: Origin = url
        .parse()
        .map_err(|error| Problem::invalid("origins.url", "invalid_origin", format!("{error}.")))?;
    let view = app.service.create_property(&name, &[origin], OffsetDateTime::now_utc()).await?;
    Ok((StatusCode::CREATED, Json(view.into())))
}

pub(super) async fn list(
    State(app): State<SharedApp>,
    wanted: Wanted,
) -> Result<Json<Page<PropertyBody>>, Problem> {
    let rows = app.service.properties(wanted.after, wanted.rows()).await?;
    Ok(Json(wanted.page(rows, |view| view.property.id.0, PropertyBody::from)))
}

pub(super) async fn show(
    State(app): State<SharedApp>,
    path: Result<Path<i64>, PathRejection>,
) -> Result<Json<PropertyBody>, Problem> {
    let id = property_id(path)?;
    Ok(Json(app.service.property(id).await?.into()))
}

/// An id that is no number names nothing.
pub(super) fn property_id(path: Result<Path<i64>, PathRejection>) -> Result<PropertyId, Problem> {
    path.map(|Path(id)| PropertyId(id)).map_err(|_| Problem::not_found("property"))
}
