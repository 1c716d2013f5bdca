//! One change: rows and feed records in one transaction.

use std::sync::Arc;

use landfall_feed::record::{
    HostnameRecord, MAX_RECORD_LEN, PopRecord, PropertyRecord, TicketRecord, ValidationRecord,
    WireRecord, encode_record, hostname_id, property_id, tickets_id, validation_id,
};
use landfall_model::{Epoch, HostPattern, Hostname, HostnameId, PropertyId, Revision};
use serde_json::Value;
use sqlx::{Sqlite, Transaction};
use time::OffsetDateTime;
use tokio::sync::{Notify, watch};

use super::{
    Connection, Head, StoreError, advance,
    audit::{self, AuditEntry},
    event::{self, EventKind},
    feed,
};
use crate::call::{Call, Conditions, SiteRight};

/// A change in progress. Nothing of it is seen by others before [`Self::commit`].
pub(crate) struct Change {
    transaction: Transaction<'static, Sqlite>,
    head: watch::Sender<Head>,
    jobs: (Arc<Notify>, watch::Sender<u64>),
    /// Whether there are jobs for those who wait once the change is made.
    wakes: Wakes,
    call: Call,
}

/// Who waits for a change to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wakes {
    Nobody,
    /// Whoever does jobs.
    Workers,
}

/// Why a record was not published.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PublishError {
    /// An edge would refuse it.
    #[error("the record would have {len} bytes, {MAX_RECORD_LEN} are allowed")]
    TooLarge { len: usize },
    /// The database failed.
    #[error("the record was not published")]
    Store(#[from] StoreError),
}

impl Change {
    pub(super) fn new(
        transaction: Transaction<'static, Sqlite>,
        head: watch::Sender<Head>,
        jobs: (Arc<Notify>, watch::Sender<u64>),
        call: Call,
    ) -> Self {
        Self { transaction, head, jobs, wakes: Wakes::Nobody, call }
    }

    /// What the statements of this change run on.
    pub(crate) fn on(&mut self) -> &mut Connection {
        &mut self.transaction
    }

    /// When the change is made.
    pub(crate) fn now(&self) -> OffsetDateTime {
        self.call.now
    }

    /// In which sites the caller may add names.
    pub(crate) fn sites(&self) -> SiteRight {
        self.call.sites
    }

    /// What the caller makes the change depend on.
    pub(crate) fn conditions(&self) -> Conditions {
        self.call.conditions
    }

    /// Begins a part that can be taken back alone: one at a time.
    pub(crate) async fn begin_part(&mut self) -> Result<(), StoreError> {
        self.execute("SAVEPOINT part", "begin a part of a change").await
    }

    /// Keeps the part that was begun.
    pub(crate) async fn keep_part(&mut self) -> Result<(), StoreError> {
        self.execute("RELEASE part", "keep a part of a change").await
    }

    /// Takes the part back that was begun.
    pub(crate) async fn drop_part(&mut self) -> Result<(), StoreError> {
        self.execute("ROLLBACK TO part", "take a part of a change back").await?;
        self.keep_part().await
    }

    async fn execute(
        &mut self,
        statement: &'static str,
        operation: &'static str,
    ) -> Result<(), StoreError> {
        let done = sqlx::query(statement).execute(self.on()).await;
        done.map(drop).map_err(StoreError::on(operation))
    }

    /// Adds to the audit log who changes what.
    pub(crate) async fn audit(&mut self, entry: &AuditEntry<'_>) -> Result<(), StoreError> {
        let call = self.call;
        audit::add(self.on(), &call, entry).await
    }

    /// Tells a hostname's owner what happened to it.
    pub(crate) async fn event(
        &mut self,
        hostname: HostnameId,
        kind: EventKind,
        detail: &Value,
    ) -> Result<(), StoreError> {
        let now = self.call.now;
        event::add(self.on(), hostname, kind, detail, now).await
    }

    /// Wakes whoever does jobs once the change is made.
    pub(crate) fn wake_jobs(&mut self) {
        self.wakes = Wakes::Workers;
    }

    /// Publishes what edges need to serve a hostname.
    pub(crate) async fn publish_hostname(
        &mut self,
        record: &HostnameRecord,
    ) -> Result<(), PublishError> {
        let revision = self.next_revision().await?;
        self.publish(&WireRecord::hostname(revision, record)).await
    }

