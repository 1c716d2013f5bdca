//! Who is compared.

use serde::Serialize;

/// A proxy, or a floor: the least that a proxy of our stack could do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Subject {
    /// A real edge, fed by a real control plane.
    Landfall,
    Nginx,
    Haproxy,
    Caddy,
    /// tokio and rustls, which answer from memory.
    Memory,
    /// tokio and rustls, which copy bytes to a connection to the origin of their own.
    Pipe,
}

impl Subject {
    /// All, in the order of the table.
    pub(super) const ALL: [Self; 6] =
        [Self::Landfall, Self::Nginx, Self::Haproxy, Self::Caddy, Self::Memory, Self::Pipe];
    /// Whom Landfall is compared with.
    pub(super) const OTHERS: [Self; 5] =
        [Self::Nginx, Self::Haproxy, Self::Caddy, Self::Memory, Self::Pipe];
    /// The proxies.
    pub(super) const PROXIES: [Self; 4] = [Self::Landfall, Self::Nginx, Self::Haproxy, Self::Caddy];

    /// As it stands in the table.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Landfall => "Landfall",
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
            Self::Caddy => "Caddy",
            Self::Memory => "floor: memory",
            Self::Pipe => "floor: pipe",
        }
    }

    /// Floors have no HTTP to speak of.
    pub(super) fn speaks_h2(self) -> bool {
        Self::PROXIES.contains(&self)
    }

    /// All in the order of a round: who is first moves on, so that none is always after the same.
    pub(super) fn in_round(round: usize) -> impl Iterator<Item = Self> {
        let start = round % Self::ALL.len();
        Self::ALL.into_iter().cycle().skip(start).take(Self::ALL.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_has_all_and_another_first() {
        for round in 0..6 {
            let order: Vec<_> = Subject::in_round(round).collect();
            let mut sorted = order.clone();
            sorted.sort();
            assert_eq!(sorted, Subject::ALL);
            assert_eq!(order[0], Subject::ALL[round]);
        }
    }
}
