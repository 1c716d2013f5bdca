//! PoPs and what they have acknowledged.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use landfall_feed::protocol::{Ack, AckState, Rejected};
use landfall_model::{Epoch, Revision};
use sqlx::{Row, sqlite::SqliteRow};
use time::OffsetDateTime;

use super::{Connection, StoreError, from_json, from_sql, time_from_sql, to_sql};
use crate::token::{PopId, SecretHash};

/// A PoP of the fleet.
#[derive(Clone, Debug)]
pub struct Pop {
    pub(crate) id: PopId,
    /// Its name.
    pub name: String,
    /// The public addresses that customers' DNS leads to.
    pub addresses: Vec<IpAddr>,
    /// Whether hostnames may lead to it.
    pub traffic: Traffic,
    /// When it last asked for anything of the feed, within half a minute; `None`: never.
    pub seen_at: Option<OffsetDateTime>,
    /// When something last asked in its name with another token than its own, within half a minute; `None`:
    /// not since it got that.
    pub refused_at: Option<OffsetDateTime>,
    /// When it was added.
    pub created_at: OffsetDateTime,
    /// What it said last; `None` while it has never said anything.
    pub ack: Option<PopAck>,
}

/// Whether hostnames may lead to a PoP, as its operator has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// They may.
    On,
    /// They may not, though it serves whoever comes.
    Off,
}

/// Whether hostnames may lead to a PoP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PopActivity {
    /// They may.
    Active,
    /// It has asked for nothing for too long, or never.
    Unhealthy,
    /// Its operator keeps traffic off it.
    Off,
}

impl Pop {
    pub(crate) fn activity(&self, now: OffsetDateTime, unhealthy_after: Duration) -> PopActivity {
        // As far ahead as behind: a clock that was wrong keeps no PoP healthy.
        let is_healthy = self.seen_at.is_some_and(|seen| (now - seen).abs() < unhealthy_after);
        match (self.traffic, is_healthy) {
            (Traffic::Off, _) => PopActivity::Off,
            (Traffic::On, true) => PopActivity::Active,
            (Traffic::On, false) => PopActivity::Unhealthy,
        }
    }

    /// Whether requests in its name came with another token since it last asked for anything.
    pub fn is_refused(&self) -> bool {
        self.refused_at.is_some_and(|refused| self.seen_at.is_none_or(|seen| seen < refused))
    }
}

/// What a PoP said last.
#[derive(Clone, Debug)]
pub struct PopAck {
    /// The epoch of `applied`.
    pub epoch: Epoch,
    /// Its cursor.
    pub applied: Revision,
    /// Whether it then held what it should.
    pub state: AckState,
    /// Which records it could not use.
    pub rejected: Vec<Rejected>,
    /// When it said so.
    pub seen_at: OffsetDateTime,
}

/// Inserts a PoP. A name that is in use is a unique violation.
pub(crate) async fn insert(
    on: &mut Connection,
    name: &str,
    addresses: &[IpAddr],
    hash: &SecretHash,
    now: OffsetDateTime,
) -> Result<PopId, StoreError> {
    let addresses: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
    let done = sqlx::query(
        "INSERT INTO pop (name, addresses, token_hash, created_at) VALUES (?, ?, ?, ?)",
    )
    .bind(name)
    .bind(addresses.join(" "))
    .bind(hash.as_bytes())
    .bind(now.unix_timestamp())
    .execute(on)
    .await
    .map_err(StoreError::on("add a PoP"))?;
    Ok(PopId(done.last_insert_rowid()))
}

/// Deletes a PoP by name, and says whether there was one.
pub(crate) async fn delete(on: &mut Connection, name: &str) -> Result<bool, StoreError> {
    let done = sqlx::query("DELETE FROM pop WHERE name = ?").bind(name).execute(on).await;
    Ok(done.map_err(StoreError::on("delete a PoP"))?.rows_affected() > 0)
}

