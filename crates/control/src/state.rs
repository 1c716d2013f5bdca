//! The state directory: the database, the keys made at the first start, the snapshots.

mod backup;

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use landfall_feed::{
    bounded_file,
    seal::GroupPublicKey,
    secret_file,
    sign::{SigningKey, VerifyingKey},
};
use landfall_model::Hostname;
use time::OffsetDateTime;

pub(crate) use backup::{copy_state, make_new_folder, restore_files};

use crate::{
    authority::Authorities,
    ca::InternalCa,
    config::ControlConfig,
    error::ControlError,
    store::{self, Store},
};

/// The largest file of a public key, in bytes.
const MAX_KEY: u64 = 64 * 1024;
const DATABASE: &str = "control.db";
const SIGNING_KEY: &str = "feed-signing.key";
const NEXT_SIGNING_KEY: &str = "feed-signing.next.key";
const CA_KEY: &str = "internal-ca.key";
const CA_ROOT: &str = "internal-ca.pem";
const SNAPSHOTS: &str = "snapshots";
const LOCK: &str = ".lock";
const SERVER_LOCK: &str = ".server.lock";

/// Everything of the state directory that a server needs.
pub(crate) struct State {
    pub(crate) store: Store,
    pub(crate) signing_key: SigningKey,
    pub(crate) ca: InternalCa,
    pub(crate) group: GroupPublicKey,
    pub(crate) authorities: Authorities,
    pub(crate) snapshots: PathBuf,
    pub(crate) server_lock: ServerLock,
}

/// Keeps a second server off the state directory for as long as it lives. The system lets go of it
/// however the process ends.
#[derive(Debug)]
pub(crate) struct ServerLock {
    _file: File,
}

/// Opens everything, and makes what a first start finds missing.
pub(crate) async fn open(config: &ControlConfig) -> Result<State, ControlError> {
    let group = read_group_key(&config.group_public_key_file)?;
    let authorities = Authorities::load(&config.agents, &group)?;
    let directory = &config.state_directory;
    let _lock = lock(directory).await?;
    let server_lock = lock_for_server(directory)?;
    let signing_key = signing_key(directory)?;
    let ca = internal_ca(directory)?;
    let snapshots = directory.join(SNAPSHOTS);
    make_private_folder(&snapshots)?;
    let store = open_database(directory).await?;
    check_system_domain(&store, &config.system_domain).await?;
    Ok(State { store, signing_key, ca, group, authorities, snapshots, server_lock })
}

/// Opens the database alone, for a command.
pub(crate) async fn open_store(config: &ControlConfig) -> Result<Store, ControlError> {
    let _lock = lock(&config.state_directory).await?;
    open_database(&config.state_directory).await
}

/// Opens the database, for a command on the signing keys.
pub(crate) async fn open_store_and_signing_keys(
    config: &ControlConfig,
) -> Result<(Store, SigningKeys), ControlError> {
    let lock = lock(&config.state_directory).await?;
    let store = open_database(&config.state_directory).await?;
    Ok((store, SigningKeys { directory: config.state_directory.clone(), _lock: lock }))
}

/// The key that signs the feed, and the one that is to take its place. No other command touches them
/// meanwhile.
#[derive(Debug)]
pub(crate) struct SigningKeys {
    directory: PathBuf,
    _lock: File,
}

impl SigningKeys {
    /// The public half of the key in use.
    pub(crate) fn current(&self) -> Result<VerifyingKey, ControlError> {
        Ok(signing_key(&self.directory)?.verifying_key())
    }

    /// The public half of the next key, and whether it was made now.
    pub(crate) fn prepare(&self) -> Result<(VerifyingKey, bool), ControlError> {
        let path = self.directory.join(NEXT_SIGNING_KEY);
        let is_there = path.exists();
        Ok((read_or_make_signing_key(&path)?.verifying_key(), !is_there))
    }

    /// Takes the next key into use.
    pub(crate) fn switch(&self) -> Result<VerifyingKey, ControlError> {
        let path = self.directory.join(NEXT_SIGNING_KEY);
        if !path.exists() {
            return Err(ControlError::NoNextSigningKey { path });
        }
        let next = read_or_make_signing_key(&path)?.verifying_key();
        let moved = fs::rename(&path, self.directory.join(SIGNING_KEY))
            .and_then(|()| File::open(&self.directory)?.sync_all());
        moved.map_err(|source| ControlError::File { operation: "rename", path, source })?;
        Ok(next)
    }
}

/// Opens the database and the signing key, for a command.
pub(crate) async fn open_store_and_key(
    config: &ControlConfig,
) -> Result<(Store, SigningKey), ControlError> {
    let _lock = lock(&config.state_directory).await?;
    let key = signing_key(&config.state_directory)?;
    Ok((open_database(&config.state_directory).await?, key))
}

