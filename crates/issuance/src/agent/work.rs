//! The agent's loop: work is asked for, and done a few jobs at a time.

use std::{sync::Arc, time::Duration};

use data_encoding::HEXLOWER;
use landfall_dns::Verifier;
use time::OffsetDateTime;
use tokio::{
    sync::watch,
    task::{JoinError, JoinSet},
    time::{Instant, sleep},
};

use super::{
    AgentMetrics, AgentSettings,
    backoff::{Backoff, chance},
    job::Shop,
    probe::Prober,
    surroundings::{ControlError, ControlPlane, Vault},
};
use crate::{
    acme::Connector,
    protocol::{AgentId, LeaseReply, LeaseRequest, MAX_TASKS, MAX_WAIT_SECONDS, Task},
};

/// The longest pause after the control plane did not answer.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Between two requests that brought nothing: a control plane that does not wait is not asked in a loop.
const SHORTEST_ROUND: Duration = Duration::from_secs(1);

/// What an agent is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orders {
    /// To lease jobs and do them.
    Work,
    /// To go on with the jobs it has, and lease none.
    Rest,
    /// The same, and to end with the last one.
    Finish,
}

/// Asks the control plane for jobs and does them.
pub struct Agent<C, V> {
    shop: Arc<Shop<C, V>>,
}

impl<C: ControlPlane, V: Vault> Agent<C, V> {
    /// Makes one; nothing is asked yet.
    pub fn new(
        control: C,
        vault: V,
        verifier: Verifier,
        settings: AgentSettings,
        metrics: Arc<AgentMetrics>,
    ) -> Self {
        let prober = Prober {
            http_port: settings.http_port,
            tls_port: settings.tls_port,
            limit: settings.probe,
        };
        let connector = Connector::new();
        let shop = Shop { control, vault, verifier, connector, prober, settings, metrics };
        Self { shop: Arc::new(shop) }
    }

    /// Works as `orders` say, and returns once it has finished. A job that panics ends alone.
    pub async fn run(&self, mut orders: watch::Receiver<Orders>) {
        let id = id();
        let mut backoff = Backoff::up_to(LONGEST_PAUSE);
        let mut jobs = JoinSet::new();
        let most = self.shop.settings.jobs.get().min(MAX_TASKS as usize);
        tracing::info!(agent = id.0, jobs = most, "the issuance agent asks for work");
        loop {
            // An error is the end of who gives orders.
            let order = orders.wait_for(|order| *order != Orders::Rest).await;
            if order.map_or(Orders::Finish, |order| *order) == Orders::Finish {
                break;
            }
            tokio::select! {
                // Orders come before what is given at the same time, whose leases run out.
                biased;
                _ = orders.wait_for(|order| *order != Orders::Work) => {}
                () = self.round(&id, most, &mut jobs, &mut backoff) => {}
            }
        }
        tracing::info!(jobs = jobs.len(), "the issuance agent finishes what it has");
        while let Some(ended) = jobs.join_next().await {
            self.ended(Some(ended));
        }
    }

    /// Asks for work once there is room for some.
    async fn round(
        &self,
        id: &AgentId,
        most: usize,
        jobs: &mut JoinSet<()>,
        backoff: &mut Backoff,
    ) {
        while jobs.len() >= most {
            self.ended(jobs.join_next().await);
        }
        while let Some(ended) = jobs.try_join_next() {
            self.ended(Some(ended));
        }
        let free = most.saturating_sub(jobs.len());
        let asked = Instant::now();
        match self.lease(id, free).await {
            Ok(LeaseReply { tasks, now }) => {
                let ahead = now - OffsetDateTime::now_utc();
                backoff.reset();
                let is_idle = tasks.is_empty();
                // More than were asked for are left to others.
                for task in tasks.into_iter().take(free) {
                    self.begin(jobs, task, (asked, ahead));
                }
                if is_idle {
                    sleep(SHORTEST_ROUND.saturating_sub(asked.elapsed())).await;
                }
            }
            Err(error) => {
                self.shop.metrics.unheard();
                let source = std::error::Error::source(&error).map(ToString::to_string);
                tracing::debug!(%error, source, "the control plane gives no work");
                sleep(backoff.next(chance())).await;
            }
        }
    }

    async fn lease(&self, agent: &AgentId, free: usize) -> Result<LeaseReply, ControlError> {
        let request = LeaseRequest {
            agent: agent.clone(),
            free: u32::try_from(free).unwrap_or(MAX_TASKS).min(MAX_TASKS),
            wait: self.shop.settings.wait.as_secs().min(MAX_WAIT_SECONDS),
        };
        self.shop.control.lease(&request).await
    }

    fn begin(&self, jobs: &mut JoinSet<()>, task: Task, given: (Instant, time::Duration)) {
        let shop = Arc::clone(&self.shop);
        shop.metrics.begun();
        jobs.spawn(async move { shop.run(task, given).await });
    }

    fn ended(&self, ended: Option<Result<(), JoinError>>) {
        self.shop.metrics.ended();
        if let Some(Err(error)) = ended
            && error.is_panic()
        {
            // Its lease runs out, and another agent tries.
            tracing::error!("a certificate job panicked");
        }
    }
}

/// What this run is called: 128 random bits.
fn id() -> AgentId {
    let mut bytes = [0; 16];
    if aws_lc_rs::rand::fill(&mut bytes).is_err() {
        tracing::warn!("the system has no randomness for the agent's id");
    }
    AgentId(HEXLOWER.encode(&bytes))
}
