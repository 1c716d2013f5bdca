//! The record by which a hostname's owner leaves its DNS challenges to us.

use landfall_dns::challenge_name;
use landfall_model::Hostname;

use super::{Issuance, ManagedHostname};

/// A CNAME record, by names without trailing dots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DelegationRecord {
    /// `_acme-challenge` below the hostname.
    pub(crate) name: String,
    /// The hostname's own name in the zone of challenges.
    pub(crate) target: String,
}

impl DelegationRecord {
    /// Of a hostname that public CAs issue for.
    pub(crate) fn of(hostname: &ManagedHostname, zone: &Hostname) -> Option<Self> {
        let name = challenge_name(&hostname.name);
        let target = format!("{}.{zone}", hostname.public_id);
        (hostname.issuance == Issuance::None).then_some(Self { name, target })
    }
}
