//! `/api/Property/{property}/hostname`

use axum::{
    Extension, Json,
    extract::{Path, Request, State, rejection::PathRejection},
};
use http::StatusCode;
use landfall_model::{HostPattern, HostnameId, PropertyId};
use serde::Serialize;
use time::OffsetDateTime;

use super::{
    SharedApp,
    body::read_json,
    certificate::CertificateBody,
    condition::Tagged,
    list::{Page, Wanted},
    ownership::OwnershipBody,
    problem::Problem,
    property::property_id,
    verification::{VerificationBody, status_reason},
};
use crate::{
    call::Call,
    hostname::{HostnameOrigin, HostnameStatus, deployment::Deployment},
    service::HostnameView,
    settings::HostnameSettings,
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HostnameBody {
    id: HostnameId,
    name: HostPattern,
    /// With U-labels, where it has any.
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    status: &'static str,
    status_code: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_hostname: Option<String>,
    #[serde(flatten)]
    settings: HostnameSettings,
    #[serde(skip_serializing_if = "Option::is_none")]
    verification: Option<VerificationBody>,
    certificate_state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ownership: Option<OwnershipBody>,
    certificates: Vec<CertificateBody>,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    pops: PopsBody,
}

/// On how many PoPs of the fleet the hostname is live as it stands.
#[derive(Serialize)]
struct PopsBody {
    live: u32,
    total: u32,
}

impl From<HostnameView> for Tagged<HostnameBody> {
    fn from(view: HostnameView) -> Self {
        Self { version: view.hostname.version, body: view.into() }
    }
}

impl From<HostnameView> for HostnameBody {
    fn from(view: HostnameView) -> Self {
        let Deployment { live, total, .. } = view.deployment();
        let certificate_state = view.certificate_state().name();
        let hostname = view.hostname;
        let (status, status_code) = match hostname.status {
            HostnameStatus::PendingValidation => ("PendingValidation", 0),
            HostnameStatus::Active => ("Active", 1),
            HostnameStatus::GivenUp | HostnameStatus::TakenOver => ("Error", 2),
        };
        // Where the customer's CNAME leads; the system hostname itself needs none.
        let target = (hostname.origin == HostnameOrigin::Added).then_some(view.system_hostname);
        let settings = HostnameSettings::of(&hostname.spec());
        Self {
            ownership: OwnershipBody::of(&hostname),
            id: hostname.id,
            display_name: hostname.name.to_unicode(),
            name: hostname.name,
            status,
            status_code,
            status_reason: status_reason(hostname.status),
            system_hostname: target.map(|name| name.to_string()),
            settings,
            verification: view.verification.map(VerificationBody::from),
            certificate_state,
            certificates: view.certificates.iter().map(CertificateBody::from).collect(),
            created_at: hostname.created_at,
            pops: PopsBody { live, total },
        }
    }
}

pub(super) async fn create(
    State(app): State<SharedApp>,
    Extension(call): Extension<Call>,
    path: Result<Path<i64>, PathRejection>,
    request: Request,
) -> Result<(StatusCode, Tagged<HostnameBody>), Problem> {
    let property = property_id(path)?;
    let settings = read_json(request, app.limits.max_body).await?;
    let view = app.service.add_hostname(call, property, settings).await?;
    Ok((StatusCode::CREATED, view.into()))
}

pub(super) async fn list(
    State(app): State<SharedApp>,
    path: Result<Path<i64>, PathRejection>,
    wanted: Wanted,
) -> Result<Json<Page<HostnameBody>>, Problem> {
    let property = property_id(path)?;
    let rows = app.service.hostnames(property, wanted.after, wanted.rows()).await?;
    Ok(Json(wanted.page(rows, |view| view.hostname.id.0, HostnameBody::from)))
}

pub(super) async fn show(
    State(app): State<SharedApp>,
    path: Result<Path<(i64, i64)>, PathRejection>,
) -> Result<Tagged<HostnameBody>, Problem> {
    let (property, id) = ids(path)?;
    let view = app.service.hostname(property, id).await?;
    Ok(view.into())
}

pub(super) async fn change(
    State(app): State<SharedApp>,
    Extension(call): Extension<Call>,
    path: Result<Path<(i64, i64)>, PathRejection>,
    request: Request,
) -> Result<Tagged<HostnameBody>, Problem> {
    let (property, id) = ids(path)?;
    let patch = read_json(request, app.limits.max_body).await?;
    Ok(app.service.change_hostname(call, property, id, patch).await?.into())
}

pub(super) async fn delete(
    State(app): State<SharedApp>,
    Extension(call): Extension<Call>,
    path: Result<Path<(i64, i64)>, PathRejection>,
) -> Result<StatusCode, Problem> {
    let (property, id) = ids(path)?;
    app.service.delete_hostname(call, property, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ids that are no numbers name nothing.
pub(super) fn ids(
    path: Result<Path<(i64, i64)>, PathRejection>,
) -> Result<(PropertyId, HostnameId), Problem> {
    path.map(|Path((property, id))| (PropertyId(property), HostnameId(id)))
        .map_err(|_| Problem::not_found("hostname"))
}
