//! `/client/v4/zones/{zone}/custom_hostnames`

use axum::{
    Extension,
    extract::{Path, Request, State},
    response::Response,
};
use http::StatusCode;
use landfall_model::{HostnameId, PropertyId};

use super::{
    answer::HostnameAnswer,
    body::{self, HostnameBody},
    edit::Edit,
    envelope::{self, ResultInfo},
    failure::Failure,
    query::Wanted,
};
use crate::{
    api::{
        App, SharedApp,
        body::read_json_bytes,
        once::{Asked, replayed},
    },
    api_key::Caller,
    call::Call,
    certificate::{CertificateIssuer, CertificateSummary},
    hostname::{HostnameStatus, Issuance},
    service::{Creation, HostnameView, ServiceError, VerificationError},
};

pub(super) async fn create(
    State(app): State<SharedApp>,
    Extension(call): Extension<Call>,
    Extension(caller): Extension<Caller>,
    Path(zone): Path<String>,
    request: Request,
) -> Result<Response, Failure> {
    let property = zone_of(&app, &zone).await?;
    let asked = Asked::of(&request)?;
    let bytes = read_json_bytes(request, app.limits.max_body).await?;
    let call = asked.once(&bytes, call, &caller);
    let (name, mut edit) = Edit::create(body::parse(&bytes)?)?;
    let uploads = edit.take_uploads();
    let spec = edit.new_spec(property).map_err(crate::service::ServiceError::from)?;
    match app.service.create_hostname(call, property, &name, spec, uploads).await? {
        Creation::Made(view) => answer(&app, StatusCode::CREATED, view).await,
        Creation::Repeated(view) => answer(&app, StatusCode::CREATED, view).await.map(replayed),
    }
}

pub(super) async fn list(
    State(app): State<SharedApp>,
    Extension(call): Extension<Call>,
    Path(zone): Path<String>,
    wanted: Wanted,
) -> Result<Response, Failure> {
    let property = zone_of(&app, &zone).await?;
    let (selection, page) = (&wanted.selection, wanted.page());
    let _turn = app.lists.turn(property).await;
    let found = app.service.custom_hostnames(property, selection, page, call.now).await?;
    let (hostnames, total) = found;
    let items: Vec<_> = hostnames.into_iter().map(HostnameAnswer::from).collect();
    let info = ResultInfo::new(wanted.number, wanted.per_page, items.len(), total);
    Ok(envelope::page(items, info))
}

pub(super) async fn show(
    State(app): State<SharedApp>,
    Path((zone, id)): Path<(String, String)>,
) -> Result<Response, Failure> {
    let (property, id) = find(&app, &zone, &id).await?;
    let view = app.service.hostname(property, id).await?;
    answer(&app, StatusCode::OK, view).await
}

pub(super) async fn change(
    State(app): State<SharedApp>,
    Extension(call): Extension<Call>,
    Path((zone, id)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Failure> {
    let (property, id) = find(&app, &zone, &id).await?;
    let body: HostnameBody = body::read(request, app.limits.max_body).await?;
    let mut edit = Edit::read(body)?;
    let uploads = edit.take_uploads();
    let names_method = edit.ssl.as_ref().is_some_and(|ssl| ssl.method.is_some());
    let wants_managed = names_method && uploads.is_empty();
    let apply = |current: &_| edit.apply(current);
    let mut view = app.service.edit_hostname(call, property, id, apply, uploads).await?;
    if wants_managed && is_replaceable(&view) {
        // The version that was expected is the one before the edit.
        let call = Call::by(call.actor, call.now);
        view = app.service.remove_certificate(call, property, id).await?;
    }
    // A request that says anything of `ssl` asks for a check too, though it changes nothing.
    if edit.ssl.is_some() && view.hostname.status != HostnameStatus::Active {
        match app.service.verify(call, (property, id)).await {
            // What was edited is kept: the check comes by itself.
            Ok(_) | Err(ServiceError::Verification(VerificationError::TooMany)) => {}
            Err(error) => return Err(error.into()),
        }
        view = app.service.hostname(property, id).await?;
    }
    answer(&app, StatusCode::ACCEPTED, view).await
}

/// Whether an uploaded certificate can make way for a managed one with no gap: the internal CA issues
/// that in the same transaction.
fn is_replaceable(view: &HostnameView) -> bool {
    let is_uploaded = |own: &CertificateSummary| own.issuer == CertificateIssuer::Uploaded;
    view.certificates.iter().any(is_uploaded)
        && view.hostname.status == HostnameStatus::Active
        && view.hostname.issuance == Issuance::Internal
}

pub(super) async fn delete(
    State(app): State<SharedApp>,
    Extension(call): Extension<Call>,
    Path((zone, public_id)): Path<(String, String)>,
) -> Result<Response, Failure> {
    let (property, id) = find(&app, &zone, &public_id).await?;
    app.service.delete_hostname(call, property, id).await?;
    Ok(envelope::deleted(public_id))
}

async fn answer(app: &App, status: StatusCode, view: HostnameView) -> Result<Response, Failure> {
    let custom = app.service.custom_hostname(view).await?;
    Ok(envelope::answer(status, HostnameAnswer::from(custom)))
}

/// The property that is the zone with this id.
pub(super) async fn zone_of(app: &App, zone: &str) -> Result<PropertyId, Failure> {
    Ok(app.service.zone(zone).await?.property.id)
}

async fn find(app: &App, zone: &str, id: &str) -> Result<(PropertyId, HostnameId), Failure> {
    let property = zone_of(app, zone).await?;
    Ok((property, app.service.hostname_id(property, id).await?))
}
