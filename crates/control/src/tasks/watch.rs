//! Looks at PoPs for the certificates that they should serve.

use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::sleep;

use super::every;
use crate::{
    api::problem::chain,
    service::{Left, Service},
};

/// How often it is looked for certificates that are due. What a PoP acknowledges here is looked at at
/// once.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long PoPs that have had enough handshakes are left alone.
const PACE: Duration = Duration::from_millis(100);

/// Looks at PoPs. Never ends.
pub(crate) async fn look(service: Service) {
    let mut ticks = every(LOOK_EVERY);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = service.watch.acknowledged.notified() => {}
        }
        loop {
            match service.look_at_pops(OffsetDateTime::now_utc()).await {
                Ok(Left::More) => {}
                Ok(Left::MoreLater) => sleep(PACE).await,
                Ok(Left::Nothing) => break,
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "cannot look at what PoPs show");
                    break;
                }
            }
        }
    }
}
