//! What the poller does from time to time.

use std::time::{Duration, Instant};

/// How often what has not changed is acknowledged again, confirmed on disk and counted anew.
pub(super) const HOUSEKEEPING: Duration = Duration::from_secs(60);
/// How often records in quarantine are tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(600);
/// How often issuers that nobody uses are looked for, beside every start and snapshot. It reads all
/// chains: half a second at a million.
const PRUNE_PAUSE: Duration = Duration::from_secs(6 * 3_600);
/// The least time between two snapshots that the control plane's answer to an ack causes.
const RESYNC_PAUSE: Duration = Duration::from_secs(600);
/// How soon a second snapshot must not be asked for.
const SNAPSHOT_PAUSE: Duration = Duration::from_secs(5);

/// When each of it was done last.
pub(super) struct Schedule {
    last_snapshot: Option<Instant>,
    last_resync: Option<Instant>,
    last_housekeeping: Option<Instant>,
    last_retry: Option<Instant>,
    last_prune: Option<Instant>,
}

impl Schedule {
    /// What a start does itself is due a pause later.
    pub(super) fn at_start() -> Self {
        let now = Some(Instant::now());
        Self {
            last_snapshot: None,
            last_resync: None,
            last_housekeeping: None,
            last_retry: now,
            last_prune: now,
        }
    }

    pub(super) fn snapshot_taken(&mut self) {
        self.last_snapshot = Some(Instant::now());
    }

    pub(super) fn snapshot_was_just_taken(&self) -> bool {
        self.last_snapshot.is_some_and(|at| at.elapsed() < SNAPSHOT_PAUSE)
    }

    pub(super) fn may_resync(&mut self) -> bool {
        is_due(&mut self.last_resync, RESYNC_PAUSE)
    }

    pub(super) fn retry_is_due(&mut self) -> bool {
        is_due(&mut self.last_retry, RETRY_PAUSE)
    }

    pub(super) fn prune_is_due(&mut self) -> bool {
        is_due(&mut self.last_prune, PRUNE_PAUSE)
    }

    pub(super) fn housekeeping_is_due(&mut self) -> bool {
        is_due(&mut self.last_housekeeping, HOUSEKEEPING)
    }
}

fn is_due(last: &mut Option<Instant>, pause: Duration) -> bool {
    let is_due = last.is_none_or(|at| at.elapsed() >= pause);
    if is_due {
        *last = Some(Instant::now());
    }
    is_due
}
