//! Verifies hostnames that are due, in lanes: many of one kind never hold up another.
//!
//! A lane reads a page of what is due and runs as many checks at a time as it may. What is due stands
//! in the database alone: after a crash, and beside another process, the next page says what is left.

use std::{
    collections::{HashMap, HashSet},
    future::pending,
    num::NonZeroU32,
    time::Duration,
};

use landfall_model::HostnameId;
use time::OffsetDateTime;
use tokio::{
    sync::{mpsc, watch},
    task::{Id, JoinSet},
    time::{Interval, MissedTickBehavior},
};

use crate::{
    api::problem::chain,
    service::{
        Service, ServiceError,
        verification::results::{Finished, WriteEnd, write},
    },
    store::{self, Head, Store, StoreError, verification::Order},
    verification::Lane,
};

/// How long a lane without anything due waits before it looks again.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a lane waits after the database refused something.
const PAUSE: Duration = Duration::from_secs(1);
/// A page has this many times what runs at a time, so that it holds more than what runs already.
const PAGE_FACTOR: u32 = 4;

/// Keeps what checks found. Never ends while there is a server.
pub(crate) async fn keep_results(store: Store, mut results: mpsc::Receiver<Finished>) {
    loop {
        match write(&store, &mut results).await {
            WriteEnd::Failed(error) => {
                tracing::warn!(error = %chain(&error), "cannot keep what verifications found");
                tokio::time::sleep(PAUSE).await;
            }
            WriteEnd::NobodyLeft => return,
        }
    }
}

/// Checks the hostnames of a lane as they become due, `at_a_time`. Never ends.
pub(crate) async fn run(
    service: Service,
    lane: Lane,
    at_a_time: u32,
    per_second: Option<NonZeroU32>,
) {
    let head = service.store.follow();
    let mut runner = Runner {
        service,
        lane,
        at_a_time,
        pace: per_second.map(pace),
        head,
        running: JoinSet::new(),
        ids: HashMap::new(),
        trouble: None,
    };
    loop {
        runner.round().await;
    }
}

struct Runner {
    service: Service,
    lane: Lane,
    at_a_time: u32,
    /// When the next check may begin.
    pace: Option<Interval>,
    /// Moves when hostnames are added.
    head: watch::Receiver<Head>,
    running: JoinSet<Result<(), ServiceError>>,
    ids: HashMap<Id, HostnameId>,
    /// What went wrong in this round. A lane in trouble goes slowly.
    trouble: Option<ServiceError>,
}

impl Runner {
    async fn round(&mut self) {
        self.head.mark_unchanged();
        match self.page().await {
            Ok(page) if page.is_empty() => self.rest().await,
            Ok(page) => {
                for hostname in page {
                    self.start(hostname).await;
                }
            }
            Err(error) => self.trouble = Some(error.into()),
        }
        if let Some(error) = self.trouble.take() {
            let lane = self.lane.label();
            tracing::warn!(lane, error = %chain(&error), "cannot verify hostnames");
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// What is due and does not run yet.
    async fn page(&self) -> Result<Vec<HostnameId>, StoreError> {
        let mut connection = self.service.store.read().await?;
        let (now, limit) = (OffsetDateTime::now_utc(), self.at_a_time * PAGE_FACTOR);
        let orders: &[Order] = match self.lane {
            // However many were added before, whoever adds one now waits for its first check.
            Lane::Fresh => &[Order::NewestFirst, Order::OldestFirst],
            Lane::Pending | Lane::Active => &[Order::OldestFirst],
        };
        let mut known: HashSet<HostnameId> = self.ids.values().copied().collect();
        let mut page = Vec::new();
        for order in orders {
            let found =
                store::verification::due(&mut connection, self.lane, now, (*order, limit)).await?;
            page.extend(found.into_iter().filter(|hostname| known.insert(*hostname)));
        }
        page.truncate(limit as usize);
        Ok(page)
    }

    /// Starts a check as soon as one may.
    async fn start(&mut self, hostname: HostnameId) {
        while self.running.len() >= self.at_a_time as usize {
            self.reap().await;
        }
        if let Some(pace) = &mut self.pace {
            pace.tick().await;
        }
        let service = self.service.clone();
        let check = async move { service.verify_due(hostname, OffsetDateTime::now_utc()).await };
        let task = self.running.spawn(check);
        self.ids.insert(task.id(), hostname);
    }

    /// Waits until more may be due.
    async fn rest(&mut self) {
        let look = tokio::time::sleep(LOOK_EVERY);
        tokio::pin!(look);
        let (lane, mut head) = (self.lane, self.head.clone());
        loop {
            let added = async {
                match lane {
                    Lane::Fresh => head.changed().await,
                    Lane::Pending | Lane::Active => pending().await,
                }
            };
            tokio::select! {
                () = &mut look => return,
                _ = added => return,
                () = self.reap(), if !self.running.is_empty() => {}
            }
        }
    }

    /// Waits for one check to end.
    async fn reap(&mut self) {
        let Some(ended) = self.running.join_next_with_id().await else { return };
        let id = match ended {
            Ok((id, Ok(()))) => id,
            Ok((id, Err(error))) => {
                self.trouble.get_or_insert(error);
                id
            }
            Err(error) => {
                tracing::error!(%error, "a verification panicked");
                self.trouble.get_or_insert(ServiceError::Interrupted);
                error.id()
            }
        };
        self.ids.remove(&id);
    }
}

fn pace(per_second: NonZeroU32) -> Interval {
    let mut pace = tokio::time::interval(Duration::from_secs(1) / per_second.get());
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace
}
