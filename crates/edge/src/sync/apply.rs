//! Writing to the last-known-good database, then publishing to the store.

use std::{path::PathBuf, sync::Arc, time::Instant};

use landfall_certstore::{CertificateError, GroupKeys, Publisher};
use landfall_feed::{
    lkg::{
        Applied, Change, FileState, LkgError, Opened, Position, Quarantined, Reader,
        SnapshotOutcome, Writer,
    },
    page::{Header, PageError, VerifiedPage},
    protocol::{Ack, MAX_ACK_REJECTED, Rejected},
    record::{Body, Record, VALIDATION_ID, WireRecord, tickets_id},
};
use landfall_model::{PropertyId, Revision};

use crate::{
    challenges::Challenges, clock::unix_seconds, properties::Properties, readiness::Missing,
    site::Site,
};

use super::{
    check::{self, KeyCheck, Rejection},
    metrics::SyncMetrics,
    source::entry_spec,
};

/// A snapshot of at most so many records has every private key opened before it is used: about
/// five seconds. In a larger one that is done only for hostnames that are served already; the
/// others have nothing to lose, and a new PoP is to serve soon.
const OPEN_ALL_KEYS_UP_TO: u64 = 50_000;

/// The longest reason that is kept and acknowledged, in bytes. A record's own words may be in it.
const MAX_REASON: usize = 300;

