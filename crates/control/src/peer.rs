//! Who is at the other end of each connection, and how many connections each may have.
//!
//! A connection costs memory and a place among those that may be open. Nobody can be kept from opening
//! one, so whoever has shown no key or token yet only borrows its place: the oldest such connection
//! makes way for a new one. Whoever shows a key keeps the place, within limits that leave some for PoPs
//! and for those that watch the process.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use landfall_model::PropertyId;
use prometheus::IntCounter;
use tokio::sync::Notify;

use crate::{
    api_key::Caller,
    config::ConnectionLimits,
    rate::client_of,
    token::{ApiKeyId, PopId},
};

/// Whose a connection is, as the last key or token over it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Holder {
    /// The keys for one property.
    Property(PropertyId),
    /// A key for all properties.
    Key(ApiKeyId),
    /// A PoP's token.
    Pop(PopId),
}

/// Why a connection can't be its holder's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TooMany {
    /// The holder has as many as it may.
    Holder,
    /// As many as may be come from the address with keys.
    Client,
    /// All that keys may have are taken.
    Keys,
}

/// The connections that are open, by who is at their other end.
#[derive(Debug)]
pub(crate) struct Peers {
    limits: ConnectionLimits,
    table: Mutex<Table>,
    dropped: IntCounter,
}

/// The other end of a connection. It counts until it is dropped everywhere.
#[derive(Clone)]
pub(crate) struct Peer(Arc<Counted>);

struct Counted {
    id: u64,
    client: IpAddr,
    standing: Mutex<Standing>,
    cut: Arc<Notify>,
    among: Arc<Peers>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// No valid key or token came over it yet.
    Unproven,
    Held(Holder),
}

/// Has no more entries than connections are open.
#[derive(Debug, Default)]
struct Table {
    last: u64,
    /// What cuts each connection without a holder, the oldest first.
    unproven: HashMap<IpAddr, BTreeMap<u64, Arc<Notify>>>,
    holders: HashMap<Holder, usize>,
    /// How many of each client have a key for a holder.
    clients: HashMap<IpAddr, usize>,
    /// How many have a key for a holder.
    keyed: usize,
}

impl Holder {
    /// Whose the connections of `caller` are.
    pub(crate) fn of(caller: &Caller) -> Self {
        caller.property.map_or(Self::Key(caller.key), Self::Property)
    }
}

impl Peers {
    /// None yet. `dropped` counts those that had to make way.
    pub(crate) fn new(limits: ConnectionLimits, dropped: IntCounter) -> Arc<Self> {
        Arc::new(Self { limits, table: Mutex::default(), dropped })
    }

    /// Counts a connection from `address`. If its client has too many that are unproven, the oldest of
    /// these makes way.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Peer {
        let client = client_of(address);
        let cut = Arc::new(Notify::new());
        let mut table = lock(&self.table);
        table.last += 1;
        let id = table.last;
        if table.unproven.get(&client).is_some_and(|own| own.len() >= self.limits.unproven) {
            self.cut_oldest(&mut table, client);
        }
        table.enter(Standing::Unproven, id, client, &cut);
        let (standing, among) = (Mutex::new(Standing::Unproven), Arc::clone(self));
        Peer(Arc::new(Counted { id, client, standing, cut, among }))
    }

    /// Cuts an unproven connection, if there is any: the oldest of the client with the most.
    pub(crate) fn make_room(&self) {
        let mut table = lock(&self.table);
        let most = table.unproven.iter().max_by_key(|(_, own)| {
            let oldest = own.first_key_value().map(|(id, _)| *id);
            (own.len(), Reverse(oldest))
        });
        if let Some(client) = most.map(|(client, _)| *client) {
            self.cut_oldest(&mut table, client);
        }
    }

    fn cut_oldest(&self, table: &mut Table, client: IpAddr) {
        let Some(own) = table.unproven.get_mut(&client) else { return };
        if let Some((_, cut)) = own.pop_first() {
            cut.notify_one();
            self.dropped.inc();
        }
        if own.is_empty() {
            table.unproven.remove(&client);
        }
    }
}

impl Peer {
    /// Whoever is behind the address: of IPv6 a whole /64.
    pub(crate) fn client(&self) -> IpAddr {
        self.0.client
    }

    /// Notes that a valid key or token of `holder` came over the connection. One that it can't have is
    /// unproven again.
    pub(crate) fn belong_to(&self, holder: Holder) -> Result<(), TooMany> {
        let Counted { id, client, standing, cut, among } = &*self.0;
        let mut standing = lock(standing);
        if *standing == Standing::Held(holder) {
            return Ok(());
        }
        let mut table = lock(&among.table);
        table.leave(*standing, *id, *client);
        let room = table.room_for(holder, *client, &among.limits);
        *standing = match room {
            Ok(()) => Standing::Held(holder),
            Err(_) => Standing::Unproven,
        };
        table.enter(*standing, *id, *client, cut);
        room
    }

    /// Completes once the connection has to make way for another.
    pub(crate) async fn cut(&self) {
        self.0.cut.notified().await;
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let standing = *lock(&self.standing);
        lock(&self.among.table).leave(standing, self.id, self.client);
    }
}

impl Table {
    fn room_for(
        &self,
        holder: Holder,
        client: IpAddr,
        limits: &ConnectionLimits,
    ) -> Result<(), TooMany> {
        if self.holders.get(&holder).is_some_and(|count| *count >= limits.per_holder) {
            return Err(TooMany::Holder);
        }
        // PoPs have what is kept for them, wherever they come from.
        if matches!(holder, Holder::Pop(_)) {
            return Ok(());
        }
        if self.clients.get(&client).is_some_and(|count| *count >= limits.per_client) {
            return Err(TooMany::Client);
        }
        match self.keyed >= limits.in_all.saturating_sub(limits.reserved) {
            true => Err(TooMany::Keys),
            false => Ok(()),
        }
    }

    fn enter(&mut self, standing: Standing, id: u64, client: IpAddr, cut: &Arc<Notify>) {
        match standing {
            Standing::Unproven => {
                self.unproven.entry(client).or_default().insert(id, Arc::clone(cut));
            }
            Standing::Held(holder) => {
                *self.holders.entry(holder).or_default() += 1;
                if !matches!(holder, Holder::Pop(_)) {
                    *self.clients.entry(client).or_default() += 1;
                    self.keyed += 1;
                }
            }
        }
    }

    fn leave(&mut self, standing: Standing, id: u64, client: IpAddr) {
        match standing {
            Standing::Unproven => {
                let Some(own) = self.unproven.get_mut(&client) else { return };
                own.remove(&id);
                if own.is_empty() {
                    self.unproven.remove(&client);
                }
            }
            Standing::Held(holder) => {
                forget_one(&mut self.holders, holder);
                if !matches!(holder, Holder::Pop(_)) {
                    forget_one(&mut self.clients, client);
                    self.keyed = self.keyed.saturating_sub(1);
                }
            }
        }
    }
}

fn forget_one<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: K) {
    match counts.get(&key).map_or(0, |count| count.saturating_sub(1)) {
        0 => counts.remove(&key),
        left => counts.insert(key, left),
    };
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Peer").field(&self.0.client).finish()
    }
}

#[cfg(test)]
mod tests;
