//! Who changed what.

use landfall_model::PropertyId;

use super::{Service, ServiceError};
use crate::store::{self, audit::AuditRow};

impl Service {
    /// At most `limit` entries of the audit log with ids below `before`, the newest first: those
    /// about one property, or all.
    pub(crate) async fn audit_log(
        &self,
        property: Option<PropertyId>,
        before: i64,
        limit: u32,
    ) -> Result<Vec<AuditRow>, ServiceError> {
        let mut connection = self.store.read().await?;
        Ok(store::audit::list(&mut connection, property, before, limit).await?)
    }
}
