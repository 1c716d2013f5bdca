//! `/api/Property/{property}/hostname`

use axum::{
    Extension, Json,
    extract::{Path, Request, State, rejection::PathRejection},
    response::Response,
};
use http::StatusCode;
use landfall_model::{HostPattern, HostnameId, PropertyId, name::MAX_NAME_LEN};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::{
    SharedApp,
    body::read_json,
    certificate::CertificateBody,
    condition::Tagged,
    list::{Filter, HostnamesQuery, Page, Wanted, WantedQuery},
    once,
    ownership::OwnershipBody,
    problem::Problem,
    property::property_id,
    verification::{ChallengeRecordBody, RecordBody, VerificationBody, status_reason},
};
use crate::{
    api_key::Caller,
    call::Call,
    hostname::{HostnameOrigin, HostnameStatus, deployment::Deployment},
    schema,
    service::HostnameView,
    settings::{HostnameChange, HostnameSettings, NewHostname},
    store::hostname::HostnameFilter,
};

/// A hostname: a name that is served, or is to be.
#[derive(Serialize, ToSchema)]
#[schema(as = Hostname)]
#[serde(rename_all = "camelCase")]
pub(super) struct HostnameBody {
    /// Its id.
    #[schema(value_type = schema::Id)]
    id: HostnameId,
    /// The name, in lower case, of A-labels.
    #[schema(value_type = schema::HostnameName)]
    name: HostPattern,
    /// With U-labels, where it has any.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "bücher.example")]
    display_name: Option<String>,
    /// Where it stands.
    #[schema(value_type = schema::StatusName)]
    status: &'static str,
    /// The same as a number: 0, 1 or 2.
    #[schema(minimum = 0, maximum = 2)]
    status_code: u8,
    /// Why the status is `Error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::StatusReason>)]
    status_reason: Option<&'static str>,
    /// Where its CNAME record is to lead; missing for a system hostname, which needs none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "my-site.edge.example.net")]
    system_hostname: Option<String>,
    #[serde(flatten)]
    settings: HostnameSettings,
    /// The DNS record that makes it lead here; none for names under the system domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<RecordBody>,
    /// The record that leaves the DNS challenges of its certificates to us, for good; missing where there is
    /// no zone for them. Wildcards need it, or a TXT record for each certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    challenge_record: Option<ChallengeRecordBody>,
    /// Where its verification stands; missing where none is needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    verification: Option<VerificationBody>,
    /// Where its certificate stands.
    #[schema(value_type = schema::CertificateStateName)]
    certificate_state: &'static str,
    /// Whose the name is, and how that is proven; missing for a system hostname.
    #[serde(skip_serializing_if = "Option::is_none")]
    ownership: Option<OwnershipBody>,
    /// What it is served with, ECDSA first.
    certificates: Vec<CertificateBody>,
    /// When it was added.
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    /// On how many PoPs it is served.
    pops: PopsBody,
}

/// On how many PoPs of the fleet the hostname is served as it stands.
#[derive(Serialize, ToSchema)]
#[schema(as = Pops)]
struct PopsBody {
    /// So many have acknowledged it.
    live: u32,
    /// So many have shown its certificates in a handshake. Those that were added later are looked at for
    /// the next certificate.
    shown: u32,
    /// Of so many.
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
        let shown = view.shown();
        let record = view.required_record().map(RecordBody::from);
        let challenge_record = ChallengeRecordBody::of(&view);
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
            record,
            challenge_record,
            verification: view.verification.map(VerificationBody::from),
            certificate_state,
            certificates: view.certificates.iter().map(CertificateBody::from).collect(),
            created_at: hostname.created_at,
            pops: PopsBody { live, shown, total },
        }
    }
}

