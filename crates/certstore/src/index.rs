//! 4,096 shards of an atomically swapped hash table.
//!
//! A delta clones one shard (about 250 pointers at a million names), a snapshot swaps the whole
//! array. Readers load, never lock.

use std::{
    hash::BuildHasher,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use arc_swap::ArcSwap;
use hashbrown::{DefaultHashBuilder, HashTable, hash_table};
use landfall_model::{HostPattern, LookupName};

use crate::{Entry, answer::Answer};

const SHARDS: usize = 4_096;

/// The index. Shared by the one writer and all readers.
pub(crate) struct Index<R> {
    #[expect(clippy::type_complexity, reason = "each level is swapped by itself")]
    shards: ArcSwap<Vec<ArcSwap<HashTable<Arc<Entry<R>>>>>>,
    hasher: DefaultHashBuilder,
    len: AtomicUsize,
}

/// A name as a key: its base and whether `*.` stands before it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Key<'a> {
    Exact(&'a str),
    Wildcard(&'a str),
}

impl<'a> Key<'a> {
    fn of(pattern: &'a HostPattern) -> Self {
        match pattern {
            HostPattern::Exact(name) => Self::Exact(name.as_str()),
            HostPattern::Wildcard(base) => Self::Wildcard(base.as_str()),
        }
    }
}

impl<R> Index<R> {
    pub(crate) fn new() -> Self {
        let empty = (0..SHARDS).map(|_| ArcSwap::from_pointee(HashTable::new())).collect();
        Self {
            shards: ArcSwap::from_pointee(empty),
            hasher: DefaultHashBuilder::default(),
            len: AtomicUsize::new(0),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// What the exact name and the wildcard one label above answer.
    pub(crate) fn find(&self, name: &LookupName) -> Option<Answer<R>> {
        let shards = self.shards.load();
        let exact = self.find_key(&shards, Key::Exact(name.as_str()));
        Answer::of(exact, || self.find_key(&shards, Key::Wildcard(name.wildcard_base()?)))
    }

    fn find_key(
        &self,
        shards: &[ArcSwap<HashTable<Arc<Entry<R>>>>],
        key: Key<'_>,
    ) -> Option<Arc<Entry<R>>> {
        let hash = self.hasher.hash_one(key);
        let shard = shards.get(shard_of(hash))?.load();
        shard.find(hash, |entry| Key::of(entry.name()) == key).cloned()
    }

    /// Shows every entry to `look`, a shard at a time.
    pub(crate) fn for_each(&self, mut look: impl FnMut(&Arc<Entry<R>>)) {
        for shard in self.shards.load_full().iter() {
            shard.load_full().iter().for_each(&mut look);
        }
    }

    /// Puts `entry` in, in place of the one of the same name. Only the one writer calls this.
    pub(crate) fn insert(&self, entry: Arc<Entry<R>>) {
        let hash = self.hasher.hash_one(Key::of(entry.name()));
        let shards = self.shards.load();
        let Some(slot) = shards.get(shard_of(hash)) else { return };
        let mut shard = HashTable::clone(&slot.load());
        let before = shard.len();
        put(&mut shard, &self.hasher, hash, entry);
        self.len.fetch_add(shard.len() - before, Ordering::Relaxed);
        slot.store(Arc::new(shard));
    }

    /// Takes the entry of `name` out. Only the one writer calls this.
    pub(crate) fn remove(&self, name: &HostPattern) {
        let key = Key::of(name);
        let hash = self.hasher.hash_one(key);
        let shards = self.shards.load();
        let Some(slot) = shards.get(shard_of(hash)) else { return };
        let mut shard = HashTable::clone(&slot.load());
        if let Ok(found) = shard.find_entry(hash, |entry| Key::of(entry.name()) == key) {
            found.remove();
            self.len.fetch_sub(1, Ordering::Relaxed);
            slot.store(Arc::new(shard));
        }
    }

    /// Adds `entry` to shards that no reader sees yet.
    pub(crate) fn add(&self, shards: &mut Shards<R>, entry: Arc<Entry<R>>) {
        let hash = self.hasher.hash_one(Key::of(entry.name()));
        if let Some(table) = shards.0.get_mut(shard_of(hash)) {
            put(table, &self.hasher, hash, entry);
        }
    }

    /// Swaps everything for `shards` at once. Only the one writer calls this.
    pub(crate) fn replace(&self, shards: Shards<R>) {
        let len = shards.0.iter().map(HashTable::len).sum();
        let shards = shards.0.into_iter().map(ArcSwap::from_pointee).collect();
        self.shards.store(Arc::new(shards));
        self.len.store(len, Ordering::Relaxed);
    }
}

/// Shards that are being filled, to be swapped in at once.
pub(crate) struct Shards<R>(Vec<HashTable<Arc<Entry<R>>>>);

impl<R> Shards<R> {
    pub(crate) fn new() -> Self {
        Self((0..SHARDS).map(|_| HashTable::new()).collect())
    }
}

fn put<R>(
    shard: &mut HashTable<Arc<Entry<R>>>,
    hasher: &DefaultHashBuilder,
    hash: u64,
    entry: Arc<Entry<R>>,
) {
    let rehash = |own: &Arc<Entry<R>>| hasher.hash_one(Key::of(own.name()));
    match shard.entry(hash, |own| own.name() == entry.name(), rehash) {
        hash_table::Entry::Occupied(mut found) => *found.get_mut() = entry,
        hash_table::Entry::Vacant(free) => {
            free.insert(entry);
        }
    }
}

/// Bits from the middle: hashbrown takes the lowest for the bucket and the highest for its tags.
fn shard_of(hash: u64) -> usize {
    (hash >> 32) as usize % SHARDS
}
