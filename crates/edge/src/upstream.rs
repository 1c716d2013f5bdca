//! Origins: which one a request goes to, how it is spoken to, and what follows where it fails.
//!
//! A property's pool of origins is put to use by its first request and forgotten when there are
//! none for some minutes. Requests read what is known without a lock: where names lead, who is
//! healthy, who has how many requests. What must be found out is found out by [`Chores`], beside
//! requests. Start reading at [`Upstreams::peer`].

mod access;
mod broken;
mod budget;
mod checks;
mod chores;
mod clock;
mod exchange;
mod health;
pub(crate) mod hesitant;
mod lookup;
mod metrics;
mod names;
mod pool;
mod pools;
pub(crate) mod roots;
mod sparingly;
mod speech;
mod turns;

use std::{net::SocketAddr, path::Path, sync::Arc};

use pingora_core::connectors::{ConnectorOptions, http::Connector};
use prometheus::Registry;

use crate::{EdgeError, config::Upstream, properties::Properties};
use access::Access;
use checks::Checks;
pub(crate) use chores::Chores;
use chores::Hands;
use clock::Clock;
pub(crate) use exchange::{Exchange, NoOrigin};
use lookup::Lookup;
use metrics::UpstreamMetrics;
use names::Names;
use pool::InUse;
pub(crate) use pool::Pool;
pub(crate) use pools::{NoPool, Pools, Slot};
pub use roots::RootsError;
use sparingly::Sparingly;

/// Look-ups at once.
const LOOKUPS: Hands = Hands { all: 128, own: 8 };
/// Health checks at once.
const CHECKS: Hands = Hands { all: 128, own: 8 };

/// The origins of every property.
pub(crate) struct Upstreams {
    settings: Upstream,
    clock: Clock,
    access: Arc<Access>,
    properties: Arc<Properties>,
    pools: Arc<Pools>,
    names: Arc<Names>,
    /// Requests at origins.
    in_use: Arc<InUse>,
    metrics: Arc<UpstreamMetrics>,
    denials: Sparingly,
    failures: Sparingly,
}

/// What must run for as long as there are requests.
pub(crate) struct Upkeep {
    pub(crate) names: Chores,
    pub(crate) checks: Chores,
}

impl Upstreams {
    /// `admin` is the operators' listener, `roots` is what [`roots::write`] wrote.
    ///
    /// # Errors
    /// [`EdgeError::Metrics`]
    pub(crate) fn new(
        settings: &Upstream,
        admin: SocketAddr,
        roots: &Path,
        properties: Arc<Properties>,
        registry: &Registry,
    ) -> Result<(Self, Upkeep), EdgeError> {
        let clock = Clock::start();
        let metrics = Arc::new(UpstreamMetrics::new(registry)?);
        let access = Arc::new(Access::new(settings.allow_networks.clone(), admin));
        let (roster, name_chores) = Chores::new(LOOKUPS, metrics.panics.clone());
        let lookup = Lookup::new(settings.resolvers.clone());
        let names = Names::new(lookup, settings.resolve_stale, clock, roster, Arc::clone(&metrics));
        let names = Arc::new(names);
        let (roster, check_chores) = Chores::new(CHECKS, metrics.panics.clone());
        let shared = checks::Shared {
            connector: connector(roots),
            access: Arc::clone(&access),
            names: Arc::clone(&names),
            clock,
            metrics: Arc::clone(&metrics),
        };
        let checks = Checks::new(roster.clone(), shared);
        let pools = Arc::new(Pools::new(
            Arc::clone(&properties),
            settings.clone(),
            clock,
            Arc::clone(&names),
            checks,
            Arc::clone(&metrics),
        ));
        // The first ones: there is room.
        let _ = roster.add(Arc::clone(&pools) as Arc<dyn chores::Chore>);
        let _ = roster.add(Arc::clone(&access) as Arc<dyn chores::Chore>);
        let upstreams = Self {
            settings: settings.clone(),
            clock,
            access,
            properties,
            pools,
            names,
            in_use: Arc::new(InUse::new(metrics.in_flight.clone())),
            metrics,
            denials: Sparingly::default(),
            failures: Sparingly::default(),
        };
        Ok((upstreams, Upkeep { names: name_chores, checks: check_chores }))
    }

    /// Whether one more failed request may be logged; then how many were not since the last.
    pub(crate) fn may_log(&self) -> Option<u64> {
        self.failures.allows(self.clock.now())
    }
}

/// For health checks, which keep no connections.
fn connector(roots: &Path) -> Connector {
    let mut options = ConnectorOptions::new(1);
    options.ca_file = Some(roots.to_string_lossy().into_owned());
    Connector::new(Some(options))
}
