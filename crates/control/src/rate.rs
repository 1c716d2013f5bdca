//! How many requests may come from one key, or fail from one address.
//!
//! A table of buckets of a bounded size: what was seen least is forgotten first, which lets its
//! owner begin anew. The clock is an argument, which no kept library for this takes.

use std::{
    fmt,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use quick_cache::unsync::Cache;

/// How many there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quota {
    /// In the long run.
    pub(crate) per_minute: u32,
    /// At once, after a rest.
    pub(crate) burst: u32,
}

/// What becomes of one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It may be.
    Admitted {
        /// How many more may be at once.
        remaining: u32,
        /// When as many as the burst may be again.
        full_in: Duration,
    },
    /// It is too much.
    Refused {
        /// When one may be again.
        retry_in: Duration,
    },
}

impl Verdict {
    pub(crate) fn is_admitted(self) -> bool {
        matches!(self, Self::Admitted { .. })
    }
}

impl Quota {
    /// How long it takes until one more may be.
    fn interval(self) -> Duration {
        Duration::from_secs(60) / self.per_minute.max(1)
    }

    /// Takes one from a bucket that is full at `full_at`, and says when it then is.
    fn take(self, full_at: Instant, now: Instant) -> (Instant, Verdict) {
        let interval = self.interval();
        let capacity = interval * self.burst;
        let then = full_at.max(now) + interval;
        let full_in = then.duration_since(now);
        match capacity.checked_sub(full_in) {
            Some(left) => {
                let remaining = left.as_nanos() / interval.as_nanos().max(1);
                let remaining = u32::try_from(remaining).unwrap_or(u32::MAX);
                (then, Verdict::Admitted { remaining, full_in })
            }
            None => (full_at, Verdict::Refused { retry_in: full_in - capacity }),
        }
    }
}

/// A bucket for each of many.
pub(crate) struct Buckets<K> {
    quota: Quota,
    full_at: Mutex<Cache<K, Instant>>,
}

impl<K: Hash + Eq> Buckets<K> {
    /// Full ones, of which at most `size` are remembered.
    pub(crate) fn new(quota: Quota, size: usize) -> Self {
        Self { quota, full_at: Mutex::new(Cache::new(size)) }
    }

    pub(crate) fn quota(&self) -> Quota {
        self.quota
    }

    /// Takes one of `key`'s.
    pub(crate) fn take(&self, key: K, now: Instant) -> Verdict {
        let mut buckets = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let full_at = buckets.get(&key).copied().unwrap_or(now);
        let (full_at, verdict) = self.quota.take(full_at, now);
        buckets.insert(key, full_at);
        verdict
    }
}

impl<K> fmt::Debug for Buckets<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buckets").field("quota", &self.quota).finish_non_exhaustive()
    }
}

/// Whoever is behind an address: of IPv6 a whole /64, which is what one client has.
pub(crate) fn client_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTA: Quota = Quota { per_minute: 60, burst: 3 };

    #[test]
    fn a_burst_is_admitted_and_then_one_in_each_interval() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let buckets = Buckets::new(QUOTA, 10);
        let admitted = |remaining, seconds| Verdict::Admitted {
            remaining,
            full_in: Duration::from_secs(seconds),
        };
        assert_eq!(buckets.take("a", at(0)), admitted(2, 1));
        assert_eq!(buckets.take("a", at(0)), admitted(1, 2));
        assert_eq!(buckets.take("a", at(0)), admitted(0, 3));
        let refused = Verdict::Refused { retry_in: Duration::from_secs(1) };
        assert_eq!(buckets.take("a", at(0)), refused);
        // What is refused costs nothing, and others have their own.
        assert_eq!(buckets.take("a", at(0)), refused);
        assert_eq!(buckets.take("b", at(0)), admitted(2, 1));
        assert_eq!(buckets.take("a", at(1)), admitted(0, 3));
        assert_eq!(buckets.take("a", at(60)), admitted(2, 1));
    }

    #[test]
    fn however_many_there_are_the_table_is_bounded() {
        let buckets = Buckets::new(QUOTA, 16);
        let now = Instant::now();
        for key in 0..1_000 {
            buckets.take(key, now);
        }
        assert!(buckets.full_at.lock().unwrap().len() <= 16);
    }

    #[test]
    fn an_ipv6_client_has_a_whole_network() {
        let client = |text: &str| client_of(text.parse().unwrap()).to_string();
        assert_eq!(client("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(client("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(client("192.0.2.1"), "192.0.2.1");
    }
}
