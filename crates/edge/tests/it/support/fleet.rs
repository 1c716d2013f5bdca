//! A group key, and certificates sealed to it that are held in memory.

use std::{
    collections::HashMap,
    fs::OpenOptions,
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use landfall_certstore::{
    CertificateId, CertificateRef, CertificateSource, EntrySpec, GroupKeys, KeyKind, Publisher,
    Resolver, SourceError, StoreConfig, StoredCertificate, channel,
};
use landfall_edge::site::Site;
use landfall_feed::seal::{GroupKeyFiles, GroupPublicKey, sha256};
use landfall_model::{HostPattern, LookupName, SealContext};
use rcgen::{CertificateParams, KeyPair, PublicKeyData};

#[derive(Default)]
struct MemorySource {
    rows: Mutex<HashMap<i64, StoredCertificate>>,
}

impl CertificateSource for MemorySource {
    fn certificate(&self, id: CertificateId) -> Result<Option<StoredCertificate>, SourceError> {
        Ok(self.rows.lock().unwrap().get(&id.0).cloned())
    }

    fn entry(&self, _name: &LookupName) -> Result<Option<EntrySpec>, SourceError> {
        panic!("the index is complete: no name may be looked up in the source");
    }

    fn wildcard(&self, _name: &LookupName) -> Result<Option<EntrySpec>, SourceError> {
        Ok(None)
    }
}

pub(super) struct Fleet {
    source: Arc<MemorySource>,
    keys: Arc<GroupKeys>,
    public: GroupPublicKey,
}

/// The file that certificates are added to for clients to trust.
pub(super) fn roots(directory: &Path) -> PathBuf {
    directory.join("roots.pem")
}

impl Fleet {
    pub(super) fn new() -> Self {
        let files = GroupKeyFiles::generate().unwrap();
        Self {
            source: Arc::default(),
            keys: Arc::new(GroupKeys::parse([files.private.as_str()]).unwrap()),
            public: GroupPublicKey::parse(&files.public).unwrap(),
        }
    }

    pub(super) fn channel(&self) -> (Publisher<Site>, Resolver<Site>) {
        let source = Arc::clone(&self.source) as Arc<dyn CertificateSource>;
        channel(StoreConfig { key_cache_bytes: 1 << 20 }, source, Arc::clone(&self.keys), Site::new)
    }

    /// A new self-signed certificate for `name`.
    pub(super) fn certificate(&self, name: &str, directory: &Path) -> CertificateRef {
        self.sealed_for(name, name, directory)
    }

    /// A certificate whose key is sealed for another hostname, as an attacker would have it.
    pub(super) fn unusable_certificate(&self, name: &str, directory: &Path) -> CertificateRef {
        self.sealed_for(name, "other.example", directory)
    }

    fn sealed_for(&self, name: &str, sealed_for: &str, directory: &Path) -> CertificateRef {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let mut roots =
            OpenOptions::new().create(true).append(true).open(roots(directory)).unwrap();
        roots.write_all(certificate.pem().as_bytes()).unwrap();
        let hostname: HostPattern = name.parse().unwrap();
        let spki_sha256 = sha256(&key.subject_public_key_info());
        let sealed_for = sealed_for.parse().unwrap();
        let context = SealContext::PrivateKey { hostname: &sealed_for, spki_sha256: &spki_sha256 };
        let sealed = self.public.seal(context, key.serialized_der()).unwrap();
        let leaf = certificate.der().to_vec();
        let stored = StoredCertificate { hostname, chain: vec![leaf], spki_sha256, key: sealed };
        let mut rows = self.source.rows.lock().unwrap();
        let id = i64::try_from(rows.len()).unwrap();
        rows.insert(id, stored);
        CertificateRef {
            id: CertificateId(id),
            key_kind: KeyKind::P256,
            not_after: u32::MAX,
            standby: false,
        }
    }
}
