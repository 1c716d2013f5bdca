//! The last-known-good database: what an edge applied, on its own disk.
//!
//! SQLite in WAL mode. A page is applied in one transaction together with its cursor, so that a
//! `kill -9` at any moment leaves a whole state; point look-ups answer in well under a millisecond
//! from the first moment on. Private keys are in it sealed, as they came.
//!
//! One [`Writer`], and a [`Reader`] for everyone else. All calls block.

mod read;
mod restore;
mod write;

use std::{
    ffi::OsString,
    fs::{self, OpenOptions},
    io,
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::OpenOptionsExt,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use landfall_model::{Epoch, HostnameId, KeyType, Revision, Route, Sealed, TlsPolicy};
use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig};
use serde::{Deserialize, Serialize};

pub use self::{
    read::{ExpiryCounts, Quarantined, Reader, SealedTo, StoredChain},
    restore::FileState,
    write::{
        Applied, Change, NewCertificate, NewHostname, SnapshotOutcome, SnapshotWriter, Writer,
    },
};
use crate::{digest::StateDigest, record::HostnameState};

const FILE: &str = "last-known-good.db";
const SCHEMA: &str = include_str!("lkg/schema.sql");
const SCHEMA_VERSION: i64 = 1;
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the edge stands in the feed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The history that the cursor belongs to.
    pub epoch: Epoch,
    /// Everything up to this revision is applied.
    pub cursor: Revision,
    /// Of all records received up to the cursor, those in quarantine included.
    pub digest: StateDigest,
    /// When the control plane last said that this is its state, in seconds since 1970.
    pub confirmed_at: u64,
}

/// A hostname as the index needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredHostname {
    /// The API's id.
    pub hostname_id: HostnameId,
    /// Whether it is verified.
    pub state: HostnameState,
    /// Where its requests go.
    pub route: Route,
    /// Which TLS it offers.
    pub tls: TlsPolicy,
    /// Its certificates, by reference.
    pub certificates: Vec<StoredCertificateRef>,
}

/// A certificate of the database, by reference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredCertificateRef {
    /// Its row; never used again for another.
    pub id: i64,
    /// Its key.
    pub key: KeyDescription,
    /// When it expires, in seconds since 1970.
    pub not_after: i64,
    /// As in [`CertificateRecord`](crate::record::CertificateRecord).
    pub standby: bool,
    /// It is of an epoch before, and the control plane knows none yet: kept until it does.
    #[serde(default)]
    pub bygone: bool,
}

/// A public key, as far as a client must support it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyDescription {
    /// ECDSA or RSA.
    pub key_type: KeyType,
    /// The size in bits: 256 or 384 for ECDSA.
    pub bits: u32,
}

/// Why the database could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LkgError {
    /// The folder or file can't be made.
    #[error("cannot {operation} {}", path.display())]
    File {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// SQLite failed.
    #[error("the last-known-good database failed to {operation}")]
    Database {
        /// What was tried.
        operation: &'static str,
        /// SQLite's reason.
        #[source]
        source: rusqlite::Error,
    },
    /// Written by a later version.
    #[error("the last-known-good database has schema {found}, this version has {SCHEMA_VERSION}")]
    Schema {
        /// The file's.
        found: i64,
    },
    /// A row that can't be decoded.
    #[error("a row of the last-known-good database can't be read: {0}")]
    Row(String),
}

impl LkgError {
    /// Whether there was no space left to write.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Database { source, .. } if source.sqlite_error_code() == Some(ErrorCode::DiskFull))
    }

    /// A short constant for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Database { .. } if self.is_disk_full() => "disk_full",
            Self::Database { .. } => "database",
            Self::File { .. } => "file",
            Self::Schema { .. } => "schema",
            Self::Row(_) => "row",
        }
    }

    fn is_corruption(&self) -> bool {
        let codes = [ErrorCode::DatabaseCorrupt, ErrorCode::NotADatabase];
        match self {
            Self::Database { source, .. } => {
                source.sqlite_error_code().is_some_and(|code| codes.contains(&code))
            }
            Self::File { .. } | Self::Schema { .. } | Self::Row(_) => false,
        }
    }
}

/// A database that was opened.
pub struct Opened {
    /// The one writer.
    pub writer: Writer,
    /// For look-ups.
    pub reader: Reader,
    /// Where a file that was no database, or a damaged one, has been moved. The edge then starts
    /// with nothing and takes a snapshot.
    pub set_aside: Option<PathBuf>,
    /// Why nothing can be written for now, as on a full or read-only disk. What is there can be
    /// read, and each write tries again.
    pub not_writable: Option<LkgError>,
}

/// Opens the database in `folder`, or makes it: the folder 0700, the file 0600.
///
/// # Errors
/// [`LkgError`], where nothing can be read either. A damaged file is no error: it is set aside.
pub fn open(folder: &Path) -> Result<Opened, LkgError> {
    let path = folder.join(FILE);
    match open_writable(&path) {
        Ok(connection) => opened(path, connection, None),
        Err(error) if error.is_corruption() => {
            let aside = set_aside(&path)?;
            opened(path.clone(), open_writable(&path)?, Some(aside))
        }
        Err(error @ LkgError::Schema { .. }) => Err(error),
        Err(error) => open_readable(path, error),
    }
}

