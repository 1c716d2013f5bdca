//! The demo's folder.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{
    DemoError, Enrolment, Issuer, LOOPBACK, Ports, SITES, SYSTEM_DOMAIN, customer, pebble::Pebble,
};

/// The most bytes of a log that are repeated when its process ends.
const MAX_TAIL: usize = 2_000;

/// The folder, held by a lock for as long as the demo runs.
pub(super) struct Files {
    folder: PathBuf,
    _lock: File,
}

/// `demo.json`: what a script needs to talk to the demo.
#[derive(Serialize)]
struct Description<'a> {
    https: String,
    http: String,
    api: String,
    admin: String,
    dns: String,
    api_key: &'a str,
    /// The roots of all that the edge shows.
    ca: PathBuf,
    /// Who issues for customers' hostnames: `internal` or `pebble`.
    issuer: &'static str,
    hostnames: Vec<&'static str>,
    edge_config: PathBuf,
    control_config: PathBuf,
}

impl Files {
    /// Makes the folder where it is missing, readable by its owner alone, and locks it.
    ///
    /// # Errors
    /// [`DemoError::FolderInUse`] and [`DemoError::File`].
    pub(super) fn open(folder: &Path) -> Result<Self, DemoError> {
        let failed = |operation| move |source| file_error(operation, folder, source);
        private_folders().create(folder).map_err(failed("create"))?;
        let folder = folder.canonicalize().map_err(failed("create"))?;
        let path = folder.join("lock");
        let lock = File::create(&path).map_err(|source| file_error("create", &path, source))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { folder, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(DemoError::FolderInUse { folder }),
            Err(TryLockError::Error(source)) => Err(file_error("lock", &path, source)),
        }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The config of the process `name`.
    pub(super) fn config(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.toml"))
    }

    /// The log of the process `name`.
    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }

    /// The roots of all that the edge shows, as PEM: of the internal CA and of pebble.
    pub(super) fn roots(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Writes [`Self::roots`], once the control plane has run.
    ///
    /// # Errors
    /// [`DemoError::File`].
    pub(super) fn write_roots(&self) -> Result<(), DemoError> {
        let internal = self.read("control/internal-ca.pem")?.unwrap_or_default();
        self.write("ca.pem", &format!("{internal}{}", Pebble::roots(self)?))
    }

    /// `demo.json`
    pub(super) fn description(&self) -> PathBuf {
        self.folder.join("demo.json")
    }

    /// Makes a folder in the folder where it is missing, readable by its owner alone.
    ///
    /// # Errors
    /// [`DemoError::File`].
    pub(super) fn create_folder(&self, name: &str) -> Result<PathBuf, DemoError> {
        let path = self.folder.join(name);
        let created = private_folders().create(&path);
        created.map_err(|source| file_error("create", &path, source))?;
        Ok(path)
    }

    /// Reads a small file of the folder; `None` where it is missing.
    ///
    /// # Errors
    /// [`DemoError::File`].
    pub(super) fn read(&self, name: &str) -> Result<Option<String>, DemoError> {
        let path = self.folder.join(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(file_error("read", &path, source)),
        }
    }

    /// Writes a file of mode 0600, whole or not at all.
    ///
    /// # Errors
    /// [`DemoError::File`].
    pub(super) fn write(&self, name: &str, text: &str) -> Result<(), DemoError> {
        let path = self.folder.join(name);
        let temporary = self.folder.join(format!("{name}.new"));
        let failed = |source| file_error("write", &path, source);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&temporary).map_err(failed)?;
        file.set_permissions(Permissions::from_mode(0o600)).map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        fs::rename(&temporary, &path).map_err(failed)
    }

    /// Opens the log of the process `name`, empty.
    ///
    /// # Errors
    /// [`DemoError::File`].
    pub(super) fn create_log(&self, name: &str) -> Result<File, DemoError> {
        let path = self.log(name);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        options.open(&path).map_err(|source| file_error("create", &path, source))
    }

    /// Writes `demo.json`.
    ///
    /// # Errors
    /// [`DemoError::File`].
    pub(super) fn describe(
        &self,
        ports: &Ports,
        enrolment: &Enrolment,
        issuer: &Issuer,
    ) -> Result<(), DemoError> {
        let at = |port| format!("{LOOPBACK}:{port}");
        let description = Description {
            https: at(ports.https),
            http: at(ports.http),
            api: at(ports.api),
            admin: at(ports.admin),
            dns: at(ports.dns),
            api_key: enrolment.api_key.as_str(),
            ca: self.roots(),
            issuer: issuer.name(),
            hostnames: SITES.iter().chain([&customer::SITE]).map(|site| site.pattern).collect(),
            edge_config: self.config("edge"),
            control_config: self.config("control"),
        };
        let text = serde_json::to_string_pretty(&description)
            .map_err(|error| file_error("write", &self.description(), error.into()))?;
        self.write("demo.json", &format!("{text}\n"))
    }
}

/// The control plane's config.
pub(super) fn control_config(ports: &Ports, issuer: &Issuer) -> String {
    format!(
        "# Written by `landfall demo` at each start.
system_domain = \"{SYSTEM_DOMAIN}\"

[api]
listen = \"{LOOPBACK}:{}\"

[state]
directory = \"control\"

[keys]
group_public_key_file = \"keys/group.pub\"

# The demo's own origins.
[origins]
allow_networks = [\"{LOOPBACK}\"]

# The demo's own DNS server, which knows all there is.
[dns]
resolvers = [\"{LOOPBACK}:{}\"]
zone_servers = false

[watch]
port = {}
{}",
        ports.api,
        ports.dns,
        ports.https,
        issuer.control_section(ports)
    )
}

/// The edge's config.
pub(super) fn edge_config(ports: &Ports, issuer: &Issuer, signing_key: &str) -> String {
    format!(
        "# Written by `landfall demo` at each start.
[listen]
https = [\"{LOOPBACK}:{}\"]
http = [\"{LOOPBACK}:{}\"]
admin = \"{LOOPBACK}:{}\"

[feed]
url = \"http://{LOOPBACK}:{}\"
token_file = \"pop-token\"
signing_keys = [\"{signing_key}\"]

[keys]
group_key_files = [\"keys/group.key\"]

[state]
directory = \"edge\"

[upstream]
allow_networks = [\"{LOOPBACK}\"]

[server]
drain = \"1s\"
{}",
        ports.https,
        ports.http,
        ports.admin,
        ports.api,
        issuer.edge_section(ports)
    )
}

/// The last lines of a log.
pub(super) fn tail(path: &Path) -> String {
    let mut text = Vec::new();
    if let Ok(mut file) = File::open(path) {
        // What can be read is shown; the log's path stands beside it.
        let _ = file.read_to_end(&mut text);
    }
    let start = text.len().saturating_sub(MAX_TAIL);
    let text = String::from_utf8_lossy(text.get(start..).unwrap_or_default());
    text.trim()
        .lines()
        .rev()
        .take(5)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .collect::<Vec<_>>()
        .join("\n")
}

fn private_folders() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder
}

fn file_error(operation: &'static str, path: &Path, source: io::Error) -> DemoError {
    DemoError::File { operation, path: path.to_owned(), source }
}
