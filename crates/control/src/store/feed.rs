//! The feed's counter row and records.

use futures_util::{Stream, StreamExt};
use landfall_feed::{digest::StateDigest, page::Shrink, record::WireRecord};
use landfall_model::{Epoch, Revision};
use sqlx::{Row, sqlite::SqliteRow};
use time::OffsetDateTime;

use super::{Connection, Head, StoreError, from_sql, time_from_sql, to_sql};
use crate::hostname::deployment::Publication;

/// The counter row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FeedState {
    pub(crate) epoch: Epoch,
    pub(crate) revision: Revision,
    pub(crate) digest: StateDigest,
    pub(crate) oldest: Revision,
    pub(crate) shrink_until: i64,
}

impl FeedState {
    pub(crate) fn head(&self) -> Head {
        Head { epoch: self.epoch, revision: self.revision }
    }

    /// Whether a snapshot handed out at `now` may drop many hostnames.
    pub(crate) fn shrink(&self, now: OffsetDateTime) -> Shrink {
        match now.unix_timestamp() < self.shrink_until {
            true => Shrink::Allowed,
            false => Shrink::Refused,
        }
    }
}

/// A record as it is stored: its id where it is wanted, and its encoding.
#[derive(Debug)]
pub(crate) struct StoredRecord {
    pub(crate) revision: Revision,
    pub(crate) kind: String,
    pub(crate) encoded: Vec<u8>,
}

pub(crate) async fn state(on: &mut Connection) -> Result<FeedState, StoreError> {
    let row = sqlx::query("SELECT epoch, revision, digest, oldest, shrink_until FROM feed_state")
        .fetch_one(on)
        .await
        .map_err(StoreError::on("read the feed's counter"))?;
    let digest: String = row.get(2);
    Ok(FeedState {
        epoch: Epoch(from_sql(row.get(0), "epoch")?),
        revision: Revision(from_sql(row.get(1), "revision")?),
        digest: StateDigest::parse(&digest).ok_or(StoreError::Corrupt("digest"))?,
        oldest: Revision(from_sql(row.get(3), "revision")?),
        shrink_until: row.get(4),
    })
}

/// The records after a cursor in the order of their revisions.
pub(crate) fn changes_after(
    on: &mut Connection,
    after: Revision,
    limit: u32,
) -> impl Stream<Item = Result<StoredRecord, StoreError>> {
    sqlx::query(
        "SELECT revision, kind, encoded FROM feed_record WHERE revision > ? ORDER BY revision LIMIT ?",
    )
    .bind(to_sql(after.0))
    .bind(i64::from(limit))
    .fetch(on)
    .map(|row| row.map_err(StoreError::on("read changes")).and_then(|row| stored(&row)))
}

/// Every live record in the order of ids.
pub(crate) fn live_records(
    on: &mut Connection,
) -> impl Stream<Item = Result<StoredRecord, StoreError>> {
    sqlx::query("SELECT revision, kind, encoded FROM feed_record WHERE deleted = 0 ORDER BY id")
        .fetch(on)
        .map(|row| row.map_err(StoreError::on("read a snapshot")).and_then(|row| stored(&row)))
}

/// A record that is not a tombstone, without what it says.
pub(crate) async fn publication(
    on: &mut Connection,
    id: &str,
) -> Result<Option<Publication>, StoreError> {
    let query = "SELECT revision, changed_at FROM feed_record WHERE id = ? AND deleted = 0";
    let row = sqlx::query(query).bind(id).fetch_optional(on).await;
    let row = row.map_err(StoreError::on("read a record"))?;
    row.map(|row| {
        let revision = Revision(from_sql(row.get(0), "revision")?);
        Ok(Publication { id: id.to_owned(), revision, at: time_from_sql(row.get(1))? })
    })
    .transpose()
}

/// The secrets for session tickets: when each starts, and its record.
pub(crate) async fn tickets(on: &mut Connection) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
    const PREFIX: &str = "tickets/";
    // `0` follows `/`: an index finds them among all others.
    let query = "SELECT id, encoded FROM feed_record \
                 WHERE id >= 'tickets/' AND id < 'tickets0' AND deleted = 0 ORDER BY id";
    let rows = sqlx::query(query).fetch_all(on).await;
    let read = |row: &SqliteRow| {
        let starts = row.get::<&str, _>(0).strip_prefix(PREFIX).and_then(|text| text.parse().ok());
        Ok((starts.ok_or(StoreError::Corrupt("id of a ticket secret"))?, row.get(1)))
    };
    rows.map_err(StoreError::on("read ticket secrets"))?.iter().map(read).collect()
}

