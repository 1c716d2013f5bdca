//! Where a hostname's verification stands, as the API shows it.

use std::net::IpAddr;

use axum::{
    Extension,
    extract::{Path, State, rejection::PathRejection},
};
use landfall_dns::{AddressKind, AddressRecord, Delegation, Finding, RequiredKind, RequiredRecord};
use landfall_model::{HostPattern, Hostname};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::{
    SharedApp,
    condition::Tagged,
    hostname::{HostnameBody, ids},
    problem::Problem,
};
use crate::{
    call::Call,
    hostname::{HostnameStatus, Title, delegation::DelegationRecord},
    schema,
    service::{HostnameView, ServiceError, VerificationError},
    store::verification::VerificationState,
};

/// Where a hostname's verification stands.
#[derive(Serialize, ToSchema)]
#[schema(as = Verification)]
#[serde(rename_all = "camelCase")]
pub(super) struct VerificationBody {
    /// When it is checked next; null once it is no longer checked by itself.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(required)]
    next_attempt_at: Option<OffsetDateTime>,
    /// How often it was checked in vain.
    tries: u32,
    /// When it was last checked.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(required)]
    last_checked_at: Option<OffsetDateTime>,
    /// What the last check came down to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::FindingName>)]
    finding: Option<Finding>,
    /// One sentence that says what to change.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
    /// Since when the DNS of an Active hostname leads elsewhere.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    dns_left_at: Option<OffsetDateTime>,
}

impl From<VerificationState> for VerificationBody {
    fn from(state: VerificationState) -> Self {
        let finding = state.evidence.as_ref().map(|evidence| evidence.finding);
        Self {
            next_attempt_at: state.next_at,
            tries: state.tries,
            last_checked_at: state.checked_at,
            finding,
            advice: state.evidence.map(|evidence| evidence.advice),
            dns_left_at: state.left_at,
        }
    }
}

/// Requests a certificate
///
/// An external hostname's DNS is verified first; where it leads here, the hostname becomes Active and its
/// certificate is issued. Others' certificates are issued at once. Asking again changes nothing while one
/// is being issued.
#[utoipa::path(
    post,
    path = "/api/Property/{property}/hostname/{hostname}/request-certificate",
    operation_id = "requestCertificate",
    tag = "Hostnames",
    responses(
        (status = 200, description = "The hostname as it is now.", body = HostnameBody),
        (
            status = 400,
            description = "`dns_verification_failed`: `detail` says what to change, `evidence` what was \
                           seen. `uploaded_certificate`: it excludes a managed one; delete it first.",
        ),
        (
            status = 409,
            description = "`ownership_not_proven`: another property has the hostname. \
                           `hostname_changed`: meanwhile.",
        ),
        (
            status = 503,
            description = "`dns_verification_inconclusive`: nothing is held against the hostname; come \
                           back after `Retry-After`.",
        ),
    )
)]
pub(super) async fn request_certificate(
    State(app): State<SharedApp>,
    Extension(call): Extension<Call>,
    path: Result<Path<(i64, i64)>, PathRejection>,
) -> Result<Tagged<HostnameBody>, Problem> {
    let (property, id) = ids(path)?;
    match app.service.request_certificate(call, property, id).await {
        Ok(view) => Ok(view.into()),
        Err(error @ ServiceError::Verification(VerificationError::Failed(_))) => {
            let hostname = app.service.hostname(property, id).await?.hostname;
            let problem = Problem::from(error);
            Err(match hostname.title {
                Title::Claimed => problem.adding(CLAIM),
                Title::Held => problem,
            })
        }
        Err(error) => Err(error.into()),
    }
}

/// What the owner of a claim has to do besides.
const CLAIM: &str = "The hostname is a claim, for another property has the name or had it: publish its \
                     ownership token too, as the hostname's `ownership` says.";

/// The DNS record that makes a hostname lead here, to be copied as it is.
#[derive(Serialize, ToSchema)]
#[schema(as = Record)]
pub(super) struct RecordBody {
    /// `ALIAS` (some providers call it ANAME) where there can be no CNAME: at a domain's apex.
    #[serde(rename = "type")]
    #[schema(value_type = schema::RecordType)]
    kind: RequiredKind,
    /// Its name.
    #[schema(value_type = schema::HostnameName)]
    name: HostPattern,
    /// Where it points.
    #[schema(value_type = schema::HostnameName)]
    target: Hostname,
    /// All of these instead, where the provider has no ALIAS.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    alternatives: Vec<AddressRecordBody>,
}

/// A DNS record that holds an address.
#[derive(Serialize, ToSchema)]
#[schema(as = AddressRecord)]
pub(super) struct AddressRecordBody {
    /// Its type.
    #[serde(rename = "type")]
    #[schema(value_type = schema::AddressRecordType)]
    kind: AddressKind,
    /// Its name.
    #[schema(value_type = schema::HostnameName)]
    name: HostPattern,
    /// What it holds.
    #[schema(value_type = schema::Address)]
    address: IpAddr,
}

impl From<RequiredRecord> for RecordBody {
    fn from(record: RequiredRecord) -> Self {
        let RequiredRecord { kind, name, target, alternatives } = record;
        let address = |record: AddressRecord| {
            let AddressRecord { kind, name, address } = record;
            AddressRecordBody { kind, name, address }
        };
        Self { kind, name, target, alternatives: alternatives.into_iter().map(address).collect() }
    }
}

/// Why a hostname's status is `Error`.
pub(super) fn status_reason(status: HostnameStatus) -> Option<&'static str> {
    match status {
        HostnameStatus::PendingValidation | HostnameStatus::Active => None,
        HostnameStatus::GivenUp => Some("dns_not_verified"),
        HostnameStatus::TakenOver => Some("taken_over"),
    }
}

/// A CNAME record that leaves DNS challenges to us (RFC 8555 section 8.4), to be copied as it is.
#[derive(Serialize, ToSchema)]
#[schema(as = ChallengeRecord)]
#[serde(rename_all = "camelCase")]
pub(super) struct ChallengeRecordBody {
    /// Always `CNAME`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// Its name.
    #[schema(example = "_acme-challenge.www.customer.example")]
    name: String,
    /// Where it points.
    #[schema(example = "0123456789abcdef0123456789abcdef.dcv.edge.example.net")]
    target: String,
    /// What the last verification saw: `present`, `absent`, `elsewhere` or `unclear`; missing where none
    /// has looked.
    #[serde(skip_serializing_if = "Option::is_none")]
    seen: Option<&'static str>,
}

impl ChallengeRecordBody {
    pub(super) fn of(view: &HostnameView) -> Option<Self> {
        let DelegationRecord { name, target } = view.delegation.clone()?;
        let evidence = view.verification.as_ref().and_then(|state| state.evidence.as_ref());
        let seen = evidence.and_then(|evidence| evidence.challenge.as_ref());
        let seen = seen.filter(|seen| seen.target == target).map(|seen| match seen.delegation {
            Delegation::Present => "present",
            Delegation::Absent => "absent",
            Delegation::Elsewhere { .. } => "elsewhere",
            Delegation::Unclear => "unclear",
        });
        Some(Self { kind: "CNAME", name, target, seen })
    }
}
