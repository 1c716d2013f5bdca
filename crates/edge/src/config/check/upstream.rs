use std::{
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

use super::{Checker, MAX_TIMEOUT};
use crate::config::{RawUpstream, Upstream};

/// The longest a whole request may take, and the longest that stale addresses may be used.
const DAY: Duration = Duration::from_secs(86_400);
/// Each try is a request that an origin may see.
const MAX_TRIES: usize = 10;

impl Checker<'_> {
    pub(super) fn upstream(&mut self, raw: RawUpstream) -> Upstream {
        if let Some(total) = raw.total_timeout {
            self.duration("upstream.total_timeout", total, Duration::from_millis(1), DAY);
        }
        if raw.connections == 0 {
            self.problem("upstream.connections", "expected at least 1");
        }
        if raw.connections_per_origin == 0 {
            self.problem("upstream.connections_per_origin", "expected at least 1");
        }
        if !(1..=MAX_TRIES).contains(&raw.tries) {
            let message = format!("expected from 1 to {MAX_TRIES}, got {}", raw.tries);
            self.problem("upstream.tries", message);
        }
        if raw.h2_streams == 0 {
            self.problem("upstream.h2_streams", "expected at least 1");
        }
        if raw.eject_after == 0 {
            self.problem("upstream.eject_after", "expected at least 1");
        }
        if raw.eject_max < raw.eject_time {
            let message = format!("expected at least upstream.eject_time, {:?}", raw.eject_time);
            self.problem("upstream.eject_max", message);
        }
        let resolvers = self.resolvers("upstream.resolvers", &raw.resolvers);
        Upstream {
            allow_networks: self.networks("upstream.allow_networks", &raw.allow_networks),
            connect_timeout: self.timeout("upstream.connect_timeout", raw.connect_timeout),
            read_timeout: self.timeout("upstream.read_timeout", raw.read_timeout),
            write_timeout: self.timeout("upstream.write_timeout", raw.write_timeout),
            idle_timeout: self.timeout("upstream.idle_timeout", raw.idle_timeout),
            total_timeout: raw.total_timeout,
            pool_size: raw.pool_size,
            connections: raw.connections,
            connections_per_origin: raw.connections_per_origin,
            h2_streams: NonZeroUsize::new(raw.h2_streams).unwrap_or(NonZeroUsize::MIN),
            tries: NonZeroUsize::new(raw.tries).unwrap_or(NonZeroUsize::MIN),
            eject_after: NonZeroU32::new(raw.eject_after).unwrap_or(NonZeroU32::MIN),
            eject_time: self.timeout("upstream.eject_time", raw.eject_time),
            eject_max: self.duration(
                "upstream.eject_max",
                raw.eject_max,
                Duration::ZERO,
                MAX_TIMEOUT,
            ),
            ca_file: raw.ca_file.map(|path| self.base.join(path)),
            resolvers,
            resolve_stale: self.duration(
                "upstream.resolve_stale",
                raw.resolve_stale,
                Duration::ZERO,
                DAY,
            ),
        }
    }
}
