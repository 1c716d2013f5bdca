//! Why a hostname's certificate can't be requested.

use std::{net::IpAddr, time::Duration};

use http::StatusCode;
use landfall_dns::Evidence;

use super::Problem;
use crate::service::VerificationError;

/// Why no certificate can be requested.
pub(super) fn problem(error: &VerificationError) -> Problem {
    match error {
        VerificationError::Failed(evidence) => {
            let (code, title) = ("dns_verification_failed", "DNS does not lead here");
            seen(evidence, (StatusCode::BAD_REQUEST, code, title))
        }
        VerificationError::Inconclusive(evidence) => {
            let (code, title) = ("dns_verification_inconclusive", "DNS could not be verified");
            seen(evidence, (StatusCode::SERVICE_UNAVAILABLE, code, title))
        }
        VerificationError::OwnershipNotProven => Problem::conflict(
            "ownership_not_proven",
            "The hostname is a claim, for another property has the name or had it. Publish its \
             ownership token, and ask again.",
        ),
        VerificationError::Changed => {
            Problem::conflict("hostname_changed", "The hostname was changed meanwhile. Ask again.")
        }
        VerificationError::TooMany => Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "rate_limited",
            "Too many requests",
            "So many of the property's hostnames are being verified that this one has to wait.",
        )
        .retry_in(Duration::from_secs(5)),
        VerificationError::UploadedCertificate => Problem::new(
            StatusCode::BAD_REQUEST,
            "uploaded_certificate",
            "Cannot request Let's Encrypt certificate",
            "Cannot request Let's Encrypt certificate: the hostname has an uploaded certificate. To \
             go back to a managed one, delete it first: DELETE the hostname's `certificate`.",
        ),
    }
}

/// Says what to change, what was found and what was expected.
fn seen(
    evidence: &Evidence,
    (status, code, title): (StatusCode, &'static str, &'static str),
) -> Problem {
    let resolved: Vec<IpAddr> = evidence.addresses().collect();
    let expected = &evidence.expected_addresses;
    let (mut found, mut wanted) = (list(&resolved), list(expected));
    // The addresses alone would read as if all were well.
    if let Some(first) = evidence.chain.first()
        && resolved.iter().all(|own| expected.contains(own))
    {
        found = format!("{found} by way of {first}");
        wanted = format!("{wanted} by way of {}", evidence.expected_target);
    }
    let detail = format!("{} Resolved: {found}. Expected: {wanted}.", evidence.advice);
    let shown = serde_json::to_value(evidence).unwrap_or_default();
    Problem::new(status, code, title, detail).with("evidence", shown)
}

fn list(addresses: &[IpAddr]) -> String {
    match addresses {
        [] => "no address".to_owned(),
        _ => addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}
