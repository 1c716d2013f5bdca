//! `/api/Property`

use axum::{
    Extension, Json,
    extract::{Path, Request, State, rejection::PathRejection},
    response::Response,
};
use http::StatusCode;
use landfall_model::PropertyId;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::{
    SharedApp,
    body::read_json,
    condition::Tagged,
    list::{Page, Wanted, WantedQuery},
    once,
    problem::Problem,
};
use crate::{
    api_key::Caller,
    call::Call,
    schema,
    service::PropertyView,
    settings::{NewProperty, PropertyChange, PropertySettings},
};

/// A property: what owns hostnames and origins.
#[derive(Serialize, ToSchema)]
#[schema(as = Property)]
#[serde(rename_all = "camelCase")]
pub(super) struct PropertyBody {
    /// Its id.
    #[schema(value_type = schema::Id)]
    id: PropertyId,
    /// The first label of its system hostname.
    name: String,
    /// Where its customers' CNAME records lead.
    #[schema(example = "my-site.edge.example.net")]
    system_hostname: String,
    /// Its id as a zone in the Cloudflare-compatible API.
    #[schema(pattern = "^[0-9a-f]{32}$")]
    zone_id: String,
    #[serde(flatten)]
    settings: PropertySettings,
    /// When it was created.
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
            settings: PropertySettings::from(&view.property.spec),
            created_at: view.property.created_at,
        }
    }
}

/// Creates a property
///
/// It comes with its system hostname, `<name>.<system domain>`, which is served at once.
#[utoipa::path(
    post,
    path = "/api/Property",
    operation_id = "createProperty",
    tag = "Properties",
    request_body = NewProperty,
    responses(
        (status = 201, description = "The property.", body = PropertyBody),
        (status = 409, description = "`property_name_taken`"),
    )
)]
pub(super) async fn create(
    State(app): State<SharedApp>,
    Extension(call): Extension<Call>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response, Problem> {
    let limit = app.limits.max_body;
    let (settings, call) = once::read_creation(request, call, &caller, limit).await?;
    let creation = app.service.create_property(call, settings).await?;
    Ok(once::created::<_, PropertyBody>(creation))
}

/// Lists properties
#[utoipa::path(
    get,
    path = "/api/Property",
    operation_id = "listProperties",
    tag = "Properties",
    params(WantedQuery),
    responses(
        (status = 200, description = "A page of properties.", body = Page<PropertyBody>),
    )
)]
pub(super) async fn list(
    State(app): State<SharedApp>,
    Extension(caller): Extension<Caller>,
    wanted: Wanted,
) -> Result<Json<Page<PropertyBody>>, Problem> {
    let rows = app.service.properties(caller.property, wanted.after, wanted.rows()).await?;
    Ok(Json(wanted.page(rows, |view| view.property.id.0, PropertyBody::from)))
}

/// Shows a property
#[utoipa::path(
    get,
    path = "/api/Property/{property}",
    operation_id = "getProperty",
    tag = "Properties",
    responses(
        (status = 200, description = "The property.", body = PropertyBody),
    )
)]
pub(super) async fn show(
    State(app): State<SharedApp>,
    path: Result<Path<i64>, PathRejection>,
) -> Result<Tagged<PropertyBody>, Problem> {
    let id = property_id(path)?;
    Ok(app.service.property(id).await?.into())
}

/// Changes a property
///
/// JSON Merge Patch (RFC 7396): what is not named stays, objects are changed in part, lists as a
/// whole, and null is the default. All hostnames of the property are served by it at once.
#[utoipa::path(
    patch,
    path = "/api/Property/{property}",
    operation_id = "changeProperty",
    tag = "Properties",
    request_body = PropertyChange,
    responses(
        (status = 200, description = "The property as it is now.", body = PropertyBody),
    )
)]
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

/// Deletes a property
///
/// Its system hostname goes with it; hostnames that were added are to be deleted first.
#[utoipa::path(
    delete,
    path = "/api/Property/{property}",
    operation_id = "deleteProperty",
    tag = "Properties",
    responses(
        (status = 204, description = "It is gone."),
        (status = 409, description = "`property_not_empty`: it has hostnames."),
    )
)]
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
