//! Which hostnames are used most here, for the control plane: of what must be renewed at once, it has those
//! renewed first.

use std::time::{Duration, Instant};

use landfall_certstore::Resolver;
use landfall_feed::protocol::{Busy, MAX_ACK_BUSIEST, MAX_ACK_BUSIEST_BYTES};
use tokio::task;

use crate::site::Site;

/// How often they are named, at most.
const EVERY: Duration = Duration::from_secs(60);

/// What was counted, and when.
pub(super) struct Busiest {
    resolver: Resolver<Site>,
    counted: Option<Instant>,
    untold: Vec<Busy>,
}

impl Busiest {
    pub(super) const fn new(resolver: Resolver<Site>) -> Self {
        Self { resolver, counted: None, untold: Vec::new() }
    }

    /// What is still to be told at `now`.
    pub(super) async fn untold(&mut self, now: Instant) -> &[Busy] {
        let is_due = self.counted.is_none_or(|counted| counted + EVERY <= now);
        if self.untold.is_empty() && is_due {
            self.counted = Some(now);
            let resolver = self.resolver.clone();
            let counting = task::spawn_blocking(move || resolver.busiest(MAX_ACK_BUSIEST));
            self.untold = bounded(counting.await.unwrap_or_default());
        }
        &self.untold
    }

    /// It was heard.
    pub(super) fn told(&mut self) {
        self.untold.clear();
    }
}

/// As many of the first as may be told.
fn bounded(busiest: Vec<landfall_certstore::Busy>) -> Vec<Busy> {
    let mut left = MAX_ACK_BUSIEST_BYTES;
    let mut told = Vec::with_capacity(busiest.len().min(MAX_ACK_BUSIEST));
    for one in busiest.into_iter().take(MAX_ACK_BUSIEST) {
        let name = one.name.to_string();
        let Some(rest) = left.checked_sub(name.len()) else { break };
        left = rest;
        told.push(Busy { name, handshakes: one.handshakes });
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_names_are_told_than_an_ack_has_room_for() {
        let busy = |number: usize, length: usize| landfall_certstore::Busy {
            name: format!("{number}.{}.test", "n".repeat(length)).parse().unwrap(),
            handshakes: 7,
        };
        let many = bounded((0..2_000).map(|number| busy(number, 9)).collect());
        assert_eq!((many.len(), many[999].name.as_str()), (1_000, "999.nnnnnnnnn.test"));
        let long = bounded((0..1_000).map(|number| busy(number, 60)).collect());
        let bytes: usize = long.iter().map(|one| one.name.len()).sum();
        assert!(bytes <= MAX_ACK_BUSIEST_BYTES && bytes > MAX_ACK_BUSIEST_BYTES - 80, "{bytes}");
    }
}
