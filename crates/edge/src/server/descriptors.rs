//! How many connections the process's file descriptors are enough for.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Kept for what is no client's connection: the state's files, the feed, the log, listeners.
const RESERVE: u64 = 256;
/// A client's connection and the one to its origin.
const EACH: u64 = 2;

/// Raises the process's limit of open files as far as it may, and says how many that are.
pub(crate) fn raise_limit() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: maximum, maximum };
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, wanted)
    {
        tracing::warn!(%error, "the limit of open files can't be raised");
    }
    limit()
}

/// The most client connections at once.
pub(super) fn capacity() -> usize {
    let limit = limit();
    let free = limit.saturating_sub(RESERVE.min(limit / 2));
    usize::try_from(free / EACH).unwrap_or(usize::MAX).max(1)
}

/// Where there is no limit, one that memory would be before.
fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(1 << 24)
}
