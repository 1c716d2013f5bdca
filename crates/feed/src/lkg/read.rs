//! Look-ups, on connections of their own.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use landfall_model::{Epoch, HostPattern, LookupName, Revision, Sealed};
use rusqlite::{Connection, OptionalExtension, params};

use super::{Access, LkgError, Position, StoredHostname, connect_to_read, failed, sealed};
use crate::{digest::StateDigest, record::from_cbor};

/// Idle connections that are kept.
const MAX_IDLE: usize = 8;
/// The most group keys that are looked at. There are two while one is replaced.
const MAX_GROUP_KEYS: usize = 64;

/// Reads while the [`Writer`](super::Writer) writes. Clones share a pool of connections.
#[derive(Clone)]
pub struct Reader {
    path: Arc<PathBuf>,
    pool: Arc<Mutex<Pool>>,
}

struct Pool {
    access: Access,
    /// Counts the files that were read: a connection to an earlier one is not kept.
    file: u64,
    idle: Vec<Connection>,
}

/// A certificate with its chain, as it came over the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredChain {
    /// The hostname that the key is sealed for.
    pub hostname: HostPattern,
    /// DER, the leaf first.
    pub chain: Vec<Vec<u8>>,
    /// Of the leaf's public key.
    pub spki_sha256: Vec<u8>,
    /// The private key.
    pub key: Sealed,
}

/// A record that could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// Its id.
    pub id: String,
    /// Its revision.
    pub revision: Revision,
    /// Why, in words.
    pub reason: String,
    /// The encoded record.
    pub wire: Vec<u8>,
}

/// Certificates whose private keys are sealed to one group key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedTo {
    /// The group key's id.
    pub key_id: String,
    /// How many there are.
    pub certificates: u64,
    /// The hostname of one of them.
    pub hostname: String,
}

/// When certificates expire, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExpiryCounts {
    /// How many expire at or before each of the asked times, in their order.
    pub at_or_before: Vec<u64>,
    /// How many there are.
    pub total: u64,
    /// The sum of all expiry times, in seconds since 1970.
    pub sum: i64,
    /// The first expiry, in seconds since 1970.
    pub nearest: Option<i64>,
}

impl Reader {
    pub(super) fn new(path: PathBuf, access: Access) -> Self {
        let pool = Pool { access, file: 0, idle: Vec::new() };
        Self { path: Arc::new(path), pool: Arc::new(Mutex::new(pool)) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// From now on somebody writes, maybe to another file than before.
    pub(super) fn read_with_writer(&self) {
        let mut pool = self.pool();
        *pool = Pool { access: Access::ReadOnly, file: pool.file + 1, idle: Vec::new() };
    }

    /// Where the edge stands; all zero before the first snapshot.
    pub(super) fn position(&self) -> Result<Position, LkgError> {
        self.with(|connection| Ok(read_position(connection)?.unwrap_or_default()))
    }

    /// The hostname that answers for `name`: the exact one, else the wildcard one label above.
    ///
    /// # Errors
    /// [`LkgError`].
    pub fn hostname(
        &self,
        name: &LookupName,
    ) -> Result<Option<(HostPattern, StoredHostname)>, LkgError> {
        let wildcard = name.wildcard_base().map(|base| format!("*.{base}"));
        let read = |connection: &Connection| {
            let query = "SELECT name, body FROM hostname WHERE name IN (?1, ?2)
                         ORDER BY substr(name, 1, 1) = '*' LIMIT 1";
            let mut statement = connection.prepare_cached(query)?;
            let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
            statement.query_row(params![name.as_str(), wildcard], row).optional()
        };
        let row: Option<(String, Vec<u8>)> = self.with(read)?;
        row.map(|(name, body)| stored_hostname(&name, &body)).transpose()
    }

    /// The wildcard one label above `name`.
    ///
    /// # Errors
    /// [`LkgError`].
    pub fn wildcard_above(
        &self,
        name: &LookupName,
    ) -> Result<Option<(HostPattern, StoredHostname)>, LkgError> {
        let Some(base) = name.wildcard_base() else { return Ok(None) };
        let wildcard = format!("*.{base}");
        let body: Option<Vec<u8>> = self.with(|connection| {
            let query = "SELECT body FROM hostname WHERE name = ?1";
            let mut statement = connection.prepare_cached(query)?;
            statement.query_row([&wildcard], |row| row.get(0)).optional()
        })?;
        body.map(|body| stored_hostname(&wildcard, &body)).transpose()
    }

    /// Whether there is a record of this very name or wildcard.
    ///
    /// # Errors
    /// [`LkgError`].
    pub fn has_hostname(&self, name: &HostPattern) -> Result<bool, LkgError> {
        self.with(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT 1 FROM hostname WHERE name = ?1")?;
            statement.exists([name.to_string()])
        })
    }

    /// The revision of the record of this very name or wildcard, and with how many certificates it is
    /// served.
    ///
    /// # Errors
    /// [`LkgError`].
    pub fn standing(&self, name: &HostPattern) -> Result<Option<(Revision, u64)>, LkgError> {
        self.with(|connection| {
            let query = "SELECT revision, (SELECT count(*) FROM certificate
                         WHERE certificate.hostname = name) FROM hostname WHERE name = ?1";
            let mut statement = connection.prepare_cached(query)?;
            let row = |row: &rusqlite::Row<'_>| Ok((Revision(row.get(0)?), row.get(1)?));
            statement.query_row([name.to_string()], row).optional()
        })
    }

