//! The origins of a pool while they are in use.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use landfall_model::{Balance, Origin, OriginPool, PropertyId};
use prometheus::IntGauge;

use super::{
    budget::Budget,
    clock::Moment,
    health::{Health, Standing},
    lookup::MAX_ADDRESSES,
    names::Name,
    speech::Speech,
    turns::Turns,
};

/// How long an address that can't be connected to is used after the others only.
const AVOIDED: Duration = Duration::from_secs(10);

/// A pool of origins in use.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(super) property: PropertyId,
    pub(super) settings: Arc<OriginPool>,
    /// The property's settings, which these are made from.
    pub(super) base: ArcSwap<OriginPool>,
    pub(super) speech: Speech,
    pub(super) members: Box<[Member]>,
    pub(super) budget: Budget,
    tenant: Arc<Tenant>,
    turns: Turns,
    used: AtomicU64,
}

/// What the pools of a property have in common.
#[derive(Debug, Default)]
pub(super) struct Tenant {
    /// Its requests at origins.
    in_flight: AtomicUsize,
}

/// An origin of a pool.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) origin: Origin,
    pub(super) target: Target,
    pub(super) health: Health,
    weight: u16,
    in_flight: AtomicU32,
    turn: AtomicUsize,
    /// For each address by its place, until when others go first.
    avoided: [AtomicU64; MAX_ADDRESSES],
}

/// Where an origin is.
#[derive(Debug)]
pub(super) enum Target {
    Address(Arc<[IpAddr]>),
    Name(Arc<Name>),
    /// There are too many names.
    Nowhere,
}

impl std::fmt::Debug for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Name").finish_non_exhaustive()
    }
}

/// A set of members, by their places. A pool has no more than a mask has bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Members(u32);

impl Members {
    pub(super) fn add(&mut self, at: usize) {
        self.0 |= Self::bit(at);
    }

    pub(super) fn has(self, at: usize) -> bool {
        self.0 & Self::bit(at) != 0
    }

    fn bit(at: usize) -> u32 {
        u32::try_from(at).ok().and_then(|at| 1_u32.checked_shl(at)).unwrap_or(0)
    }
}

/// Why no member is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoMember {
    /// Whoever is left has as many requests as it may.
    Busy,
    /// All were tried in vain.
    Spent,
}

/// What one request must know to have a member chosen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) now: Moment,
    /// The most requests at one member.
    pub(super) most: u32,
    /// Who can't be used again.
    pub(super) spent: Members,
    /// Who is used after the others only.
    pub(super) tried: Members,
}

impl Pool {
    pub(super) fn new(
        property: PropertyId,
        settings: Arc<OriginPool>,
        speech: Speech,
        tenant: Arc<Tenant>,
        target: impl Fn(&Origin) -> Target,
    ) -> Self {
        let weights: Vec<u16> = settings.origins.iter().map(|own| own.weight).collect();
        let members = settings.origins.iter().map(|own| Member {
            origin: own.url.clone(),
            target: target(&own.url),
            health: Health::default(),
            weight: own.weight,
            in_flight: AtomicU32::new(0),
            turn: AtomicUsize::new(0),
            avoided: Default::default(),
        });
        let members = members.collect();
        Self {
            property,
            speech,
            members,
            budget: Budget::new(),
            tenant,
            turns: Turns::new(&weights),
            used: AtomicU64::new(0),
            base: ArcSwap::new(Arc::clone(&settings)),
            settings,
        }
    }

    /// Notes that it is in use.
    pub(super) fn touch(&self, now: Moment) {
        if self.used.load(Ordering::Relaxed) != now.0 {
            self.used.store(now.0, Ordering::Relaxed);
        }
    }

    /// When it was in use last. One with requests in flight is in use.
    pub(super) fn used(&self, now: Moment) -> Moment {
        if self.is_busy() { now } else { Moment(self.used.load(Ordering::Relaxed)) }
    }

    /// Whether it has requests in flight.
    pub(super) fn is_busy(&self) -> bool {
        self.members.iter().any(|own| own.in_flight.load(Ordering::Relaxed) > 0)
    }

