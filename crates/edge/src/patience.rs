//! How long an idle connection is kept that is to end.
//!
//! A client may have sent its next request before it sees that the connection is closed, and HTTP/1 has no
//! way to tell it beforehand but with an answer. So whoever has the time lets a connection have one more
//! request, whose answer says that it is the last (RFC 9112 section 9.6).

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use crate::backoff::random;

/// At a stop: for a request that is on its way.
const SHORT: Duration = Duration::from_millis(500);
/// Otherwise, and up to [`SPREAD`] more: whoever uses the connection regularly has a request within.
const LONG: Duration = Duration::from_secs(5);
/// So that not all clients come back at once.
const SPREAD: Duration = Duration::from_secs(10);

/// How long the server keeps idle connections once its listeners are closed.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    is_long: AtomicBool,
}

impl Patience {
    /// The server is in no hurry: another process has its listeners.
    pub(crate) fn extend(&self) {
        self.is_long.store(true, Ordering::Release);
    }

    /// For one connection.
    pub(crate) fn last_call(&self) -> Duration {
        match self.is_long.load(Ordering::Acquire) {
            true => Self::long(),
            false => SHORT,
        }
    }

    /// For one connection that ends while the server goes on.
    pub(crate) fn long() -> Duration {
        LONG + SPREAD.mul_f64(random())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_is_short_and_a_hand_over_is_not() {
        let patience = Patience::default();
        assert_eq!(patience.last_call(), SHORT);
        patience.extend();
        assert!((LONG..=LONG + SPREAD).contains(&patience.last_call()));
    }
}