    /// Publishes what the hostnames of a property have in common.
    pub(crate) async fn publish_property(
        &mut self,
        record: &PropertyRecord,
    ) -> Result<(), PublishError> {
        let revision = self.next_revision().await?;
        self.publish(&WireRecord::property(revision, record)).await
    }

    /// Publishes a secret for session tickets.
    pub(crate) async fn publish_tickets(
        &mut self,
        record: &TicketRecord,
    ) -> Result<(), PublishError> {
        let revision = self.next_revision().await?;
        self.publish(&WireRecord::tickets(revision, record)).await
    }

    /// Publishes that a name is being validated, and says at which revision.
    pub(crate) async fn publish_validation(
        &mut self,
        record: &ValidationRecord,
    ) -> Result<Revision, PublishError> {
        let revision = self.next_revision().await?;
        self.publish(&WireRecord::validation(revision, record)).await?;
        Ok(revision)
    }

    /// Publishes a PoP.
    pub(crate) async fn publish_pop(&mut self, record: &PopRecord) -> Result<(), PublishError> {
        let revision = self.next_revision().await?;
        self.publish(&WireRecord::pop(revision, record)).await
    }

    /// Tells edges that a hostname is gone.
    pub(crate) async fn retract_hostname(&mut self, name: &HostPattern) -> Result<(), StoreError> {
        self.retract(hostname_id(name), "hostname").await
    }

    /// Tells edges that a property is gone.
    pub(crate) async fn retract_property(&mut self, id: PropertyId) -> Result<(), StoreError> {
        self.retract(property_id(id), "property").await
    }

    /// Tells edges that the secret of the period that starts then is gone.
    pub(crate) async fn retract_tickets(&mut self, starts: u64) -> Result<(), StoreError> {
        self.retract(tickets_id(starts), "tickets").await
    }

    /// Tells edges that a name is no longer being validated.
    pub(crate) async fn retract_validation(&mut self, name: &Hostname) -> Result<(), StoreError> {
        self.retract(validation_id(name), "validation").await
    }

    /// Tells edges that a PoP is gone.
    pub(crate) async fn retract_pop(&mut self, name: &str) -> Result<(), StoreError> {
        self.retract(format!("pop/{name}"), "pop").await
    }

    /// Removes at most `limit` tombstones older than `before`, and says how many.
    pub(crate) async fn prune_tombstones(
        &mut self,
        before: OffsetDateTime,
        limit: u32,
    ) -> Result<u64, StoreError> {
        feed::prune_tombstones(self.on(), before, limit).await
    }

    /// Starts a higher epoch.
    pub(crate) async fn start_epoch(&mut self) -> Result<Epoch, StoreError> {
        let now = self.call.now;
        feed::start_epoch(self.on(), now).await
    }

    /// Lets snapshots drop many hostnames until `until`.
    pub(crate) async fn allow_shrink(&mut self, until: OffsetDateTime) -> Result<(), StoreError> {
        feed::allow_shrink(self.on(), until).await
    }

    /// Makes the change, and wakes who waits for the feed.
    pub(crate) async fn commit(mut self) -> Result<Head, StoreError> {
        let head = feed::state(self.on()).await?.head();
        self.transaction.commit().await.map_err(StoreError::on("commit a change"))?;
        advance(&self.head, head);
        if self.wakes == Wakes::Workers {
            self.jobs.0.notify_one();
            self.jobs.1.send_modify(|count| *count = count.wrapping_add(1));
        }
        Ok(head)
    }

    async fn next_revision(&mut self) -> Result<Revision, StoreError> {
        let state = feed::state(self.on()).await?;
        Ok(Revision(state.revision.0 + 1))
    }

    async fn publish(&mut self, record: &WireRecord) -> Result<(), PublishError> {
        let encoded = encode_record(record);
        if encoded.len() > MAX_RECORD_LEN {
            return Err(PublishError::TooLarge { len: encoded.len() });
        }
        self.write(record, &encoded).await.map_err(PublishError::Store)
    }

    async fn retract(&mut self, id: String, kind: &str) -> Result<(), StoreError> {
        let revision = self.next_revision().await?;
        let tombstone = WireRecord::tombstone(id, revision, kind);
        self.write(&tombstone, &encode_record(&tombstone)).await
    }

    async fn write(&mut self, record: &WireRecord, encoded: &[u8]) -> Result<(), StoreError> {
        let now = self.call.now;
        feed::replace(self.on(), record, encoded, now).await
    }
}
