//! `/api/Property/{property}/hostname/{hostname}/certificate`

use std::iter::repeat;

use axum::{
    Extension,
    extract::{Path, Request, State, rejection::PathRejection},
};
use landfall_issuance::acme::RevocationReason;
use landfall_model::{HostPattern, KeyType};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::{
    SharedApp,
    body::{SecretText, read_json, read_secret_json},
    condition::Tagged,
    hostname::{HostnameBody, ids},
    problem::Problem,
};
use crate::{
    call::Call,
    certificate::{CertificateIssuer, CertificateSummary},
    schema,
    service::Upload,
};

/// What is known of a certificate. Of its private key nothing is: edges alone can open it.
#[derive(Serialize, ToSchema)]
#[schema(as = Certificate)]
#[serde(rename_all = "camelCase")]
pub(super) struct CertificateBody {
    /// Where it is from; `authority` is a CA that issues for hostnames, `inherited` came with the name from the property that had it.
    #[schema(value_type = schema::CertificateSource)]
    source: &'static str,
    /// The kind of its key.
    #[schema(value_type = schema::CertificateKeyType)]
    key_type: KeyType,
    /// The size of its key.
    #[schema(minimum = 256, example = 256)]
    key_bits: usize,
    /// The SHA-256 of its DER.
    #[schema(value_type = schema::FingerprintHex)]
    fingerprint: String,
    /// The name of the CA that signed it (RFC 4514).
    issuer: String,
    /// Its own name (RFC 4514).
    subject: String,
    /// Its serial number in hexadecimal.
    serial_number: String,
    /// The names that it is for.
    #[schema(value_type = Vec<schema::HostnameName>)]
    names: Vec<HostPattern>,
    /// How it is signed.
    #[schema(example = "ecdsa-with-SHA256")]
    signature_algorithm: String,
    /// From when it is valid.
    #[serde(with = "time::serde::rfc3339")]
    not_before: OffsetDateTime,
    /// Until when it is valid.
    #[serde(with = "time::serde::rfc3339")]
    not_after: OffsetDateTime,
    /// When it was issued or uploaded here.
    #[serde(with = "time::serde::rfc3339")]
    added_at: OffsetDateTime,
    /// When a PoP was first seen to serve it, in a handshake; missing while none has been.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    served_since: Option<OffsetDateTime>,
    /// Which of the hostname's names are served with it.
    #[schema(value_type = Vec<schema::HostnameName>)]
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
            served_since: summary.sighted.at,
            serves: summary.serves.clone(),
        }
    }
}

fn source(issuer: CertificateIssuer) -> &'static str {
    match issuer {
        CertificateIssuer::Internal => "internal",
        CertificateIssuer::Uploaded => "uploaded",
        CertificateIssuer::Inherited => "inherited",
        CertificateIssuer::Authority => "authority",
    }
}

/// A hostname's certificates, ECDSA first.
#[derive(Serialize, ToSchema)]
#[schema(as = Certificates)]
pub(super) struct CertificatesBody {
    /// What is known of each.
    certificates: Vec<CertificateBody>,
}

/// One pair by itself, or a list of them.
#[derive(Deserialize, ToSchema)]
#[schema(as = CertificateUpload)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UploadBody {
    /// The leaf, then each certificate's issuer.
    #[schema(value_type = Option<schema::CertificatePem>)]
    certificate: Option<String>,
    /// The leaf's private key.
    #[schema(value_type = Option<schema::PrivateKeyPem>)]
    private_key: Option<SecretText>,
    /// Instead of the two: a pair with an RSA key, one with an ECDSA key, or both.
    #[schema(min_items = 1, max_items = 2)]
    certificates: Option<Vec<PairBody>>,
}

/// A certificate and its key.
#[derive(Deserialize, ToSchema)]
#[schema(as = CertificatePair)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PairBody {
    /// The leaf, then each certificate's issuer.
    #[schema(value_type = schema::CertificatePem)]
    certificate: String,
    /// The leaf's private key.
    #[schema(value_type = schema::PrivateKeyPem)]
    private_key: SecretText,
}

