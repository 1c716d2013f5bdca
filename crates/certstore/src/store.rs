//! The two ends of the store: one writer, many readers.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use landfall_model::{HostPattern, LookupName, Route, TlsPolicy};
use rustls::sign::CertifiedKey;
use tokio::{sync::Semaphore, task};

use crate::{
    CertificateError, CertificateSource, Entry, EntrySpec, GroupKeys, Offer, PolicyError,
    SourceError, Stats, TicketSecrets,
    answer::Answer,
    busy::{Busiest, Busy},
    cache::KeyCache,
    index::{Index, Shards},
    intern::Interner,
    tickets,
};

/// The most look-ups in the source at a time while the index fills.
const CONCURRENT_COLD_LOOKUPS: usize = 32;
/// How often a handshake starts over because its certificate was replaced under it.
const REPLACED_RETRIES: usize = 3;

/// What a store is made with.
#[derive(Clone, Copy, Debug)]
pub struct StoreConfig {
    /// What parsed keys may take, in bytes.
    pub key_cache_bytes: u64,
}

struct Shared<R> {
    index: Index<R>,
    interner: Interner<R>,
    tickets: Arc<TicketSecrets>,
    cache: KeyCache,
    source: Arc<dyn CertificateSource>,
    filled: AtomicBool,
    cold_lookups: Arc<Semaphore>,
}

impl<R> Shared<R> {
    /// What the source has of a name. Blocks.
    fn read(&self, name: &LookupName) -> Result<Option<Answer<R>>, SourceError> {
        let entry = |spec: EntrySpec| self.interner.entry(&spec).ok();
        let exact = self.source.entry(name)?.and_then(entry);
        let mut failure = None;
        let answer = Answer::of(exact, || match self.source.wildcard(name) {
            Ok(found) => found.and_then(entry),
            Err(error) => {
                failure = Some(error);
                None
            }
        });
        failure.map_or(Ok(answer), Err)
    }
}

/// Makes a store: its one writer and a reader, which can be cloned.
///
/// Until the first [`Replacement`] is finished, names that are not in the index are
/// looked up in `source`. `compile` makes out of a route what serves its requests, once for all
/// names with equal routes; it must be quick.
pub fn channel<R: Send + Sync + 'static>(
    config: StoreConfig,
    source: Arc<dyn CertificateSource>,
    keys: Arc<GroupKeys>,
    compile: impl Fn(&Route) -> R + Send + Sync + 'static,
) -> (Publisher<R>, Resolver<R>) {
    let tickets = Arc::new(TicketSecrets::new(tickets::now()));
    let shared = Arc::new(Shared {
        index: Index::new(),
        interner: Interner::new(Arc::clone(&tickets), compile),
        tickets,
        cache: KeyCache::new(config.key_cache_bytes, Arc::clone(&source), keys),
        source,
        filled: AtomicBool::new(false),
        cold_lookups: Arc::new(Semaphore::new(CONCURRENT_COLD_LOOKUPS)),
    });
    (Publisher { shared: Arc::clone(&shared) }, Resolver { shared })
}

/// The writer. What it publishes is seen by the next look-up.
pub struct Publisher<R> {
    shared: Arc<Shared<R>>,
}

impl<R> Publisher<R> {
    /// Puts a name in, or replaces what it had: there is no moment without it.
    ///
    /// # Errors
    /// [`PolicyError`]; the name keeps what it had.
    pub fn insert(&mut self, spec: &EntrySpec) -> Result<(), PolicyError> {
        self.shared.index.insert(self.shared.interner.entry(spec)?);
        Ok(())
    }

    /// Takes a name out.
    pub fn remove(&mut self, name: &HostPattern) {
        self.shared.index.remove(name);
    }

    /// Checks that a name with this policy could be put in.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn check_policy(&self, policy: &TlsPolicy) -> Result<(), PolicyError> {
        self.shared.interner.policy(policy).map(drop)
    }

    /// The secrets of the session tickets.
    pub fn ticket_secrets(&mut self) -> &TicketSecrets {
        &self.shared.tickets
    }

    /// Starts a set of names that is to take the place of all there are.
    pub fn replacement(&mut self) -> Replacement<'_, R> {
        Replacement { shared: &self.shared, shards: Shards::new() }
    }
}

/// Names that take the place of all others at once, when [`Self::finish`] is called.
pub struct Replacement<'a, R> {
    shared: &'a Shared<R>,
    shards: Shards<R>,
}

impl<R> Replacement<'_, R> {
    /// Adds a name.
    ///
    /// # Errors
    /// [`PolicyError`]; the name is left out.
    pub fn insert(&mut self, spec: &EntrySpec) -> Result<(), PolicyError> {
        let entry = self.shared.interner.entry(spec)?;
        self.shared.index.add(&mut self.shards, entry);
        Ok(())
    }

    /// Swaps the names in. From here on the index is complete, and unknown names cost no look-up
    /// in the source.
    pub fn finish(self) {
        self.shared.index.replace(self.shards);
        self.shared.filled.store(true, Ordering::Release);
    }
}

/// A reader.
pub struct Resolver<R> {
    shared: Arc<Shared<R>>,
}

impl<R> Clone for Resolver<R> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

