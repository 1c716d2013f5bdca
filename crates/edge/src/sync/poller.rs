//! The loop that keeps the edge up to date, and the one that tells the control plane so.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use landfall_feed::{
    client::{Changes, FeedClient, FeedError, Wait},
    lkg::{LkgError, Position, SealedTo},
    page::{Header, Manifest},
    protocol::{Ack, AckState},
};
use landfall_model::Epoch;
use tokio::{sync::watch, task};

use super::{
    apply::{Applier, ApplyError},
    busiest::Busiest,
    downloads::Downloads,
    metrics::SyncMetrics,
    schedule::{HOUSEKEEPING, Schedule},
};
use crate::{
    backoff::{Backoff, random},
    duty::Duty,
    readiness::{Readiness, Serving},
};

/// The least time between two polls that brought nothing, whatever the server says.
const IDLE_PAUSE: Duration = Duration::from_secs(1);
/// The same after a poll that was not to wait: the one that waits for a change follows soon.
const SHORT_PAUSE: Duration = Duration::from_millis(50);

/// Keeps the store up to date for as long as it runs.
#[derive(Clone)]
pub struct Poller {
    shared: Arc<Shared>,
}

/// How far the index is that names are looked up in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filling {
    /// Names are looked up in the database.
    Goes,
    /// The index has all that is on disk.
    Done,
    /// What is on disk can't be read: why.
    Failed(String),
}

struct Shared {
    duty: Arc<Duty>,
    filling: watch::Sender<Filling>,
    /// The index was filled, and what follows a load has not been done.
    is_filled: AtomicBool,
    client: FeedClient,
    /// Locked only on threads that may block.
    applier: Mutex<Applier>,
    readiness: Arc<Readiness>,
    metrics: Arc<SyncMetrics>,
    downloads: Downloads,
    loaded: AtomicBool,
    diverged: AtomicBool,
    ack: watch::Sender<Option<Ack>>,
    /// Whoever sends acks has it.
    busiest: tokio::sync::Mutex<Busiest>,
    last_count: Mutex<Option<LastCount>>,
    trouble: Mutex<Option<Trouble>>,
}

/// What keeps the state from being brought up to date.
struct Trouble {
    words: String,
    since: Instant,
    logged: Instant,
}

/// When expiries were counted, and how long that took.
#[derive(Clone, Copy)]
struct LastCount {
    at: Instant,
    took: Duration,
}

