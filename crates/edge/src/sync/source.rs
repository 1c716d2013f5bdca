//! The last-known-good database as the store's source.

use landfall_certstore::{
    CertificateId, CertificateRef, CertificateSource, EntrySpec, KeyKind, SourceError,
    StoredCertificate,
};
use landfall_feed::lkg::{KeyDescription, LkgError, Reader, StoredCertificateRef, StoredHostname};
use landfall_model::{HostPattern, KeyType, LookupName};

pub(super) struct LkgSource {
    reader: Reader,
}

impl LkgSource {
    pub(super) fn new(reader: Reader) -> Self {
        Self { reader }
    }
}

impl CertificateSource for LkgSource {
    fn certificate(&self, id: CertificateId) -> Result<Option<StoredCertificate>, SourceError> {
        let Some(stored) = self.reader.certificate(id.0).map_err(unreadable)? else {
            return Ok(None);
        };
        let spki_sha256 = array(&stored.spki_sha256).map_err(unreadable)?;
        let landfall_feed::lkg::StoredChain { hostname, chain, key, .. } = stored;
        Ok(Some(StoredCertificate { hostname, chain, spki_sha256, key }))
    }

    fn entry(&self, name: &LookupName) -> Result<Option<EntrySpec>, SourceError> {
        let found = self.reader.hostname(name).map_err(unreadable)?;
        Ok(found.map(|(name, stored)| entry_spec(name, stored)))
    }

    fn wildcard(&self, name: &LookupName) -> Result<Option<EntrySpec>, SourceError> {
        let found = self.reader.wildcard_above(name).map_err(unreadable)?;
        Ok(found.map(|(name, stored)| entry_spec(name, stored)))
    }
}

/// A hostname of the database as an entry of the store.
pub(super) fn entry_spec(name: HostPattern, stored: StoredHostname) -> EntrySpec {
    let certificates = stored.certificates.iter().map(certificate_ref).collect();
    let StoredHostname { state, route, tls: policy, .. } = stored;
    EntrySpec { name, state, route, policy, certificates }
}

fn certificate_ref(stored: &StoredCertificateRef) -> CertificateRef {
    CertificateRef {
        id: CertificateId(stored.id),
        key_kind: key_kind(stored.key),
        not_after: u32::try_from(stored.not_after.max(0)).unwrap_or(u32::MAX),
        standby: stored.standby,
    }
}

fn key_kind(key: KeyDescription) -> KeyKind {
    match (key.key_type, key.bits) {
        (KeyType::Rsa, _) => KeyKind::Rsa,
        (KeyType::Ecdsa, 384) => KeyKind::P384,
        (KeyType::Ecdsa, _) => KeyKind::P256,
    }
}

fn array(bytes: &[u8]) -> Result<[u8; 32], LkgError> {
    let wrong = |_| LkgError::Row(format!("a hash has {} bytes, expected 32", bytes.len()));
    bytes.try_into().map_err(wrong)
}

fn unreadable(error: LkgError) -> SourceError {
    SourceError(Box::new(error))
}
