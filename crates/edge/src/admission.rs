//! Who may connect: how many in all, how many from one place, and how fast.
//!
//! Asked before anything is read of a connection. Above a limit the newest connection is closed at
//! once, and those that are open go on.

mod place;
mod table;

use std::{
    net::IpAddr,
    os::fd::AsRawFd,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};
use tokio::time::Instant;

use crate::{
    EdgeError,
    config::AdmissionLimits,
    metrics::register,
    overload::{Overload, Resource},
};
use place::{Address, Prefix};
use table::{Allowance, Table};

/// Decides about each new connection of a public listener.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: AdmissionLimits,
    overload: Arc<Overload>,
    /// The most connections in all.
    capacity: usize,
    open: AtomicUsize,
    addresses: Table<Address>,
    prefixes: Table<Prefix>,
    shed: Vec<IntCounter>,
}

/// Why a connection is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shed {
    /// Too little of something is left for it.
    Short(Resource),
    /// There are as many as there may be.
    Total,
    /// Its address has as many as one may have.
    Address,
    /// Its network has as many as one may have.
    Prefix,
    /// Its address connects too often.
    Rate,
}

impl Shed {
    const ALL: [Self; 6] = [
        Self::Short(Resource::Memory),
        Self::Short(Resource::Descriptors),
        Self::Total,
        Self::Address,
        Self::Prefix,
        Self::Rate,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::Short(resource) => resource.label(),
            Self::Total => "total",
            Self::Address => "address",
            Self::Prefix => "prefix",
            Self::Rate => "rate",
        }
    }
}

/// A connection that counts among all of them for as long as this lives.
#[derive(Debug)]
pub(crate) struct Counted {
    admission: Arc<Admission>,
    /// Where it counts too.
    address: Option<Address>,
    prefix: Option<Prefix>,
}

impl Admission {
    /// `capacity` is the most connections that the process can take.
    ///
    /// # Errors
    /// [`EdgeError::Metrics`].
    pub(crate) fn new(
        limits: AdmissionLimits,
        capacity: usize,
        overload: Arc<Overload>,
        registry: &Registry,
    ) -> Result<Self, EdgeError> {
        let opts = Opts::new(
            "landfall_connections_shed_total",
            "Connections closed before anything was read of them.",
        );
        let shed = register(registry, IntCounterVec::new(opts, &["reason"]))?;
        Ok(Self {
            limits,
            overload,
            capacity,
            open: AtomicUsize::new(0),
            addresses: Table::default(),
            prefixes: Table::default(),
            shed: Shed::ALL.iter().map(|why| shed.with_label_values(&[why.label()])).collect(),
        })
    }

    /// Whether the process has what one more connection takes, accepted as `socket`.
    pub(crate) fn check_room(&self, socket: &impl AsRawFd) -> Result<(), Shed> {
        match self.overload.short_for_connection(socket) {
            Some(resource) => Err(self.shed(Shed::Short(resource))),
            None => Ok(()),
        }
    }

    /// Takes one more connection, wherever it is from.
    pub(crate) fn count(self: &Arc<Self>) -> Result<Counted, Shed> {
        // Counted before it is compared: of two at once, one is too many at most.
        let open = self.open.fetch_add(1, Ordering::Relaxed);
        let counted = Counted { admission: Arc::clone(self), address: None, prefix: None };
        match open < self.capacity {
            true => Ok(counted),
            false => Err(self.shed(Shed::Total)),
        }
    }

    fn shed(&self, why: Shed) -> Shed {
        let position = Shed::ALL.iter().position(|one| *one == why);
        if let Some(counter) = position.and_then(|position| self.shed.get(position)) {
            counter.inc();
        }
        why
    }
}

