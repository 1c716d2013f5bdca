//! `GET /feed/v1/snapshot`: the whole state as a signed list of signed segments.
//!
//! One task builds snapshots, one at a time; requests queue up for it and mostly get the one that
//! is there. Only the list is signed anew for each request, since it says whether it may shrink.

use std::{path::PathBuf, pin::pin, sync::Arc};

use axum::{Extension, extract::State, response::Response};
use futures_util::TryStreamExt;
use landfall_feed::{
    page::{Manifest, PageKind, PageSpec, SegmentRef, encode_manifest, encode_raw_records},
    seal::sha256,
    sign::SigningKey,
};
use landfall_model::{Epoch, Revision};
use time::OffsetDateTime;
use tokio::sync::{mpsc, oneshot};

use super::{
    changes::{PAGE_BYTES, page_response},
    snapshot_files,
};
use crate::{
    api::{SharedApp, problem::Problem},
    config::FeedConfig,
    store::{self, Store, StoreError, feed::FeedState},
    token::PopId,
};

/// How many requests may queue up; more are told to come back.
const QUEUE: usize = 256;

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    #[error("the store failed")]
    Store(#[from] StoreError),
    #[error("a segment could not be encoded")]
    Encode(#[source] std::io::Error),
    #[error("a segment could not be written")]
    Write(#[source] std::io::Error),
    #[error("the work was cut off")]
    Interrupted(#[source] tokio::task::JoinError),
}

/// A snapshot whose segments are on disk.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    epoch: Epoch,
    revision: Revision,
    count: u64,
    manifest: Manifest,
}

struct SnapshotRequest {
    at_least: Revision,
    reply: oneshot::Sender<Result<Arc<Snapshot>, SnapshotError>>,
}

/// Asks the builder for snapshots.
#[derive(Clone)]
pub(crate) struct SnapshotRequests(mpsc::Sender<SnapshotRequest>);

/// Builds snapshots. [`Self::run`] never ends.
pub(crate) struct SnapshotBuilder {
    store: Store,
    signing_key: Arc<SigningKey>,
    directory: PathBuf,
    limits: FeedConfig,
    requests: mpsc::Receiver<SnapshotRequest>,
    current: Option<Arc<Snapshot>>,
    built: prometheus::IntCounter,
}

impl SnapshotBuilder {
    pub(crate) fn new(
        store: Store,
        signing_key: Arc<SigningKey>,
        directory: PathBuf,
        limits: FeedConfig,
        built: prometheus::IntCounter,
    ) -> (Self, SnapshotRequests) {
        let (sender, requests) = mpsc::channel(QUEUE);
        let builder =
            Self { store, signing_key, directory, limits, requests, current: None, built };
        (builder, SnapshotRequests(sender))
    }

    pub(crate) async fn run(mut self) {
        while let Some(SnapshotRequest { at_least, reply }) = self.requests.recv().await {
            if reply.is_closed() {
                continue;
            }
            let answer = self.snapshot(at_least).await;
            // Who asked may have gone meanwhile; the snapshot stays for the next.
            let _ = reply.send(answer);
        }
    }

    async fn snapshot(&mut self, at_least: Revision) -> Result<Arc<Snapshot>, SnapshotError> {
        let state = store::feed::state(&mut *self.store.read().await?).await?;
        let every = self.limits.snapshot_every;
        if let Some(current) = &self.current
            && is_usable(current, &state, at_least, every)
            && self.is_on_disk(current).await?
        {
            return Ok(Arc::clone(current));
        }
        let started = std::time::Instant::now();
        let snapshot = Arc::new(self.build().await?);
        self.built.inc();
        let (records, revision) = (snapshot.count, snapshot.revision.0);
        let elapsed_ms = started.elapsed().as_millis() as u64;
        tracing::info!(records, revision, elapsed_ms, "built a snapshot");
        self.current = Some(Arc::clone(&snapshot));
        Ok(snapshot)
    }

    /// Whether every segment is still there: a list of others would leave readers with nothing.
    async fn is_on_disk(&self, snapshot: &Snapshot) -> Result<bool, SnapshotError> {
        let segments = snapshot.manifest.segments.iter();
        let names = segments.map(|segment| segment.name.clone()).collect();
        snapshot_files::are_there(self.directory.clone(), names).await
    }

    async fn build(&self) -> Result<Snapshot, SnapshotError> {
        snapshot_files::make_folder(self.directory.clone()).await?;
        let mut connection = self.store.read_at_once().await?;
        let state = store::feed::state(&mut connection).await?;
        let mut snapshot = Snapshot {
            epoch: state.epoch,
            revision: state.revision,
            count: 0,
            manifest: Manifest { segments: Vec::new(), hostnames: 0 },
        };
        let mut batch = Batch::default();
        let mut rows = pin!(store::feed::live_records(&mut connection));
        while let Some(record) = rows.try_next().await? {
            snapshot.count += 1;
            snapshot.manifest.hostnames += u64::from(record.kind == "hostname");
            batch.push(record.encoded);
            if batch.is_full(self.limits.segment_records) {
                let segment = self.write(&snapshot, std::mem::take(&mut batch)).await?;
                snapshot.manifest.segments.push(segment);
            }
        }
        if !batch.records.is_empty() {
            let segment = self.write(&snapshot, batch).await?;
            snapshot.manifest.segments.push(segment);
        }
        snapshot_files::remove_old(self.directory.clone()).await?;
        Ok(snapshot)
    }

    async fn write(&self, to: &Snapshot, batch: Batch) -> Result<SegmentRef, SnapshotError> {
        let (epoch, revision) = (to.epoch, to.revision);
        let index = to.manifest.segments.len();
        let key = Arc::clone(&self.signing_key);
        let directory = self.directory.clone();
        let work = move || {
            let after = Revision(0);
            let spec = PageSpec { kind: PageKind::Segment, epoch, after, to: revision };
            let bytes =
                encode_raw_records(&key, spec, &batch.records).map_err(SnapshotError::Encode)?;
            let hash = sha256(&bytes);
            let name = snapshot_files::name(epoch, revision, index, &hash);
            crate::state::write_whole(&directory.join(&name), &bytes)
                .map_err(SnapshotError::Write)?;
            Ok(SegmentRef { name, len: bytes.len() as u64, sha256: hash.to_vec() })
        };
        tokio::task::spawn_blocking(work).await.map_err(SnapshotError::Interrupted)?
    }
}

#[derive(Default)]
struct Batch {
    records: Vec<Vec<u8>>,
    bytes: usize,
}

impl Batch {
    fn push(&mut self, record: Vec<u8>) {
        self.bytes += record.len();
        self.records.push(record);
    }

    fn is_full(&self, records: u32) -> bool {
        self.bytes >= PAGE_BYTES || self.records.len() >= records as usize
    }
}

/// Whether a snapshot can be handed out: of this history, young enough, followed by changes that
/// still tell of every deletion, and not older than what the reader has already applied. A reader that
/// refuses one because it lacks hostnames gets another once a twentieth of them may have changed: half of
/// what makes it refuse.
fn is_usable(snapshot: &Snapshot, state: &FeedState, at_least: Revision, every: u64) -> bool {
    let age = state.revision.0.checked_sub(snapshot.revision.0);
    let most = every.min((snapshot.manifest.hostnames / 20).max(1));
    snapshot.epoch == state.epoch
        && age.is_some_and(|age| age < most)
        && snapshot.revision >= state.oldest
        && snapshot.revision >= at_least.min(state.revision)
}

pub(super) async fn handle(
    State(app): State<SharedApp>,
    Extension(pop): Extension<PopId>,
) -> Result<Response, Problem> {
    let (state, at_least) =
        position(&app.service.store, pop).await.map_err(|error| Problem::internal(&error))?;
    let (reply, answer) = oneshot::channel();
    let request = SnapshotRequest { at_least, reply };
    if app.snapshots.0.try_send(request).is_err() {
        let detail = "Too many wait for a snapshot. Come back in a few seconds.";
        return Err(Problem::unavailable("too_many_snapshots", detail));
    }
    let answer = answer.await.map_err(|error| Problem::internal(&error))?;
    let snapshot = answer.map_err(|error| Problem::internal(&error))?;
    let page = encode_manifest(
        &app.signing_key,
        (snapshot.epoch, snapshot.revision),
        snapshot.count,
        state.shrink(OffsetDateTime::now_utc()),
        &snapshot.manifest,
    );
    Ok(page_response(page.map_err(|error| Problem::internal(&error))?))
}

/// The feed's state, and up to where the PoP has told that it is: a snapshot from before that
/// would be a rollback, and refused.
async fn position(store: &Store, pop: PopId) -> Result<(FeedState, Revision), StoreError> {
    let mut connection = store.read_at_once().await?;
    let state = store::feed::state(&mut connection).await?;
    let acked = store::pop::acked_revision(&mut connection, pop, state.epoch).await?;
    Ok((state, acked))
}
