//! What happened to a hostname, for its owner.

use landfall_model::HostnameId;
use serde_json::Value;
use time::OffsetDateTime;

use super::{Connection, StoreError};

/// The most events that a hostname keeps: the newest.
const KEPT: i64 = 200;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventKind {
    Created,
    OwnershipProven,
    NameAcquired,
    TakenOver,
    WildcardTakenOver,
    Changed,
    CertificateUploaded,
    CertificateRemoved,
    CertificateIssued,
    CertificateRequested,
    CertificateRequestCancelled,
    CertificateAttemptFailed,
}

impl EventKind {
    /// As the API has it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::OwnershipProven => "ownership_proven",
            Self::NameAcquired => "name_acquired",
            Self::TakenOver => "taken_over",
            Self::WildcardTakenOver => "wildcard_taken_over",
            Self::Changed => "changed",
            Self::CertificateUploaded => "certificate_uploaded",
            Self::CertificateRemoved => "certificate_removed",
            Self::CertificateIssued => "certificate_issued",
            Self::CertificateRequested => "certificate_requested",
            Self::CertificateRequestCancelled => "certificate_request_cancelled",
            Self::CertificateAttemptFailed => "certificate_attempt_failed",
        }
    }
}

/// Adds an event, and removes what is more than a hostname keeps.
pub(crate) async fn add(
    on: &mut Connection,
    hostname: HostnameId,
    kind: EventKind,
    detail: &Value,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO event (hostname_id, at, kind, detail) VALUES (?, ?, ?, ?)")
        .bind(hostname.0)
        .bind(now.unix_timestamp())
        .bind(kind.name())
        .bind(detail.to_string())
        .execute(&mut *on)
        .await
        .map_err(StoreError::on("add an event"))?;
    sqlx::query(
        "DELETE FROM event WHERE hostname_id = ?1 AND id <= \
         (SELECT id FROM event WHERE hostname_id = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
    )
    .bind(hostname.0)
    .bind(KEPT)
    .execute(on)
    .await
    .map_err(StoreError::on("remove old events"))?;
    Ok(())
}
