//! What runs for as long as the server does, in rounds. A round that fails is logged, and the next
//! one starts from what the database then says.

pub(crate) mod commands;
pub(crate) mod jobs;
pub(crate) mod leases;
pub(crate) mod schedule;
pub(crate) mod verify;
pub(crate) mod watch;

use std::time::Duration;

use landfall_model::HostnameId;
use time::OffsetDateTime;
use tokio::time::MissedTickBehavior;

use crate::{
    api::{SharedApp, problem::chain},
    call::Call,
    metrics::Metrics,
    service::Service,
    store::{self, Store, StoreError},
    token::PopId,
};

/// How often another process's change is looked for. Changes of this process don't wait for it.
const FOLLOW_EVERY: Duration = Duration::from_millis(200);
/// How often what commands changed is looked for, to log it.
const COMMANDS_EVERY: Duration = Duration::from_secs(2);
/// How often secrets for session tickets are looked at: after the clock jumped, edges are without
/// the right one for so long.
const TICKETS_EVERY: Duration = Duration::from_secs(60);
/// How often it is written down when keys were last used.
const KEY_USES_EVERY: Duration = Duration::from_secs(30);
/// How often certificates are looked for that are to be renewed, or are missing.
const RENEWALS_EVERY: Duration = Duration::from_secs(60);
/// How often it is looked whether certificates are seen to be served that took the place of others.
const PREDECESSORS_EVERY: Duration = Duration::from_secs(5);
const ROUND_EVERY: Duration = Duration::from_secs(3_600);
/// The most certificates that one transaction asks for: others change things between. What is left comes next,
/// the most urgent first.
const REQUESTED_AT_ONCE: u32 = 250;
/// For how long a creation may be sent again.
const CREATIONS_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// For how long it is remembered what became of revocations and changes of accounts.
const ERRANDS_KEPT: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// The most tombstones or creations that one transaction removes.
const PRUNED_AT_ONCE: u32 = 1_000;

/// Tells long polls of changes that another process made. Never ends.
pub(crate) async fn follow_head(store: Store) {
    let mut ticks = every(FOLLOW_EVERY);
    loop {
        ticks.tick().await;
        if let Err(error) = store.refresh_head().await {
            tracing::warn!(error = %chain(&error), "cannot look for changes");
        }
    }
}

/// Removes tombstones that are older than `retention`. Never ends.
pub(crate) async fn prune(store: Store, retention: Duration) {
    let mut ticks = every(ROUND_EVERY);
    loop {
        ticks.tick().await;
        let before = OffsetDateTime::now_utc() - retention;
        if let Err(error) = forget_limits(&store).await {
            tracing::warn!(error = %chain(&error), "cannot forget limits that are whole again");
        }
        let forgotten = OffsetDateTime::now_utc() - CREATIONS_KEPT;
        if let Err(error) = forget_creations(&store, forgotten).await {
            tracing::warn!(error = %chain(&error), "cannot forget repeatable creations");
        }
        match prune_before(&store, before).await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "pruned tombstones"),
            Err(error) => tracing::warn!(error = %chain(&error), "cannot prune tombstones"),
        }
    }
}

pub(crate) async fn prune_before(store: &Store, before: OffsetDateTime) -> Result<u64, StoreError> {
    let mut removed = 0;
    loop {
        let mut change = store.change(Call::system(OffsetDateTime::now_utc())).await?;
        let now = change.prune_tombstones(before, PRUNED_AT_ONCE).await?;
        change.commit().await?;
        removed += now;
        if now < u64::from(PRUNED_AT_ONCE) {
            return Ok(removed);
        }
    }
}

/// Forgets what creations made that may be sent again no more.
async fn forget_creations(store: &Store, before: OffsetDateTime) -> Result<(), StoreError> {
    loop {
        let mut change = store.change(Call::system(OffsetDateTime::now_utc())).await?;
        let removed = store::idempotency::prune(change.on(), before, PRUNED_AT_ONCE).await?;
        change.commit().await?;
        if removed < u64::from(PRUNED_AT_ONCE) {
            return Ok(());
        }
    }
}

/// Forgets what CAs' limits have given back, holds that are over, errands that ended long ago, and how hostnames
/// were used that are no more.
async fn forget_limits(store: &Store) -> Result<(), StoreError> {
    loop {
        let mut change = store.change(Call::system(OffsetDateTime::now_utc())).await?;
        let now = change.now();
        let mut removed = store::budget::prune(change.on(), now, PRUNED_AT_ONCE).await?;
        let before = now - ERRANDS_KEPT;
        removed =
            removed.max(store::errand::prune(change.on(), (now, before), PRUNED_AT_ONCE).await?);
        removed = removed.max(store::traffic::prune(change.on(), now, PRUNED_AT_ONCE).await?);
        change.commit().await?;
        if removed < u64::from(PRUNED_AT_ONCE) {
            return Ok(());
        }
    }
}