    /// The member whose turn it is: one that is up and was not tried, if there is any. Where all
    /// are out, all are tried.
    pub(super) fn choose(&self, wanted: Wanted) -> Result<usize, NoMember> {
        let mut best: Option<(u8, u64, usize)> = None;
        let mut seen = wanted.spent;
        let mut is_busy = false;
        for at in self.turns.next() {
            let Some(member) = self.members.get(at).filter(|_| !seen.has(at)) else { continue };
            seen.add(at);
            let in_flight = member.in_flight.load(Ordering::Relaxed);
            if in_flight >= wanted.most {
                is_busy = true;
                continue;
            }
            let is_out = member.health.standing(wanted.now) != Standing::Up;
            let rank = 2 * u8::from(is_out) + u8::from(wanted.tried.has(at));
            let load = match self.settings.balance {
                Balance::RoundRobin if rank == 0 => return Ok(at),
                Balance::RoundRobin => 0,
                Balance::LeastConnections => {
                    (u64::from(in_flight) + 1) * 1_000_000 / u64::from(member.weight.max(1))
                }
            };
            if best.is_none_or(|(least, lightest, _)| (rank, load) < (least, lightest)) {
                best = Some((rank, load, at));
            }
        }
        let nobody = if is_busy { NoMember::Busy } else { NoMember::Spent };
        best.map(|(_, _, at)| at).ok_or(nobody)
    }

    /// Whether a member is left that a request could be sent to.
    pub(super) fn has_other(&self, spent: Members) -> bool {
        (0..self.members.len()).any(|at| !spent.has(at))
    }
}

impl Member {
    /// The address whose turn it is; `None` where each was tried in vain.
    pub(super) fn address(
        &self,
        known: &[IpAddr],
        failed: &[SocketAddr],
        now: Moment,
    ) -> Option<SocketAddr> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed).checked_rem(known.len())?;
        let places = (turn..known.len()).chain(0..turn);
        let usable = places.filter_map(|place| {
            let address = SocketAddr::new(*known.get(place)?, self.origin.port());
            (!failed.contains(&address)).then_some((place, address))
        });
        let until =
            |place: usize| self.avoided.get(place).map_or(0, |until| until.load(Ordering::Relaxed));
        // The first of those that are equal.
        usable.min_by_key(|(place, _)| until(*place) > now.0).map(|(_, address)| address)
    }

    /// Has the others go first for a while.
    pub(super) fn avoid(&self, address: SocketAddr, now: Moment) {
        let known = self.known();
        let place = known.iter().position(|own| *own == address.ip());
        if let Some(until) = place.and_then(|place| self.avoided.get(place)) {
            until.store(now.after(AVOIDED).0, Ordering::Relaxed);
        }
    }

    /// Whether there is an address that was not tried in vain. What is not looked up yet may
    /// bring one.
    pub(super) fn has_other(&self, failed: &[SocketAddr]) -> bool {
        let known = self.known();
        known.iter().any(|ip| !failed.contains(&SocketAddr::new(*ip, self.origin.port())))
    }

    fn known(&self) -> Arc<[IpAddr]> {
        match &self.target {
            Target::Address(known) => Arc::clone(known),
            Target::Name(name) => name.known(),
            Target::Nowhere => Arc::default(),
        }
    }
}

/// A request at a member, counted for as long as this lives.
#[derive(Debug)]
pub(super) struct Lease {
    pool: Arc<Pool>,
    at: usize,
    in_use: Arc<InUse>,
}

/// A property may have this many times as many requests at origins as others still can: alone four
/// fifths of all, and where several want more than there is, none takes the last place from the rest.
const SHARE: usize = 4;

/// How many requests are at origins.
#[derive(Debug)]
pub(super) struct InUse {
    count: AtomicUsize,
    /// The same for operators.
    gauge: IntGauge,
}

impl InUse {
    pub(super) fn new(gauge: IntGauge) -> Self {
        Self { count: AtomicUsize::new(0), gauge }
    }
}

impl Lease {
    /// `None` where there are as many as may be: at the member, in all, or of the property.
    pub(super) fn take(
        pool: &Arc<Pool>,
        at: usize,
        most: (u32, usize),
        in_use: &Arc<InUse>,
    ) -> Option<Self> {
        let member = pool.members.get(at)?;
        // Taken first and given back by the drop, so that a race can't exceed a limit.
        let own = member.in_flight.fetch_add(1, Ordering::Relaxed);
        let tenants = pool.tenant.in_flight.fetch_add(1, Ordering::Relaxed);
        let all = in_use.count.fetch_add(1, Ordering::Relaxed);
        in_use.gauge.inc();
        let lease = Self { pool: Arc::clone(pool), at, in_use: Arc::clone(in_use) };
        let free = most.1.saturating_sub(all);
        (own < most.0 && tenants < free.saturating_mul(SHARE)).then_some(lease)
    }

    pub(super) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    pub(super) fn member(&self) -> Option<&Member> {
        self.pool.members.get(self.at)
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(member) = self.member() {
            member.in_flight.fetch_sub(1, Ordering::Relaxed);
        }
        self.pool.tenant.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.in_use.count.fetch_sub(1, Ordering::Relaxed);
        self.in_use.gauge.dec();
    }
}

#[cfg(test)]
mod tests;