impl UploadBody {
    fn pairs(self) -> Option<Vec<Upload>> {
        let upload = |within, certificate, SecretText(private_key)| Upload {
            certificate,
            private_key,
            within,
        };
        match (self.certificate, self.private_key, self.certificates) {
            (Some(certificate), Some(key), None) => Some(vec![upload("", certificate, key)]),
            (None, None, Some(pairs)) => {
                // More than two are refused as they are.
                let places = ["/certificates/0", "/certificates/1"].into_iter().chain(repeat(""));
                let pairs = pairs.into_iter().zip(places);
                let upload =
                    |(pair, at): (PairBody, _)| upload(at, pair.certificate, pair.private_key);
                Some(pairs.map(upload).collect())
            }
            _ => None,
        }
    }
}

const EXPECTED: &str = "an object of `certificate` and `privateKey`, both PEM text, or of \
                        `certificates`, a list of such objects, and nothing else";

/// Uploads a certificate
///
/// One pair of certificate and key, or two: RSA and ECDSA. Each is checked (order of the chain, key,
/// validity, names, strength), sealed and published; the key is never shown again.
#[utoipa::path(
    post,
    path = "/api/Property/{property}/hostname/{hostname}/certificate",
    operation_id = "uploadCertificate",
    tag = "Certificates",
    request_body = UploadBody,
    responses(
        (status = 200, description = "The hostname as it is now.", body = HostnameBody),
    )
)]
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

/// Shows the certificates of a hostname
#[utoipa::path(
    get,
    path = "/api/Property/{property}/hostname/{hostname}/certificate",
    operation_id = "getCertificates",
    tag = "Certificates",
    responses(
        (status = 200, description = "What is known of them.", body = CertificatesBody),
    )
)]
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

/// Deletes the uploaded certificates
///
/// The hostname reverts to a managed certificate, where it had one.
#[utoipa::path(
    delete,
    path = "/api/Property/{property}/hostname/{hostname}/certificate",
    operation_id = "deleteCertificate",
    tag = "Certificates",
    responses(
        (status = 200, description = "The hostname as it is now.", body = HostnameBody),
    )
)]
pub(super) async fn remove(
    State(app): State<SharedApp>,
    Extension(call): Extension<Call>,
    path: Result<Path<(i64, i64)>, PathRejection>,
) -> Result<Tagged<HostnameBody>, Problem> {
    let (property, id) = ids(path)?;
    Ok(app.service.remove_certificate(call, property, id).await?.into())
}

/// Which certificates are revoked, and why.
#[derive(Deserialize, ToSchema)]
#[schema(as = CertificateRevocation)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RevocationBody {
    /// Why.
    #[schema(value_type = schema::RevocationReasonName)]
    reason: RevocationReason,
}

/// Revokes the managed certificates
///
/// Those that a CA issued. Another one is asked for at once, and the hostname is served with the old one
/// until the new one is there; then it is revoked. With `keyCompromise` it is revoked within the hour in any
/// case, and served until there is another one. Asking again changes nothing, unless the reason is more
/// urgent. How far it is, `explain` shows.
#[utoipa::path(
    post,
    path = "/api/Property/{property}/hostname/{hostname}/certificate/revoke",
    operation_id = "revokeCertificate",
    tag = "Certificates",
    request_body = RevocationBody,
    responses(
        (status = 200, description = "The hostname as it is now.", body = HostnameBody),
    )
)]
pub(super) async fn revoke(
    State(app): State<SharedApp>,
    Extension(call): Extension<Call>,
    path: Result<Path<(i64, i64)>, PathRejection>,
    request: Request,
) -> Result<Tagged<HostnameBody>, Problem> {
    let ids = ids(path)?;
    let body: RevocationBody = read_json(request, app.limits.max_body).await?;
    Ok(app.service.revoke_certificates(call, ids, body.reason).await?.into())
}
