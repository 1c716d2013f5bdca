//! Keeps what is published as the store says, whatever happened before: it looks at what is to be there
//! and what is to go, and needs to be told nothing.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use prometheus::Registry;
use time::OffsetDateTime;
use tokio::{sync::watch, time::sleep};

use super::{
    answer::{Apex, Zone},
    metrics::ZoneMetrics,
    server::Server,
    update::Updater,
};
use crate::{
    api::problem::chain,
    call::Call,
    config::{ChallengeZoneConfig, Publication},
    error::ControlError,
    store::{
        Store, StoreError,
        dns_challenge::{self, Wanted},
    },
    token::random_number,
};

/// How often the store is looked at: a challenge is answered so soon after it was reported.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The most records of one update.
const BATCH: u32 = 64;
/// After how many failures in a row the wait grows no more: then it is a minute.
const LONGEST_AFTER: u32 = 9;

/// Publishes the zone's records.
#[derive(Debug)]
pub(crate) struct Publisher {
    store: Store,
    metrics: ZoneMetrics,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Served { server: Server, zone: watch::Sender<Arc<Zone>> },
    Updated(Box<Updater>),
}

impl Publisher {
    /// Binds the server's addresses, or reads the key for the operator's server.
    pub(crate) async fn bind(
        config: &ChallengeZoneConfig,
        store: Store,
        registry: &Registry,
    ) -> Result<Self, ControlError> {
        let metrics = ZoneMetrics::register(registry).map_err(ControlError::Metrics)?;
        let name = config.zone.name.clone();
        let way = match &config.publication {
            Publication::Served(served) => {
                let apex = Apex::new(name, served.nameservers.clone(), served.contact.clone());
                let (zone, zones) = watch::channel(Arc::new(Zone::new(apex, 0, [])));
                let server = Server::bind(served, zones, metrics.clone()).await?;
                Way::Served { server, zone }
            }
            Publication::Updated(update) => {
                let path = update.secret_file.clone();
                let failed = |source| ControlError::TsigKey { path, source };
                Way::Updated(Box::new(Updater::new(name, update).map_err(failed)?))
            }
        };
        Ok(Self { store, metrics, way })
    }

    /// Where the zone is served by ourselves.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        match &self.way {
            Way::Served { server, .. } => server.addresses(),
            Way::Updated(_) => Vec::new(),
        }
    }

    /// Publishes. Never ends.
    pub(crate) async fn run(self) {
        let Self { store, metrics, way } = self;
        match way {
            Way::Served { server, zone } => {
                tokio::select! {
                    () = server.run() => {}
                    () = serve(store, &metrics, &zone) => {}
                }
            }
            Way::Updated(updater) => update(store, &metrics, &updater).await,
        }
    }
}

/// Keeps the zone that is served as the store says.
async fn serve(store: Store, metrics: &ZoneMetrics, zone: &watch::Sender<Arc<Zone>>) {
    let mut shown = None;
    loop {
        match serve_once(&store, zone, shown).await {
            Ok(serial) => {
                shown = Some(serial);
                metrics.names.set(i64::try_from(zone.borrow().len()).unwrap_or(i64::MAX));
            }
            Err(error) => tracing::warn!(error = %chain(&error), "cannot read the DNS challenges"),
        }
        sleep(LOOK_EVERY).await;
    }
}

