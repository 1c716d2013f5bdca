//! The state directory: the database, the keys made at the first start, the snapshots.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use landfall_feed::{seal::GroupPublicKey, secret_file, sign::SigningKey};
use landfall_model::Hostname;
use time::OffsetDateTime;

use crate::{
    authority::Authorities,
    ca::InternalCa,
    config::ControlConfig,
    error::ControlError,
    store::{self, Store},
};

const DATABASE: &str = "control.db";
const SIGNING_KEY: &str = "feed-signing.key";
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
fn lock_for_server(directory: &Path) -> Result<ServerLock, ControlError> {
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
    let path = directory.join(SIGNING_KEY);
    let failed = |source| ControlError::SigningKey { path: path.clone(), source };
    if !path.exists() {
        let text = SigningKey::generate().map_err(failed)?;
        secret_file::create(&path, &text).map_err(ControlError::Secret)?;
        tracing::info!(path = %path.display(), "made the feed's signing key");
    }
    let text = secret_file::read(&path).map_err(ControlError::Secret)?;
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
    let text = fs::read_to_string(path).map_err(|source| ControlError::File {
        operation: "read the group's public key",
        path: path.to_owned(),
        source,
    })?;
    let failed = |source| ControlError::GroupKey { path: path.to_owned(), source };
    GroupPublicKey::parse(&text).map_err(failed)
}
