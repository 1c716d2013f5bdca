//! What is turned away while the process is short of memory or of file descriptors: the newest
//! connections first, then requests. What is being served goes on.

mod watch;

use std::{
    os::fd::AsRawFd,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use pingora::{Error, ErrorType};
use prometheus::{IntCounterVec, IntGauge, Opts, Registry};
use tokio::net::TcpSocket;

use crate::{EdgeError, metrics::register, refusal::Refusal, server::Descriptors};
pub(crate) use watch::MemoryWatch;

/// Says what is to be turned away.
#[derive(Debug)]
pub(crate) struct Overload {
    /// Bytes.
    memory: u64,
    descriptors: Descriptors,
    /// A [`Pressure`].
    pressure: AtomicU8,
    requests: IntCounterVec,
    gauge: IntGauge,
}

/// How near the memory is to its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Pressure {
    /// Everything is served.
    None,
    /// Near it: no new connections.
    High,
    /// At it: no new requests either.
    Full,
}

/// What there may be too little of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resource {
    Memory,
    Descriptors,
}

impl Resource {
    const ALL: [Self; 2] = [Self::Memory, Self::Descriptors];

    /// As a label.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Descriptors => "descriptors",
        }
    }
}

/// Called with each socket before it is connected to an origin.
pub(crate) type ConnectHook = Arc<dyn Fn(&TcpSocket) -> pingora::Result<()> + Send + Sync>;

impl Overload {
    /// `memory` is the most bytes to be used.
    ///
    /// # Errors
    /// [`EdgeError::Metrics`].
    pub(crate) fn new(
        memory: u64,
        descriptors: Descriptors,
        registry: &Registry,
    ) -> Result<Self, EdgeError> {
        let opts = Opts::new(
            "landfall_requests_shed_total",
            "Requests refused because memory or file descriptors are short.",
        );
        let requests = register(registry, IntCounterVec::new(opts, &["reason"]))?;
        for resource in Resource::ALL {
            requests.with_label_values(&[resource.label()]);
        }
        let gauge = |name, help| register(registry, IntGauge::new(name, help));
        let limit = gauge("landfall_memory_limit_bytes", "The most memory that is to be used.")?;
        limit.set(i64::try_from(memory).unwrap_or(i64::MAX));
        Ok(Self {
            memory,
            descriptors,
            pressure: AtomicU8::new(Pressure::None as u8),
            requests,
            gauge: gauge(
                "landfall_memory_pressure",
                "0: all is served; 1: no new connections; 2: no new requests either.",
            )?,
        })
    }

    /// What is missing for a connection that was accepted as `socket`.
    pub(crate) fn short_for_connection(&self, socket: &impl AsRawFd) -> Option<Resource> {
        if self.pressure.load(Ordering::Relaxed) >= Pressure::High as u8 {
            return Some(Resource::Memory);
        }
        let is_scarce = self.descriptors.are_scarce_for_clients(socket.as_raw_fd());
        is_scarce.then_some(Resource::Descriptors)
    }

    /// Whether a request is to be answered [`Refusal::Overloaded`]. Counts it.
    pub(crate) fn sheds_request(&self) -> bool {
        let sheds = self.pressure.load(Ordering::Relaxed) >= Pressure::Full as u8;
        if sheds {
            self.requests.with_label_values(&[Resource::Memory.label()]).inc();
        }
        sheds
    }

    /// For the options of every origin's peer: refuses a connection that would take one of the
    /// last descriptors, and the request that it is for with [`Refusal::Overloaded`].
    pub(crate) fn connect_hook(self: &Arc<Self>) -> ConnectHook {
        let overload = Arc::clone(self);
        Arc::new(move |socket| {
            if !overload.descriptors.are_scarce_for_origins(socket.as_raw_fd()) {
                return Ok(());
            }
            overload.requests.with_label_values(&[Resource::Descriptors.label()]).inc();
            Err(Error::new(ErrorType::HTTPStatus(Refusal::Overloaded.status().as_u16())))
        })
    }

    /// `used` bytes are in memory now.
    fn observe(&self, used: u64) {
        let before = Pressure::of(self.pressure.load(Ordering::Relaxed));
        let now = before.next(used, self.memory);
        if now == before {
            return;
        }
        self.pressure.store(now as u8, Ordering::Relaxed);
        self.gauge.set(now as i64);
        let limit = self.memory;
        match now {
            Pressure::None => tracing::info!(used, limit, "there is enough memory again"),
            Pressure::High => tracing::warn!(used, limit, "memory is short: no new connections"),
            Pressure::Full => {
                tracing::warn!(used, limit, "memory is used up: no new connections or requests");
            }
        }
    }
}

impl Pressure {
    fn of(value: u8) -> Self {
        [Self::None, Self::High].into_iter().find(|one| *one as u8 == value).unwrap_or(Self::Full)
    }

    /// What it is at `used` bytes of `limit`. Each level is left a little below where it is
    /// entered, so that it does not come and go.
    fn next(self, used: u64, limit: u64) -> Self {
        let is_at_least = |percent: u64| used >= limit / 100 * percent;
        if is_at_least(100) || (self == Self::Full && is_at_least(95)) {
            Self::Full
        } else if is_at_least(90) || (self >= Self::High && is_at_least(85)) {
            Self::High
        } else {
            Self::None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_is_left_below_where_it_is_entered() {
        use Pressure::{Full, High, None};
        let table = [
            (None, 89, None),
            (None, 90, High),
            (None, 100, Full),
            (High, 99, High),
            (High, 85, High),
            (High, 84, None),
            (Full, 95, Full),
            (Full, 94, High),
            (Full, 84, None),
        ];
        for (before, used, after) in table {
            assert_eq!(before.next(used, 100), after, "{used} of 100 after {before:?}");
        }
    }

    #[test]
    fn connections_are_shed_before_requests() {
        let registry = Registry::new();
        let overload = Overload::new(1000, Descriptors::of(Some(1 << 20)), &registry).unwrap();
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let sheds = |used| {
            overload.observe(used);
            (overload.short_for_connection(&socket).is_some(), overload.sheds_request())
        };
        assert_eq!(sheds(800), (false, false));
        assert_eq!(sheds(920), (true, false));
        assert_eq!(sheds(1000), (true, true));
        assert_eq!(sheds(800), (false, false));
        assert_eq!(overload.requests.with_label_values(&[Resource::Memory.label()]).get(), 1);
    }

    #[test]
    fn a_connection_with_one_of_the_last_descriptors_is_shed() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let limit = u64::try_from(socket.as_raw_fd()).ok();
        let overload = Overload::new(u64::MAX, Descriptors::of(limit), &Registry::new()).unwrap();
        assert_eq!(overload.short_for_connection(&socket), Some(Resource::Descriptors));
        assert!(!overload.sheds_request());
    }
}
