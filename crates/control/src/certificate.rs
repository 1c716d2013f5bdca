//! Certificates: what is kept of one, and the checks that an uploaded one passes.

pub(crate) mod chain;
pub(crate) mod details;
pub(crate) mod key;
pub(crate) mod pem;
pub(crate) mod private_key;
pub(crate) mod roots;
pub(crate) mod upload;

use details::CertificateDetails;
use landfall_model::{
    AuthorityName, Der, Fingerprint, HostPattern, HostnameId, KeyType, Sealed,
    issuance::RenewalAdvice,
};
use time::OffsetDateTime;

use crate::{store::sighting::Miss, watch::pop_set::PopSet};

/// Who made a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CertificateIssuer {
    /// The internal CA.
    Internal,
    /// Whoever; the owner of the hostname uploaded it.
    Uploaded,
    /// It came with the name from the property that had it, and is served until the new owner's own
    /// is there.
    Inherited,
    /// A CA that an agent asked.
    Authority,
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
    pub(crate) details: CertificateDetails,
    /// The names that it is served for: those that its hostname has and that it covers.
    pub(crate) serves: Vec<HostPattern>,
    /// When it was issued or uploaded here.
    pub(crate) created_at: OffsetDateTime,
    pub(crate) sighted: Sighted,
}

/// What handshakes with PoPs have shown of a certificate.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sighted {
    /// When one first showed it; none while none has.
    pub(crate) at: Option<OffsetDateTime>,
    /// The PoPs that have shown it.
    pub(crate) by: PopSet,
    /// What some others showed when they were last looked at.
    pub(crate) misses: Vec<Miss>,
}

/// A certificate with its sealed key, ready to be kept and published.
#[derive(Clone, Debug)]
pub(crate) struct SealedCertificate {
    pub(crate) key_type: KeyType,
    pub(crate) issuer: CertificateIssuer,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) not_before: OffsetDateTime,
    pub(crate) not_after: OffsetDateTime,
    /// When the next one is asked for; none where it isn't.
    pub(crate) renew_at: Option<OffsetDateTime>,
    /// The leaf first, each followed by its issuer.
    pub(crate) chain: Vec<Der>,
    pub(crate) spki_sha256: [u8; 32],
    /// The private key, for each name that the certificate is served for.
    pub(crate) keys: Vec<SealedKey>,
    /// Of one that an agent obtained.
    pub(crate) source: Option<Source>,
}

/// Where a certificate is from that an agent obtained, and when its CA is asked about it.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) authority: AuthorityName,
    /// What the CA knows it by (RFC 9773 section 4.1).
    pub(crate) ari_id: Option<String>,
    /// When the CA wants it renewed.
    pub(crate) advice: Option<RenewalAdvice>,
    /// From when on its renewal goes before others.
    pub(crate) urgent_at: OffsetDateTime,
    /// When the CA is asked next; none where it can't be.
    pub(crate) poll_at: Option<OffsetDateTime>,
}

/// A private key, sealed for one name.
#[derive(Clone, Debug)]
pub(crate) struct SealedKey {
    pub(crate) name: HostPattern,
    pub(crate) sealed: Sealed,
}
