//! Applying pages and snapshots, each in one transaction.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use landfall_model::{Epoch, Fingerprint, HostPattern, Revision, Sealed};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::{
    KeyDescription, LkgError, Position, Reader, StoredCertificateRef, StoredHostname, failed,
    open_writable,
    read::{read_position, stored_hostname},
    restore::FileIdentity,
};
use crate::{
    digest::StateDigest,
    record::{HostnameRecord, HostnameState, hostname_id, to_cbor},
    seal::sha256,
};

/// How often the log is emptied of what was erased, at most.
const EMPTIED_EVERY: Duration = Duration::from_secs(60);

/// The one writer.
pub struct Writer {
    /// None while the disk can't be written.
    pub(super) connection: Option<Connection>,
    /// The file that the connection was opened on.
    pub(super) file: Option<FileIdentity>,
    position: Position,
    pub(super) reader: Reader,
    /// Whether the log may have what was erased since it was last emptied.
    is_log_stale: bool,
    /// When it was last tried to empty the log.
    emptied_at: Option<Instant>,
}

/// One record's effect.
#[derive(Clone, Debug)]
pub enum Change {
    /// A hostname, checked and usable.
    Hostname(Box<NewHostname>),
    /// A record that is no hostname.
    Other {
        /// Its id.
        id: String,
        /// Its revision.
        revision: Revision,
        /// The encoded record.
        wire: Vec<u8>,
    },
    /// What was under this id is gone.
    Remove {
        /// The id.
        id: String,
        /// Since when.
        revision: Revision,
    },
    /// A record that can't be used: what was under its id stays.
    Quarantine {
        /// Its id.
        id: String,
        /// Its revision.
        revision: Revision,
        /// Why, in a word.
        kind: &'static str,
        /// Why, in words.
        reason: String,
        /// The encoded record.
        wire: Vec<u8>,
    },
}

/// A hostname to be written.
#[derive(Clone, Debug)]
pub struct NewHostname {
    /// Its revision.
    pub revision: Revision,
    /// What came over the feed; `certificates` of it are written from below.
    pub record: HostnameRecord,
    /// Its certificates, with what was read from them.
    pub certificates: Vec<NewCertificate>,
}

/// A certificate to be written.
#[derive(Clone, Debug)]
pub struct NewCertificate {
    /// Its key.
    pub key: KeyDescription,
    /// The SHA-256 of the leaf.
    pub fingerprint: Fingerprint,
    /// When it expires, in seconds since 1970.
    pub not_after: i64,
    /// DER, the leaf first.
    pub chain: Vec<Vec<u8>>,
    /// Of the leaf's public key.
    pub spki_sha256: Vec<u8>,
    /// The private key.
    pub sealed: Sealed,
    /// As in [`CertificateRecord`](crate::record::CertificateRecord).
    pub standby: bool,
}

/// What a change did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// A hostname now stands like this.
    Hostname(HostPattern, Box<StoredHostname>),
    /// A hostname is gone.
    Removed(HostPattern),
    /// A record that is no hostname now stands like this.
    Other(Vec<u8>),
    /// What was under this id is gone; it was no hostname.
    RemovedOther(String),
    /// Nothing that is served changed.
    Nothing,
}

impl Writer {
    pub(super) fn new(connection: Connection, reader: Reader) -> Result<Self, LkgError> {
        let position = read_position(&connection).map_err(failed("read its position"))?;
        let position = position.unwrap_or_default();
        let file = FileIdentity::of(reader.path());
        // A process that died may have left what it was about to empty.
        let (is_log_stale, emptied_at) = (true, None);
        let connection = Some(connection);
        Ok(Self { connection, file, position, reader, is_log_stale, emptied_at })
    }

    /// A writer of a database that can't be written for now.
    pub(super) fn waiting(position: Position, reader: Reader) -> Self {
        let (is_log_stale, emptied_at) = (true, None);
        Self { connection: None, file: None, position, reader, is_log_stale, emptied_at }
    }

