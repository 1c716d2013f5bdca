//! A database file that somebody deleted while it was in use.
//!
//! What was open stays readable, so all of it is written to a new file, and that one is used from
//! then on. Without this an edge would serve on and start with nothing the next time.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rusqlite::{Connection, config::DbConfig};

use super::{LkgError, Writer, failed, make_folder, open_writable, set_aside};

/// How the file of a [`Writer`] was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileState {
    /// Where it belongs.
    Present,
    /// Gone, or another one in its place; it has been written anew.
    Restored,
}

/// Which file this is, whatever its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileIdentity {
    device: u64,
    inode: u64,
}

impl FileIdentity {
    pub(super) fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self { device: metadata.dev(), inode: metadata.ino() })
    }
}

impl Writer {
    /// Looks whether the file is still there, and writes it anew where it is not.
    ///
    /// # Errors
    /// [`LkgError`]; what was open is used on, and the next call tries again.
    pub fn restore_deleted(&mut self) -> Result<FileState, LkgError> {
        let path = self.reader.path().to_owned();
        let Some(connection) = &self.connection else { return Ok(FileState::Present) };
        let found = FileIdentity::of(&path);
        if found == self.file {
            return Ok(FileState::Present);
        }
        let copy = path.with_extension("db.new");
        write_copy(connection, &copy)?;
        // Closing must not touch the log of the new file, which has the name of the old one's.
        let quiet = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        quiet.map_err(failed("leave the deleted file"))?;
        replace(&path, &copy, found)?;
        let connection = open_writable(&path)?;
        self.file = FileIdentity::of(&path);
        self.connection = Some(connection);
        self.reader.read_with_writer();
        Ok(FileState::Restored)
    }
}

fn write_copy(connection: &Connection, copy: &Path) -> Result<(), LkgError> {
    if let Some(folder) = copy.parent() {
        make_folder(folder)?;
    }
    let create = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(copy);
    create.map_err(file_error("create", copy))?;
    let target = copy.to_string_lossy();
    connection.execute("VACUUM INTO ?1", [target]).map_err(failed("write itself anew")).map(drop)
}

/// Puts `copy` in the place of what is at `path`, whose log belongs to the deleted file.
fn replace(path: &Path, copy: &Path, found: Option<FileIdentity>) -> Result<(), LkgError> {
    if found.is_some() {
        set_aside(path)?;
    }
    for suffix in ["-wal", "-shm"] {
        let mut rest = path.as_os_str().to_owned();
        rest.push(suffix);
        let rest = PathBuf::from(rest);
        match fs::remove_file(&rest) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(file_error("remove", &rest)(error));
            }
            Ok(()) | Err(_) => {}
        }
    }
    fs::rename(copy, path).map_err(file_error("replace", path))
}

fn file_error(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LkgError {
    let path = path.to_owned();
    move |source| LkgError::File { operation, path, source }
}
