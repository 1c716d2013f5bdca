//! A fleet key, certificates sealed to it, and a source that holds them in memory.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, channel as channel_of_two},
    },
};

use landfall_certstore::{
    CertificateId, CertificateRef, CertificateSource, EntrySpec, GroupKeys, KeyKind, Publisher,
    Resolver, SourceError, StoreConfig, StoredCertificate, channel,
};
use landfall_feed::seal::{GroupKeyFiles, GroupPublicKey, sha256};
use landfall_model::{HostnameState, LookupName, PropertyId, Route, SealContext, TlsPolicy};
use rcgen::{CertificateParams, KeyPair, PublicKeyData};

#[derive(Default)]
pub(crate) struct MemorySource {
    rows: Mutex<HashMap<i64, StoredCertificate>>,
    entries: Mutex<HashMap<String, EntrySpec>>,
    next: AtomicI64,
    gate: Mutex<Option<Gate>>,
    entries_are_broken: AtomicBool,
    pub(crate) reads: AtomicUsize,
    pub(crate) entry_reads: AtomicUsize,
}

/// Both ends of a pause: one says that a read has come, the other lets it go on.
struct Gate {
    reached: Sender<()>,
    go_on: Receiver<()>,
}

impl MemorySource {
    /// Holds the next read of a certificate. Answers when it has come, and what lets it go on.
    pub(crate) fn hold_next_read(&self) -> (Receiver<()>, Sender<()>) {
        let ((reached, has_reached), (go, go_on)) = (channel_of_two(), channel_of_two());
        *self.gate.lock().unwrap() = Some(Gate { reached, go_on });
        (has_reached, go)
    }

    pub(crate) fn add(&self, stored: StoredCertificate) -> CertificateId {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.rows.lock().unwrap().insert(id, stored);
        CertificateId(id)
    }

    pub(crate) fn drop_certificate(&self, id: CertificateId) {
        self.rows.lock().unwrap().remove(&id.0);
    }

    pub(crate) fn add_entry(&self, spec: EntrySpec) {
        self.entries.lock().unwrap().insert(spec.name.to_string(), spec);
    }
}

impl MemorySource {
    /// Has the reads of entries fail from now on.
    pub(crate) fn break_entries(&self) {
        self.entries_are_broken.store(true, Ordering::Relaxed);
    }

    fn read_entry(&self, name: &str) -> Result<Option<EntrySpec>, SourceError> {
        match self.entries_are_broken.load(Ordering::Relaxed) {
            true => Err(SourceError(Box::from("the disk is gone"))),
            false => Ok(self.entries.lock().unwrap().get(name).cloned()),
        }
    }
}

impl CertificateSource for MemorySource {
    fn certificate(&self, id: CertificateId) -> Result<Option<StoredCertificate>, SourceError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let gate = self.gate.lock().unwrap().take();
        if let Some(Gate { reached, go_on }) = gate {
            reached.send(()).unwrap();
            go_on.recv().unwrap();
        }
        Ok(self.rows.lock().unwrap().get(&id.0).cloned())
    }

    fn entry(&self, name: &LookupName) -> Result<Option<EntrySpec>, SourceError> {
        self.entry_reads.fetch_add(1, Ordering::Relaxed);
        self.read_entry(name.as_str())
    }

    fn wildcard(&self, name: &LookupName) -> Result<Option<EntrySpec>, SourceError> {
        let wildcard = format!("*.{}", name.wildcard_base().unwrap());
        self.read_entry(&wildcard)
    }
}

pub(crate) struct Fleet {
    pub(crate) source: Arc<MemorySource>,
    pub(crate) keys: Arc<GroupKeys>,
    public: GroupPublicKey,
}

impl Fleet {
    pub(crate) fn new() -> Self {
        let files = GroupKeyFiles::generate().unwrap();
        Self {
            source: Arc::default(),
            keys: Arc::new(GroupKeys::parse([files.private.as_str()]).unwrap()),
            public: GroupPublicKey::parse(&files.public).unwrap(),
        }
    }

    pub(crate) fn channel(&self, key_cache_bytes: u64) -> (Publisher<Route>, Resolver<Route>) {
        let source = Arc::clone(&self.source) as Arc<dyn CertificateSource>;
        channel(StoreConfig { key_cache_bytes }, source, Arc::clone(&self.keys), Route::clone)
    }

    /// A self-signed certificate for `name`, its key sealed for that name.
    pub(crate) fn certificate(&self, name: &str, kind: KeyKind) -> StoredCertificate {
        let algorithm = match kind {
            KeyKind::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            KeyKind::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            KeyKind::Rsa => &rcgen::PKCS_RSA_SHA256,
        };
        let key = KeyPair::generate_for(algorithm).unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let leaf = params.self_signed(&key).unwrap().der().to_vec();
        let spki_sha256 = sha256(&key.subject_public_key_info());
        let hostname = name.parse().unwrap();
        let context = SealContext::PrivateKey { hostname: &hostname, spki_sha256: &spki_sha256 };
        let sealed = self.public.seal(context, key.serialized_der()).unwrap();
        StoredCertificate { hostname, chain: vec![leaf], spki_sha256, key: sealed }
    }

    /// Stores a new certificate for `name` and refers to it.
    pub(crate) fn store(&self, name: &str, kind: KeyKind) -> CertificateRef {
        let stored = self.certificate(name, kind);
        let id = self.source.add(stored);
        CertificateRef { id, key_kind: kind, not_after: u32::MAX, standby: false }
    }

    /// `name` with one new P-256 certificate and the default policy.
    pub(crate) fn spec(&self, name: &str) -> EntrySpec {
        spec(name, vec![self.store(name, KeyKind::P256)])
    }
}

pub(crate) fn spec(name: &str, certificates: Vec<CertificateRef>) -> EntrySpec {
    EntrySpec {
        name: name.parse().unwrap(),
        state: HostnameState::Active,
        route: Route::to(PropertyId(1)),
        policy: TlsPolicy::default(),
        certificates,
    }
}

pub(crate) fn name(text: &str) -> LookupName {
    LookupName::from_sni(text).unwrap()
}

pub(crate) fn replace(publisher: &mut Publisher<Route>, specs: impl Iterator<Item = EntrySpec>) {
    let mut replacement = publisher.replacement();
    for spec in specs {
        replacement.insert(&spec).unwrap();
    }
    replacement.finish();
}
