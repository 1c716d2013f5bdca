//! Parsed keys, as many as fit in a number of bytes.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use quick_cache::{Weighter, sync::Cache};
use rustls::sign::CertifiedKey;
use tokio::{sync::Semaphore, task};

use crate::{CertificateError, CertificateId, CertificateSource, GroupKeys};

/// What a parsed key takes besides its chain: the signing key's own structures (measured: about
/// 1.2 KB for P-256) and the cache's slot.
const KEY_OVERHEAD: u64 = 1_536;
/// The most certificates that are loaded at a time; further cold handshakes wait their turn, within
/// their own time limit.
const CONCURRENT_LOADS: usize = 32;
const MIN_CAPACITY_BYTES: u64 = 64 * 1024;

/// The cache, what fills it, and its counters.
pub(crate) struct KeyCache {
    cache: Cache<CertificateId, Arc<CertifiedKey>, ByBytes>,
    loads: Arc<Semaphore>,
    source: Arc<dyn CertificateSource>,
    keys: Arc<GroupKeys>,
    hits: AtomicU64,
    misses: AtomicU64,
}

/// Figures of a store, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Names in the index.
    pub hostnames: usize,
    /// Different TLS policies.
    pub policies: usize,
    /// Secrets for session tickets that were put in.
    pub ticket_secrets: usize,
    /// Parsed keys in the cache.
    pub cache_entries: usize,
    /// What they take, in bytes.
    pub cache_bytes: u64,
    /// Handshakes that found their key parsed.
    pub cache_hits: u64,
    /// Handshakes that had to load it.
    pub cache_misses: u64,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<CertificateId, Arc<CertifiedKey>> for ByBytes {
    fn weight(&self, _id: &CertificateId, key: &Arc<CertifiedKey>) -> u64 {
        KEY_OVERHEAD + key.cert.iter().map(|der| der.len() as u64).sum::<u64>()
    }
}

impl KeyCache {
    pub(crate) fn new(
        capacity_bytes: u64,
        source: Arc<dyn CertificateSource>,
        keys: Arc<GroupKeys>,
    ) -> Self {
        let capacity = capacity_bytes.max(MIN_CAPACITY_BYTES);
        let expected = usize::try_from(capacity / (2 * KEY_OVERHEAD)).unwrap_or(usize::MAX);
        Self {
            cache: Cache::with_weighter(expected, capacity, ByBytes),
            loads: Arc::new(Semaphore::new(CONCURRENT_LOADS)),
            source,
            keys,
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    /// The key under `id`, loaded by one of those who ask for it at the same time.
    pub(crate) async fn load(
        &self,
        id: CertificateId,
    ) -> Result<Arc<CertifiedKey>, CertificateError> {
        if let Some(key) = self.cache.get(&id) {
            self.hits.fetch_add(1, Ordering::Relaxed);
            return Ok(key);
        }
        self.misses.fetch_add(1, Ordering::Relaxed);
        self.cache.get_or_insert_async(&id, self.read(id)).await
    }

    async fn read(&self, id: CertificateId) -> Result<Arc<CertifiedKey>, CertificateError> {
        let interrupted = |_| CertificateError::Interrupted;
        let turn = Arc::clone(&self.loads).acquire_owned().await.map_err(interrupted)?;
        let (source, keys) = (Arc::clone(&self.source), Arc::clone(&self.keys));
        let loading = task::spawn_blocking(move || {
            // Ends with the read, whether or not somebody still waits for it.
            let _turn = turn;
            let stored = source.certificate(id);
            let stored = stored.map_err(|error| CertificateError::Source(Arc::new(error)))?;
            keys.open(&stored.ok_or(CertificateError::Gone)?).map(Arc::new)
        });
        loading.await.map_err(|_| CertificateError::Interrupted)?
    }

    pub(crate) fn fill(&self, stats: &mut Stats) {
        stats.cache_entries = self.cache.len();
        stats.cache_bytes = self.cache.weight();
        stats.cache_hits = self.hits.load(Ordering::Relaxed);
        stats.cache_misses = self.misses.load(Ordering::Relaxed);
    }
}