/// The certificate for a handshake.
#[derive(Debug)]
pub struct Selected<R> {
    /// The name that was found.
    pub entry: Arc<Entry<R>>,
    /// What to present.
    pub key: Arc<CertifiedKey>,
}

/// Why there is no certificate for a handshake.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SelectError {
    /// The name is not served.
    #[error("the name is not served here")]
    UnknownName,
    /// Whether the name is served can't be found out: the index still fills, and the source can't be read.
    #[error("whether the name is served can't be looked up")]
    Unreadable(#[source] SourceError),
    /// The name is known and has no certificate yet.
    #[error("the hostname `{name}` has no certificate yet")]
    NoCertificate {
        /// The entry's name.
        name: HostPattern,
    },
    /// The certificate can't be used.
    #[error("the certificate of `{name}` can't be used")]
    Unusable {
        /// The entry's name.
        name: HostPattern,
        /// Why.
        #[source]
        source: CertificateError,
    },
}

impl<R: Send + Sync + 'static> Resolver<R> {
    /// The entry of the exact name, else of the wildcard one label above; that of a name that is
    /// not verified and has no certificate hides no wildcard. Never waits, and does no I/O.
    pub fn find(&self, name: &LookupName) -> Option<Arc<Entry<R>>> {
        self.shared.index.find(name).map(|answer| answer.entry)
    }

    /// As [`Self::find`]; while the index still fills after a start, the source is asked too.
    ///
    /// # Errors
    /// Where the source can't be read, and the index has no answer yet.
    pub async fn find_or_load(
        &self,
        name: &LookupName,
    ) -> Result<Option<Arc<Entry<R>>>, SourceError> {
        Ok(self.answer(name).await?.map(|answer| answer.entry))
    }

    async fn answer(&self, name: &LookupName) -> Result<Option<Answer<R>>, SourceError> {
        // Read before the index is: it may be swapped in between the two.
        let is_filled = self.shared.filled.load(Ordering::Acquire);
        let found = self.shared.index.find(name);
        match is_filled || found.as_ref().is_some_and(Answer::is_whole) {
            true => Ok(found),
            false => self.load(*name, found).await,
        }
    }

    /// What the source has; where it has nothing or can't be read, `otherwise`.
    async fn load(
        &self,
        name: LookupName,
        otherwise: Option<Answer<R>>,
    ) -> Result<Option<Answer<R>>, SourceError> {
        let turn = Arc::clone(&self.shared.cold_lookups).acquire_owned().await;
        let turn = turn.map_err(|closed| SourceError(Box::new(closed)))?;
        let shared = Arc::clone(&self.shared);
        let loading = task::spawn_blocking(move || {
            // Ends with the read, whether or not somebody still waits for it.
            let _turn = turn;
            shared.read(&name)
        });
        let loaded = loading.await.unwrap_or_else(|lost| Err(SourceError(Box::new(lost))));
        match (loaded, otherwise) {
            (Ok(loaded), otherwise) => Ok(loaded.or(otherwise)),
            (Err(_), Some(found)) => Ok(Some(found)),
            (Err(error), None) => Err(error),
        }
    }

    /// The entry and the parsed key for a handshake. A certificate that is replaced meanwhile is
    /// looked up again, in the source first: it is ahead of the index while changes are published. One
    /// of a wildcard that can't be used leaves the name what it has itself.
    ///
    /// # Errors
    /// Every [`SelectError`].
    pub async fn select(
        &self,
        name: &LookupName,
        offer: Offer,
    ) -> Result<Selected<R>, SelectError> {
        let mut tries = 0;
        let answer = self.answer(name).await.map_err(SelectError::Unreadable)?;
        let mut answer = answer.ok_or(SelectError::UnknownName)?;
        loop {
            let Some(chosen) = answer.choose(offer, tickets::now()) else {
                return Err(SelectError::NoCertificate { name: answer.entry.name().clone() });
            };
            match self.shared.cache.load(chosen.id).await {
                Ok(key) => {
                    answer.count(chosen.id);
                    return Ok(Selected { entry: answer.entry, key });
                }
                Err(CertificateError::Gone) if tries < REPLACED_RETRIES => {
                    tries += 1;
                    let indexed = self.shared.index.find(name);
                    let replaced = self.load(*name, indexed).await;
                    let replaced = replaced.map_err(SelectError::Unreadable)?;
                    answer = replaced.ok_or(SelectError::UnknownName)?;
                }
                Err(_) if answer.stand_alone() => {}
                Err(source) => {
                    let name = answer.entry.name().clone();
                    return Err(SelectError::Unusable { name, source });
                }
            }
        }
    }

    /// The `most` names whose certificates the most handshakes were given since the last call, the busiest
    /// first. A name that was changed since counts from then on. It looks at all names, 0.1 s at a million: not
    /// for an async thread.
    pub fn busiest(&self, most: usize) -> Vec<Busy> {
        let mut busiest = Busiest::new(most);
        self.shared.index.for_each(|entry| busiest.add(entry));
        busiest.into_names()
    }

    /// Figures for metrics.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats {
            hostnames: self.shared.index.len(),
            policies: self.shared.interner.policies(),
            ticket_secrets: self.shared.tickets.count(),
            ..Stats::default()
        };
        self.shared.cache.fill(&mut stats);
        stats
    }
}
