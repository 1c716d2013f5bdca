//! Writes what checks found: many at a time, for each transaction waits for the disk.

use tokio::sync::{mpsc, oneshot};

use crate::{
    call::Call,
    store::{self, Store, StoreError, verification::CheckResult},
};

/// The most results of one transaction, and the most that wait for one.
const AT_ONCE: usize = 256;

/// What a check found, on its way to the database.
#[derive(Debug)]
pub(crate) struct Finished {
    result: CheckResult,
    /// Told whether it was kept.
    kept: oneshot::Sender<bool>,
}

/// Where checks hand over what they found.
#[derive(Clone, Debug)]
pub(crate) struct Results {
    sender: mpsc::Sender<Finished>,
}

/// Nobody writes results any more, or the database refused to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotKept;

impl Results {
    pub(crate) fn channel() -> (Self, mpsc::Receiver<Finished>) {
        let (sender, receiver) = mpsc::channel(AT_ONCE);
        (Self { sender }, receiver)
    }

    /// Waits until the result is written, and says whether it was kept.
    pub(super) async fn keep(&self, result: CheckResult) -> Result<bool, NotKept> {
        let (kept, told) = oneshot::channel();
        self.sender.send(Finished { result, kept }).await.map_err(|_| NotKept)?;
        told.await.map_err(|_| NotKept)
    }
}

/// Writes results for as long as somebody has any.
pub(crate) async fn write(store: &Store, results: &mut mpsc::Receiver<Finished>) -> WriteEnd {
    let mut batch = Vec::with_capacity(AT_ONCE);
    while results.recv_many(&mut batch, AT_ONCE).await > 0 {
        match write_batch(store, &batch).await {
            Ok(kept) => {
                for (finished, kept) in batch.drain(..).zip(kept) {
                    // Who asked may have gone.
                    let _ = finished.kept.send(kept);
                }
            }
            // Dropped senders tell those who wait.
            Err(error) => return WriteEnd::Failed(error),
        }
    }
    WriteEnd::NobodyLeft
}

/// Why no more results are written.
#[derive(Debug)]
pub(crate) enum WriteEnd {
    /// The database refused.
    Failed(StoreError),
    /// Nobody can have any.
    NobodyLeft,
}

async fn write_batch(store: &Store, batch: &[Finished]) -> Result<Vec<bool>, StoreError> {
    let mut change = store.change(Call::system(time::OffsetDateTime::now_utc())).await?;
    let mut kept = Vec::with_capacity(batch.len());
    for finished in batch {
        kept.push(store::verification::keep(change.on(), &finished.result).await?);
    }
    change.commit().await?;
    Ok(kept)
}
