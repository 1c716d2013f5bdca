//! Counts for places, in little memory and behind short locks.

use std::{
    hash::{BuildHasher, Hash, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
};

use hashbrown::HashMap;
use tokio::time::Instant;

use crate::{bucket::Bucket, config::Pace};

/// Locks, so that threads seldom wait for each other.
const SHARDS: usize = 64;
/// A shard is first swept when it has as many places.
const FIRST_SWEEP: usize = 64;

/// What a place may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    pub(super) connections: u32,
    pub(super) pace: Option<Pace>,
}

/// Why a place gets nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    TooMany,
    TooFast,
}

/// Open connections and the pace of new ones, by place. It holds the places that have open
/// connections or have had some too lately to be forgotten, and at most twice as many.
#[derive(Debug)]
pub(super) struct Table<P> {
    shards: Box<[Mutex<Shard<P>>]>,
    /// Seeded, so that nobody can choose addresses that share a shard.
    hasher: RandomState,
}

#[derive(Debug)]
struct Shard<P> {
    places: HashMap<P, Place>,
    sweep_at: usize,
}

#[derive(Debug)]
struct Place {
    open: u32,
    /// What is left of its new connections.
    bucket: Bucket,
}

impl<P: Copy + Eq + Hash> Default for Table<P> {
    fn default() -> Self {
        let shard = || Mutex::new(Shard { places: HashMap::new(), sweep_at: FIRST_SWEEP });
        let shards = (0..SHARDS).map(|_| shard()).collect();
        Self { shards, hasher: RandomState::new() }
    }
}

impl<P: Copy + Eq + Hash> Table<P> {
    /// Counts one more connection of `place`.
    pub(super) fn take(&self, place: P, most: Allowance, now: Instant) -> Result<(), Refused> {
        let Some(mut shard) = self.shard(place) else { return Ok(()) };
        shard.sweep(now);
        let state =
            shard.places.entry(place).or_insert(Place { open: 0, bucket: Bucket::new(now) });
        if state.open >= most.connections {
            return Err(Refused::TooMany);
        }
        if let Some(pace) = most.pace
            && !state.bucket.takes(1, pace, now)
        {
            return Err(Refused::TooFast);
        }
        state.open += 1;
        Ok(())
    }

    /// One connection of `place` has ended.
    pub(super) fn give_back(&self, place: P, now: Instant) {
        let Some(mut shard) = self.shard(place) else { return };
        let Some(state) = shard.places.get_mut(&place) else { return };
        state.open = state.open.saturating_sub(1);
        if state.is_forgettable(now) {
            shard.places.remove(&place);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap().places.len()).sum()
    }

    /// There is one for each hash.
    fn shard(&self, place: P) -> Option<MutexGuard<'_, Shard<P>>> {
        let hash = usize::try_from(self.hasher.hash_one(place) >> 32).unwrap_or_default();
        let shard = self.shards.get(hash % SHARDS)?;
        // What a panic may have left is counts that are each valid.
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<P: Eq + Hash> Shard<P> {
    /// Forgets who has left, once in as many new places as there are.
    fn sweep(&mut self, now: Instant) {
        if self.places.len() < self.sweep_at {
            return;
        }
        self.places.retain(|_, state| !state.is_forgettable(now));
        self.sweep_at = (self.places.len() * 2).max(FIRST_SWEEP);
        self.places.shrink_to(self.sweep_at);
    }
}

impl Place {
    fn is_forgettable(&self, now: Instant) -> bool {
        self.open == 0 && self.bucket.is_full(now)
    }
}
