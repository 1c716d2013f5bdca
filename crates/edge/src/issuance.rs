//! The issuance agent within the edge: a service with a thread of its own, which serving knows nothing
//! of. Whatever becomes of it, the edge serves.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use landfall_certstore::GroupKeys;
use landfall_dns::Verifier;
use landfall_feed::{
    client::{FeedClient, FeedError},
    seal::{GroupPublicKey, SealError},
    secret_file::{self, SecretFileError},
};
use landfall_issuance::{
    agent::{Agent, AgentMetrics, ControlError, ControlPlane, Orders, Vault, VaultError},
    protocol::{
        LEASE_PATH, LeaseReply, LeaseRequest, RENEWAL_PATH, REPORT_PATH, RenewalReply,
        RenewalReport, Report, ReportReply,
    },
};
use landfall_model::{SealContext, Sealed};
use pingora_core::{server::ShutdownWatch, services::background::BackgroundService};
use prometheus::Registry;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{sync::watch, time::timeout};
use zeroize::Zeroizing;

use crate::{
    config::{EdgeConfig, Issuance},
    duty::Duty,
    readiness::Readiness,
    sync::{self, SyncError},
};

/// The largest reply, in bytes: tasks carry their CAs' roots and every PoP's addresses.
const MAX_REPLY: usize = 8 << 20;
/// After the agent could not be made, or panicked. It is in no hurry.
const PAUSE: Duration = Duration::from_secs(30);

/// Why there is no agent. The edge serves without it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssuanceError {
    /// The group key can't be read.
    #[error("the group key can't be read")]
    Secret(#[from] SecretFileError),
    /// Nothing can be sealed to the group key.
    #[error("nothing can be sealed to the group key")]
    Seal(#[from] SealError),
    /// There is no group key.
    #[error("there is no group key")]
    NoGroupKey,
    /// The control plane can't be asked.
    #[error("the control plane can't be asked")]
    Client(#[source] Box<SyncError>),
    /// A metric was not registered.
    #[error("cannot register the agent's metrics")]
    Metrics(#[from] prometheus::Error),
}

/// Runs the agent for as long as the edge runs.
pub struct IssuanceService {
    settings: Issuance,
    control: Arc<FeedClient>,
    readiness: Arc<Readiness>,
    vault: Arc<FleetVault>,
    metrics: Arc<AgentMetrics>,
    duty: Arc<Duty>,
}

impl IssuanceService {
    /// Prepares the agent; nothing is asked yet.
    ///
    /// # Errors
    /// [`IssuanceError`].
    pub fn new(
        config: &EdgeConfig,
        settings: &Issuance,
        (keys, readiness, duty): (Arc<GroupKeys>, Arc<Readiness>, Arc<Duty>),
        registry: &Registry,
    ) -> Result<Self, IssuanceError> {
        let mut sealing = Vec::with_capacity(config.group_key_files.len());
        for path in &config.group_key_files {
            sealing.push(GroupPublicKey::of_private(&secret_file::read(path)?)?);
        }
        if sealing.is_empty() {
            return Err(IssuanceError::NoGroupKey);
        }
        let control =
            sync::client(config).map_err(|error| IssuanceError::Client(Box::new(error)))?;
        Ok(Self {
            settings: settings.clone(),
            control: Arc::new(control),
            readiness,
            vault: Arc::new(FleetVault { keys, sealing }),
            metrics: Arc::new(AgentMetrics::new(registry)?),
            duty,
        })
    }

    /// Works until it has finished.
    async fn work(&self, orders: &watch::Sender<Orders>) {
        loop {
            if self.work_once(orders.subscribe()).await == Worked::Finished {
                return;
            }
            let mut last = orders.subscribe();
            // At the end there is nothing to try again.
            let _ = timeout(PAUSE, last.wait_for(|order| *order == Orders::Finish)).await;
        }
    }

    async fn work_once(&self, orders: watch::Receiver<Orders>) -> Worked {
        let verifier = match Verifier::new(&self.settings.dns) {
            Ok(verifier) => verifier,
            Err(error) => {
                tracing::error!(%error, "no certificates are obtained here: DNS can't be checked");
                return Worked::Failed;
            }
        };
        let agent = Agent::new(
            Control { client: Arc::clone(&self.control), readiness: Arc::clone(&self.readiness) },
            Arc::clone(&self.vault),
            verifier,
            self.settings.agent.clone(),
            Arc::clone(&self.metrics),
        );
        if AssertUnwindSafe(agent.run(orders)).catch_unwind().await.is_ok() {
            return Worked::Finished;
        }
        tracing::error!("the issuance agent panicked; starting it again");
        Worked::Failed
    }
}

/// How a run of the agent ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Worked {
    /// It did what it had.
    Finished,
    /// It panicked, or could not begin.
    Failed,
}

#[async_trait]
impl BackgroundService for IssuanceService {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let orders = watch::Sender::new(Orders::Rest);
        let mut is_on = self.duty.watch();
        let relay = async {
            loop {
                orders.send_replace(match *is_on.borrow_and_update() {
                    true => Orders::Work,
                    false => Orders::Rest,
                });
                tokio::select! {
                    _ = shutdown.wait_for(|is_stopping| *is_stopping) => break,
                    _ = is_on.changed() => {}
                }
            }
            orders.send_replace(Orders::Finish);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = self.work(&orders) => {}
            () = relay => {}
        }
    }
}

/// The control plane by the PoP API.
struct Control {
    client: Arc<FeedClient>,
    readiness: Arc<Readiness>,
}

impl Control {
    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        message: &(impl Serialize + Sync),
        wait: Duration,
    ) -> Result<T, ControlError> {
        self.client.post(path, message, wait, MAX_REPLY).await.map_err(|error| {
            if is_passing(&error) {
                ControlError::Unreachable(Box::new(error))
            } else {
                ControlError::Refused(Box::new(error))
            }
        })
    }
}

