//! `[tracing]`, checked.

use std::{num::NonZeroUsize, time::Duration};

use super::{
    super::{Ratio, RawTracing, Tracing},
    Checker, MAX_TIMEOUT,
};

/// The most requests whose spans may wait: about a gigabyte at worst.
const MAX_QUEUE: usize = 1 << 17;
/// The longest name of a service, in bytes.
const MAX_NAME: usize = 255;

impl Checker<'_> {
    /// `None` where traces are off, or something is wrong.
    pub(super) fn tracing(&mut self, raw: RawTracing) -> Option<Tracing> {
        let endpoint = raw.endpoint.as_deref().map(|url| self.url("tracing.endpoint", url));
        let sample = Ratio::new(raw.sample);
        if sample.is_none() {
            self.problem("tracing.sample", format!("expected from 0 to 1, got {}", raw.sample));
        }
        let queue = NonZeroUsize::new(raw.queue).filter(|queue| queue.get() <= MAX_QUEUE);
        if queue.is_none() {
            let expected = format!("expected from 1 to {MAX_QUEUE}, got {}", raw.queue);
            self.problem("tracing.queue", expected);
        }
        if !(1..=MAX_NAME).contains(&raw.service_name.len()) {
            let expected = format!("expected a name of at most {MAX_NAME} bytes");
            self.problem("tracing.service_name", expected);
        }
        let timeout = self.timeout("tracing.timeout", raw.timeout);
        let interval = self.duration("tracing.interval", raw.interval, Duration::ZERO, MAX_TIMEOUT);
        Some(Tracing {
            endpoint: endpoint??,
            sample: sample?,
            timeout,
            interval,
            queue: queue?,
            headers_file: raw.headers_file.map(|path| self.base.join(path)),
            ca_file: raw.ca_file.map(|path| self.base.join(path)),
            service_name: raw.service_name,
        })
    }
}
