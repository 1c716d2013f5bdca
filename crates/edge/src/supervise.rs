//! Tasks that run for as long as the process, and what becomes of one that panics: it is counted
//! and started again. One that keeps panicking makes `/livez` say so.

use std::{
    collections::BTreeMap,
    future::Future,
    panic::AssertUnwindSafe,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::FutureExt;
use prometheus::{IntCounterVec, Opts, Registry};
use tokio::time::Instant;

use crate::{
    EdgeError,
    backoff::{Backoff, random},
    metrics::register,
};

/// A task that has run for so long since its last panic is well again.
const WELL_AFTER: Duration = Duration::from_secs(60);
/// How many panics without being well in between make a task fail.
const FAILS_AT: u32 = 5;

/// What is known of the process's tasks.
#[derive(Debug)]
pub struct Tasks {
    restarts: IntCounterVec,
    /// Those that have panicked. Touched when a task starts or panics, and by `/livez`.
    troubled: Mutex<BTreeMap<&'static str, Trouble>>,
}

/// A task that has panicked.
#[derive(Clone, Copy, Debug)]
struct Trouble {
    /// Without being well in between.
    panics: u32,
    last: Instant,
}

impl Tasks {
    pub(crate) fn new(registry: &Registry) -> Result<Self, EdgeError> {
        let opts = Opts::new(
            "landfall_task_restarts_total",
            "Times that a task of the process panicked and was started again.",
        );
        let restarts = register(registry, IntCounterVec::new(opts, &["task"]))?;
        Ok(Self { restarts, troubled: Mutex::default() })
    }

    /// The tasks that keep panicking, by name.
    pub fn failing(&self, now: Instant) -> Vec<&'static str> {
        let troubled = self.troubled();
        let failing = troubled.iter().filter(|(_, trouble)| trouble.is_failing(now));
        failing.map(|(task, _)| *task).collect()
    }

    /// Counts a panic, and says how many there were without being well in between.
    fn panicked(&self, task: &'static str, now: Instant) -> u32 {
        self.restarts.with_label_values(&[task]).inc();
        let mut troubled = self.troubled();
        let trouble = troubled.entry(task).or_insert(Trouble { panics: 0, last: now });
        let panics = if trouble.is_well(now) { 0 } else { trouble.panics };
        *trouble = Trouble { panics: panics.saturating_add(1), last: now };
        trouble.panics
    }

    fn troubled(&self) -> MutexGuard<'_, BTreeMap<&'static str, Trouble>> {
        self.troubled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Trouble {
    fn is_well(&self, now: Instant) -> bool {
        now.duration_since(self.last) >= WELL_AFTER
    }

    fn is_failing(&self, now: Instant) -> bool {
        self.panics >= FAILS_AT && !self.is_well(now)
    }
}

/// Runs what `make` makes until it ends. Where it panics, it is counted as `task` and made again,
/// after a backoff with jitter.
pub async fn supervise<T>(task: &'static str, tasks: &Tasks, mut make: impl FnMut() -> T)
where
    T: Future<Output = ()>,
{
    let mut backoff = Backoff::default();
    loop {
        // Making it may panic too.
        let run = AssertUnwindSafe(async { make().await });
        if run.catch_unwind().await.is_ok() {
            return;
        }
        let panics = tasks.panicked(task, Instant::now());
        if panics == 1 {
            backoff.reset();
        }
        tracing::error!(task, panics, "a task panicked; starting it again");
        tokio::time::sleep(backoff.next(random())).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn tasks() -> (Registry, Tasks) {
        let registry = Registry::new();
        let tasks = Tasks::new(&registry).unwrap();
        (registry, tasks)
    }

    #[tokio::test]
    async fn a_task_that_panics_is_counted_and_started_again() {
        let ((_registry, tasks), runs) = (tasks(), AtomicU32::new(0));
        let run = async || match runs.fetch_add(1, Ordering::Relaxed) {
            0 | 1 => panic!("a defect"),
            _ => {}
        };
        supervise("poller", &tasks, run).await;
        assert_eq!(runs.load(Ordering::Relaxed), 3);
        assert_eq!(tasks.restarts.with_label_values(&["poller"]).get(), 2);
        assert!(tasks.failing(Instant::now()).is_empty());
    }

    #[test]
    fn a_task_fails_that_keeps_panicking_until_it_has_been_well_for_a_while() {
        let ((_registry, tasks), start) = (tasks(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let panics: Vec<_> = (0..5).map(|n| tasks.panicked("poller", at(n * 30))).collect();
        assert_eq!(panics, [1, 2, 3, 4, 5]);
        assert_eq!(tasks.failing(at(121)), ["poller"]);
        assert!(tasks.failing(at(181)).is_empty());
        assert_eq!(tasks.panicked("poller", at(300)), 1);
        assert!(tasks.failing(at(301)).is_empty());
    }
}
