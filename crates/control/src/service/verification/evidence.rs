//! Evidence as it is kept: whole, and bounded.

use landfall_dns::{Conflict, Evidence};

use crate::store::StoreError;

/// The most entries of each list. Whoever runs a zone decides how many there are.
const MAX_ENTRIES: usize = 32;
/// The most addresses of our own that are listed.
const MAX_EXPECTED: usize = 128;

/// Cuts lists that are longer than anybody reads: verdict and advice were made of all of it.
pub(super) fn bounded(mut evidence: Evidence) -> Evidence {
    evidence.ipv4.addresses.truncate(MAX_ENTRIES);
    evidence.ipv6.addresses.truncate(MAX_ENTRIES);
    evidence.caa.records.truncate(MAX_ENTRIES);
    evidence.chain.truncate(MAX_ENTRIES);
    evidence.conflicts.truncate(MAX_ENTRIES);
    evidence.expected_addresses.truncate(MAX_EXPECTED);
    for conflict in &mut evidence.conflicts {
        match conflict {
            Conflict::AddressBesideCname { addresses, .. }
            | Conflict::ResolversDiffer { addresses, .. } => addresses.truncate(MAX_ENTRIES),
            Conflict::StaleAddress { .. } => {}
        }
    }
    if let Some(zone) = &mut evidence.zone {
        zone.servers.truncate(MAX_ENTRIES);
    }
    evidence
}

pub(super) fn to_json(evidence: &Evidence) -> Result<String, StoreError> {
    serde_json::to_string(evidence).map_err(|_| StoreError::Corrupt("evidence"))
}
