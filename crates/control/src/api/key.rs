//! `/api/Key`

use axum::{
    Extension, Json,
    extract::{Path, Request, State, rejection::PathRejection},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use landfall_model::PropertyId;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{
    SharedApp,
    body::read_json,
    list::{Page, Wanted},
    problem::Problem,
};
use crate::{
    api_key::{ApiKey, Caller, Grant, PlainName, Scope},
    call::Call,
    settings::{self, Fields},
    token::ApiKeyId,
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct KeyBody {
    id: i64,
    name: String,
    scope: Scope,
    /// Null: all.
    property: Option<PropertyId>,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    expires_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    revoked_at: Option<OffsetDateTime>,
    /// Within a minute.
    #[serde(with = "time::serde::rfc3339::option")]
    last_used_at: Option<OffsetDateTime>,
    /// The secret, in the answer to its creation alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

/// What a key is asked for with.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct KeySettings {
    name: String,
    scope: Scope,
    property: Option<i64>,
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

pub(super) async fn create(
    State(app): State<SharedApp>,
    Extension(call): Extension<Call>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Problem> {
    if headers.contains_key("idempotency-key") {
        let detail = "A key's secret is answered once and kept nowhere: it can't be repeated.";
        return Err(Problem::bad_header("Idempotency-Key", "idempotency_not_supported", detail));
    }
    let fields: Fields = read_json(request, app.limits.max_body).await?;
    let asked: KeySettings = settings::read(fields).map_err(|error| Problem::settings(&error))?;
    let name: PlainName = asked
        .name
        .parse()
        .map_err(|error| Problem::invalid("name", "invalid_name", format!("{error}.")))?;
    if asked.expires_at.is_some_and(|at| at <= call.now) {
        let detail = "Expected a time to come.";
        return Err(Problem::invalid("expiresAt", "invalid_expiry", detail));
    }
    let property = asked.property.map(PropertyId).or(caller.property);
    if property.is_some_and(|property| !caller.sees(property)) {
        return Err(Problem::not_found("property"));
    }
    let grant = Grant { scope: asked.scope, property, expires_at: asked.expires_at };
    let added = app.service.add_key(call, &name, &grant).await?;
    let body = KeyBody { key: Some(added.token.to_string()), ..added.key.into() };
    let mut response = (StatusCode::CREATED, Json(body)).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

pub(super) async fn list(
    State(app): State<SharedApp>,
    Extension(caller): Extension<Caller>,
    wanted: Wanted,
) -> Result<Json<Page<KeyBody>>, Problem> {
    let rows = app.service.keys(caller.property, wanted.after, wanted.rows()).await?;
    Ok(Json(wanted.page(rows, |key| key.id, KeyBody::from)))
}

pub(super) async fn show(
    State(app): State<SharedApp>,
    Extension(caller): Extension<Caller>,
    path: Result<Path<i64>, PathRejection>,
) -> Result<Json<KeyBody>, Problem> {
    Ok(Json(app.service.key(caller.property, key_id(path)?).await?.into()))
}

pub(super) async fn revoke(
    State(app): State<SharedApp>,
    Extension(call): Extension<Call>,
    Extension(caller): Extension<Caller>,
    path: Result<Path<i64>, PathRejection>,
) -> Result<StatusCode, Problem> {
    app.service.revoke_key(call, caller.property, key_id(path)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// An id that is no number names nothing.
fn key_id(path: Result<Path<i64>, PathRejection>) -> Result<ApiKeyId, Problem> {
    path.map(|Path(id)| ApiKeyId(id)).map_err(|_| Problem::not_found("key"))
}