    /// Where the edge stands; all zero before the first snapshot.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Applies `changes` and moves the cursor to `cursor`, or does nothing at all.
    ///
    /// # Errors
    /// [`LkgError`]; see [`LkgError::is_disk_full`].
    pub fn apply(
        &mut self,
        cursor: Revision,
        changes: &[Change],
        now: u64,
    ) -> Result<Vec<Applied>, LkgError> {
        let position = self.position;
        let mut batch = Batch::begin(self.writable()?)?;
        batch.digest = position.digest;
        let applied = changes.iter().map(|change| batch.change(change));
        let applied = applied.collect::<Result<Vec<_>, _>>()?;
        let position = Position { cursor, digest: batch.digest, confirmed_at: now, ..position };
        let erases = batch.erases;
        batch.commit(position)?;
        self.position = position;
        self.is_log_stale |= erases;
        Ok(applied)
    }

    /// Notes that the control plane has nothing newer at `now`.
    ///
    /// # Errors
    /// [`LkgError`].
    pub fn confirm(&mut self, now: u64) -> Result<(), LkgError> {
        let position = Position { confirmed_at: now, ..self.position };
        Batch::begin(self.writable()?)?.commit(position)?;
        self.position = position;
        Ok(())
    }

    /// Drops the issuers' certificates that no chain has any more. Reads every chain's issuers.
    ///
    /// # Errors
    /// [`LkgError`].
    pub fn prune_issuers(&mut self) -> Result<(), LkgError> {
        let position = self.position;
        let batch = Batch::begin(self.writable()?)?;
        let used = batch.rows("SELECT DISTINCT issuers FROM certificate", |row| row.get(0))?;
        let used = used.iter().flat_map(|ids: &Vec<u8>| ids.as_chunks().0.to_vec());
        let used: HashSet<i64> = used.map(i64::from_be_bytes).collect();
        for id in batch.rows::<i64>("SELECT id FROM issuer", |row| row.get(0))? {
            if !used.contains(&id) {
                batch.execute("DELETE FROM issuer WHERE id = ?1", params![id])?;
            }
        }
        batch.commit(position)
    }

    /// Erases what records say that are no hostnames. They stay received: the digest is of ids
    /// and revisions.
    ///
    /// # Errors
    /// [`LkgError`].
    pub fn blank(&mut self, ids: &[String]) -> Result<(), LkgError> {
        let position = self.position;
        let batch = Batch::begin(self.writable()?)?;
        for id in ids {
            batch.execute("UPDATE other SET wire = x'' WHERE id = ?1", params![id])?;
        }
        batch.commit(position)?;
        self.is_log_stale = true;
        Ok(())
    }

    /// Empties the log, which still has what was erased from the database: sealed keys of hostnames that
    /// are gone. At most once in [`EMPTIED_EVERY`], and only where something was erased. While somebody reads
    /// for long it stays for the next call.
    ///
    /// # Errors
    /// [`LkgError`].
    pub fn empty_log(&mut self, now: Instant) -> Result<(), LkgError> {
        let is_early =
            self.emptied_at.is_some_and(|at| now.saturating_duration_since(at) < EMPTIED_EVERY);
        let Some(connection) = self.connection.as_ref().filter(|_| self.is_log_stale && !is_early)
        else {
            return Ok(());
        };
        self.emptied_at = Some(now);
        let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
        let is_busy = connection.query_row(checkpoint, [], |row| row.get::<_, bool>(0));
        self.is_log_stale = is_busy.map_err(failed("empty its log"))?;
        Ok(())
    }

    /// Starts the writing of a snapshot of `epoch`, which takes the place of everything at its end. In
    /// another epoch than before, a name that is active keeps its certificates until there is another: a control
    /// plane that was restored from a backup may know the name and not what was issued since.
    ///
    /// # Errors
    /// [`LkgError`].
    pub fn snapshot(&mut self, epoch: Epoch) -> Result<SnapshotWriter<'_>, LkgError> {
        let Self { connection, file, position, reader, is_log_stale, .. } = self;
        let connection = writable(connection, file, reader)?;
        let mut batch = Batch::begin(connection)?;
        batch.is_other_epoch = epoch != position.epoch;
        let table = "CREATE TEMP TABLE IF NOT EXISTS seen (id TEXT PRIMARY KEY) WITHOUT ROWID;
                     DELETE FROM seen;";
        batch.transaction.execute_batch(table).map_err(failed("start a snapshot"))?;
        // Whatever it takes the place of.
        *is_log_stale = true;
        Ok(SnapshotWriter { batch, position, epoch })
    }

    fn writable(&mut self) -> Result<&mut Connection, LkgError> {
        writable(&mut self.connection, &mut self.file, &self.reader)
    }
}

