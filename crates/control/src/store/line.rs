//! Lines in front of the database. Its one writer and few readers are given out in the order in which they are
//! asked for: hundreds of a kind at once would have everybody else wait for all of them.

use std::sync::atomic::{AtomicI64, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

/// Of what there may be many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Checks of hostnames, when they begin and when they change something.
    Checks,
    /// Agents that look for work.
    Leases,
    /// What agents report.
    Reports,
    /// What edges acknowledge.
    Acknowledgements,
}

/// How many of a line go to the database at once.
const AT_ONCE: usize = 2;

/// Who waits for the database.
#[derive(Debug)]
pub(super) struct Lines {
    checks: Semaphore,
    leases: Semaphore,
    reports: Semaphore,
    acknowledgements: Semaphore,
    pub(super) writer: Waiters,
    pub(super) readers: Waiters,
}

impl Default for Lines {
    fn default() -> Self {
        let line = || Semaphore::new(AT_ONCE);
        Self {
            checks: line(),
            leases: line(),
            reports: line(),
            acknowledgements: line(),
            writer: Waiters::default(),
            readers: Waiters::default(),
        }
    }
}

impl Lines {
    /// Waits for a turn, which ends with what is answered. Nobody may wait in two lines, nor twice in one.
    pub(super) async fn turn(&self, line: Line) -> Option<SemaphorePermit<'_>> {
        let line = match line {
            Line::Checks => &self.checks,
            Line::Leases => &self.leases,
            Line::Reports => &self.reports,
            Line::Acknowledgements => &self.acknowledgements,
        };
        // They are never closed.
        line.acquire().await.ok()
    }
}

/// How many wait for a connection.
#[derive(Debug, Default)]
pub(super) struct Waiters(AtomicI64);

impl Waiters {
    /// Counts who waits for `connection`, until it is there or is not waited for any more.
    pub(super) async fn count<F: Future>(&self, connection: F) -> F::Output {
        self.0.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(self);
        connection.await
    }

    pub(super) fn number(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

struct Waiting<'a>(&'a Waiters);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_more_of_a_line_have_their_turn_than_may_and_other_lines_go_on() {
        let lines = Lines::default();
        let turns = [lines.turn(Line::Checks).await, lines.turn(Line::Checks).await];
        assert!(lines.checks.try_acquire().is_err());
        assert!(lines.turn(Line::Reports).await.is_some());
        drop(turns);
        assert!(lines.turn(Line::Checks).await.is_some());
    }

    #[tokio::test]
    async fn who_gives_up_waits_no_more() {
        let waiters = Waiters::default();
        assert_eq!(waiters.count(async { waiters.number() }).await, 1);
        let mut waiting = Box::pin(waiters.count(std::future::pending::<()>()));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        assert_eq!(waiters.number(), 1);
        drop(waiting);
        assert_eq!(waiters.number(), 0);
    }
}