/// Opens the database in `folder` as the process beside this one has left it, which has it open and
/// may go on with it: nothing is made, migrated or set aside.
///
/// # Errors
/// [`LkgError`], where it isn't there, is damaged or has another version's schema.
pub fn open_beside(folder: &Path) -> Result<Opened, LkgError> {
    let path = folder.join(FILE);
    let connection = connect(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    match schema_version(&connection)? {
        SCHEMA_VERSION => {}
        found => return Err(LkgError::Schema { found }),
    }
    drop(connection);
    match open_writable(&path) {
        Ok(connection) => opened(path, connection, None),
        Err(error) if error.is_corruption() => Err(error),
        Err(error) => open_readable(path, error),
    }
}

fn opened(
    path: PathBuf,
    connection: Connection,
    set_aside: Option<PathBuf>,
) -> Result<Opened, LkgError> {
    let reader = Reader::new(path, Access::ReadOnly);
    let writer = Writer::new(connection, reader.clone())?;
    Ok(Opened { writer, reader, set_aside, not_writable: None })
}

/// Opens what can't be written, for the reason `error`.
fn open_readable(path: PathBuf, error: LkgError) -> Result<Opened, LkgError> {
    for access in [Access::ReadOnly, Access::Immutable] {
        let reader = Reader::new(path.clone(), access);
        if let Ok(position) = reader.position() {
            let writer = Writer::waiting(position, reader.clone());
            return Ok(Opened { writer, reader, set_aside: None, not_writable: Some(error) });
        }
    }
    Err(error)
}

/// How a connection reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// Together with a writer.
    ReadOnly,
    /// The file alone, as it was when its log was last written into it: for a disk on which not
    /// even SQLite's shared memory can be made.
    Immutable,
}

fn open_writable(path: &Path) -> Result<Connection, LkgError> {
    if let Some(folder) = path.parent() {
        make_folder(folder)?;
    }
    let create = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    create.map_err(|source| LkgError::File { operation: "open", path: path.to_owned(), source })?;
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "journal_mode", "wal").map_err(failed("switch to WAL"))?;
    // A commit survives the death of the process; only a power cut may lose the last ones, and
    // the feed brings them again.
    connection.pragma_update(None, "synchronous", "normal").map_err(failed("configure"))?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20).map_err(failed("configure"))?;
    // What is erased leaves the pages, also those that nothing is on any more.
    connection.pragma_update(None, "secure_delete", "on").map_err(failed("configure"))?;
    migrate(&connection)?;
    Ok(connection)
}

fn connect_to_read(path: &Path, access: Access) -> Result<Connection, LkgError> {
    let connection = open_to_read(path, access)?;
    // The log is the writer's, and after a restore that of another file.
    let quiet = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    quiet.map_err(failed("configure"))?;
    Ok(connection)
}

fn open_to_read(path: &Path, access: Access) -> Result<Connection, LkgError> {
    match access {
        Access::ReadOnly => connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY),
        Access::Immutable => {
            let mut uri = b"file:".to_vec();
            for byte in path.as_os_str().as_bytes() {
                uri.extend_from_slice(format!("%{byte:02X}").as_bytes());
            }
            uri.extend_from_slice(b"?immutable=1");
            let uri = PathBuf::from(OsString::from_vec(uri));
            connect(&uri, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI)
        }
    }
}

fn connect(path: &Path, access: OpenFlags) -> Result<Connection, LkgError> {
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed("open"))?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed("configure"))?;
    connection.pragma_update(None, "temp_store", "memory").map_err(failed("configure"))?;
    Ok(connection)
}

fn migrate(connection: &Connection) -> Result<(), LkgError> {
    match schema_version(connection)? {
        SCHEMA_VERSION => Ok(()),
        0 => connection
            .execute_batch(&format!(
                "BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
            ))
            .map_err(failed("create its tables")),
        found => Err(LkgError::Schema { found }),
    }
}

fn schema_version(connection: &Connection) -> Result<i64, LkgError> {
    let version = connection.pragma_query_value(None, "user_version", |row| row.get(0));
    version.map_err(failed("read the schema"))
}

fn make_folder(folder: &Path) -> Result<(), LkgError> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|source| LkgError::File { operation: "create", path: folder.to_owned(), source })
}

fn set_aside(path: &Path) -> Result<PathBuf, LkgError> {
    let aside = path.with_extension("db.damaged");
    let moved = fs::rename(path, &aside);
    moved.map_err(|source| LkgError::File {
        operation: "set aside",
        path: path.to_owned(),
        source,
    })?;
    for suffix in ["-wal", "-shm"] {
        let mut rest = path.as_os_str().to_owned();
        rest.push(suffix);
        // Absent after a clean end; and what belongs to a damaged file is of no use without it.
        let _ = fs::remove_file(PathBuf::from(rest));
    }
    Ok(aside)
}

fn failed(operation: &'static str) -> impl FnOnce(rusqlite::Error) -> LkgError {
    move |source| LkgError::Database { operation, source }
}

/// The parts of a sealed key in the order of their columns.
fn sealed(row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<Sealed> {
    Ok(Sealed {
        key_id: row.get(first)?,
        enc: row.get(first + 1)?,
        ciphertext: row.get(first + 2)?,
    })
}

#[cfg(test)]
mod restore_tests;
#[cfg(test)]
mod tests;
