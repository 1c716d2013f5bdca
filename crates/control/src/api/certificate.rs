//! `/api/Property/{property}/hostname/{hostname}/certificate`

use axum::{
    Extension,
    extract::{Path, Request, State, rejection::PathRejection},
};
use landfall_model::{HostPattern, KeyType};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{
    SharedApp,
    body::{SecretText, read_secret_json},
    condition::Tagged,
    hostname::{HostnameBody, ids},
    problem::Problem,
};
use crate::{
    call::Call,
    certificate::{CertificateIssuer, CertificateSummary},
    service::Upload,
};

/// What is known of a certificate. Of its private key nothing is: edges alone can open it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CertificateBody {
    source: &'static str,
    key_type: KeyType,
    key_bits: usize,
    fingerprint: String,
    issuer: String,
    subject: String,
    serial_number: String,
    names: Vec<HostPattern>,
    signature_algorithm: String,
    #[serde(with = "time::serde::rfc3339")]
    not_before: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    not_after: OffsetDateTime,
    /// When it was issued or uploaded here.
    #[serde(with = "time::serde::rfc3339")]
    added_at: OffsetDateTime,
    /// Which of the hostname's names are served with it.
    serves: Vec<HostPattern>,
}

impl From<&CertificateSummary> for CertificateBody {
    fn from(summary: &CertificateSummary) -> Self {
        let details = summary.details.clone();
        Self {
            source: source(summary.issuer),
            key_type: summary.key_type,
            key_bits: details.key_bits,
            fingerprint: summary.fingerprint.to_string(),
            issuer: details.issuer,
            subject: details.subject,
            serial_number: details.serial_hex,
            names: details.names,
            signature_algorithm: details.signature,
            not_before: summary.not_before,
            not_after: summary.not_after,
            added_at: summary.created_at,
            serves: summary.serves.clone(),
        }
    }
}

fn source(issuer: CertificateIssuer) -> &'static str {
    match issuer {
        CertificateIssuer::Internal => "internal",
        CertificateIssuer::Uploaded => "uploaded",
        CertificateIssuer::Inherited => "inherited",
    }
}

/// A hostname's certificates, ECDSA first.
#[derive(Serialize)]
pub(super) struct CertificatesBody {
    certificates: Vec<CertificateBody>,
}

/// One pair by itself, or a list of them.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UploadBody {
    certificate: Option<String>,
    private_key: Option<SecretText>,
    certificates: Option<Vec<PairBody>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PairBody {
    certificate: String,
    private_key: SecretText,
}

impl UploadBody {
    fn pairs(self) -> Option<Vec<Upload>> {
        let upload = |certificate, SecretText(private_key)| Upload { certificate, private_key };
        match (self.certificate, self.private_key, self.certificates) {
            (Some(certificate), Some(key), None) => Some(vec![upload(certificate, key)]),
            (None, None, Some(pairs)) => {
                let pairs = pairs.into_iter();
                Some(pairs.map(|pair| upload(pair.certificate, pair.private_key)).collect())
            }
            _ => None,
        }
    }
}

const EXPECTED: &str = "an object of `certificate` and `privateKey`, both PEM text, or of \
                        `certificates`, a list of such objects, and nothing else";

pub(super) async fn upload(
    State(app): State<SharedApp>,
    Extension(call): Extension<Call>,
    path: Result<Path<(i64, i64)>, PathRejection>,
    request: Request,
) -> Result<Tagged<HostnameBody>, Problem> {
    let (property, id) = ids(path)?;
    let body: UploadBody = read_secret_json(request, app.limits.max_body, EXPECTED).await?;
    let pairs = body.pairs().ok_or_else(|| Problem::incomplete(EXPECTED))?;
    Ok(app.service.upload_certificates(call, property, id, pairs).await?.into())
}

pub(super) async fn show(
    State(app): State<SharedApp>,
    path: Result<Path<(i64, i64)>, PathRejection>,
) -> Result<Tagged<CertificatesBody>, Problem> {
    let (property, id) = ids(path)?;
    let view = app.service.hostname(property, id).await?;
    let certificates = view.certificates.iter().map(CertificateBody::from).collect();
    let body = CertificatesBody { certificates };
    Ok(Tagged { version: view.hostname.version, body })
}

pub(super) async fn remove(
    State(app): State<SharedApp>,
    Extension(call): Extension<Call>,
    path: Result<Path<(i64, i64)>, PathRejection>,
) -> Result<Tagged<HostnameBody>, Problem> {
    let (property, id) = ids(path)?;
    Ok(app.service.remove_certificate(call, property, id).await?.into())
}