async fn serve_once(
    store: &Store,
    zone: &watch::Sender<Arc<Zone>>,
    shown: Option<i64>,
) -> Result<i64, StoreError> {
    expire(store).await?;
    let mut connection = store.read_at_once().await?;
    let serial = dns_challenge::serial(&mut connection).await?;
    if shown == Some(serial) {
        return Ok(serial);
    }
    let records = dns_challenge::all(&mut connection).await?;
    let gone = dns_challenge::list(&mut connection, Wanted::Gone, u32::MAX).await?;
    let new = dns_challenge::list(&mut connection, Wanted::There, u32::MAX).await?;
    drop(connection);
    // Serial numbers go round (RFC 1982).
    let short = u32::try_from(serial & i64::from(u32::MAX)).unwrap_or(0);
    let there = records.into_iter().map(|record| (record.label, record.value));
    zone.send_replace(Arc::new({
        let before = zone.borrow();
        before.with(short, there)
    }));
    let mut change = store.change(Call::system(OffsetDateTime::now_utc())).await?;
    dns_challenge::published(change.on(), &new).await?;
    dns_challenge::removed(change.on(), &gone).await?;
    change.commit().await?;
    Ok(serial)
}

/// Keeps the operator's server as the store says. What fails is tried again, later and later.
async fn update(store: Store, metrics: &ZoneMetrics, updater: &Updater) {
    let mut failures = 0;
    loop {
        failures = match update_once(&store, metrics, updater).await {
            Ok(()) => 0,
            Err(Stopped) => (failures + 1).min(LONGEST_AFTER),
        };
        sleep(wait(failures, random_number().unwrap_or(0))).await;
    }
}

/// Nothing more can be done for now; why is logged.
struct Stopped;

async fn update_once(
    store: &Store,
    metrics: &ZoneMetrics,
    updater: &Updater,
) -> Result<(), Stopped> {
    let failed = |error: StoreError| {
        tracing::warn!(error = %chain(&error), "cannot read the DNS challenges");
        Stopped
    };
    expire(store).await.map_err(failed)?;
    let mut connection = store.read_at_once().await.map_err(failed)?;
    let new = dns_challenge::list(&mut connection, Wanted::There, BATCH).await.map_err(failed)?;
    let gone = dns_challenge::list(&mut connection, Wanted::Gone, BATCH).await.map_err(failed)?;
    drop(connection);
    if new.is_empty() && gone.is_empty() {
        return Ok(());
    }
    if let Err(error) = updater.apply(&new, &gone).await {
        metrics.update(error.label());
        tracing::warn!(error = %chain(&error), "cannot update the zone of challenges");
        return Err(Stopped);
    }
    metrics.update("ok");
    let keep = async {
        let mut change = store.change(Call::system(OffsetDateTime::now_utc())).await?;
        dns_challenge::published(change.on(), &new).await?;
        dns_challenge::removed(change.on(), &gone).await?;
        change.commit().await
    };
    keep.await.map(drop).map_err(failed)
}

/// Withdraws what is over.
async fn expire(store: &Store) -> Result<(), StoreError> {
    let now = OffsetDateTime::now_utc();
    let mut connection = store.read_at_once().await?;
    if !dns_challenge::any_over(&mut connection, now).await? {
        return Ok(());
    }
    drop(connection);
    let mut change = store.change(Call::system(now)).await?;
    let over = dns_challenge::expire(change.on(), now).await?;
    change.commit().await?;
    tracing::info!(over, "withdrew DNS challenges that nobody had withdrawn");
    Ok(())
}

/// Doubles with each failure up to a minute, and is a random part of that, a half at least.
fn wait(failures: u32, random: u16) -> Duration {
    let longest = LOOK_EVERY * (1 << failures.min(LONGEST_AFTER));
    let longest = longest.min(Duration::from_secs(60));
    match failures {
        0 => LOOK_EVERY,
        _ => longest / 2 + longest / 2 * u32::from(random) / u32::from(u16::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_longer_after_each_failure_up_to_a_minute() {
        let millis = |failures, random| wait(failures, random).as_millis();
        assert_eq!(millis(0, u16::MAX), 200);
        assert_eq!((millis(1, 0), millis(1, u16::MAX)), (200, 400));
        assert_eq!((millis(4, 0), millis(4, u16::MAX)), (1_600, 3_200));
        assert_eq!((millis(100, 0), millis(100, u16::MAX)), (30_000, 60_000));
    }
}