/// Makes the folder, and keeps other processes from making what is in it at the same time. The
/// lock ends with the file.
async fn lock(directory: &Path) -> Result<File, ControlError> {
    make_private_folder(directory)?;
    let path = directory.join(LOCK);
    let locked = path.clone();
    let lock = move || {
        let file = open_lock(&locked)?;
        file.lock()?;
        Ok(file)
    };
    let result = tokio::task::spawn_blocking(lock).await;
    let result = result.unwrap_or_else(|error| Err(io::Error::other(error)));
    result.map_err(|source| ControlError::File { operation: "lock", path, source })
}

/// A command may run beside the server, so that it has a lock of its own.
pub(crate) fn lock_for_server(directory: &Path) -> Result<ServerLock, ControlError> {
    let path = directory.join(SERVER_LOCK);
    let locked = open_lock(&path).map_err(TryLockError::Error).and_then(|file| {
        file.try_lock()?;
        Ok(ServerLock { _file: file })
    });
    locked.map_err(|error| match error {
        TryLockError::WouldBlock => ControlError::InUse { directory: directory.to_owned() },
        TryLockError::Error(source) => ControlError::File { operation: "lock", path, source },
    })
}

fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
}

async fn check_system_domain(store: &Store, expected: &Hostname) -> Result<(), ControlError> {
    let found = async {
        let mut connection = store.read().await?;
        store::hostname::system_hostname_outside(&mut connection, expected).await
    };
    match found.await.map_err(ControlError::Store)? {
        None => Ok(()),
        Some(found) => Err(ControlError::SystemDomain { found, expected: expected.clone() }),
    }
}

fn make_private_folder(path: &Path) -> Result<(), ControlError> {
    let failed =
        |operation| move |source| ControlError::File { operation, path: path.to_owned(), source };
    match fs::metadata(path) {
        Ok(_) => check_private(path, "700"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(failed("create the folder")),
        Err(error) => Err(failed("look at")(error)),
    }
}

/// Refuses what group or others have a permission on.
fn check_private(path: &Path, wanted: &'static str) -> Result<(), ControlError> {
    let metadata = fs::metadata(path).map_err(|source| ControlError::File {
        operation: "look at",
        path: path.to_owned(),
        source,
    })?;
    let mode = metadata.mode() & 0o7777;
    match mode & 0o077 {
        0 => Ok(()),
        _ => Err(ControlError::Permissions { path: path.to_owned(), mode, wanted }),
    }
}

async fn open_database(directory: &Path) -> Result<Store, ControlError> {
    let path = directory.join(DATABASE);
    // SQLite gives its other files the permissions of the first.
    let created =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    created.map_err(|source| ControlError::File {
        operation: "open the database",
        path: path.clone(),
        source,
    })?;
    check_private(&path, "600")?;
    Store::open(&path).await.map_err(ControlError::Store)
}

fn signing_key(directory: &Path) -> Result<SigningKey, ControlError> {
    read_or_make_signing_key(&directory.join(SIGNING_KEY))
}

fn read_or_make_signing_key(path: &Path) -> Result<SigningKey, ControlError> {
    let failed = |source| ControlError::SigningKey { path: path.to_owned(), source };
    if !path.exists() {
        let text = SigningKey::generate().map_err(failed)?;
        secret_file::create(path, &text).map_err(ControlError::Secret)?;
        tracing::info!(path = %path.display(), "made a signing key for the feed");
    }
    let text = secret_file::read(path).map_err(ControlError::Secret)?;
    SigningKey::parse(&text).map_err(failed)
}

fn internal_ca(directory: &Path) -> Result<InternalCa, ControlError> {
    let (key_path, root_path) = (directory.join(CA_KEY), directory.join(CA_ROOT));
    let failed = |operation| {
        let path = root_path.clone();
        move |source| ControlError::File { operation, path, source }
    };
    if !key_path.exists() {
        let text = InternalCa::generate_key().map_err(ControlError::Ca)?;
        secret_file::create(&key_path, &text).map_err(ControlError::Secret)?;
        tracing::info!(path = %key_path.display(), "made the internal CA's key");
    }
    let key = secret_file::read(&key_path).map_err(ControlError::Secret)?;
    if !root_path.exists() {
        let now = OffsetDateTime::now_utc();
        let root = InternalCa::generate_root(&key, now).map_err(ControlError::Ca)?;
        write_whole(&root_path, root.as_bytes()).map_err(failed("write"))?;
    }
    let root = fs::read_to_string(&root_path).map_err(failed("read"))?;
    InternalCa::parse(&key, &root).map_err(ControlError::Ca)
}

/// Writes a file whole or not at all: under another name first.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary)?;
    io::Write::write_all(&mut file, bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}

pub(crate) fn read_group_key(path: &Path) -> Result<GroupPublicKey, ControlError> {
    let bytes = bounded_file::read(path, MAX_KEY).map_err(|source| ControlError::File {
        operation: "read the group's public key",
        path: path.to_owned(),
        source,
    })?;
    let failed = |source| ControlError::GroupKey { path: path.to_owned(), source };
    GroupPublicKey::parse(&String::from_utf8_lossy(&bytes)).map_err(failed)
}
