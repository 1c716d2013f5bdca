//! Forgets what certificates took the place of, once these are seen to be served.

use std::sync::Arc;

use landfall_model::HostnameId;
use time::OffsetDateTime;

use super::{Service, ServiceError, publish};
use crate::{
    call::Call,
    certificate::CertificateSummary,
    hostname::deployment::{Fleet, Proof, Published},
    store::{self, Connection},
};

/// The most hostnames that one round looks at.
const LOOKED_AT: u32 = 256;

/// Whether what a hostname's certificates took the place of is of no more use: every active PoP has
/// them and refuses none, and handshakes have shown them where that is asked for.
fn is_settled(certificates: &[CertificateSummary], published: &Published) -> bool {
    let is_seen = |own: &CertificateSummary| match published.fleet.proof {
        Proof::Handshake => own.sighted.at.is_some(),
        Proof::Acknowledgement => true,
    };
    certificates.is_empty() || (published.is_taken_everywhere() && certificates.iter().all(is_seen))
}

impl Service {
    /// Forgets what is of no more use of what certificates took the place of, and says from where on the
    /// next round looks, if there may be more than this one looked at.
    ///
    /// # Errors
    /// Where the database fails.
    pub(crate) async fn forget_predecessors(
        &self,
        after: HostnameId,
        now: OffsetDateTime,
    ) -> Result<Option<HostnameId>, ServiceError> {
        let mut connection = self.store.read().await?;
        let found = store::predecessor::hostnames(&mut connection, after, LOOKED_AT).await?;
        let fleet = match found.is_empty() {
            true => return Ok(None),
            false => self.fleet(&mut connection, now).await?,
        };
        let mut settled = Vec::new();
        for id in &found {
            // A row that can't be read holds nobody else up.
            if are_settled(&mut connection, *id, &fleet).await.unwrap_or(false) {
                settled.push(*id);
            }
        }
        drop(connection);
        if !settled.is_empty() {
            let mut change = self.store.change(Call::system(now)).await?;
            for id in settled {
                // Another certificate may have come meanwhile, whose predecessor is needed.
                if are_settled(change.on(), id, &fleet).await? {
                    store::predecessor::forget(change.on(), id).await?;
                    publish(&mut change, id).await?;
                }
            }
            change.commit().await?;
        }
        let is_full = found.len() >= LOOKED_AT as usize;
        Ok(found.last().filter(|_| is_full).copied())
    }
}

async fn are_settled(
    on: &mut Connection,
    id: HostnameId,
    fleet: &Arc<Fleet>,
) -> Result<bool, ServiceError> {
    let certificates = store::certificate::summaries(on, id).await?;
    let records = store::held_name::publications(on, id).await?;
    let published = Published { fleet: Arc::clone(fleet), records };
    Ok(is_settled(&certificates, &published))
}
