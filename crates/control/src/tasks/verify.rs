//! Verifies hostnames that are due, in lanes: many of one kind never hold up another, and many of one
//! property never those of another.
//!
//! Whenever a check of a lane ends, the database is asked whose turn it is. What is due stands there
//! alone: after a crash, and beside another process, the next look says what is left.

mod slots;

use std::{collections::HashMap, future::pending, num::NonZeroU32, time::Duration};

use landfall_model::HostnameId;
use time::OffsetDateTime;
use tokio::{
    sync::{mpsc, watch},
    task::{Id, JoinError, JoinSet},
    time::{Interval, MissedTickBehavior},
};

use crate::{
    api::problem::chain,
    service::{
        Service, ServiceError,
        verification::results::{Finished, WriteEnd, write},
    },
    store::{
        Head, Store, StoreError,
        verification::queue::{self, Order},
    },
    verification::Lane,
};
use slots::Slots;

/// How long a lane without anything due waits before it looks again.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a lane waits after the database refused something.
const PAUSE: Duration = Duration::from_secs(1);

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
        slots: Slots::new(at_a_time),
        order: Order::OldestFirst,
        pace: per_second.map(pace),
        head,
        running: JoinSet::new(),
        ids: HashMap::new(),
    };
    loop {
        runner.round().await;
    }
}

/// How a check ended.
enum CheckEnd {
    /// What it saw is kept, or no longer of any use.
    Done,
    /// It could not be done.
    Failed(ServiceError),
}

struct Runner {
    service: Service,
    lane: Lane,
    slots: Slots,
    /// Which of a property's hostnames come first next time.
    order: Order,
    /// When the next check may begin.
    pace: Option<Interval>,
    /// Moves when hostnames are added.
    head: watch::Receiver<Head>,
    running: JoinSet<CheckEnd>,
    ids: HashMap<Id, HostnameId>,
}

impl Runner {
    async fn round(&mut self) {
        self.head.mark_unchanged();
        while self.slots.free() == 0 {
            self.reap().await;
        }
        let mut picked = Vec::new();
        let looked = self.pick(&mut picked).await;
        let is_idle = picked.is_empty();
        for hostname in picked {
            self.start(hostname).await;
        }
        match looked {
            Err(error) => self.pause(&error.into()).await,
            Ok(()) if is_idle => self.rest().await,
            Ok(()) => {}
        }
    }

    /// Takes slots for hostnames that are due, property by property.
    async fn pick(&mut self, picked: &mut Vec<HostnameId>) -> Result<(), StoreError> {
        let mut connection = self.service.store.read().await?;
        let (lane, now) = (self.lane, OffsetDateTime::now_utc());
        // Of properties with checks that run there may be nothing more to begin.
        let limit = self.slots.free() + self.slots.properties();
        let ring = (self.slots.last(), limit);
        let properties = queue::properties_due(&mut connection, lane, now, ring).await?;
        let order = self.next_order();
        let each = (self.slots.free() / properties.len().max(1)).max(1);
        for property in properties {
            let most = self.slots.allowance(property).min(each);
            if most == 0 {
                continue;
            }
            let page = (order, most + self.slots.of(property));
            let due = queue::hostnames_due(&mut connection, (lane, property), now, page).await?;
            let idle = due.into_iter().filter(|hostname| !self.slots.is_running(*hostname));
            let chosen: Vec<HostnameId> = idle.take(most).collect();
            for hostname in chosen {
                self.slots.take(property, hostname);
                picked.push(hostname);
            }
        }
        Ok(())
    }

    /// However many a property added before, one that it adds now need not wait for them; nor do
    /// those wait for ever.
    fn next_order(&mut self) -> Order {
        let order = self.order;
        self.order = match (self.lane, order) {
            (Lane::Fresh, Order::OldestFirst) => Order::NewestFirst,
            (Lane::Fresh, Order::NewestFirst) | (Lane::Pending | Lane::Active, _) => {
                Order::OldestFirst
            }
        };
        order
    }

    /// Starts a check as soon as one may.
    async fn start(&mut self, hostname: HostnameId) {
        if let Some(pace) = &mut self.pace {
            pace.tick().await;
        }
        let service = self.service.clone();
        let check = async move {
            let done = service.verify_due(hostname, OffsetDateTime::now_utc()).await;
            done.map_or_else(CheckEnd::Failed, |()| CheckEnd::Done)
        };
        let task = self.running.spawn(check);
        self.ids.insert(task.id(), hostname);
    }

    /// Waits until more may be due.
    async fn rest(&mut self) {
        let (lane, mut head) = (self.lane, self.head.clone());
        let added = async {
            match lane {
                Lane::Fresh => head.changed().await,
                Lane::Pending | Lane::Active => pending().await,
            }
        };
        let ended = tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => None,
            _ = added => None,
            ended = self.running.join_next_with_id(), if !self.running.is_empty() => ended,
        };
        self.settle(ended).await;
    }

    /// Waits for one check to end.
    async fn reap(&mut self) {
        let ended = self.running.join_next_with_id().await;
        self.settle(ended).await;
    }

    /// Gives back the slots of a check that has ended, and of all that have ended besides.
    async fn settle(&mut self, mut ended: Option<Result<(Id, CheckEnd), JoinError>>) {
        while let Some(check) = ended {
            let (id, end) = check.unwrap_or_else(|error| {
                tracing::error!(%error, "a verification panicked");
                (error.id(), CheckEnd::Failed(ServiceError::Interrupted))
            });
            if let Some(hostname) = self.ids.remove(&id) {
                self.slots.give_back(hostname);
                if let CheckEnd::Failed(error) = end {
                    self.put_off(hostname, error).await;
                }
            }
            ended = self.running.try_join_next_with_id();
        }
    }

    /// Puts a hostname off whose check failed, so that it holds up no other. Where not even that can be
    /// done it is not the hostname that is in trouble, and the lane goes slowly.
    async fn put_off(&self, hostname: HostnameId, error: ServiceError) {
        let lane = self.lane.label();
        self.service.verification.count_error(self.lane);
        match self.service.put_check_off(hostname, OffsetDateTime::now_utc()).await {
            Ok(()) => {
                let id = hostname.0;
                tracing::warn!(lane, hostname_id = id, error = %chain(&error), "cannot verify a hostname");
            }
            Err(_) => self.pause(&error).await,
        }
    }

    async fn pause(&self, error: &ServiceError) {
        tracing::warn!(lane = self.lane.label(), error = %chain(error), "cannot verify hostnames");
        tokio::time::sleep(PAUSE).await;
    }
}

fn pace(per_second: NonZeroU32) -> Interval {
    let mut pace = tokio::time::interval(Duration::from_secs(1) / per_second.get());
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace
}
