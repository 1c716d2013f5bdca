//! The state's files, out of it and back.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use landfall_feed::secret_file;

use super::{CA_KEY, CA_ROOT, DATABASE, NEXT_SIGNING_KEY, SIGNING_KEY, make_private_folder};
use crate::{error::ControlError, store::Store};

/// The files beside the database. The snapshots are made again.
const KEYS: [&str; 4] = [SIGNING_KEY, NEXT_SIGNING_KEY, CA_KEY, CA_ROOT];

/// Makes a folder that isn't there, for secrets.
pub(crate) fn make_new_folder(path: &Path) -> Result<(), ControlError> {
    DirBuilder::new().mode(0o700).create(path).map_err(failed("create the folder", path))
}

/// Copies the state of `directory`, whose database is `store`, to the empty folder `to`, onto the disk.
pub(crate) async fn copy_state(
    store: &Store,
    directory: &Path,
    to: &Path,
) -> Result<(), ControlError> {
    // The keys first: a server that runs makes none, and switches none.
    for name in KEYS {
        copy(&directory.join(name), &to.join(name))?;
    }
    let path = to.join(DATABASE);
    let not_text = || io::Error::new(io::ErrorKind::InvalidFilename, "the path is no UTF-8");
    let text = path.to_str().ok_or_else(not_text).map_err(failed("write", &path))?;
    // SQLite gives its files the usual permissions, unless there is one.
    create(&path).map_err(failed("create", &path))?;
    store.copy_to(text).await.map_err(ControlError::Store)?;
    sync(&path)?;
    sync(to)
}

/// Puts the files of a backup into the state directory, which must hold no state.
pub(crate) fn restore_files(from: &Path, directory: &Path) -> Result<(), ControlError> {
    let source = from.join(DATABASE);
    fs::metadata(&source).map_err(failed("read", &source))?;
    make_private_folder(directory)?;
    let mut taken = KEYS.into_iter().chain([DATABASE]).map(|name| directory.join(name));
    if let Some(path) = taken.find(|path| path.exists()) {
        return Err(ControlError::NotEmpty { path });
    }
    fill(from, directory).inspect_err(|_| {
        // So that a second try begins anew. What can't be removed is told by that one.
        for name in KEYS.into_iter().chain([DATABASE]) {
            let _ = fs::remove_file(directory.join(name));
        }
    })
}

fn fill(from: &Path, directory: &Path) -> Result<(), ControlError> {
    for name in KEYS {
        copy(&from.join(name), &directory.join(name))?;
    }
    let source = from.join(DATABASE);
    copy_file(&source, &directory.join(DATABASE)).map_err(failed("copy", &source))?;
    sync(directory)
}

/// Copies a file of the state, where it is there.
fn copy(from: &Path, to: &Path) -> Result<(), ControlError> {
    if !from.exists() {
        return Ok(());
    }
    if from.extension().is_some_and(|extension| extension == "key") {
        let text = secret_file::read(from).map_err(ControlError::Secret)?;
        return secret_file::create(to, &text).map_err(ControlError::Secret);
    }
    copy_file(from, to).map_err(failed("copy", from))
}

fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    let mut target =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(to)?;
    io::copy(&mut File::open(from)?, &mut target)?;
    target.sync_all()
}

fn create(path: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map(drop)
}

fn sync(path: &Path) -> Result<(), ControlError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(failed("write", path))
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ControlError {
    let path = path.to_owned();
    move |source| ControlError::File { operation, path, source }
}
