//! The time of day, as certificates and the feed have it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970; 0 for a clock that is before that.
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
