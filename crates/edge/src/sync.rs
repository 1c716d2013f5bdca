//! How the feed becomes what is served.
//!
//! [`poller`] asks the control plane and verifies, [`check`] decides for each record whether it
//! can be used, [`apply`] writes what can to the last-known-good database and publishes it to the
//! store, in that order. Whatever fails on the way, the store keeps what it has.
//!
//! [`start`] loads the last-known-good state before anything else: an edge serves at once, whether
//! or not there is a control plane.

mod apply;
mod busiest;
mod check;
mod downloads;
mod metrics;
mod poller;
mod schedule;
mod source;

use std::{path::PathBuf, sync::Arc, time::SystemTime};

use landfall_certstore::{GroupKeyError, GroupKeys, Resolver, StoreConfig, channel};
use landfall_feed::{
    bounded_file::{self, MAX_ROOTS},
    client::{ClientConfig, FeedClient, FeedError},
    lkg::{self, LkgError},
    secret_file::{self, SecretFileError},
};
use zeroize::Zeroizing;

use crate::{
    challenges::Challenges, config::EdgeConfig, duty::Duty, metrics::Metrics,
    properties::Properties, readiness::Readiness, site::Site,
};
use apply::Applier;
pub(crate) use apply::describe;
use busiest::Busiest;
use downloads::Downloads;
use metrics::SyncMetrics;
pub use poller::{Filling, Poller};
use source::LkgSource;

/// Why the edge's state can't be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SyncError {
    /// A secret file can't be read, or others can read it.
    #[error("a secret can't be read")]
    Secret(#[source] SecretFileError),
    /// A group key file has something else in it.
    #[error("{} is no group key file", path.display())]
    GroupKey {
        /// The file.
        path: PathBuf,
        /// What was expected.
        #[source]
        source: GroupKeyError,
    },
    /// The roots for the feed can't be read.
    #[error("cannot read {}", path.display())]
    Roots {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The client refuses its configuration.
    #[error("the feed's client can't be set up")]
    Client(#[source] FeedError),
    /// The last-known-good database can't be opened or read.
    #[error("the last-known-good state can't be loaded")]
    State(#[source] LkgError),
    /// A metric was not registered.
    #[error("cannot register the feed's metrics")]
    Metrics(#[source] prometheus::Error),
}

/// The state as it was loaded, and what keeps it up to date.
pub struct Started {
    /// For the TLS front and the proxy.
    pub resolver: Resolver<Site>,
    /// What the hostnames of a property have in common.
    pub properties: Arc<Properties>,
    /// The challenges of CAs.
    pub challenges: Arc<Challenges>,
    /// To be run for as long as the edge lives.
    pub poller: Poller,
    /// What opens secrets.
    pub keys: Arc<GroupKeys>,
}

/// Reads the secrets, opens the last-known-good database and makes the store. Names are served from
/// the database until [`Poller::run`] has filled the index. Without duty nothing is written: what
/// another process has on disk is taken as it is.
///
/// # Errors
/// [`SyncError`]. That there is no control plane is none.
pub fn start(
    config: &EdgeConfig,
    duty: Arc<Duty>,
    readiness: Arc<Readiness>,
    metrics: &Metrics,
) -> Result<Started, SyncError> {
    let keys = Arc::new(group_keys(&config.group_key_files)?);
    let client = client(config)?;
    let opened = match *duty.watch().borrow() {
        true => lkg::open(&config.state_directory),
        false => lkg::open_beside(&config.state_directory),
    };
    let opened = opened.map_err(SyncError::State)?;
    if let Some(path) = &opened.set_aside {
        tracing::error!(
            path = %path.display(),
            "the last-known-good database was damaged and set aside; starting with nothing",
        );
    }
    let not_writable = opened.not_writable.as_ref().map(|error| apply::describe(error));
    let sync_metrics = SyncMetrics::new(metrics.registry(), Arc::clone(&readiness));
    let sync_metrics = Arc::new(sync_metrics.map_err(SyncError::Metrics)?);
    if let Some(error) = &opened.not_writable {
        readiness.update(|state| state.not_written = Some(error.reason()));
    }
    if let Some(error) = not_writable {
        tracing::error!(error, "the state can be read and not written; serving what it holds");
        sync_metrics.state_not_written();
    }
    let source = Arc::new(LkgSource::new(opened.reader.clone()));
    let store = StoreConfig { key_cache_bytes: config.key_cache };
    let (publisher, resolver) = channel(store, source, Arc::clone(&keys), Site::new);
    let properties = Arc::new(Properties::default());
    let challenges = Arc::new(Challenges::default());
    let published = (Arc::clone(&properties), Arc::clone(&challenges));
    let held = Arc::clone(&keys);
    let mut applier = Applier::new(opened, publisher, published, held, Arc::clone(&sync_metrics));
    applier.load_others().map_err(SyncError::State)?;
    poller::note_loaded(&readiness, applier.position(), SystemTime::now());
    let downloads = Downloads::new(config.state_directory.join("snapshot"));
    let busiest = Busiest::new(resolver.clone());
    let feed = (client, busiest);
    let poller = Poller::new(duty, feed, applier, readiness, sync_metrics, downloads);
    Ok(Started { resolver, properties, challenges, poller, keys })
}

pub(crate) fn group_keys(files: &[PathBuf]) -> Result<GroupKeys, SyncError> {
    let mut texts: Vec<Zeroizing<String>> = Vec::with_capacity(files.len());
    for path in files {
        let text = secret_file::read(path).map_err(SyncError::Secret)?;
        GroupKeys::parse([text.as_str()])
            .map_err(|source| SyncError::GroupKey { path: path.clone(), source })?;
        texts.push(text);
    }
    let path = || files.first().cloned().unwrap_or_default();
    GroupKeys::parse(texts.iter().map(|text| text.as_str()))
        .map_err(|source| SyncError::GroupKey { path: path(), source })
}

/// Whom the control plane is asked by.
///
/// # Errors
/// [`SyncError`].
pub(crate) fn client(config: &EdgeConfig) -> Result<FeedClient, SyncError> {
    FeedClient::new(client_config(config)?).map_err(SyncError::Client)
}

fn client_config(config: &EdgeConfig) -> Result<ClientConfig, SyncError> {
    let read_roots = |path: &PathBuf| {
        bounded_file::read(path, MAX_ROOTS)
            .map_err(|source| SyncError::Roots { path: path.clone(), source })
    };
    Ok(ClientConfig {
        url: config.feed.url.clone(),
        token: secret_file::read(&config.feed.token_file).map_err(SyncError::Secret)?,
        signing_keys: config.feed.signing_keys.clone(),
        roots: config.feed.ca_file.as_ref().map(read_roots).transpose()?,
        wait: config.feed.wait,
    })
}
