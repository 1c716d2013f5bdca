//! The properties whose hostnames are served, by id.
//!
//! A hostname refers to its property; what its hostnames have in common is here once, so that a
//! change of an origin is one record. Readers load a shard, never lock.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use landfall_feed::record::PropertyRecord;
use landfall_model::{OriginPool, PropertyId};

use crate::upstream::Slot;

const SHARDS: usize = 256;

/// What the hostnames of a property have in common.
#[derive(Debug)]
pub struct Property {
    id: PropertyId,
    /// Another one for every record: what was made from a property's settings is as old as them.
    version: u64,
    settings: Arc<OriginPool>,
    slot: Slot,
}

impl Property {
    /// Its id.
    pub fn id(&self) -> PropertyId {
        self.id
    }

    /// Where requests go, unless the hostname says otherwise.
    pub fn settings(&self) -> &Arc<OriginPool> {
        &self.settings
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Where the pool of its own origins is kept.
    pub(crate) fn slot(&self) -> &Slot {
        &self.slot
    }
}

/// Every property. One task writes, everybody reads.
pub struct Properties {
    shards: Vec<ArcSwap<HashMap<PropertyId, Arc<Property>>>>,
    versions: AtomicU64,
}

impl Default for Properties {
    fn default() -> Self {
        let shards = (0..SHARDS).map(|_| ArcSwap::default()).collect();
        Self { shards, versions: AtomicU64::new(0) }
    }
}

impl Properties {
    /// The property. Never waits.
    pub fn find(&self, id: PropertyId) -> Option<Arc<Property>> {
        self.shard(id)?.load().get(&id).cloned()
    }

    /// Puts a property in, or replaces what it had.
    pub fn insert(&self, record: PropertyRecord) {
        let property = self.property(record);
        self.edit(property.id, |shard| drop(shard.insert(property.id, property)));
    }

    /// Takes a property out.
    pub fn remove(&self, id: PropertyId) {
        self.edit(id, |shard| drop(shard.remove(&id)));
    }

    /// Puts these in the place of all there are. There is no moment without one that stays.
    pub fn replace(&self, records: Vec<PropertyRecord>) {
        let mut shards: Vec<HashMap<_, _>> = self.shards.iter().map(|_| HashMap::new()).collect();
        for record in records {
            if let Some(shard) = shards.get_mut(shard_of(record.property)) {
                shard.insert(record.property, self.property(record));
            }
        }
        for (slot, shard) in self.shards.iter().zip(shards) {
            slot.store(Arc::new(shard));
        }
    }

    fn property(&self, record: PropertyRecord) -> Arc<Property> {
        let PropertyRecord { property: id, pool } = record;
        let version = self.versions.fetch_add(1, Ordering::Relaxed);
        Arc::new(Property { id, version, settings: Arc::new(pool), slot: Slot::default() })
    }

    fn edit(&self, id: PropertyId, edit: impl FnOnce(&mut HashMap<PropertyId, Arc<Property>>)) {
        if let Some(slot) = self.shard(id) {
            let mut shard = HashMap::clone(&slot.load());
            edit(&mut shard);
            slot.store(Arc::new(shard));
        }
    }

    fn shard(&self, id: PropertyId) -> Option<&ArcSwap<HashMap<PropertyId, Arc<Property>>>> {
        self.shards.get(shard_of(id))
    }
}

/// Ids are dealt in order, so the lowest bits spread them.
fn shard_of(id: PropertyId) -> usize {
    id.0.unsigned_abs() as usize % SHARDS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_is_found_until_it_is_removed() {
        let properties = Properties::default();
        let record = |id, origin: &str| PropertyRecord {
            property: PropertyId(id),
            pool: OriginPool::of(origin.parse().unwrap()),
        };
        properties.insert(record(1, "http://192.0.2.1"));
        properties.insert(record(257, "http://192.0.2.2"));
        properties.insert(record(1, "http://192.0.2.3"));
        let first = properties.find(PropertyId(1)).unwrap().settings.origins[0].url.to_string();
        assert_eq!(first, "http://192.0.2.3:80");
        properties.replace(vec![record(257, "http://192.0.2.2"), record(2, "http://192.0.2.4")]);
        assert!(properties.find(PropertyId(1)).is_none());
        assert!(properties.find(PropertyId(2)).is_some());
        properties.remove(PropertyId(257));
        assert!(properties.find(PropertyId(257)).is_none());
    }
}
