//! Where a hostname's verification stands, as the API shows it.

use landfall_dns::Finding;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{hostname::HostnameStatus, schema, store::verification::VerificationState};

/// Where a hostname's verification stands.
#[derive(Serialize, ToSchema)]
#[schema(as = Verification)]
#[serde(rename_all = "camelCase")]
pub(super) struct VerificationBody {
    /// When it is checked next; null once it is no longer checked by itself.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(required)]
    next_attempt_at: Option<OffsetDateTime>,
    /// How often it was checked in vain.
    tries: u32,
    /// When it was last checked.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(required)]
    last_checked_at: Option<OffsetDateTime>,
    /// What the last check came down to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::FindingName>)]
    finding: Option<Finding>,
    /// One sentence that says what to change.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
    /// Since when the DNS of an Active hostname leads elsewhere.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    dns_left_at: Option<OffsetDateTime>,
}

impl From<VerificationState> for VerificationBody {
    fn from(state: VerificationState) -> Self {
        let finding = state.evidence.as_ref().map(|evidence| evidence.finding);
        Self {
            next_attempt_at: state.next_at,
            tries: state.tries,
            last_checked_at: state.checked_at,
            finding,
            advice: state.evidence.map(|evidence| evidence.advice),
            dns_left_at: state.left_at,
        }
    }
}

/// Why a hostname's status is `Error`.
pub(super) fn status_reason(status: HostnameStatus) -> Option<&'static str> {
    match status {
        HostnameStatus::PendingValidation | HostnameStatus::Active => None,
        HostnameStatus::GivenUp => Some("dns_not_verified"),
        HostnameStatus::TakenOver => Some("taken_over"),
    }
}
