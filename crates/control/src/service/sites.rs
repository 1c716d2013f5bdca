//! Whose the names under the system domain are.
//!
//! Nobody could prove anything of them, so that claims don't decide: all that is under one label right
//! below the system domain, a site, belongs to one property, and stays its own when it has no name there
//! any more, or is gone.

use serde_json::json;

use super::ServiceError;
use crate::{
    call::SiteRight,
    hostname::{Placement, refusal::NameRefusal},
    property::Property,
    store::{self, Change, audit::AuditEntry},
};

/// Sees to it that a site is `owner`'s before it gets a name there. The wildcard of all sites is added
/// by who may open sites.
pub(super) async fn enter(
    change: &mut Change,
    owner: &Property,
    placement: &Placement,
) -> Result<(), ServiceError> {
    let site = match (placement, change.sites()) {
        (Placement::Site(site), _) => site,
        (Placement::SystemWildcard, SiteRight::Own) => {
            return Err(ServiceError::NameRefused(NameRefusal::SystemDomain));
        }
        (Placement::SystemWildcard, SiteRight::Open)
        | (Placement::External | Placement::Reserved, _) => return Ok(()),
    };
    let has = store::site::owner(change.on(), site).await?;
    if has == Some(owner.id) {
        return Ok(());
    }
    if change.sites() == SiteRight::Own {
        return Err(ServiceError::SiteNotOwned);
    }
    if store::site::is_used(change.on(), site).await? {
        return Err(ServiceError::SiteTaken);
    }
    store::site::give(change.on(), site, owner.id).await?;
    let (property, detail) = (Some(owner.id), json!({}));
    let entry = AuditEntry { action: "site.give", property, object: site, detail };
    change.audit(&entry).await.map_err(ServiceError::from)
}
