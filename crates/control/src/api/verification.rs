//! Where a hostname's verification stands, as the API shows it.

use landfall_dns::Finding;
use serde::Serialize;
use time::OffsetDateTime;

use crate::{hostname::HostnameStatus, store::verification::VerificationState};

/// Where a hostname's verification stands.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct VerificationBody {
    /// `null` once it is no longer checked by itself.
    #[serde(with = "time::serde::rfc3339::option")]
    next_attempt_at: Option<OffsetDateTime>,
    tries: u32,
    #[serde(with = "time::serde::rfc3339::option")]
    last_checked_at: Option<OffsetDateTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finding: Option<Finding>,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
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