/// The connection; where there is none, the disk may have become writable meanwhile.
fn writable<'a>(
    connection: &'a mut Option<Connection>,
    file: &mut Option<FileIdentity>,
    reader: &Reader,
) -> Result<&'a mut Connection, LkgError> {
    match connection {
        Some(connection) => Ok(connection),
        None => {
            let opened = connection.insert(open_writable(reader.path())?);
            *file = FileIdentity::of(reader.path());
            reader.read_with_writer();
            Ok(opened)
        }
    }
}

/// A snapshot that is being written. Dropped without [`Self::finish`], it never was.
pub struct SnapshotWriter<'a> {
    batch: Batch<'a>,
    position: &'a mut Position,
    epoch: Epoch,
}

/// What a snapshot comes to, in hostnames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotOutcome {
    /// Those that will be there.
    pub hostnames: u64,
    /// Those that will have gone.
    pub dropped: u64,
}

impl SnapshotWriter<'_> {
    /// Adds records of the snapshot.
    ///
    /// # Errors
    /// [`LkgError`].
    pub fn add(&mut self, changes: &[Change]) -> Result<(), LkgError> {
        for change in changes {
            self.batch.change(change)?;
            let seen = "INSERT OR IGNORE INTO temp.seen (id) VALUES (?1)";
            self.batch.execute(seen, params![change.id()])?;
        }
        Ok(())
    }

    /// How many hostnames there will be, and how many will have gone.
    ///
    /// # Errors
    /// [`LkgError`].
    pub fn outcome(&self) -> Result<SnapshotOutcome, LkgError> {
        let query = "SELECT count(*) FILTER (WHERE seen), count(*) FILTER (WHERE NOT seen)
                     FROM (SELECT 'hostname/' || name IN (SELECT id FROM temp.seen) AS seen
                           FROM hostname)";
        let mut statement = self.batch.transaction.prepare_cached(query).map_err(failed("read"))?;
        let read = |row: &rusqlite::Row<'_>| {
            Ok(SnapshotOutcome { hostnames: row.get(0)?, dropped: row.get(1)? })
        };
        statement.query_row([], read).map_err(failed("read"))
    }

    /// Drops what the snapshot did not have, and makes it the state at `cursor`.
    ///
    /// # Errors
    /// [`LkgError`].
    pub fn finish(mut self, cursor: Revision, now: u64) -> Result<(), LkgError> {
        let gone = "SELECT id FROM (SELECT 'hostname/' || name AS id FROM hostname
                    UNION SELECT id FROM other UNION SELECT id FROM quarantine)
                    WHERE id NOT IN (SELECT id FROM temp.seen)";
        for id in self.batch.rows(gone, |row| row.get(0))? {
            self.batch.change(&Change::Remove { id, revision: cursor })?;
        }
        let digest = self.batch.digest_of_all()?;
        let position = Position { epoch: self.epoch, cursor, digest, confirmed_at: now };
        self.batch.commit(position)?;
        *self.position = position;
        Ok(())
    }
}

impl Change {
    fn id(&self) -> String {
        match self {
            Self::Hostname(new) => hostname_id(&new.record.name),
            Self::Other { id, .. } | Self::Remove { id, .. } | Self::Quarantine { id, .. } => {
                id.clone()
            }
        }
    }
}

/// A transaction, and the digest as it stands in it.
struct Batch<'a> {
    transaction: Transaction<'a>,
    digest: StateDigest,
    /// Whether what held a key is gone.
    erases: bool,
    /// Whether what is written is of another epoch than what was there.
    is_other_epoch: bool,
}

impl<'a> Batch<'a> {
    fn begin(connection: &'a mut Connection) -> Result<Self, LkgError> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let transaction = transaction.map_err(failed("begin"))?;
        let digest = StateDigest::default();
        Ok(Self { transaction, digest, erases: false, is_other_epoch: false })
    }

    fn execute(&self, sql: &str, params: impl rusqlite::Params) -> Result<usize, LkgError> {
        let mut statement = self.transaction.prepare_cached(sql).map_err(failed("write"))?;
        statement.execute(params).map_err(failed("write"))
    }