/// Gives a PoP another token and says its id; `None` where there is none of that name.
pub(crate) async fn set_token(
    on: &mut Connection,
    name: &str,
    hash: &SecretHash,
) -> Result<Option<PopId>, StoreError> {
    let query = sqlx::query_scalar::<_, i64>(
        "UPDATE pop SET token_hash = ?, refused_at = NULL WHERE name = ? RETURNING id",
    );
    let id = query.bind(hash.as_bytes()).bind(name).fetch_optional(on).await;
    Ok(id.map_err(StoreError::on("change a PoP's token"))?.map(PopId))
}

/// The hash of a PoP's token.
pub(crate) async fn token_hash(
    on: &mut Connection,
    id: PopId,
) -> Result<Option<SecretHash>, StoreError> {
    let query = sqlx::query_scalar::<_, Vec<u8>>("SELECT token_hash FROM pop WHERE id = ?");
    let hash = query.bind(id.0).fetch_optional(on).await;
    SecretHash::from_stored(hash.map_err(StoreError::on("read a PoP"))?)
}

/// The names of every PoP.
pub(crate) async fn names(on: &mut Connection) -> Result<Vec<String>, StoreError> {
    let names = sqlx::query_scalar("SELECT name FROM pop").fetch_all(on).await;
    names.map_err(StoreError::on("list PoPs"))
}

/// The name of a PoP.
pub(crate) async fn name(on: &mut Connection, id: PopId) -> Result<Option<String>, StoreError> {
    let query = sqlx::query_scalar("SELECT name FROM pop WHERE id = ?").bind(id.0);
    query.fetch_optional(on).await.map_err(StoreError::on("read a PoP"))
}

/// Every PoP with its last ack, by name. A fleet has hundreds at most.
pub(crate) async fn list(on: &mut Connection) -> Result<Vec<Pop>, StoreError> {
    let rows = sqlx::query(
        "SELECT name, addresses, created_at, epoch, applied, state, rejected, pop_ack.seen_at, \
         traffic, pop.seen_at, pop.id, refused_at \
         FROM pop LEFT JOIN pop_ack ON pop_ack.pop_id = pop.id ORDER BY name",
    )
    .fetch_all(on)
    .await
    .map_err(StoreError::on("list PoPs"))?;
    rows.iter().map(read).collect()
}

/// Keeps when a PoP asked for something.
pub(crate) async fn keep_seen(
    on: &mut Connection,
    id: PopId,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let query = sqlx::query("UPDATE pop SET seen_at = ? WHERE id = ?");
    let done = query.bind(now.unix_timestamp()).bind(id.0).execute(on).await;
    done.map_err(StoreError::on("keep when a PoP was seen"))?;
    Ok(())
}

/// Keeps when something asked in a PoP's name with another token than its own.
pub(crate) async fn keep_refused(
    on: &mut Connection,
    id: PopId,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let query = sqlx::query("UPDATE pop SET refused_at = ? WHERE id = ?");
    let done = query.bind(now.unix_timestamp()).bind(id.0).execute(on).await;
    done.map_err(StoreError::on("keep when a PoP was refused"))?;
    Ok(())
}

/// Sets whether hostnames may lead to a PoP, and says whether there is one of this name.
pub(crate) async fn set_traffic(
    on: &mut Connection,
    name: &str,
    traffic: Traffic,
) -> Result<bool, StoreError> {
    let query = sqlx::query("UPDATE pop SET traffic = ? WHERE name = ?");
    let done = query.bind(i64::from(traffic == Traffic::On)).bind(name).execute(on).await;
    Ok(done.map_err(StoreError::on("change a PoP"))?.rows_affected() > 0)
}

/// What jobs wait for a PoP to apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Awaited {
    pub(crate) revision: Revision,
    /// Since when.
    pub(crate) since: OffsetDateTime,
}

/// What jobs wait for PoPs to apply, or waited for.
pub(crate) async fn awaited(on: &mut Connection) -> Result<BTreeMap<PopId, Awaited>, StoreError> {
    let query = "SELECT id, awaited_revision, awaited_since FROM pop \
                 WHERE awaited_revision IS NOT NULL AND awaited_since IS NOT NULL";
    let rows = sqlx::query(query).fetch_all(on).await.map_err(StoreError::on("list PoPs"))?;
    let read = |row: &SqliteRow| {
        let revision = Revision(from_sql(row.get(1), "revision")?);
        Ok((PopId(row.get(0)), Awaited { revision, since: time_from_sql(row.get(2))? }))
    };
    rows.iter().map(read).collect()
}