/// Why something received was not applied. The store and the database are as they were.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum ApplyError {
    #[error("the page was refused")]
    Page(#[from] PageError),
    #[error(
        "the control plane's snapshot is older than what is served; if the control plane was \
         restored from a backup, run `landfall feed new-epoch` there"
    )]
    Rollback(#[source] PageError),
    #[error("the last-known-good state can't be written")]
    State(#[from] LkgError),
    #[error(
        "the snapshot has {new} hostnames and would drop {dropped} of the {current} that are served; \
         if that is meant, run `landfall feed allow-shrink` at the control plane"
    )]
    Shrink { current: u64, new: u64, dropped: u64 },
    #[error("cannot {operation} {}", path.display())]
    File {
        operation: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// The one who writes and publishes. Every call blocks.
pub(super) struct Applier {
    writer: Writer,
    reader: Reader,
    publisher: Publisher<Site>,
    properties: Arc<Properties>,
    challenges: Arc<Challenges>,
    keys: Arc<GroupKeys>,
    metrics: Arc<SyncMetrics>,
    /// Whether what is published that is no hostname is what the database has.
    others_are_loaded: bool,
    /// The ticket secrets whose time is over and that are still on disk.
    over: Vec<String>,
}

impl Applier {
    pub(super) fn new(
        opened: Opened,
        publisher: Publisher<Site>,
        (properties, challenges): (Arc<Properties>, Arc<Challenges>),
        keys: Arc<GroupKeys>,
        metrics: Arc<SyncMetrics>,
    ) -> Self {
        let Opened { writer, reader, .. } = opened;
        Self {
            writer,
            reader,
            publisher,
            properties,
            challenges,
            keys,
            metrics,
            others_are_loaded: false,
            over: Vec::new(),
        }
    }

    pub(super) fn position(&self) -> Position {
        self.writer.position()
    }

    pub(super) fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Publishes from the database what is no hostname, in the place of all there was.
    #[allow(clippy::wildcard_enum_match_arm, reason = "the other kinds are not published")]
    pub(super) fn load_others(&mut self) -> Result<(), LkgError> {
        let (mut properties, mut secrets) = (Vec::new(), Vec::new());
        let mut validations = Vec::new();
        self.reader.for_each_other(|wire| {
            match WireRecord::read(wire).and_then(|record| record.decode()).map(|own| own.body) {
                Ok(Body::Property(record)) => properties.push(record),
                Ok(Body::Tickets(record)) => {
                    secrets.extend(check::ticket_secret(&record, &self.keys))
                }
                Ok(Body::Validation(record)) if record.until > unix_seconds() => {
                    validations.push(record)
                }
                _ => {}
            }
        })?;
        self.properties.replace(properties);
        self.challenges.replace(validations);
        self.publisher.ticket_secrets().replace(secrets);
        self.rotate_ticket_secrets();
        self.others_are_loaded = true;
        Ok(())
    }

    /// What time alone makes necessary, whether or not there is a control plane. To be called
    /// every few minutes at least.
    pub(super) fn tend(&mut self) {
        self.rotate_ticket_secrets();
        self.erase_ticket_secrets();
        self.challenges.forget_ended(unix_seconds());
        if let Err(error) = self.writer.empty_log(Instant::now()) {
            tracing::warn!(error = describe(&error), "what was erased stays in the database's log");
        }
        match self.writer.restore_deleted() {
            Ok(FileState::Present) => {}
            Ok(FileState::Restored) => {
                self.metrics.failed("state_deleted");
                tracing::error!(
                    "the last-known-good database had been deleted; it is written anew"
                );
            }
            Err(error) => {
                self.metrics.failed("state_deleted");
                self.metrics.state_not_written();
                tracing::error!(
                    error = describe(&error),
                    "the last-known-good database was deleted, and can't be written anew",
                );
            }
        }
    }

    /// Drops the ticket secrets whose time is over. They stay on disk for now: what is only
    /// loading may not write.
    fn rotate_ticket_secrets(&mut self) {
        let over = self.publisher.ticket_secrets().rotate(unix_seconds());
        self.over.extend(over.into_iter().map(tickets_id));
    }

    /// Erases from the disk the ticket secrets whose time is over.
    fn erase_ticket_secrets(&mut self) {
        let ids = std::mem::take(&mut self.over);
        if ids.is_empty() {
            return;
        }
        tracing::info!(secrets = ids.len(), "ticket secrets are over");
        if let Err(error) = self.writer.blank(&ids) {
            tracing::warn!(error = describe(&error), "ticket secrets that are over stay on disk");
        }
    }

    /// Fills the index from the database.
    pub(super) fn load(&mut self) -> Result<(), LkgError> {
        if !self.others_are_loaded {
            self.load_others()?;
        }
        let mut replacement = self.publisher.replacement();
        let (mut hostnames, mut unreadable) = (0u64, 0u64);
        self.reader.for_each_hostname(|row| {
            let inserted =
                row.map(|(name, stored)| replacement.insert(&entry_spec(name, stored)).is_ok());
            match inserted {
                Ok(true) => hostnames += 1,
                Ok(false) | Err(_) => unreadable += 1,
            }
        })?;
        replacement.finish();
        let Position { epoch, cursor, .. } = self.position();
        tracing::info!(epoch = epoch.0, revision = cursor.0, hostnames, "state loaded from disk");
        if unreadable > 0 {
            tracing::error!(unreadable, "rows of the last-known-good database can't be served");
        }
        self.metrics.applied(self.position(), self.reader.count_quarantined()?);
        Ok(())
    }

    /// Applies a page that follows the cursor.
    pub(super) fn page(&mut self, page: &VerifiedPage) -> Result<(), ApplyError> {
        let header = page.header();
        page.follows(self.position().epoch, self.position().cursor)?;
        let (mut changes, mut records) = (Vec::new(), 0);
        for wire in page.records()? {
            records += 1;
            changes.extend(self.checker().changes(wire, header, KeyCheck::Open));
        }
        let applied = self.writer.apply(header.to, &changes, unix_seconds())?;
        for done in applied {
            self.publish(done, header.to);
        }
        self.metrics.records_applied(records);
        self.metrics.applied(self.position(), self.reader.count_quarantined()?);
        tracing::info!(revision = header.to.0, records, "page applied");
        Ok(())
    }

    fn publish(&mut self, done: Applied, Revision(revision): Revision) {
        match done {
            Applied::Removed(name) => {
                self.publisher.remove(&name);
                tracing::info!(hostname = %name, revision, "hostname no longer served");
            }
            Applied::Other(wire) => self.publish_other(&wire),
            Applied::RemovedOther(id) => {
                if let Some(property) = property_of(&id) {
                    self.properties.remove(property);
                    tracing::info!(property = property.0, revision, "property gone");
                } else if let Some(starts) = tickets_of(&id) {
                    self.publisher.ticket_secrets().remove(starts);
                    tracing::info!(starts, revision, "ticket secret gone");
                } else if let Some(hostname) = id.strip_prefix(VALIDATION_ID) {
                    self.challenges.remove(hostname);
                    tracing::info!(hostname, revision, "validation ended");
                }
            }
            Applied::Nothing => {}
            Applied::Hostname(name, stored) => {
                match self.publisher.insert(&entry_spec(name.clone(), *stored)) {
                    Ok(()) => {
                        tracing::info!(hostname = %name, revision, "hostname published");
                    }
                    // The policy was checked: nothing is left to fail.
                    Err(_) => {
                        tracing::error!(hostname = %name, revision, "hostname can't be published");
                    }
                }
            }
        }
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "the other kinds are not published")]
    fn publish_other(&mut self, wire: &[u8]) {
        let record = WireRecord::read(wire).and_then(|record| record.decode());
        let Ok(Record { body, revision: Revision(revision), .. }) = record else { return };
        match body {
            Body::Property(record) => {
                let property = record.property.0;
                self.properties.insert(record);
                tracing::info!(property, revision, "property published");
            }
            Body::Tickets(record) => {
                // It was opened when it was checked: nothing is left to fail.
                if let Ok(secret) = check::ticket_secret(&record, &self.keys) {
                    self.publisher.ticket_secrets().insert(secret);
                    tracing::info!(starts = record.starts, revision, "ticket secret published");
                }
            }
            Body::Validation(record) => {
                tracing::info!(hostname = %record.name, revision, "validation begun");
                self.challenges.insert(record);
            }
            _ => {}
        }
    }

    /// Checks that a snapshot may take the place of what is there.
    pub(super) fn check_manifest(&self, header: &Header, hostnames: u64) -> Result<(), ApplyError> {
        let position = self.position();
        if header.epoch < position.epoch {
            let (got, have) = (header.epoch, position.epoch);
            return Err(ApplyError::Rollback(PageError::EpochRollback { got, have }));
        }
        if header.epoch == position.epoch && header.to < position.cursor {
            let (after, to, have) = (header.after, header.to, position.cursor);
            return Err(ApplyError::Rollback(PageError::RevisionRollback { after, to, have }));
        }
        // What it says of itself, before anything is downloaded. What it has is counted later.
        let current = self.reader.count_hostnames()?;
        let dropped = current.saturating_sub(hostnames);
        check_shrink(header, current, SnapshotOutcome { hostnames, dropped })
    }

    /// Writes a snapshot, its manifest checked and its `segments` verified one after the other.
    /// The index is then to be filled anew.
    pub(super) fn snapshot(
        &mut self,
        manifest: &Header,
        segments: impl Iterator<Item = Result<VerifiedPage, ApplyError>>,
    ) -> Result<(), ApplyError> {
        let whole = manifest.count <= OPEN_ALL_KEYS_UP_TO;
        let current = self.reader.count_hostnames()?;
        let mut count = 0;
        let (keys, metrics, reader) = (&self.keys, &self.metrics, &self.reader);
        let checker = Checker { keys, metrics, reader, publisher: &self.publisher };
        let mut snapshot = self.writer.snapshot(manifest.epoch)?;
        for segment in segments {
            let segment = segment?;
            let check = if whole { KeyCheck::Open } else { KeyCheck::Defer };
            let records = segment.records()?;
            count += records.len() as u64;
            let changes = records.into_iter();
            let changes = changes.flat_map(|wire| checker.changes(wire, segment.header(), check));
            snapshot.add(&changes.collect::<Vec<_>>())?;
        }
        if count != manifest.count {
            return Err(PageError::Count { got: count, expected: manifest.count }.into());
        }
        check_shrink(manifest, current, snapshot.outcome()?)?;
        snapshot.finish(manifest.to, unix_seconds())?;
        self.others_are_loaded = false;
        tracing::info!(
            epoch = manifest.epoch.0,
            revision = manifest.to.0,
            records = count,
            "snapshot applied",
        );
        Ok(())
    }

    /// Tries records in quarantine again, the newest first: a group key may have come, a clock
    /// been set, a policy become free.
    pub(super) fn retry_quarantined(&mut self) -> Result<(), LkgError> {
        const AT_MOST: usize = 10_000;
        let cursor = self.position().cursor;
        let mut changes = Vec::new();
        for record in self.reader.quarantined(AT_MOST)? {
            changes.extend(self.checker().retried(record));
        }
        if changes.is_empty() {
            return Ok(());
        }
        let confirmed_at = self.position().confirmed_at;
        tracing::info!(records = changes.len(), "records left the quarantine");
        for done in self.writer.apply(cursor, &changes, confirmed_at)? {
            self.publish(done, cursor);
        }
        self.metrics.applied(self.position(), self.reader.count_quarantined()?);
        Ok(())
    }

    /// What can't be served for lack of group keys.
    pub(super) fn missing(&self) -> Result<Missing, LkgError> {
        let now = now_signed();
        let keys = self.reader.sealed_to_others(&self.keys.ids(), now)?;
        let set_aside = self.reader.count_quarantined_for(CertificateError::UNKNOWN_GROUP_KEY)?;
        if keys.is_empty() && set_aside == 0 {
            return Ok(Missing::default());
        }
        let counts = self.reader.expiry_counts(&[now])?;
        let expired: u64 = counts.at_or_before.iter().sum();
        Ok(Missing { keys, of: counts.total.saturating_sub(expired), set_aside })
    }

    /// Drops what no hostname uses any more. On a disk that can't be written it stays for now.
    pub(super) fn prune(&mut self) {
        if let Err(error) = self.writer.prune_issuers() {
            tracing::warn!(error = describe(&error), "unused issuers stay in the database");
        }
    }

    /// Notes that there is nothing newer.
    pub(super) fn confirm(&mut self) -> Result<(), LkgError> {
        self.writer.confirm(unix_seconds())
    }

    /// What to acknowledge.
    pub(super) fn ack(&self) -> Result<Ack, LkgError> {
        let Position { epoch, cursor, digest, .. } = self.position();
        let rejected = self.reader.quarantined(MAX_ACK_REJECTED)?.into_iter();
        let rejected =
            rejected.map(|own| Rejected { id: own.id, revision: own.revision, reason: own.reason });
        Ok(Ack {
            epoch,
            applied: cursor,
            digest,
            rejected: rejected.collect(),
            busiest: Vec::new(),
        })
    }

    fn checker(&self) -> Checker<'_> {
        let Self { keys, metrics, reader, publisher, .. } = self;
        Checker { keys, metrics, reader, publisher }
    }
}

