//! Equal policies and equal routes are kept once.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use landfall_model::{Route, TlsPolicy};

use crate::{Entry, EntrySpec, Policy, PolicyError, TicketSecrets};

/// The most policies that live at a time. Each owns a server configuration, and tenants choose
/// them: a bound keeps one tenant from filling the memory.
const MAX_POLICIES: usize = 4_096;

/// Makes entries. The lock is taken by the writer and by cold look-ups while the index fills, and
/// by nothing that serves a name from the index.
pub(crate) struct Interner<R> {
    tables: Mutex<Tables<R>>,
    tickets: Arc<TicketSecrets>,
    compile: Box<dyn Fn(&Route) -> R + Send + Sync>,
}

struct Tables<R> {
    policies: HashMap<TlsPolicy, Arc<Policy>>,
    routes: HashMap<Route, Arc<R>>,
    /// How large `routes` may grow before those that nobody holds are dropped.
    route_sweep: usize,
}

impl<R> Interner<R> {
    /// `compile` makes what serves requests out of a route, once for all equal ones.
    pub(crate) fn new(
        tickets: Arc<TicketSecrets>,
        compile: impl Fn(&Route) -> R + Send + Sync + 'static,
    ) -> Self {
        let (policies, routes) = (HashMap::new(), HashMap::new());
        let tables = Mutex::new(Tables { policies, routes, route_sweep: 0 });
        Self { tables, tickets, compile: Box::new(compile) }
    }

    pub(crate) fn entry(&self, spec: &EntrySpec) -> Result<Arc<Entry<R>>, PolicyError> {
        let mut tables = self.lock();
        let policy = tables.policy(&spec.policy, &self.tickets)?;
        let route = tables.route(&spec.route, &self.compile);
        Ok(Arc::new(Entry::new(spec, route, policy)))
    }

    pub(crate) fn policy(&self, policy: &TlsPolicy) -> Result<Arc<Policy>, PolicyError> {
        self.lock().policy(policy, &self.tickets)
    }

    pub(crate) fn policies(&self) -> usize {
        self.lock().policies.len()
    }

    fn lock(&self) -> MutexGuard<'_, Tables<R>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R> Tables<R> {
    fn policy(
        &mut self,
        policy: &TlsPolicy,
        tickets: &Arc<TicketSecrets>,
    ) -> Result<Arc<Policy>, PolicyError> {
        if let Some(known) = self.policies.get(policy) {
            return Ok(Arc::clone(known));
        }
        if self.policies.len() >= MAX_POLICIES {
            sweep(&mut self.policies);
        }
        if self.policies.len() >= MAX_POLICIES {
            return Err(PolicyError::TooMany { limit: MAX_POLICIES });
        }
        let made = Arc::new(Policy::new(policy.clone(), Arc::clone(tickets))?);
        self.policies.insert(policy.clone(), Arc::clone(&made));
        Ok(made)
    }

    fn route(&mut self, route: &Route, compile: &dyn Fn(&Route) -> R) -> Arc<R> {
        if let Some(known) = self.routes.get(route) {
            return Arc::clone(known);
        }
        if self.routes.len() >= self.route_sweep {
            sweep(&mut self.routes);
            self.route_sweep = (2 * self.routes.len()).max(1_024);
        }
        let made = Arc::new(compile(route));
        self.routes.insert(route.clone(), Arc::clone(&made));
        made
    }
}

fn sweep<K: Eq + Hash, V>(table: &mut HashMap<K, Arc<V>>) {
    table.retain(|_, value| Arc::strong_count(value) > 1);
}
