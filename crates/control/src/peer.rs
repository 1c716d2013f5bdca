//! Who is at the other end of a connection, and how many of those have shown no key or token yet.
//!
//! A connection costs memory and a place among those that may be open before anybody knows whose it is.
//! Whoever has no key gets so many of them and no more.

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::rate::client_of;

/// The connections that have shown no valid key or token yet, by client. There are at most as many
/// clients as connections.
#[derive(Debug)]
pub(crate) struct Unproven {
    /// The most of one client.
    most: usize,
    counts: Mutex<HashMap<IpAddr, usize>>,
}

/// The other end of a connection. It counts as unproven until it is proven, or is dropped everywhere.
#[derive(Clone)]
pub(crate) struct Peer(Arc<Counted>);

struct Counted {
    client: IpAddr,
    proven: AtomicBool,
    among: Arc<Unproven>,
}

impl Unproven {
    /// None yet, and at most `most` of one client.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, counts: Mutex::default() }
    }

    /// Counts a connection from `address`, unless its client has too many.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Peer> {
        let client = client_of(address);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(client).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        let (proven, among) = (AtomicBool::new(false), Arc::clone(self));
        Some(Peer(Arc::new(Counted { client, proven, among })))
    }

    fn forget(&self, client: IpAddr) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let left = counts.get(&client).map_or(0, |count| count.saturating_sub(1));
        match left {
            0 => counts.remove(&client),
            left => counts.insert(client, left),
        };
    }
}

impl Peer {
    /// Whoever is behind the address: of IPv6 a whole /64.
    pub(crate) fn client(&self) -> IpAddr {
        self.0.client
    }

    /// Notes that a valid key or token came over the connection.
    pub(crate) fn prove(&self) {
        self.0.prove();
    }
}

impl Counted {
    fn prove(&self) {
        if !self.proven.swap(true, Ordering::Relaxed) {
            self.among.forget(self.client);
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.prove();
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Peer").field(&self.0.client).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_so_many_connections_until_it_is_proven() {
        let unproven = Arc::new(Unproven::new(2));
        let admit = |address: &str| unproven.admit(address.parse().unwrap());
        let first = admit("2001:db8::1").unwrap();
        let second = admit("2001:db8::2").unwrap();
        assert!(admit("2001:db8::3").is_none());
        assert!(admit("192.0.2.1").is_some());

        first.prove();
        first.prove();
        let third = admit("2001:db8::3").unwrap();
        assert!(admit("2001:db8::4").is_none());

        drop(second);
        assert!(admit("2001:db8::4").is_some());
        drop((first, third));
        assert!(unproven.counts.lock().unwrap().is_empty());
    }
}