/// The effect of a record, and why a part of it has none.
struct Checked {
    change: Change,
    set_aside: Option<Rejection>,
}

/// Turns an encoded record into its effect.
struct Checker<'a> {
    keys: &'a GroupKeys,
    metrics: &'a SyncMetrics,
    reader: &'a Reader,
    publisher: &'a Publisher<Site>,
}

impl Checker<'_> {
    /// The effect of a record: a rejected one goes into quarantine, unless not even its id can
    /// be read. So does one of which a certificate is set aside, beside what of it is served.
    fn changes(&self, wire: Vec<u8>, header: &Header, check: KeyCheck) -> Vec<Change> {
        let (usable, rejection) = match self.check(&wire, Some(header), check) {
            Ok(Checked { change, set_aside: None }) => return vec![change],
            Ok(Checked { change, set_aside: Some(rejection) }) => (Some(change), rejection),
            Err(rejection) => (None, rejection),
        };
        let head = WireRecord::read(&wire).ok();
        let id = head.as_ref().map_or("unreadable", |head| head.id.as_str());
        let reason = reason_of(&rejection);
        let kind = rejection.reason();
        self.metrics.record_rejected(kind);
        let revision = header.to.0;
        match usable {
            Some(_) => tracing::warn!(record = id, revision, reason, "certificate set aside"),
            None => tracing::warn!(record = id, revision, reason, "record rejected"),
        }
        let quarantine = head.map(|head| {
            // One outside of its page may be past what the database can hold.
            let revision = head.revision.min(header.to);
            Change::Quarantine { id: head.id, revision, kind, reason, wire }
        });
        usable.into_iter().chain(quarantine).collect()
    }

    /// What is to be done with a record in quarantine: nothing, unless more of it can be used than before.
    fn retried(&self, record: Quarantined) -> Vec<Change> {
        let Quarantined { id, revision, wire, .. } = record;
        match self.check(&wire, None, KeyCheck::Open) {
            Err(_) | Ok(Checked { change: Change::Remove { .. }, .. }) => Vec::new(),
            Ok(Checked { change, set_aside: None }) => vec![change],
            Ok(Checked { change, set_aside: Some(rejection) }) => {
                let is_more = match &change {
                    Change::Hostname(new) => {
                        let standing = self.reader.standing(&new.record.name).ok().flatten();
                        let offered = (new.revision, new.certificates.len() as u64);
                        standing.is_none_or(|standing| standing < offered)
                    }
                    Change::Other { .. } | Change::Remove { .. } | Change::Quarantine { .. } => {
                        false
                    }
                };
                let (kind, reason) = (rejection.reason(), reason_of(&rejection));
                let rest = Change::Quarantine { id, revision, kind, reason, wire };
                if is_more { vec![change, rest] } else { Vec::new() }
            }
        }
    }

    fn check(
        &self,
        wire: &[u8],
        header: Option<&Header>,
        check: KeyCheck,
    ) -> Result<Checked, Rejection> {
        let whole = |change| Ok(Checked { change, set_aside: None });
        let head = WireRecord::read(wire)?;
        let revision = head.revision;
        if let Some(Header { after, to, .. }) = header.filter(|h| !h.covers(revision)) {
            return Err(Rejection::Revision { revision, after: *after, to: *to });
        }
        let record = match head.decode()?.body {
            Body::Tombstone => return whole(Change::Remove { id: head.id, revision }),
            Body::Tickets(record) => {
                check::ticket_secret(&record, self.keys)?;
                return whole(Change::Other { id: head.id, revision, wire: wire.to_vec() });
            }
            Body::Property(_) | Body::Pop(_) | Body::Validation(_) | Body::Unknown => {
                return whole(Change::Other { id: head.id, revision, wire: wire.to_vec() });
            }
            Body::Hostname(record) => record,
        };
        self.publisher.check_policy(&record.tls).map_err(Rejection::Policy)?;
        let check = match check {
            KeyCheck::Defer if self.reader.has_hostname(&record.name).unwrap_or(true) => {
                KeyCheck::Open
            }
            KeyCheck::Open | KeyCheck::Defer => check,
        };
        let usable = check::hostname(record, revision, now_signed(), (self.keys, check))?;
        let change = Change::Hostname(Box::new(usable.hostname));
        Ok(Checked { change, set_aside: usable.set_aside })
    }
}

