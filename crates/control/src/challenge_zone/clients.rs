//! How many connections each client has.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use crate::rate::client_of;

/// The connections that are open, by client. There are at most as many clients as connections.
#[derive(Debug)]
pub(super) struct Clients {
    /// The most of one client.
    most: usize,
    counts: Mutex<HashMap<IpAddr, usize>>,
}

/// A client's place, which is free again once this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    client: IpAddr,
    among: Arc<Clients>,
}

impl Clients {
    /// None yet, and at most `most` of one client.
    pub(super) fn new(most: usize) -> Self {
        Self { most, counts: Mutex::default() }
    }

    /// Counts a connection from `address`, unless its client (of IPv6, a whole /64) has too many.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let client = client_of(address);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.get(&client).copied().unwrap_or(0);
        if count >= self.most {
            return None;
        }
        counts.insert(client, count + 1);
        Some(Place { client, among: Arc::clone(self) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.among.counts.lock().unwrap_or_else(PoisonError::into_inner);
        match counts.get(&self.client).copied().unwrap_or(0) {
            0 | 1 => counts.remove(&self.client),
            more => counts.insert(self.client, more - 1),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_so_many_connections_at_a_time() {
        let clients = Arc::new(Clients::new(2));
        let admit = |address: &str| clients.admit(address.parse().unwrap());
        let first = admit("2001:db8::1").unwrap();
        let second = admit("2001:db8::2").unwrap();
        assert!(admit("2001:db8::3").is_none());
        assert!(admit("192.0.2.1").is_some());
        drop(first);
        let third = admit("2001:db8::3").unwrap();
        drop((second, third));
        assert!(clients.counts.lock().unwrap().is_empty());
    }
}
