//! Where chains, sealed keys and, while the index fills, entries are read from.

use std::error::Error;

use landfall_model::{HostPattern, LookupName, Sealed};

use crate::{CertificateId, EntrySpec};

/// A store of certificates on this machine. Its calls may block; the certificate store makes them
/// on threads where that is allowed.
pub trait CertificateSource: Send + Sync + 'static {
    /// The certificate under `id`, `None` once it is gone.
    ///
    /// # Errors
    /// Where the source can't be read.
    fn certificate(&self, id: CertificateId) -> Result<Option<StoredCertificate>, SourceError>;

    /// What `name` is served with: the exact name, else the wildcard above it.
    ///
    /// # Errors
    /// Where the source can't be read.
    fn entry(&self, name: &LookupName) -> Result<Option<EntrySpec>, SourceError>;

    /// What the wildcard one label above `name` is served with.
    ///
    /// # Errors
    /// Where the source can't be read.
    fn wildcard(&self, name: &LookupName) -> Result<Option<EntrySpec>, SourceError>;
}

/// A certificate as it is stored: nothing of it is secret in the clear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCertificate {
    /// The name that its key is sealed for.
    pub hostname: HostPattern,
    /// DER, the leaf first.
    pub chain: Vec<Vec<u8>>,
    /// The SHA-256 of the leaf's SubjectPublicKeyInfo.
    pub spki_sha256: [u8; 32],
    /// The private key as PKCS#8 DER.
    pub key: Sealed,
}

/// Why a source could not be read.
#[derive(Debug, thiserror::Error)]
#[error("the certificate source can't be read")]
pub struct SourceError(#[source] pub Box<dyn Error + Send + Sync>);