fn stored(row: &SqliteRow) -> Result<StoredRecord, StoreError> {
    Ok(StoredRecord {
        revision: Revision(from_sql(row.get(0), "revision")?),
        kind: row.get(1),
        encoded: row.get(2),
    })
}

/// Writes the counter row.
pub(super) async fn set_state(on: &mut Connection, state: &FeedState) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE feed_state SET epoch = ?, revision = ?, digest = ?, oldest = ?, shrink_until = ?",
    )
    .bind(to_sql(state.epoch.0))
    .bind(to_sql(state.revision.0))
    .bind(state.digest.to_string())
    .bind(to_sql(state.oldest.0))
    .bind(state.shrink_until)
    .execute(on)
    .await
    .map_err(StoreError::on("move the feed's counter"))?;
    Ok(())
}

/// Puts `record`, whose revision is the next one, in the place of the one with its id, and moves
/// the counter.
pub(super) async fn replace(
    on: &mut Connection,
    record: &WireRecord,
    encoded: &[u8],
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let failed = || StoreError::on("write a feed record");
    let mut state = state(on).await?;
    state.revision = record.revision;
    let old = sqlx::query("DELETE FROM feed_record WHERE id = ? RETURNING revision, deleted")
        .bind(&record.id)
        .fetch_optional(&mut *on)
        .await
        .map_err(failed())?;
    if let Some(old) = old.filter(|old| old.get::<i64, _>(1) == 0) {
        let revision = Revision(from_sql(old.get(0), "revision")?);
        state.digest.toggle(&record.id, revision);
    }
    if !record.deleted {
        state.digest.toggle(&record.id, record.revision);
    }
    sqlx::query(
        "INSERT INTO feed_record (revision, id, kind, deleted, changed_at, encoded) \
         VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(to_sql(record.revision.0))
    .bind(&record.id)
    .bind(&record.kind)
    .bind(i64::from(record.deleted))
    .bind(now.unix_timestamp())
    .bind(encoded)
    .execute(&mut *on)
    .await
    .map_err(failed())?;
    set_state(on, &state).await
}

/// Removes at most `limit` tombstones older than `before`, and says how many.
pub(super) async fn prune_tombstones(
    on: &mut Connection,
    before: OffsetDateTime,
    limit: u32,
) -> Result<u64, StoreError> {
    let rows = sqlx::query(
        "DELETE FROM feed_record WHERE revision IN \
         (SELECT revision FROM feed_record WHERE deleted = 1 AND changed_at < ? \
          ORDER BY changed_at, revision LIMIT ?) RETURNING revision",
    )
    .bind(before.unix_timestamp())
    .bind(i64::from(limit))
    .fetch_all(&mut *on)
    .await
    .map_err(StoreError::on("prune tombstones"))?;
    let mut state = state(on).await?;
    for row in &rows {
        state.oldest = state.oldest.max(Revision(from_sql(row.get(0), "revision")?));
    }
    set_state(on, &state).await?;
    Ok(rows.len() as u64)
}

/// Starts a higher epoch: after a restore, revisions that edges have seen may come a second time.
pub(super) async fn start_epoch(
    on: &mut Connection,
    now: OffsetDateTime,
) -> Result<Epoch, StoreError> {
    let mut state = state(on).await?;
    // The clock counts along, so that two restores of one backup get different epochs.
    let clock = u64::try_from(now.unix_timestamp()).unwrap_or_default();
    state.epoch = Epoch((state.epoch.0 + 1).max(clock));
    set_state(on, &state).await?;
    Ok(state.epoch)
}

/// Lets snapshots drop many hostnames until `until`.
pub(super) async fn allow_shrink(
    on: &mut Connection,
    until: OffsetDateTime,
) -> Result<(), StoreError> {
    let mut state = state(on).await?;
    state.shrink_until = until.unix_timestamp();
    set_state(on, &state).await
}