/// Whether the same may be taken later.
fn is_passing(error: &FeedError) -> bool {
    if let FeedError::Status { status } = error {
        return status.is_server_error() || status.as_u16() == 429;
    }
    // A token may be about to be replaced.
    matches!(
        error,
        FeedError::Unreachable(_) | FeedError::Timeout(_) | FeedError::Unauthorized { .. }
    )
}

impl ControlPlane for Control {
    async fn lease(&self, request: &LeaseRequest) -> Result<LeaseReply, ControlError> {
        self.post(LEASE_PATH, request, Duration::from_secs(request.wait)).await
    }

    async fn report(&self, report: &Report) -> Result<ReportReply, ControlError> {
        self.post(REPORT_PATH, report, Duration::ZERO).await
    }

    async fn renewal(&self, report: &RenewalReport) -> Result<(), ControlError> {
        let RenewalReply {} = self.post(RENEWAL_PATH, report, Duration::ZERO).await?;
        Ok(())
    }

    fn disk_trouble(&self) -> Option<String> {
        let reason = self.readiness.state().not_written?;
        Some(format!("the edge's state can't be written: {reason}"))
    }
}

/// The fleet's group keys: they open what was sealed to any of them, and what is new is sealed to the one
/// that the control plane names, whose public half is derived here and taken from nobody.
#[derive(Debug)]
struct FleetVault {
    keys: Arc<GroupKeys>,
    sealing: Vec<GroupPublicKey>,
}

impl Vault for FleetVault {
    fn holds(&self, group_key: &str) -> bool {
        self.sealing.iter().any(|own| own.id() == group_key)
    }

    fn seal(
        &self,
        group_key: &str,
        context: SealContext<'_>,
        secret: &[u8],
    ) -> Result<Sealed, VaultError> {
        let key = self.sealing.iter().find(|own| own.id() == group_key);
        let key = key.ok_or_else(|| VaultError(Box::new(IssuanceError::NoGroupKey)))?;
        key.seal(context, secret).map_err(|error| VaultError(Box::new(error)))
    }

    fn open(
        &self,
        sealed: &Sealed,
        context: SealContext<'_>,
    ) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        self.keys.unseal(sealed, context).map_err(|error| VaultError(Box::new(error)))
    }
}

#[cfg(test)]
mod tests {
    use landfall_feed::seal::GroupKeyFiles;

    use super::*;

    #[test]
    fn what_is_sealed_here_to_any_of_the_keys_opens_here_for_the_same_purpose_alone() {
        let files = [GroupKeyFiles::generate().unwrap(), GroupKeyFiles::generate().unwrap()];
        let texts = files.iter().map(|files| files.private.as_str());
        let keys = Arc::new(GroupKeys::parse(texts.clone()).unwrap());
        let sealing = texts.map(|text| GroupPublicKey::of_private(text).unwrap()).collect();
        let vault = FleetVault { keys, sealing };
        let authority = "pebble".parse().unwrap();
        let context = |thumbprint| SealContext::AccountKey { authority: &authority, thumbprint };
        for files in &files {
            assert!(vault.holds(&files.id));
            let sealed = vault.seal(&files.id, context("one"), b"secret").unwrap();
            assert_eq!(sealed.key_id, files.id);
            assert_eq!(*vault.open(&sealed, context("one")).unwrap(), b"secret");
            assert!(vault.open(&sealed, context("other")).is_err());
        }
        assert!(!vault.holds("another"));
        assert!(vault.seal("another", context("one"), b"secret").is_err());
    }
}
