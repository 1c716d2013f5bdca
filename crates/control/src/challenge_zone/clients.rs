//! Which connections are open, and which one makes room for another.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::Notify;

use crate::rate::client_of;

/// The connections that are open.
#[derive(Debug)]
pub(super) struct Clients {
    /// The most of all.
    most: usize,
    /// The most of one client.
    most_of_one: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    /// By when they last asked something: those that came or asked last have the highest numbers.
    seats: BTreeMap<u64, Seat>,
    /// There are at most as many clients as connections.
    counts: HashMap<IpAddr, usize>,
    turns: u64,
}

#[derive(Debug)]
struct Seat {
    client: IpAddr,
    end: Arc<Notify>,
}

/// A connection's place, which is free again once this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    turn: u64,
    end: Arc<Notify>,
    among: Arc<Clients>,
}

impl Clients {
    /// None yet, and at most `most`, of which `most_of_one` are one client's.
    pub(super) fn new(most: usize, most_of_one: usize) -> Self {
        Self { most: most.max(1), most_of_one, open: Mutex::default() }
    }

    /// Takes in a connection from `address`, unless its client (of IPv6, a whole /64) has too many. Where
    /// all places are taken, the one that has asked nothing for longest has to end.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let client = client_of(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.counts.get(&client).is_some_and(|count| *count >= self.most_of_one) {
            return None;
        }
        while open.seats.len() >= self.most
            && let Some((turn, _)) = open.seats.first_key_value()
        {
            let turn = *turn;
            open.leave(turn);
        }
        let end = Arc::new(Notify::new());
        let turn = open.sit(Seat { client, end: Arc::clone(&end) });
        Some(Place { turn, end, among: Arc::clone(self) })
    }
}

impl Open {
    fn sit(&mut self, seat: Seat) -> u64 {
        self.turns += 1;
        *self.counts.entry(seat.client).or_default() += 1;
        self.seats.insert(self.turns, seat);
        self.turns
    }

    /// Ends a connection that is still open.
    fn leave(&mut self, turn: u64) -> Option<Seat> {
        let seat = self.seats.remove(&turn)?;
        seat.end.notify_one();
        match self.counts.get(&seat.client).copied().unwrap_or(0) {
            0 | 1 => self.counts.remove(&seat.client),
            more => self.counts.insert(seat.client, more - 1),
        };
        Some(seat)
    }
}

impl Place {
    /// Has asked something: others have to end first.
    pub(super) fn has_asked(&mut self) {
        let mut open = self.among.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seat) = open.seats.remove(&self.turn) {
            open.turns += 1;
            self.turn = open.turns;
            open.seats.insert(self.turn, seat);
        }
    }

    /// Notified once the connection has to end.
    pub(super) fn end(&self) -> Arc<Notify> {
        Arc::clone(&self.end)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.among.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.leave(self.turn);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;

    use super::*;

    fn admit(clients: &Arc<Clients>, address: &str) -> Option<Place> {
        clients.admit(address.parse().unwrap())
    }

    fn has_to_end(place: &Place) -> bool {
        let end = place.end();
        let notified = std::pin::pin!(end.notified());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        notified.poll(&mut context).is_ready()
    }

    #[test]
    fn a_client_has_so_many_connections_at_a_time() {
        let clients = Arc::new(Clients::new(9, 2));
        let first = admit(&clients, "2001:db8::1").unwrap();
        let second = admit(&clients, "2001:db8::2").unwrap();
        assert!(admit(&clients, "2001:db8::3").is_none());
        assert!(admit(&clients, "192.0.2.1").is_some());
        drop(first);
        let third = admit(&clients, "2001:db8::3").unwrap();
        drop((second, third));
        let open = clients.open.lock().unwrap();
        assert!(open.counts.is_empty() && open.seats.is_empty());
    }

    #[test]
    fn who_has_asked_nothing_for_longest_makes_room() {
        let clients = Arc::new(Clients::new(3, 2));
        let mut places: Vec<Place> = ["192.0.2.1", "192.0.2.1", "192.0.2.2"]
            .iter()
            .filter_map(|address| admit(&clients, address))
            .collect();
        places[0].has_asked();
        let newcomer = admit(&clients, "192.0.2.3").unwrap();
        assert_eq!(places.iter().map(has_to_end).collect::<Vec<_>>(), [false, true, false]);
        assert!(!has_to_end(&newcomer));
        // Who had to end is counted no more, and ends once.
        let other = admit(&clients, "192.0.2.1").unwrap();
        assert!(has_to_end(&places[2]));
        drop((places, newcomer, other));
        let open = clients.open.lock().unwrap();
        assert!(open.counts.is_empty() && open.seats.is_empty());
    }
}