    fn rows<T>(
        &self,
        query: &str,
        read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, LkgError> {
        let mut statement = self.transaction.prepare_cached(query).map_err(failed("read"))?;
        let rows = statement.query_map([], read).map_err(failed("read"))?;
        rows.collect::<rusqlite::Result<_>>().map_err(failed("read"))
    }

    /// The digest counted anew, whatever it was thought to be.
    fn digest_of_all(&self) -> Result<StateDigest, LkgError> {
        let query = "SELECT id, revision FROM quarantine
                     UNION ALL SELECT id, revision FROM other
                       WHERE id NOT IN (SELECT id FROM quarantine)
                     UNION ALL SELECT 'hostname/' || name, revision FROM hostname
                       WHERE 'hostname/' || name NOT IN (SELECT id FROM quarantine)";
        let mut digest = StateDigest::default();
        let received = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        for (id, revision) in self.rows::<(String, u64)>(query, received)? {
            digest.toggle(&id, Revision(revision));
        }
        Ok(digest)
    }

    fn change(&mut self, change: &Change) -> Result<Applied, LkgError> {
        let id = change.id();
        self.forget_received(&id)?;
        match change {
            Change::Hostname(new) => {
                self.digest.toggle(&id, new.revision);
                self.write_hostname(new)
            }
            Change::Other { id, revision, wire } => {
                self.digest.toggle(id, *revision);
                let sql = "INSERT OR REPLACE INTO other (id, revision, wire) VALUES (?1, ?2, ?3)";
                self.execute(sql, params![id, revision.0, wire])?;
                Ok(Applied::Other(wire.clone()))
            }
            Change::Remove { id, .. } => self.remove(id),
            Change::Quarantine { id, revision, kind, reason, wire } => {
                self.digest.toggle(id, *revision);
                let sql = "INSERT OR REPLACE INTO quarantine (id, revision, kind, reason, wire)
                           VALUES (?1, ?2, ?3, ?4, ?5)";
                self.execute(sql, params![id, revision.0, kind, reason, wire])?;
                Ok(Applied::Nothing)
            }
        }
    }

    /// Takes what was last received under `id` out of the digest and of the quarantine.
    fn forget_received(&mut self, id: &str) -> Result<(), LkgError> {
        let name = id.strip_prefix("hostname/");
        let query = "SELECT revision FROM quarantine WHERE id = ?1
                     UNION ALL SELECT revision FROM hostname WHERE name = ?2
                     UNION ALL SELECT revision FROM other WHERE id = ?1 LIMIT 1";
        let mut statement = self.transaction.prepare_cached(query).map_err(failed("read"))?;
        let revision = statement.query_row(params![id, name], |row| row.get(0)).optional();
        if let Some(revision) = revision.map_err(failed("read"))? {
            self.digest.toggle(id, Revision(revision));
        }
        drop(statement);
        let erased = self.execute("DELETE FROM quarantine WHERE id = ?1", params![id])?;
        self.erases |= erased > 0;
        Ok(())
    }

    fn remove(&mut self, id: &str) -> Result<Applied, LkgError> {
        let Some(name) = id.strip_prefix("hostname/") else {
            let erased = self.execute("DELETE FROM other WHERE id = ?1", params![id])?;
            self.erases |= erased > 0;
            return Ok(Applied::RemovedOther(id.to_owned()));
        };
        let erased = self.execute("DELETE FROM certificate WHERE hostname = ?1", params![name])?;
        self.erases |= erased > 0;
        let removed = self.execute("DELETE FROM hostname WHERE name = ?1", params![name])?;
        match name.parse() {
            Ok(name) if removed > 0 => Ok(Applied::Removed(name)),
            _ => Ok(Applied::Nothing),
        }
    }

    fn write_hostname(&mut self, new: &NewHostname) -> Result<Applied, LkgError> {
        let name = new.record.name.to_string();
        let kept = self.certificates_of(&name)?;
        let mut certificates = Vec::with_capacity(new.certificates.len());
        for certificate in &new.certificates {
            let same = kept.iter().find(|own| own.is(certificate));
            let id = match same {
                Some(own) => own.id,
                None => self.insert_certificate(&name, certificate)?,
            };
            let NewCertificate { key, not_after, standby, .. } = *certificate;
            let bygone = false;
            certificates.push(StoredCertificateRef { id, key, not_after, standby, bygone });
        }
        if certificates.is_empty() && new.record.state == HostnameState::Active {
            certificates = self.bygone(&name)?;
        }
        for old in kept.iter().filter(|old| certificates.iter().all(|new| new.id != old.id)) {
            self.execute("DELETE FROM certificate WHERE id = ?1", params![old.id])?;
            self.erases = true;
        }
        let HostnameRecord { hostname_id, state, route, tls, .. } = new.record.clone();
        let stored = StoredHostname { hostname_id, state, route, tls, certificates };
        let sql = "INSERT OR REPLACE INTO hostname (name, revision, body) VALUES (?1, ?2, ?3)";
        self.execute(sql, params![name, new.revision.0, to_cbor(&stored)])?;
        Ok(Applied::Hostname(new.record.name.clone(), Box::new(stored)))
    }

    /// The certificates of an epoch before, for a name that has none yet in this one.
    fn bygone(&self, name: &str) -> Result<Vec<StoredCertificateRef>, LkgError> {
        let query = "SELECT body FROM hostname WHERE name = ?1";
        let mut statement = self.transaction.prepare_cached(query).map_err(failed("read"))?;
        let body = statement.query_row([name], |row| row.get::<_, Vec<u8>>(0)).optional();
        let Some(body) = body.map_err(failed("read"))? else { return Ok(Vec::new()) };
        // A body that can't be read is written anew.
        let Ok((_, stored)) = stored_hostname(name, &body) else { return Ok(Vec::new()) };
        let is_kept = |own: &StoredCertificateRef| own.bygone || self.is_other_epoch;
        let was_active = stored.state == HostnameState::Active;
        let kept = stored.certificates.into_iter().filter(|own| was_active && is_kept(own));
        Ok(kept.map(|own| StoredCertificateRef { bygone: true, ..own }).collect())
    }

    fn certificates_of(&self, name: &str) -> Result<Vec<KeptCertificate>, LkgError> {
        let query = "SELECT id, fingerprint, enc FROM certificate WHERE hostname = ?1";
        let mut statement = self.transaction.prepare_cached(query).map_err(failed("read"))?;
        let rows = statement.query_map([name], |row| {
            Ok(KeptCertificate { id: row.get(0)?, fingerprint: row.get(1)?, enc: row.get(2)? })
        });
        rows.and_then(Iterator::collect).map_err(failed("read"))
    }

    fn insert_certificate(&self, name: &str, new: &NewCertificate) -> Result<i64, LkgError> {
        let (leaf, rest) = new.chain.split_first().map_or((&[][..], &[][..]), |(a, b)| (a, b));
        let mut issuers = Vec::with_capacity(rest.len() * 8);
        for der in rest {
            issuers.extend_from_slice(&self.issuer(der)?.to_be_bytes());
        }
        let sql = "INSERT INTO certificate (hostname, fingerprint, not_after, leaf, issuers,
                   spki_sha256, key_id, enc, ciphertext) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let Sealed { key_id, enc, ciphertext } = &new.sealed;
        let fingerprint = &new.fingerprint.0[..];
        let (not_after, spki) = (new.not_after, &new.spki_sha256);
        let values =
            params![name, fingerprint, not_after, leaf, issuers, spki, key_id, enc, ciphertext];
        self.execute(sql, values)?;
        Ok(self.transaction.last_insert_rowid())
    }

