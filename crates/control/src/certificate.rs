//! Certificates: what is kept of one, and the checks that an uploaded one passes.

pub(crate) mod chain;
pub(crate) mod key;
pub(crate) mod pem;
pub(crate) mod roots;
pub(crate) mod upload;

use landfall_feed::record::CertificateRecord;
use landfall_model::{Fingerprint, HostnameId, KeyType};
use time::OffsetDateTime;

/// Who made a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CertificateIssuer {
    /// The internal CA.
    Internal,
    /// Whoever; the owner of the hostname uploaded it.
    Uploaded,
}

/// What the API says of a certificate.
#[derive(Clone, Debug)]
pub(crate) struct CertificateSummary {
    pub(crate) hostname: HostnameId,
    pub(crate) key_type: KeyType,
    pub(crate) issuer: CertificateIssuer,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) not_before: OffsetDateTime,
    pub(crate) not_after: OffsetDateTime,
}

/// A certificate with its sealed key, ready to be kept and published.
#[derive(Clone, Debug)]
pub(crate) struct SealedCertificate {
    pub(crate) key_type: KeyType,
    pub(crate) issuer: CertificateIssuer,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) not_before: OffsetDateTime,
    pub(crate) not_after: OffsetDateTime,
    /// When the internal CA issues the next one.
    pub(crate) renew_at: Option<OffsetDateTime>,
    pub(crate) record: CertificateRecord,
}