    /// The certificate of row `id`.
    ///
    /// # Errors
    /// [`LkgError`].
    pub fn certificate(&self, id: i64) -> Result<Option<StoredChain>, LkgError> {
        let row = self.with(|connection| read_certificate(connection, id))?;
        let Some((hostname, chain, spki_sha256, key)) = row else { return Ok(None) };
        let hostname = parse_name(&hostname)?;
        Ok(Some(StoredChain { hostname, chain, spki_sha256, key }))
    }

    /// Calls `each` for every hostname. One that can't be read is passed as an error.
    ///
    /// # Errors
    /// [`LkgError`] where the scan itself fails.
    pub fn for_each_hostname(
        &self,
        mut each: impl FnMut(Result<(HostPattern, StoredHostname), LkgError>),
    ) -> Result<(), LkgError> {
        self.with(|connection| {
            let mut statement = connection.prepare("SELECT name, body FROM hostname")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let (name, body) = (row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_blob()?);
                each(stored_hostname(name, body));
            }
            Ok(())
        })
    }

    /// Every record that is no hostname, as it came.
    ///
    /// # Errors
    /// [`LkgError`].
    pub fn for_each_other(&self, mut each: impl FnMut(&[u8])) -> Result<(), LkgError> {
        self.with(|connection| {
            let mut statement = connection.prepare("SELECT wire FROM other")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                each(row.get_ref(0)?.as_blob()?);
            }
            Ok(())
        })
    }

    /// Records in quarantine, the newest first, at most `limit`.
    ///
    /// # Errors
    /// [`LkgError`].
    pub fn quarantined(&self, limit: usize) -> Result<Vec<Quarantined>, LkgError> {
        self.with(|connection| {
            let query = "SELECT id, revision, reason, wire FROM quarantine
                         ORDER BY revision DESC LIMIT ?1";
            let mut statement = connection.prepare_cached(query)?;
            let rows = statement.query_map([limit], |row| {
                Ok(Quarantined {
                    id: row.get(0)?,
                    revision: Revision(row.get(1)?),
                    reason: row.get(2)?,
                    wire: row.get(3)?,
                })
            })?;
            rows.collect()
        })
    }

    /// How many hostnames there are. Reads all of them: 0.2 s at a million.
    ///
    /// # Errors
    /// [`LkgError`].
    pub fn count_hostnames(&self) -> Result<u64, LkgError> {
        let query = "SELECT count(*) FROM hostname";
        self.with(|connection| connection.query_row(query, [], |row| row.get(0)))
    }

    /// How many records are in quarantine.
    ///
    /// # Errors
    /// [`LkgError`].
    pub fn count_quarantined(&self) -> Result<u64, LkgError> {
        let query = "SELECT count(*) FROM quarantine";
        self.with(|connection| connection.query_row(query, [], |row| row.get(0)))
    }

    /// How many records are in quarantine for a reason of this kind.
    ///
    /// # Errors
    /// [`LkgError`].
    pub fn count_quarantined_for(&self, kind: &str) -> Result<u64, LkgError> {
        let query = "SELECT count(*) FROM quarantine WHERE kind = ?1";
        self.with(|connection| connection.query_row(query, [kind], |row| row.get(0)))
    }

    /// Counts the certificates that expire at or before each of `times` (seconds since 1970).
    ///
    /// # Errors
    /// [`LkgError`].
    pub fn expiry_counts(&self, times: &[i64]) -> Result<ExpiryCounts, LkgError> {
        self.with(|connection| {
            let query =
                "SELECT count(*), coalesce(sum(not_after), 0), min(not_after) FROM certificate";
            let (total, sum, nearest) = connection
                .query_row(query, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            let query = "SELECT count(*) FROM certificate WHERE not_after <= ?1";
            let mut statement = connection.prepare_cached(query)?;
            let counts = times.iter().map(|time| statement.query_row([time], |row| row.get(0)));
            let at_or_before = counts.collect::<rusqlite::Result<_>>()?;
            Ok(ExpiryCounts { at_or_before, total, sum, nearest })
        })
    }

    /// Counts the certificates that have not expired at `now` (seconds since 1970) and whose keys are sealed
    /// to a group key that is none of `held`, by group key, at most [`MAX_GROUP_KEYS`] of those. Without such a
    /// group key it takes microseconds, at any number of certificates.
    ///
    /// # Errors
    /// [`LkgError`].
    pub fn sealed_to_others(&self, held: &[&str], now: i64) -> Result<Vec<SealedTo>, LkgError> {
        self.with(|connection| {
            let mut next = connection
                .prepare_cached("SELECT min(key_id) FROM certificate WHERE key_id > ?1")?;
            let mut count = connection.prepare_cached(
                "SELECT count(*), coalesce(min(hostname), '') FROM certificate
                 WHERE key_id = ?1 AND not_after > ?2",
            )?;
            let (mut others, mut last) = (Vec::new(), String::new());
            for _ in 0..MAX_GROUP_KEYS {
                let Some(key_id) = next.query_row([&last], |row| row.get(0))? else { break };
                last = key_id;
                if held.contains(&last.as_str()) {
                    continue;
                }
                let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
                let (certificates, hostname) = count.query_row(params![last, now], row)?;
                if certificates > 0 {
                    others.push(SealedTo { key_id: last.clone(), certificates, hostname });
                }
            }
            Ok(others)
        })
    }

    fn with<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, LkgError> {
        let (access, file, idle) = {
            let mut pool = self.pool();
            (pool.access, pool.file, pool.idle.pop())
        };
        let connection = match idle {
            Some(connection) => connection,
            None => connect_to_read(&self.path, access)?,
        };
        let done = work(&connection).map_err(failed("read"))?;
        let mut pool = self.pool();
        if pool.file == file && pool.idle.len() < MAX_IDLE {
            pool.idle.push(connection);
        }
        Ok(done)
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn read_position(connection: &Connection) -> rusqlite::Result<Option<Position>> {
    let query = "SELECT epoch, cursor, digest, confirmed_at FROM state WHERE id = 1";
    let row = connection.query_row(query, [], |row| {
        Ok(Position {
            epoch: Epoch(row.get(0)?),
            cursor: Revision(row.get(1)?),
            digest: StateDigest::from_bytes(row.get(2)?),
            confirmed_at: row.get(3)?,
        })
    });
    row.optional()
}

type CertificateRow = (String, Vec<Vec<u8>>, Vec<u8>, Sealed);

fn read_certificate(connection: &Connection, id: i64) -> rusqlite::Result<Option<CertificateRow>> {
    let query = "SELECT hostname, leaf, issuers, spki_sha256, key_id, enc, ciphertext
                 FROM certificate WHERE id = ?1";
    // One transaction, so that the issuers are those of the row.
    let transaction = connection.unchecked_transaction()?;
    let mut statement = transaction.prepare_cached(query)?;
    let row = statement.query_row([id], |row| {
        let (hostname, leaf): (String, Vec<u8>) = (row.get(0)?, row.get(1)?);
        let (issuers, spki): (Vec<u8>, Vec<u8>) = (row.get(2)?, row.get(3)?);
        Ok((hostname, leaf, issuers, spki, sealed(row, 4)?))
    });
    let Some((hostname, leaf, issuers, spki_sha256, key)) = row.optional()? else {
        return Ok(None);
    };
    let mut chain = vec![leaf];
    let mut issuer = transaction.prepare_cached("SELECT der FROM issuer WHERE id = ?1")?;
    for id in issuers.as_chunks().0 {
        chain.push(issuer.query_row([i64::from_be_bytes(*id)], |row| row.get(0))?);
    }
    Ok(Some((hostname, chain, spki_sha256, key)))
}

pub(super) fn stored_hostname(
    name: &str,
    body: &[u8],
) -> Result<(HostPattern, StoredHostname), LkgError> {
    let stored = from_cbor(body).map_err(|error| LkgError::Row(error.to_string()))?;
    Ok((parse_name(name)?, stored))
}

fn parse_name(name: &str) -> Result<HostPattern, LkgError> {
    name.parse().map_err(|error| LkgError::Row(format!("{name}: {error}")))
}