/// Asks for certificates that are due or missing. Never ends.
pub(crate) async fn renew(service: Service) {
    let mut ticks = every(RENEWALS_EVERY);
    loop {
        ticks.tick().await;
        while request_due(&service).await == Asked::Full {}
    }
}

/// What a round asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// As many certificates as it takes: there may be more.
    Full,
    /// All that were due, or the database failed.
    Last,
}

async fn request_due(service: &Service) -> Asked {
    match service.request_due(OffsetDateTime::now_utc(), REQUESTED_AT_ONCE).await {
        Ok(0) => Asked::Last,
        Ok(requested) => {
            tracing::info!(requested, "asked for certificates that are due");
            if requested < REQUESTED_AT_ONCE as usize { Asked::Last } else { Asked::Full }
        }
        Err(error) => {
            tracing::warn!(error = %chain(&error), "cannot look for certificates that are due");
            Asked::Last
        }
    }
}

/// Forgets what certificates took the place of, once these are seen to be served. Never ends.
pub(crate) async fn forget_predecessors(service: Service) {
    let mut ticks = every(PREDECESSORS_EVERY);
    let mut after = None;
    loop {
        ticks.tick().await;
        let from = after.unwrap_or(HostnameId(0));
        match service.forget_predecessors(from, OffsetDateTime::now_utc()).await {
            Ok(next) => after = next,
            Err(error) => {
                after = None;
                tracing::warn!(error = %chain(&error), "cannot forget replaced certificates");
            }
        }
    }
}

/// Keeps the secrets for session tickets current. Never ends.
pub(crate) async fn rotate_tickets(app: SharedApp) {
    let mut ticks = every(TICKETS_EVERY);
    loop {
        ticks.tick().await;
        ticket_round(&app.service, &app.metrics, OffsetDateTime::now_utc()).await;
    }
}

pub(crate) async fn ticket_round(service: &Service, metrics: &Metrics, now: OffsetDateTime) {
    let label = match service.rotate_tickets(now).await {
        Ok(0) => return,
        Ok(_) => "ok",
        Err(error) => {
            tracing::warn!(error = %chain(&error), "cannot rotate the secrets of session tickets");
            "error"
        }
    };
    metrics.ticket_rotations.with_label_values(&[label]).inc();
}

/// Writes down when keys were last used. Never ends.
pub(crate) async fn note_key_uses(app: SharedApp) {
    let mut ticks = every(KEY_USES_EVERY);
    loop {
        ticks.tick().await;
        note_key_uses_once(&app, OffsetDateTime::now_utc()).await;
    }
}

pub(crate) async fn note_key_uses_once(app: &SharedApp, now: OffsetDateTime) {
    let uses = app.key_uses.take();
    if uses.is_empty() {
        return;
    }
    if let Err(error) = app.service.note_key_uses(&uses, now).await {
        uses.into_iter().for_each(|(key, at)| app.key_uses.note(key, at));
        tracing::warn!(error = %chain(&error), "cannot write down when keys were last used");
    }
}

/// Keeps when PoPs asked for something, and when others did in their name. Never ends.
pub(crate) async fn keep_seen(app: SharedApp) {
    loop {
        let (seen, refused) = tokio::select! {
            seen = app.pops_seen.untold() => (seen, Vec::new()),
            refused = app.pops_refused.untold() => (Vec::new(), refused),
        };
        if let Err(error) = write_seen(&app.service.store, &seen, &refused).await {
            tracing::warn!(error = %chain(&error), "cannot keep when PoPs were seen");
            app.pops_seen.forget(&seen);
            app.pops_refused.forget(&refused);
        }
    }
}

async fn write_seen(store: &Store, seen: &[PopId], refused: &[PopId]) -> Result<(), StoreError> {
    let mut change = store.change(Call::system(OffsetDateTime::now_utc())).await?;
    let now = change.now();
    for pop in seen {
        store::pop::keep_seen(change.on(), *pop, now).await?;
    }
    for pop in refused {
        store::pop::keep_refused(change.on(), *pop, now).await?;
    }
    change.commit().await?;
    Ok(())
}

pub(crate) fn every(period: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