/// Why a step failed. The next one follows after a backoff.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error("the feed can't be read")]
    Feed(#[from] FeedError),
    #[error("what the feed brought can't be applied")]
    Apply(#[from] ApplyError),
    #[error("the applying thread died")]
    Died(#[source] task::JoinError),
    #[error("the control plane asks for a snapshot right after one")]
    SnapshotLoop,
}

impl Poller {
    pub(super) fn new(
        duty: Arc<Duty>,
        (client, busiest): (FeedClient, Busiest),
        applier: Applier,
        readiness: Arc<Readiness>,
        metrics: Arc<SyncMetrics>,
        downloads: Downloads,
    ) -> Self {
        let shared = Shared {
            duty,
            filling: watch::Sender::new(Filling::Goes),
            is_filled: AtomicBool::new(false),
            client,
            applier: Mutex::new(applier),
            readiness,
            metrics,
            downloads,
            loaded: AtomicBool::new(false),
            diverged: AtomicBool::new(false),
            ack: watch::Sender::new(None),
            busiest: tokio::sync::Mutex::new(busiest),
            last_count: Mutex::new(None),
            trouble: Mutex::new(None),
        };
        Self { shared: Arc::new(shared) }
    }

    /// How far the index is.
    pub fn filling(&self) -> watch::Receiver<Filling> {
        self.shared.filling.subscribe()
    }

    /// Runs until `shutdown` says so. Without duty it fills the index and does no more.
    pub async fn run(&self, mut shutdown: watch::Receiver<bool>) {
        let stop = async {
            // An error is a sender that is gone: a shutdown too.
            let _ = shutdown.wait_for(|stop| *stop).await;
        };
        tokio::select! {
            () = stop => {}
            () = self.shared.fill_and_follow() => {}
        }
    }
}

impl Shared {
    async fn fill_and_follow(self: &Arc<Self>) {
        self.fill().await;
        self.duty.work(|| self.poll_and_ack()).await;
    }

    /// Fills the index, and writes nothing. What fails is tried again on duty.
    async fn fill(self: &Arc<Self>) {
        let shared = Arc::clone(self);
        let filled = task::spawn_blocking(move || {
            let mut applier = shared.lock();
            applier.load()?;
            shared.note_missing(&applier)
        })
        .await;
        let filling = match filled {
            Ok(Ok(())) => {
                self.is_filled.store(true, Ordering::Release);
                Filling::Done
            }
            Ok(Err(error)) => Filling::Failed(super::apply::describe(&error)),
            Err(error) => Filling::Failed(super::apply::describe(&error)),
        };
        self.filling.send_replace(filling);
    }

    async fn poll_and_ack(self: &Arc<Self>) {
        tokio::join!(self.poll_forever(), self.ack_forever());
    }

    async fn poll_forever(self: &Arc<Self>) {
        let mut backoff = Backoff::default();
        let mut schedule = Schedule::at_start();
        loop {
            let error = match self.step(&mut schedule).await {
                Ok(()) => {
                    backoff.reset();
                    continue;
                }
                Err(error) => error,
            };
            self.note_failure(&error);
            tokio::time::sleep(backoff.next(random())).await;
        }
    }

    async fn step(self: &Arc<Self>, schedule: &mut Schedule) -> Result<(), StepError> {
        if !self.loaded.load(Ordering::Acquire) {
            self.blocking(|shared| shared.load()).await?;
        } else if schedule.retry_is_due() {
            self.blocking(|shared| Ok(shared.lock().retry_quarantined()?)).await?;
        }
        if schedule.prune_is_due() {
            self.blocking(|shared| {
                shared.lock().prune();
                Ok(())
            })
            .await?;
        }
        let position = self.tend().await?;
        if position.epoch == Epoch(0) {
            return self.take_snapshot(schedule).await;
        }
        if self.diverged.load(Ordering::Acquire) && schedule.may_resync() {
            self.diverged.store(false, Ordering::Release);
            return self.take_snapshot(schedule).await;
        }
        let (asked, wait) = (Instant::now(), self.wait());
        match self.client.changes(position.epoch, position.cursor, wait).await? {
            Changes::Page(page) if page.header().to > position.cursor => {
                self.blocking(move |shared| shared.lock().page(&page)).await?;
                self.note_current(Confirmed::ByPage).await
            }
            Changes::SnapshotNeeded if schedule.snapshot_was_just_taken() => {
                Err(StepError::SnapshotLoop)
            }
            Changes::SnapshotNeeded => self.take_snapshot(schedule).await,
            Changes::Page(_) | Changes::NotModified => {
                if schedule.housekeeping_is_due() {
                    self.note_current(Confirmed::OnDisk).await?;
                } else {
                    self.note_heard();
                }
                // A server that answers at once although nothing is new is not asked in a loop.
                let pause = if wait == Wait::No { SHORT_PAUSE } else { IDLE_PAUSE };
                tokio::time::sleep(pause.saturating_sub(asked.elapsed())).await;
                Ok(())
            }
        }
    }

    /// After a start and after a failure the first answer is to come at once: `/readyz` says then
    /// how things are, and not how they were.
    fn wait(&self) -> Wait {
        let is_heard = self.readiness.state().serving == Serving::Feed;
        let is_in_trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if is_heard && !is_in_trouble { Wait::ForChange } else { Wait::No }
    }

    fn load(&self) -> Result<(), ApplyError> {
        let mut applier = self.lock();
        if !self.is_filled.swap(false, Ordering::AcqRel) {
            applier.load()?;
        }
        self.loaded.store(true, Ordering::Release);
        applier.retry_quarantined()?;
        applier.prune();
        self.count_expiries(&applier)
    }

    async fn take_snapshot(self: &Arc<Self>, schedule: &mut Schedule) -> Result<(), StepError> {
        let page = self.client.manifest().await?;
        let header = page.header().clone();
        let manifest = page.manifest().map_err(FeedError::from)?;
        let (head, hostnames) = (header.clone(), manifest.hostnames);
        self.blocking(move |shared| shared.lock().check_manifest(&head, hostnames)).await?;
        self.download(&manifest).await?;
        self.blocking(move |shared| shared.apply_snapshot(&header, &manifest)).await?;
        self.metrics.snapshot_applied();
        schedule.snapshot_taken();
        self.note_current(Confirmed::ByPage).await
    }

    /// Fetches the segments that are not on disk yet.
    async fn download(self: &Arc<Self>, manifest: &Manifest) -> Result<(), StepError> {
        let prepared = manifest.clone();
        self.blocking(move |shared| shared.downloads.prepare(&prepared)).await?;
        for segment in &manifest.segments {
            let wanted = segment.clone();
            if !self.blocking(move |shared| Ok(shared.downloads.has(&wanted))).await? {
                let (bytes, segment) = (self.client.segment(segment).await?, segment.clone());
                self.blocking(move |shared| shared.downloads.put(&segment, &bytes)).await?;
            }
        }
        Ok(())
    }

    fn apply_snapshot(&self, header: &Header, manifest: &Manifest) -> Result<(), ApplyError> {
        let segments = manifest.segments.iter().map(|segment| {
            let bytes = self.downloads.read(segment)?;
            Ok(self.client.open_segment(&bytes, header.epoch, header.to)?)
        });
        self.lock().snapshot(header, segments)?;
        self.loaded.store(false, Ordering::Release);
        self.downloads.clear();
        self.load()
    }

    /// Does what time makes necessary, and says where the edge stands.
    async fn tend(self: &Arc<Self>) -> Result<Position, StepError> {
        self.blocking(|shared| {
            let mut applier = shared.lock();
            applier.tend();
            Ok(applier.position())
        })
        .await
    }

    /// The applied state is the control plane's: says so everywhere.
    async fn note_current(self: &Arc<Self>, confirmed: Confirmed) -> Result<(), StepError> {
        let (position, ack) = self
            .blocking(move |shared| {
                let mut applier = shared.lock();
                if confirmed == Confirmed::OnDisk {
                    applier.confirm()?;
                }
                shared.count_expiries(&applier)?;
                Ok((applier.position(), applier.ack()?))
            })
            .await?;
        self.ack.send_replace(Some(ack));
        let at = SystemTime::now();
        self.readiness.update(|state| {
            state.serving = Serving::Feed;
            state.applied = Some((position.epoch, position.cursor));
            state.confirmed = Some(at);
            state.last_error = None;
            state.not_written = None;
        });
        self.metrics.state_written();
        self.note_recovery();
        Ok(())
    }

    fn note_heard(&self) {
        self.note_recovery();
        let at = SystemTime::now();
        self.readiness.update(|state| {
            state.serving = Serving::Feed;
            state.confirmed = Some(at);
            state.last_error = None;
        });
    }

    fn note_failure(&self, error: &StepError) {
        self.metrics.failed(error.reason());
        if let Some(reason) = error.refusal() {
            self.metrics.page_rejected(reason);
        }
        let is_of_disk =
            matches!(error, StepError::Apply(ApplyError::State(_) | ApplyError::File { .. }));
        if is_of_disk {
            self.metrics.state_not_written();
        }
        let words = error.words();
        self.warn(&words);
        self.readiness.update(|state| {
            state.last_error = Some(words.clone());
            if is_of_disk {
                state.not_written = Some(error.reason());
            }
        });
    }

    /// Logs a failure, and the same one once a minute.
    fn warn(&self, words: &str) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let is_known = trouble
            .as_ref()
            .is_some_and(|known| known.words == words && known.logged.elapsed() < HOUSEKEEPING);
        if !is_known {
            tracing::warn!(
                error = words,
                "the state is not brought up to date; serving what is known"
            );
            let since = trouble.as_ref().map_or(now, |known| known.since);
            *trouble = Some(Trouble { words: words.to_owned(), since, logged: now });
        }
    }

    fn note_recovery(&self) {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(trouble) = trouble {
            let seconds = trouble.since.elapsed().as_secs();
            tracing::info!(seconds, "the state is brought up to date again");
        }
    }

    /// Counts anew, unless that would take more than a hundredth of the time: the count reads
    /// every certificate's expiry, most of a second at a million.
    fn count_expiries(&self, applier: &Applier) -> Result<(), ApplyError> {
        let mut last = self.last_count.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| last.at.elapsed() < 100 * last.took) {
            return Ok(());
        }
        let started = Instant::now();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let counts = applier.reader().expiry_counts(&SyncMetrics::expiry_times(now))?;
        self.metrics.expiries(now, counts);
        self.note_missing(applier)?;
        *last = Some(LastCount { at: Instant::now(), took: started.elapsed() });
        Ok(())
    }

    /// Says which group keys are missing, and logs it when that changes.
    fn note_missing(&self, applier: &Applier) -> Result<(), LkgError> {
        let missing = applier.missing()?;
        self.metrics.without_group_key(missing.certificates());
        if self.readiness.state().missing == missing {
            return Ok(());
        }
        for SealedTo { key_id, certificates, hostname } in &missing.keys {
            tracing::error!(
                group_key = key_id,
                certificates,
                hostname,
                "certificates can't be served: `keys.group_key_files` lacks the group key that they are sealed to",
            );
        }
        if missing.keys.is_empty() {
            tracing::info!("every certificate's group key is held again");
        }
        self.readiness.update(|state| state.missing = missing.clone());
        Ok(())
    }

    async fn ack_forever(self: &Arc<Self>) {
        let mut acks = self.ack.subscribe();
        let mut backoff = Backoff::default();
        let mut busiest = self.busiest.lock().await;
        loop {
            let Ok(ack) = acks.wait_for(Option::is_some).await.map(|ack| ack.clone()) else {
                return;
            };
            let Some(mut ack) = ack else { continue };
            acks.mark_unchanged();
            ack.busiest = busiest.untold(Instant::now()).await.to_vec();
            match self.client.ack(&ack).await {
                Ok(reply) => {
                    backoff.reset();
                    busiest.told();
                    if reply.state == AckState::Diverged {
                        tracing::error!(
                            revision = ack.applied.0,
                            "the state differs from the control plane's; a snapshot will be taken",
                        );
                        self.diverged.store(true, Ordering::Release);
                    }
                    if acks.changed().await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    self.metrics.failed("ack");
                    tracing::debug!(error = %error, "an acknowledgement failed");
                    tokio::time::sleep(backoff.next(random())).await;
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Applier> {
        self.applier.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work`, which may write, where it may block. It goes on where this is dropped.
    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, ApplyError> + Send + 'static,
    ) -> Result<T, StepError> {
        let (shared, turn) = (Arc::clone(self), self.duty.write().await);
        let done = task::spawn_blocking(move || {
            let done = work(&shared);
            drop(turn);
            done
        })
        .await;
        if done.is_err() {
            // It may have died between the database and the index.
            self.loaded.store(false, Ordering::Release);
        }
        Ok(done.map_err(StepError::Died)??)
    }
}

/// Says what was found on disk at the start.
pub(super) fn note_loaded(readiness: &Readiness, position: Position, now: SystemTime) {
    if position.epoch == Epoch(0) {
        return;
    }
    let confirmed = UNIX_EPOCH + Duration::from_secs(position.confirmed_at);
    readiness.update(|state| {
        state.serving = Serving::LastKnownGood;
        state.applied = Some((position.epoch, position.cursor));
        state.confirmed = Some(confirmed.min(now));
    });
}

/// Whether the time of confirmation is still to be written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Confirmed {
    ByPage,
    OnDisk,
}

impl StepError {
    fn reason(&self) -> &'static str {
        match self {
            Self::Feed(error) => error.reason(),
            Self::Apply(ApplyError::Page(error) | ApplyError::Rollback(error)) => error.reason(),
            Self::Apply(ApplyError::State(error)) => error.reason(),
            Self::Apply(ApplyError::Shrink { .. }) => "shrink",
            Self::Apply(ApplyError::File { .. }) => "file",
            Self::Died(_) => "panic",
            Self::SnapshotLoop => "snapshot_loop",
        }
    }

    /// The reason, where something was received that must not be believed.
    fn refusal(&self) -> Option<&'static str> {
        match self {
            Self::Feed(error) => error.is_refusal().then(|| error.reason()),
            Self::Apply(
                ApplyError::Page(_) | ApplyError::Rollback(_) | ApplyError::Shrink { .. },
            ) => Some(self.reason()),
            Self::Apply(ApplyError::State(_) | ApplyError::File { .. })
            | Self::Died(_)
            | Self::SnapshotLoop => None,
        }
    }

    /// The error and its causes.
    fn words(&self) -> String {
        super::apply::describe(self)
    }
}
