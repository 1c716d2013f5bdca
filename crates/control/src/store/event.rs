//! What happened to a hostname, for its owner.

use landfall_model::HostnameId;
use serde_json::Value;
use sqlx::{Row, sqlite::SqliteRow};
use time::OffsetDateTime;

use super::{Connection, StoreError, from_json, readable::Filling, time_from_sql};

/// The most events that a hostname keeps: the newest.
const KEPT: i64 = 200;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventKind {
    Created,
    OwnershipProven,
    TakenOver,
    NameDisputed,
    NameTakenOver,
    WildcardTakenOver,
    Changed,
    CertificateUploaded,
    CertificateRemoved,
    CertificateIssued,
    CertificateServed,
    CertificateRequested,
    CertificateRequestCancelled,
    CertificateAttemptFailed,
    CertificateRevocationRequested,
    CertificateRevocationFailed,
    CertificateRevoked,
    Activated,
    VerificationResumed,
    GivenUp,
    DnsLeft,
    DnsReturned,
}

impl EventKind {
    /// As the API has it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::OwnershipProven => "ownership_proven",
            Self::TakenOver => "taken_over",
            Self::NameDisputed => "name_disputed",
            Self::NameTakenOver => "name_taken_over",
            Self::WildcardTakenOver => "wildcard_taken_over",
            Self::Changed => "changed",
            Self::CertificateUploaded => "certificate_uploaded",
            Self::CertificateRemoved => "certificate_removed",
            Self::CertificateIssued => "certificate_issued",
            Self::CertificateServed => "certificate_served",
            Self::CertificateRequested => "certificate_requested",
            Self::CertificateRequestCancelled => "certificate_request_cancelled",
            Self::CertificateAttemptFailed => "certificate_attempt_failed",
            Self::CertificateRevocationRequested => "certificate_revocation_requested",
            Self::CertificateRevocationFailed => "certificate_revocation_failed",
            Self::CertificateRevoked => "certificate_revoked",
            Self::Activated => "activated",
            Self::VerificationResumed => "verification_resumed",
            Self::GivenUp => "verification_given_up",
            Self::DnsLeft => "dns_left",
            Self::DnsReturned => "dns_returned",
        }
    }
}

/// Something that happened to a hostname.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// Grows with every event.
    pub(crate) id: i64,
    pub(crate) at: OffsetDateTime,
    /// As [`EventKind::name`] has it.
    pub(crate) kind: String,
    pub(crate) detail: Value,
}

/// At most `limit` events of a hostname, the newest first; of those before the one with the id
/// `before`, where it is given.
pub(crate) async fn list(
    on: &mut Connection,
    hostname: HostnameId,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<Event>, StoreError> {
    let read = |row: &SqliteRow| {
        Ok(Event {
            id: row.get(0),
            at: time_from_sql(row.get(1))?,
            kind: row.get(2),
            detail: from_json(row.get(3), "event")?,
        })
    };
    let mut page = Filling::new(before.unwrap_or(i64::MAX), limit);
    while let Some((before, limit)) = page.wanted() {
        let rows = sqlx::query(
            "SELECT id, at, kind, detail FROM event WHERE hostname_id = ? AND id < ? \
             ORDER BY id DESC LIMIT ?",
        )
        .bind(hostname.0)
        .bind(before)
        .bind(i64::from(limit))
        .fetch_all(&mut *on)
        .await
        .map_err(StoreError::on("list events"))?;
        page.fill("event", &rows, read);
    }
    Ok(page.done())
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
