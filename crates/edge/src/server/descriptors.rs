//! How far the process's file descriptors go.
//!
//! The system gives out the lowest number that is free: a socket whose number is high was opened
//! when that many were, so that each new socket tells by itself how scarce they are.

use std::os::fd::RawFd;

use rustix::process::{Resource, getrlimit};

/// Kept from clients: for connections to origins, the operators' listener, the state's files, the
/// feed.
const RESERVE: u64 = 256;
/// A client's connection and the one to its origin.
const EACH: u64 = 2;

/// The numbers from which on descriptors are kept for something better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptors {
    clients: u64,
    origins: u64,
}

impl Descriptors {
    /// Divides as many as the process may have.
    pub(crate) fn of_process() -> Self {
        Self::of(getrlimit(Resource::Nofile).current)
    }

    /// Divides `limit` descriptors; `None` is no limit.
    pub(crate) fn of(limit: Option<u64>) -> Self {
        // Memory ends before so many do.
        let limit = limit.unwrap_or(1 << 24);
        let reserve = RESERVE.min(limit / 2);
        Self { clients: limit - reserve, origins: limit - reserve / 2 }
    }

    /// The most connections of clients at once, each with one to an origin.
    pub(crate) fn connections(self) -> usize {
        usize::try_from(self.clients / EACH).unwrap_or(usize::MAX).max(1)
    }

    /// Whether a client's connection with this number takes what is kept for something better.
    pub(crate) fn are_scarce_for_clients(self, descriptor: RawFd) -> bool {
        is_from(descriptor, self.clients)
    }

    /// The same for a connection to an origin, which serves clients that are there already.
    pub(crate) fn are_scarce_for_origins(self, descriptor: RawFd) -> bool {
        is_from(descriptor, self.origins)
    }
}

fn is_from(descriptor: RawFd, first: u64) -> bool {
    u64::try_from(descriptor).is_ok_and(|descriptor| descriptor >= first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_descriptors_are_kept_from_clients_and_some_of_these_from_origins() {
        let table = [
            (Some(1024), Descriptors { clients: 768, origins: 896 }, 384),
            (Some(64), Descriptors { clients: 32, origins: 48 }, 16),
            (None, Descriptors { clients: 16_776_960, origins: 16_777_088 }, 8_388_480),
        ];
        for (limit, expected, connections) in table {
            let divided = Descriptors::of(limit);
            assert_eq!((divided, divided.connections()), (expected, connections), "of {limit:?}");
        }
    }

    #[test]
    fn a_high_number_shows_that_few_are_left() {
        let descriptors = Descriptors::of(Some(1024));
        for (number, clients, origins) in
            [(767, false, false), (768, true, false), (895, true, false), (896, true, true)]
        {
            let scarce = (
                descriptors.are_scarce_for_clients(number),
                descriptors.are_scarce_for_origins(number),
            );
            assert_eq!(scarce, (clients, origins), "{number}");
        }
    }
}