    /// The row of an issuer's certificate; each is stored once.
    fn issuer(&self, der: &[u8]) -> Result<i64, LkgError> {
        let hash = sha256(der);
        let sql = "INSERT OR IGNORE INTO issuer (sha256, der) VALUES (?1, ?2)";
        self.execute(sql, params![&hash[..], der])?;
        let query = "SELECT id FROM issuer WHERE sha256 = ?1";
        let mut statement = self.transaction.prepare_cached(query).map_err(failed("read"))?;
        statement.query_row([&hash[..]], |row| row.get(0)).map_err(failed("read"))
    }

    fn commit(self, position: Position) -> Result<(), LkgError> {
        let sql = "INSERT OR REPLACE INTO state (id, epoch, cursor, digest, confirmed_at)
                   VALUES (1, ?1, ?2, ?3, ?4)";
        let Position { epoch, cursor, digest, confirmed_at } = position;
        let values = params![epoch.0, cursor.0, digest.as_bytes(), confirmed_at];
        self.execute(sql, values)?;
        self.transaction.commit().map_err(failed("commit"))
    }
}

struct KeptCertificate {
    id: i64,
    fingerprint: Vec<u8>,
    enc: Vec<u8>,
}

impl KeptCertificate {
    /// Whether the row holds this certificate with this sealing of its key.
    fn is(&self, new: &NewCertificate) -> bool {
        self.fingerprint == new.fingerprint.0 && self.enc == new.sealed.enc
    }
}