impl Counted {
    /// Takes the connection for a client at `address`.
    pub(crate) fn admit(mut self, address: IpAddr, now: Instant) -> Result<Self, Shed> {
        let limits = &self.admission.limits;
        let (address, prefix) = (Address::of(address), Prefix::of(address));
        let most = Allowance { connections: limits.per_prefix, pace: None };
        if self.admission.prefixes.take(prefix, most, now).is_err() {
            return Err(self.admission.shed(Shed::Prefix));
        }
        self.prefix = Some(prefix);
        let most = Allowance { connections: limits.per_address, pace: Some(limits.pace) };
        match self.admission.addresses.take(address, most, now) {
            Ok(()) => {
                self.address = Some(address);
                Ok(self)
            }
            Err(table::Refused::TooMany) => Err(self.admission.shed(Shed::Address)),
            Err(table::Refused::TooFast) => Err(self.admission.shed(Shed::Rate)),
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let now = Instant::now();
        if let Some(address) = self.address {
            self.admission.addresses.give_back(address, now);
        }
        if let Some(prefix) = self.prefix {
            self.admission.prefixes.give_back(prefix, now);
        }
        self.admission.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{config::Pace, server::Descriptors};

    fn admission(capacity: usize, per_address: u32, per_prefix: u32) -> Arc<Admission> {
        let pace = Pace { interval: Duration::from_millis(100), burst: 3 };
        let limits = AdmissionLimits { per_address, per_prefix, pace };
        let registry = Registry::new();
        let overload = Overload::new(u64::MAX, Descriptors::of(None), &registry).unwrap();
        Arc::new(Admission::new(limits, capacity, Arc::new(overload), &registry).unwrap())
    }

    fn admit(admission: &Arc<Admission>, address: &str, now: Instant) -> Result<Counted, Shed> {
        admission.count()?.admit(address.parse().unwrap(), now)
    }

    #[test]
    fn each_limit_sheds_the_newest_and_lets_one_in_when_one_has_left() {
        let now = Instant::now();
        let table: [(Arc<Admission>, [&str; 3], Shed); 5] = [
            (admission(2, 9, 9), ["192.0.2.1", "198.51.100.1", "203.0.113.1"], Shed::Total),
            (admission(9, 2, 9), ["192.0.2.1"; 3], Shed::Address),
            (admission(9, 2, 9), ["2001:db8::1", "2001:db8::2", "2001:db8::ffff:3"], Shed::Address),
            (admission(9, 9, 2), ["192.0.2.1", "192.0.2.2", "192.0.2.3"], Shed::Prefix),
            (
                admission(9, 9, 2),
                ["2001:db8::1", "2001:db8:0:1::1", "2001:db8:0:2::1"],
                Shed::Prefix,
            ),
        ];
        for (admission, [first, second, third], expected) in table {
            let one = admit(&admission, first, now).unwrap();
            let _two = admit(&admission, second, now).unwrap();
            assert_eq!(admit(&admission, third, now).unwrap_err(), expected, "{third}");
            drop(one);
            assert!(admit(&admission, third, now).is_ok(), "{third}");
        }
    }

    #[test]
    fn an_address_may_connect_in_a_burst_and_then_at_its_pace() {
        let (admission, start) = (admission(99, 99, 99), Instant::now());
        let at = |millis: u64| {
            let now = start + Duration::from_millis(millis);
            admit(&admission, "192.0.2.1", now).map(|_| ())
        };
        assert_eq!([at(0), at(0), at(0), at(0)], [Ok(()), Ok(()), Ok(()), Err(Shed::Rate)]);
        assert_eq!([at(99), at(100), at(101)], [Err(Shed::Rate), Ok(()), Err(Shed::Rate)]);
        assert_eq!(admit(&admission, "192.0.2.2", start).map(|_| ()).ok(), Some(()));
    }

    #[test]
    fn ipv4_in_ipv6_is_the_ipv4_address() {
        let (admission, now) = (admission(9, 1, 9), Instant::now());
        let _one = admit(&admission, "192.0.2.1", now).unwrap();
        assert_eq!(admit(&admission, "::ffff:192.0.2.1", now).unwrap_err(), Shed::Address);
    }

    #[test]
    fn nothing_is_kept_of_who_has_left() {
        let (admission, start) = (admission(9, 9, 9), Instant::now());
        for host in 0..10_000_u32 {
            let address = IpAddr::from(host.to_be_bytes());
            let now = start + Duration::from_millis(u64::from(host));
            drop(admission.count().unwrap().admit(address, now).unwrap());
        }
        let kept = admission.addresses.len() + admission.prefixes.len();
        assert!(kept < 8192, "{kept} are kept");
        assert_eq!(admission.open.load(Ordering::Relaxed), 0);
    }
}