/// Adds a hostname
///
/// One under the system domain is Active at once. Any other is `PendingValidation` until its DNS
/// leads here.
#[utoipa::path(
    post,
    path = "/api/Property/{property}/hostname",
    operation_id = "createHostname",
    tag = "Hostnames",
    request_body = NewHostname,
    responses(
        (status = 201, description = "The hostname.", body = HostnameBody),
        (status = 409, description = "`hostname_taken`, `hostname_reserved` or `too_many_tls_policies`"),
    )
)]
pub(super) async fn create(
    State(app): State<SharedApp>,
    Extension(call): Extension<Call>,
    Extension(caller): Extension<Caller>,
    path: Result<Path<i64>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let property = property_id(path)?;
    let limit = app.limits.max_body;
    let (settings, call) = once::read_creation(request, call, &caller, limit).await?;
    let creation = app.service.add_hostname(call, property, settings).await?;
    Ok(once::created::<_, HostnameBody>(creation))
}

/// Lists the hostnames of a property
#[utoipa::path(
    get,
    path = "/api/Property/{property}/hostname",
    operation_id = "listHostnames",
    tag = "Hostnames",
    params(HostnamesQuery, WantedQuery),
    responses(
        (status = 200, description = "A page of hostnames.", body = Page<HostnameBody>),
    )
)]
pub(super) async fn list(
    State(app): State<SharedApp>,
    path: Result<Path<i64>, PathRejection>,
    wanted: Wanted<HostnameFilter>,
) -> Result<Json<Page<HostnameBody>>, Problem> {
    let property = property_id(path)?;
    let rows =
        app.service.hostnames(property, &wanted.filter, (wanted.after, wanted.rows())).await?;
    Ok(Json(wanted.page(rows, |view| view.hostname.id.0, HostnameBody::from)))
}

/// Shows a hostname
#[utoipa::path(
    get,
    path = "/api/Property/{property}/hostname/{hostname}",
    operation_id = "getHostname",
    tag = "Hostnames",
    responses(
        (status = 200, description = "The hostname.", body = HostnameBody),
    )
)]
pub(super) async fn show(
    State(app): State<SharedApp>,
    path: Result<Path<(i64, i64)>, PathRejection>,
) -> Result<Tagged<HostnameBody>, Problem> {
    let (property, id) = ids(path)?;
    let view = app.service.hostname(property, id).await?;
    Ok(view.into())
}

/// Changes a hostname
///
/// JSON Merge Patch (RFC 7396): what is not named stays, objects are changed in part, lists as a
/// whole, and null is the default.
#[utoipa::path(
    patch,
    path = "/api/Property/{property}/hostname/{hostname}",
    operation_id = "changeHostname",
    tag = "Hostnames",
    request_body = HostnameChange,
    responses(
        (status = 200, description = "The hostname as it is now.", body = HostnameBody),
        (status = 409, description = "`too_many_tls_policies`"),
    )
)]
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

/// Deletes a hostname
#[utoipa::path(
    delete,
    path = "/api/Property/{property}/hostname/{hostname}",
    operation_id = "deleteHostname",
    tag = "Hostnames",
    responses(
        (status = 204, description = "It is gone."),
        (status = 409, description = "`system_hostname`: it stays as long as its property."),
    )
)]
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

/// Which hostnames of a property are wanted.
impl Filter for HostnameFilter {
    const NAMES: &'static [&'static str] = &["status", "prefix"];

    fn set(&mut self, name: &str, value: &str) -> Result<(), Problem> {
        if name == "prefix" {
            self.prefix = Some(prefix(value)?);
            return Ok(());
        }
        self.statuses = match value {
            "PendingValidation" => &[HostnameStatus::PendingValidation],
            "Active" => &[HostnameStatus::Active],
            "Error" => &[HostnameStatus::GivenUp, HostnameStatus::TakenOver],
            _ => {
                let detail = "Expected `PendingValidation`, `Active` or `Error`.";
                return Err(Problem::bad_parameter(name, "invalid_status", detail));
            }
        };
        Ok(())
    }
}

/// What names begin with: in the form in which they are kept.
fn prefix(value: &str) -> Result<String, Problem> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'*');
    match (1..=MAX_NAME_LEN).contains(&value.len()) && value.bytes().all(allowed) {
        true => Ok(value.to_ascii_lowercase()),
        false => {
            let detail = "Expected the beginning of a hostname, in A-labels.";
            Err(Problem::bad_parameter("prefix", "invalid_prefix", detail))
        }
    }
}
