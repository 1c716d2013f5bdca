//! Brings checks and attempts forward that wait for longer than they need to: for a PoP that has become
//! active meanwhile, or because a clock was wrong when they were put off.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use time::OffsetDateTime;

use super::every;
use crate::{
    api::problem::chain,
    service::{Service, ServiceError},
};

/// How often it is looked for PoPs that have become active.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Keeps waits as short as they should be. Never ends.
pub(crate) async fn keep(service: Service) {
    let mut ticks = every(LOOK_EVERY);
    let mut active = BTreeSet::new();
    loop {
        ticks.tick().await;
        if let Err(error) = round(&service, &mut active).await {
            tracing::warn!(error = %chain(&error), "cannot keep checks in time");
        }
    }
}

/// `active` are the addresses of PoPs that were active last time.
async fn round(service: &Service, active: &mut BTreeSet<IpAddr>) -> Result<(), ServiceError> {
    let now = OffsetDateTime::now_utc();
    let found = service.active_addresses(now).await?;
    if !found.is_subset(active) {
        let hastened = service.hasten_awaiting_pops(now).await?;
        tracing::info!(hostnames = hastened, "a PoP is active: hostnames that waited are checked");
    }
    *active = found;
    let misdated = service.hasten_misdated(now).await?;
    if misdated > 0 {
        tracing::warn!(
            misdated,
            "what was put off for too long is brought forward: was a clock wrong?"
        );
    }
    Ok(())
}
