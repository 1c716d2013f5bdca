//! `/api/Key`

use axum::{
    Extension, Json,
    extract::{Path, Request, State, rejection::PathRejection},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use landfall_model::PropertyId;
use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, UtcOffset};
use utoipa::ToSchema;

use super::{
    SharedApp,
    body::read_json,
    condition,
    list::{Page, Wanted, WantedQuery},
    once,
    problem::Problem,
};
use crate::{
    api_key::{ApiKey, Caller, Grant, PlainName, Scope},
    call::Call,
    schema,
    settings::{self, Fields},
    token::ApiKeyId,
};

/// An API key.
#[derive(Serialize, ToSchema)]
#[schema(as = Key)]
#[serde(rename_all = "camelCase")]
pub(super) struct KeyBody {
    /// Its id.
    #[schema(value_type = schema::Id)]
    id: i64,
    /// Its name.
    #[schema(value_type = schema::KeyName)]
    name: String,
    /// What it may do.
    #[schema(value_type = schema::ScopeName)]
    scope: Scope,
    /// The property that it is for; null: all.
    #[schema(value_type = Option<schema::Id>, required)]
    property: Option<PropertyId>,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    /// Until when it is valid; null: without end.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(required)]
    expires_at: Option<OffsetDateTime>,
    /// When it was revoked.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(required)]
    revoked_at: Option<OffsetDateTime>,
    /// When it was last used, within a minute.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(required)]
    last_used_at: Option<OffsetDateTime>,
    /// The secret, in the answer to its creation alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

/// What a key is asked for with.
#[derive(Deserialize, ToSchema)]
#[schema(as = NewKey)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct KeySettings {
    /// Its name, which no other key has.
    #[schema(value_type = schema::KeyName)]
    name: String,
    /// What it may do. Each scope may do what those before it may.
    #[schema(value_type = schema::ScopeName)]
    scope: Scope,
    /// The property that it is for. Default: what the caller's own key is for.
    #[schema(value_type = Option<schema::Id>)]
    property: Option<i64>,
    /// Until when it is valid. Default: without end.
    #[serde(default, with = "time::serde::rfc3339::option")]
    expires_at: Option<OffsetDateTime>,
}

impl From<ApiKey> for KeyBody {
    fn from(key: ApiKey) -> Self {
        let Grant { scope, property, expires_at } = key.grant;
        Self {
            id: key.id,
            name: key.name,
            scope,
            property,
            created_at: key.created_at,
            expires_at,
            revoked_at: key.revoked_at,
            last_used_at: key.last_used_at,
            key: None,
        }
    }
}

/// Makes an API key
///
/// Its secret is in this answer alone.
#[utoipa::path(
    post,
    path = "/api/Key",
    operation_id = "createKey",
    tag = "Keys",
    request_body = KeySettings,
    responses(
        (status = 201, description = "The key, with its secret.", body = KeyBody),
        (status = 404, description = "`not_found`: there is no such property."),
        (status = 409, description = "`key_name_taken`"),
    )
)]
pub(super) async fn create(
    State(app): State<SharedApp>,
    Extension(call): Extension<Call>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Problem> {
    condition::refuse(&headers)?;
    let told_once = "A key's secret is answered once and kept nowhere: it can't be repeated.";
    once::refuse(&headers, told_once)?;
    let fields: Fields = read_json(request, app.limits.max_body).await?;
    let asked: KeySettings = settings::read(fields).map_err(|error| Problem::settings(&error))?;
    let name: PlainName = asked
        .name
        .parse()
        .map_err(|error| Problem::invalid("name", "invalid_name", format!("{error}.")))?;
    let expires_at = asked.expires_at.map(|at| expiry(at, call.now)).transpose()?;
    let property = asked.property.map(PropertyId).or(caller.property);
    if property.is_some_and(|property| !caller.sees(property)) {
        return Err(Problem::not_found("property").at("property"));
    }
    let grant = Grant { scope: asked.scope, property, expires_at };
    let added = app.service.add_key(call, &name, &grant).await.map_err(|error| {
        let problem = Problem::from(error);
        match problem.resource() {
            Some(_) => problem.at("property"),
            None => problem,
        }
    })?;
    let body = KeyBody { key: Some(added.token.to_string()), ..added.key.into() };
    let mut response = (StatusCode::CREATED, Json(body)).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Checks when a key is to end: in the years that a time can be told of in UTC, as it is kept.
fn expiry(at: OffsetDateTime, now: OffsetDateTime) -> Result<OffsetDateTime, Problem> {
    let at = at.checked_to_offset(UtcOffset::UTC).filter(|at| *at > now);
    let detail = "Expected a time to come, before the year 10000 in UTC.";
    at.ok_or_else(|| Problem::invalid("expiresAt", "invalid_expiry", detail))
}

/// Lists API keys
///
/// Revoked and expired ones too.
#[utoipa::path(
    get,
    path = "/api/Key",
    operation_id = "listKeys",
    tag = "Keys",
    params(WantedQuery),
    responses(
        (status = 200, description = "A page of keys.", body = Page<KeyBody>),
    )
)]
pub(super) async fn list(
    State(app): State<SharedApp>,
    Extension(caller): Extension<Caller>,
    wanted: Wanted,
) -> Result<Json<Page<KeyBody>>, Problem> {
    let rows = app.service.keys(caller.property, wanted.after, wanted.rows()).await?;
    Ok(Json(wanted.page(rows, |key| key.id, KeyBody::from)))
}

/// Shows an API key
#[utoipa::path(
    get,
    path = "/api/Key/{key}",
    operation_id = "getKey",
    tag = "Keys",
    responses(
        (status = 200, description = "The key, without its secret.", body = KeyBody),
    )
)]
pub(super) async fn show(
    State(app): State<SharedApp>,
    Extension(caller): Extension<Caller>,
    path: Result<Path<i64>, PathRejection>,
) -> Result<Json<KeyBody>, Problem> {
    Ok(Json(app.service.key(caller.property, key_id(path)?).await?.into()))
}

/// Revokes an API key
#[utoipa::path(
    delete,
    path = "/api/Key/{key}",
    operation_id = "revokeKey",
    tag = "Keys",
    responses(
        (status = 204, description = "It opens nothing from now on."),
    )
)]
pub(super) async fn revoke(
    State(app): State<SharedApp>,
    Extension(call): Extension<Call>,
    Extension(caller): Extension<Caller>,
    path: Result<Path<i64>, PathRejection>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    condition::refuse(&headers)?;
    app.service.revoke_key(call, caller.property, key_id(path)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// An id that is no number names nothing.
fn key_id(path: Result<Path<i64>, PathRejection>) -> Result<ApiKeyId, Problem> {
    path.map(|Path(id)| ApiKeyId(id)).map_err(|_| Problem::not_found("key"))
}