/// Keeps what jobs wait for a PoP to apply.
pub(crate) async fn keep_awaited(
    on: &mut Connection,
    id: PopId,
    awaited: &Awaited,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE pop SET awaited_revision = ?, awaited_since = ? WHERE id = ?")
        .bind(to_sql(awaited.revision.0))
        .bind(awaited.since.unix_timestamp())
        .bind(id.0)
        .execute(on)
        .await
        .map_err(StoreError::on("keep what a PoP is waited for"))?;
    Ok(())
}

/// Keeps what a PoP said.
pub(crate) async fn keep_ack(
    on: &mut Connection,
    id: PopId,
    ack: &Ack,
    state: AckState,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let rejected = serde_json::to_string(&ack.rejected)
        .map_err(|_| StoreError::Corrupt("rejected records"))?;
    sqlx::query(
        "INSERT OR REPLACE INTO pop_ack (pop_id, epoch, applied, digest, state, rejected, seen_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(id.0)
    .bind(to_sql(ack.epoch.0))
    .bind(to_sql(ack.applied.0))
    .bind(ack.digest.to_string())
    .bind(state_to_sql(state))
    .bind(rejected)
    .bind(now.unix_timestamp())
    .execute(on)
    .await
    .map_err(StoreError::on("keep a PoP's ack"))?;
    Ok(())
}

/// The cursor that a PoP acknowledged last in `epoch`; 0 where it has not.
pub(crate) async fn acked_revision(
    on: &mut Connection,
    id: PopId,
    epoch: Epoch,
) -> Result<Revision, StoreError> {
    let applied =
        sqlx::query_scalar::<_, i64>("SELECT applied FROM pop_ack WHERE pop_id = ? AND epoch = ?")
            .bind(id.0)
            .bind(to_sql(epoch.0))
            .fetch_optional(on)
            .await
            .map_err(StoreError::on("read a PoP's ack"))?;
    from_sql(applied.unwrap_or_default(), "revision").map(Revision)
}

fn read(row: &SqliteRow) -> Result<Pop, StoreError> {
    let addresses: &str = row.get(1);
    let addresses: Result<Vec<IpAddr>, _> = addresses.split_whitespace().map(str::parse).collect();
    Ok(Pop {
        id: PopId(row.get(10)),
        name: row.get(0),
        addresses: addresses.map_err(|_| StoreError::Corrupt("PoP address"))?,
        traffic: match row.get::<i64, _>(8) {
            0 => Traffic::Off,
            _ => Traffic::On,
        },
        seen_at: row.get::<Option<i64>, _>(9).map(time_from_sql).transpose()?,
        refused_at: row.get::<Option<i64>, _>(11).map(time_from_sql).transpose()?,
        created_at: time_from_sql(row.get(2))?,
        ack: read_ack(row)?,
    })
}

fn read_ack(row: &SqliteRow) -> Result<Option<PopAck>, StoreError> {
    let Some(seen_at) = row.get::<Option<i64>, _>(7) else {
        return Ok(None);
    };
    Ok(Some(PopAck {
        epoch: Epoch(from_sql(row.get(3), "epoch")?),
        applied: Revision(from_sql(row.get(4), "revision")?),
        state: state_from_sql(row.get(5))?,
        rejected: from_json(row.get(6), "rejected records")?,
        seen_at: time_from_sql(seen_at)?,
    }))
}

fn state_to_sql(state: AckState) -> i64 {
    match state {
        AckState::InSync => 0,
        AckState::Behind => 1,
        AckState::Diverged => 2,
    }
}

fn state_from_sql(number: i64) -> Result<AckState, StoreError> {
    match number {
        0 => Ok(AckState::InSync),
        1 => Ok(AckState::Behind),
        2 => Ok(AckState::Diverged),
        _ => Err(StoreError::Corrupt("ack state")),
    }
}
