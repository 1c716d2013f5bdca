//! The pools in use. Equal ones of a property are one, with one state.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use landfall_model::{Origin, OriginHost, OriginPool, PropertyId};

use super::{
    checks::Checks,
    chores::{Chore, Next},
    clock::{Clock, Moment},
    metrics::UpstreamMetrics,
    names::Names,
    pool::{Pool, Target, Tenant},
    speech::{Speech, SpeechError},
};
use crate::{
    config::Upstream,
    properties::{Properties, Property},
};

/// The most pools in use at once.
const MAX_POOLS: usize = 100_000;
/// A pool without a request for so long is forgotten, its checks end.
const UNUSED: Duration = Duration::from_secs(300);
/// The same where there are too many.
const UNUSED_IF_FULL: Duration = Duration::from_secs(10);
/// How often that is looked at.
const SWEEP: Duration = Duration::from_secs(5);

/// Every pool in use.
pub(crate) struct Pools {
    table: Mutex<Table>,
    properties: Arc<Properties>,
    defaults: Upstream,
    clock: Clock,
    names: Arc<Names>,
    checks: Checks,
    metrics: Arc<UpstreamMetrics>,
}

#[derive(Default)]
struct Table {
    pools: HashMap<Key, Arc<Pool>>,
    tenants: HashMap<PropertyId, Weak<Tenant>>,
}

impl Table {
    /// What the property's pools have in common, while there are any.
    fn tenant(&mut self, property: PropertyId) -> Arc<Tenant> {
        let slot = self.tenants.entry(property).or_default();
        slot.upgrade().unwrap_or_else(|| {
            let tenant = Arc::default();
            *slot = Arc::downgrade(&tenant);
            tenant
        })
    }

    /// Pools of settings that their property has no more, but for requests that are still there.
    fn forget_replaced(&mut self, properties: &Properties) {
        self.pools.retain(|key, pool| {
            let is_current = properties.find(key.property).is_some_and(|property| {
                let (base, settings) = (pool.base.load(), property.settings());
                // A record may have come again as it was.
                Arc::ptr_eq(&base, settings) || **base == **settings
            });
            is_current || pool.is_busy()
        });
    }

    fn forget_unused(&mut self, now: Moment, unused: Duration) {
        self.pools.retain(|_, pool| now.since(pool.used(now)) < unused);
        self.tenants.retain(|_, tenant| tenant.strong_count() > 0);
    }
}

/// Tenants never share a pool.
#[derive(PartialEq, Eq, Hash)]
struct Key {
    property: PropertyId,
    settings: Arc<OriginPool>,
}

/// Why there is no pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoPool {
    /// Too many are in use.
    Full,
    /// Its settings can't be used.
    Unusable(SpeechError),
}

/// Where a pool was found last, so that requests find it without a lock.
#[derive(Debug, Default)]
pub(crate) struct Slot(ArcSwapOption<Found>);

#[derive(Debug)]
struct Found {
    /// Of the settings that it was made from.
    version: u64,
    pool: Weak<Pool>,
}

impl Slot {
    /// The pool that was made from the property as it is. `settings` says the pool's where it was
    /// not, or nobody used it for long.
    pub(crate) fn pool(
        &self,
        property: &Property,
        pools: &Pools,
        settings: impl FnOnce() -> Arc<OriginPool>,
    ) -> Result<Arc<Pool>, NoPool> {
        let version = property.version();
        if let Some(found) = self.0.load().as_ref()
            && found.version == version
            && let Some(pool) = found.pool.upgrade()
        {
            return Ok(pool);
        }
        let pool = pools.find(property, settings())?;
        let found = Found { version, pool: Arc::downgrade(&pool) };
        self.0.store(Some(Arc::new(found)));
        Ok(pool)
    }
}

impl Pools {
    pub(super) fn new(
        properties: Arc<Properties>,
        defaults: Upstream,
        clock: Clock,
        names: Arc<Names>,
        checks: Checks,
        metrics: Arc<UpstreamMetrics>,
    ) -> Self {
        Self { table: Mutex::default(), properties, defaults, clock, names, checks, metrics }
    }

    fn find(&self, property: &Property, settings: Arc<OriginPool>) -> Result<Arc<Pool>, NoPool> {
        let (base, property) = (property.settings(), property.id());
        let key = Key { property, settings: Arc::clone(&settings) };
        let mut table = self.lock();
        if let Some(pool) = table.pools.get(&key) {
            pool.base.store(Arc::clone(base));
            return Ok(Arc::clone(pool));
        }
        if table.pools.len() >= MAX_POOLS {
            table.forget_unused(self.clock.now(), UNUSED_IF_FULL);
        }
        if table.pools.len() >= MAX_POOLS {
            return Err(NoPool::Full);
        }
        let speech = Speech::new(&settings, &self.defaults).map_err(NoPool::Unusable)?;
        let tenant = table.tenant(property);
        let target = |origin: &Origin| self.target(property, origin);
        let pool = Arc::new(Pool::new(property, settings, speech, tenant, target));
        pool.base.store(Arc::clone(base));
        pool.touch(self.clock.now());
        self.checks.watch(&pool);
        table.pools.insert(key, Arc::clone(&pool));
        Ok(pool)
    }

    fn target(&self, property: PropertyId, origin: &Origin) -> Target {
        match origin.host() {
            OriginHost::Address(ip) => Target::Address([*ip].into()),
            OriginHost::Name(hostname) => {
                self.names.name(property, hostname).map_or(Target::Nowhere, Target::Name)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sweep(&self) {
        let now = self.clock.now();
        let pools: Vec<_> = {
            let mut table = self.lock();
            table.forget_replaced(&self.properties);
            table.forget_unused(now, UNUSED);
            table.pools.values().cloned().collect()
        };
        let mut counts = [0; 3];
        for member in pools.iter().flat_map(|pool| &pool.members) {
            if let Some(count) = counts.get_mut(member.health.standing(now) as usize) {
                *count += 1;
            }
        }
        self.metrics.stand(counts);
        self.metrics.pools.set(i64::try_from(pools.len()).unwrap_or(i64::MAX));
    }
}

#[async_trait]
impl Chore for Pools {
    async fn run(self: Arc<Self>) -> Next {
        self.sweep();
        Next::After(SWEEP)
    }

    fn owner(&self) -> Option<PropertyId> {
        None
    }
}
