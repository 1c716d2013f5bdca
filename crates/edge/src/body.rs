//! Whether an HTTP/2 request's body keeps coming.
//!
//! HTTP/1 has its deadlines where it is read. Over HTTP/2 pingora has none, and only the proxy sees
//! one request's body: it says here what arrives, and the request is given up when too little does.

use std::{
    future::{Future, pending},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    config::{Limits, Rate},
    cut::Cut,
};

tokio::task_local! {
    static AWAITED: Arc<Awaited>;
}

/// When a body is given up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyLimits {
    silence: Duration,
    total: Duration,
    rate: Rate,
}

/// What has arrived of a body.
#[derive(Debug)]
struct Awaited {
    started: Instant,
    bytes: AtomicU64,
    /// Milliseconds from the start to the last piece.
    last: AtomicU64,
    is_over: AtomicBool,
}

impl BodyLimits {
    /// `origin` is how long an origin may take for a piece of it. A client isn't blamed before.
    pub(crate) fn new(limits: &Limits, origin: Duration) -> Self {
        Self {
            silence: limits.request_body_timeout.max(origin),
            total: limits.request_body_total_timeout,
            rate: limits.request_body_rate,
        }
    }

    /// Runs a request to its end, or until its body has stopped coming.
    pub(crate) async fn watch<T>(self, request: impl Future<Output = T>) -> Result<T, Cut> {
        let awaited = Arc::new(Awaited {
            started: Instant::now(),
            bytes: AtomicU64::new(0),
            last: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        });
        tokio::select! {
            biased;
            output = AWAITED.scope(Arc::clone(&awaited), request) => Ok(output),
            cut = self.passed(&awaited) => Err(cut),
        }
    }

    async fn passed(self, awaited: &Awaited) -> Cut {
        loop {
            if awaited.is_over.load(Ordering::Relaxed) {
                return pending().await;
            }
            let (deadline, cut) = self.deadline(awaited);
            if deadline <= Instant::now() {
                return cut;
            }
            tokio::time::sleep_until(deadline).await;
        }
    }

    /// Until when the next piece must come, as far as is known now.
    fn deadline(self, awaited: &Awaited) -> (Instant, Cut) {
        let last = Duration::from_millis(awaited.last.load(Ordering::Relaxed));
        let started = awaited.started;
        let silent = (started + last + self.silence, Cut::BodyTimeout);
        let total = (started + self.total, Cut::BodyTimeout);
        let earlier = if total.0 < silent.0 { total } else { silent };
        if self.rate.bytes == 0 {
            return earlier;
        }
        let bytes = awaited.bytes.load(Ordering::Relaxed);
        let paid = Duration::from_micros(bytes.saturating_mul(1_000_000) / self.rate.bytes);
        // What is paid is capped, so that a body that was fast may not be slow for as long.
        let slow = started + self.rate.grace + paid.min(last + self.rate.grace);
        if slow < earlier.0 { (slow, Cut::BodyTooSlow) } else { earlier }
    }
}

/// A piece of the body has arrived, for the request whose task this is.
pub(crate) fn received(bytes: usize) {
    // A request over HTTP/1, or one without a body, isn't watched.
    let _ = AWAITED.try_with(|awaited| {
        let now = u64::try_from(awaited.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        awaited.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        awaited.last.store(now, Ordering::Relaxed);
    });
}

/// The body is complete, or is part of a conversation that is as fast as its two ends like.
pub(crate) fn is_not_awaited() {
    let _ = AWAITED.try_with(|awaited| awaited.is_over.store(true, Ordering::Relaxed));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(silence: u64, total: u64, bytes: u64, grace: u64) -> BodyLimits {
        let rate = Rate { bytes, grace: Duration::from_secs(grace) };
        BodyLimits {
            silence: Duration::from_secs(silence),
            total: Duration::from_secs(total),
            rate,
        }
    }

    fn awaited(bytes: u64, last: u64) -> Awaited {
        Awaited {
            started: Instant::now(),
            bytes: AtomicU64::new(bytes),
            last: AtomicU64::new(last * 1000),
            is_over: AtomicBool::new(false),
        }
    }

    #[test]
    fn the_first_deadline_to_pass_counts() {
        let table = [
            (limits(60, 600, 0, 9), awaited(0, 0), 60, Cut::BodyTimeout),
            (limits(60, 600, 0, 9), awaited(1, 50), 110, Cut::BodyTimeout),
            (limits(60, 600, 0, 9), awaited(1, 590), 600, Cut::BodyTimeout),
            (limits(60, 600, 100, 9), awaited(0, 0), 9, Cut::BodyTooSlow),
            (limits(60, 600, 100, 9), awaited(400, 5), 13, Cut::BodyTooSlow),
            (limits(60, 600, 100, 9), awaited(1 << 30, 5), 23, Cut::BodyTooSlow),
            (limits(10, 600, 100, 9), awaited(1 << 30, 5), 15, Cut::BodyTimeout),
        ];
        for (limits, awaited, seconds, expected) in table {
            let (deadline, cut) = limits.deadline(&awaited);
            assert_eq!((deadline - awaited.started).as_secs(), seconds, "{limits:?} {awaited:?}");
            assert_eq!(cut, expected);
        }
    }
}
