//! Takes back what agents have not reported on in time, and lifts holds.

use std::time::Duration;

use time::OffsetDateTime;

use super::every;
use crate::{api::problem::chain, service::Service};

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Takes back leases that ran out, and asks at first for what CAs are told of us to be what is configured.
/// Never ends.
pub(crate) async fn take_back(service: Service) {
    let mut ticks = every(LOOK_EVERY);
    if let Err(error) = service.update_accounts(OffsetDateTime::now_utc()).await {
        tracing::warn!(error = %chain(&error), "cannot look for accounts to be changed");
    }
    loop {
        ticks.tick().await;
        if let Err(error) = service.take_back(OffsetDateTime::now_utc()).await {
            tracing::warn!(error = %chain(&error), "cannot take back leases that ran out");
        }
    }
}

/// Lifts the holds that wait for an operator, who has just started the control plane.
pub(crate) async fn lift_holds(service: &Service, now: OffsetDateTime) {
    match service.lift_holds(now).await {
        Ok(0) => {}
        Ok(lifted) => tracing::info!(lifted, "CAs that were left alone are asked again"),
        Err(error) => tracing::warn!(error = %chain(&error), "cannot lift holds of CAs"),
    }
}