fn property_of(id: &str) -> Option<PropertyId> {
    id.strip_prefix("property/")?.parse().ok().map(PropertyId)
}

fn tickets_of(id: &str) -> Option<u64> {
    id.strip_prefix("tickets/")?.parse().ok()
}

/// Refuses a snapshot that has a tenth fewer hostnames than are served, or less than half of those,
/// unless it says that this is meant. An edge that was off for long finds many come and gone.
fn check_shrink(
    manifest: &Header,
    current: u64,
    SnapshotOutcome { hostnames: new, dropped }: SnapshotOutcome,
) -> Result<(), ApplyError> {
    let is_fewer = new.saturating_mul(10) < current.saturating_mul(9);
    let is_other = dropped.saturating_mul(2) > current;
    match manifest.allow_shrink || !(is_fewer || is_other) {
        true => Ok(()),
        false => Err(ApplyError::Shrink { current, new, dropped }),
    }
}

/// Why something is set aside, in words that are kept and acknowledged.
fn reason_of(rejection: &Rejection) -> String {
    let mut reason = describe(rejection);
    reason.truncate(reason.floor_char_boundary(MAX_REASON));
    reason
}

/// An error and its causes in one line.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn now_signed() -> i64 {
    i64::try_from(unix_seconds()).unwrap_or(i64::MAX)
}
