//! `/client/v4/zones/{zone}/custom_hostnames/fallback_origin`

use axum::{
    Extension,
    extract::{Path, Request, State},
    response::Response,
};
use http::StatusCode;
use serde::Serialize;
use time::OffsetDateTime;

use super::{
    answer::{origin_text, timestamp},
    body::{self, FallbackOriginBody},
    edit::origin,
    envelope,
    failure::Failure,
    hostnames::zone_of,
};
use crate::{
    api::SharedApp,
    call::Call,
    hostname::deployment::Extent,
    property::FallbackOrigin,
    service::{Missing, ServiceError},
};

/// An origin that takes the place of a property's own.
#[derive(Serialize)]
struct FallbackOriginAnswer {
    origin: String,
    status: &'static str,
    errors: [&'static str; 0],
    created_at: String,
    updated_at: String,
}

pub(super) async fn show(
    State(app): State<SharedApp>,
    Path(zone): Path<String>,
) -> Result<Response, Failure> {
    let property = app.service.zone(&zone).await?.property;
    let missing = ServiceError::Missing(Missing::FallbackOrigin);
    let fallback = property.fallback.ok_or(missing)?;
    let now = OffsetDateTime::now_utc();
    let deployment = app.service.property_deployment(property.id, now).await?;
    Ok(answer(&fallback, deployed(deployment.extent)))
}

pub(super) async fn set(
    State(app): State<SharedApp>,
    Extension(call): Extension<Call>,
    Path(zone): Path<String>,
    request: Request,
) -> Result<Response, Failure> {
    let property = zone_of(&app, &zone).await?;
    let body: FallbackOriginBody = body::read(request, app.limits.max_body).await?;
    let origin = origin("origin", body.origin.as_deref().unwrap_or_default())?;
    let view = app.service.set_fallback_origin(call, property, origin).await?;
    let missing = ServiceError::Missing(Missing::FallbackOrigin);
    let fallback = view.property.fallback.ok_or(missing)?;
    let deployment = app.service.property_deployment(property, call.now).await?;
    Ok(answer(&fallback, deployed(deployment.extent)))
}

pub(super) async fn unset(
    State(app): State<SharedApp>,
    Extension(call): Extension<Call>,
    Path(zone): Path<String>,
) -> Result<Response, Failure> {
    let property = zone_of(&app, &zone).await?;
    let before = app.service.unset_fallback_origin(call, property).await?;
    Ok(answer(&before, "pending_deletion"))
}

fn deployed(extent: Extent) -> &'static str {
    match extent {
        Extent::Everywhere => "active",
        Extent::Partial(_) | Extent::NoActivePop | Extent::Unpublished => "pending_deployment",
    }
}

fn answer(fallback: &FallbackOrigin, status: &'static str) -> Response {
    let body = FallbackOriginAnswer {
        origin: origin_text(&fallback.origin),
        status,
        errors: [],
        created_at: timestamp(fallback.created_at),
        updated_at: timestamp(fallback.updated_at),
    };
    envelope::answer(StatusCode::OK, body)
}
