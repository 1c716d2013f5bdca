//! What a tenant may have.

use landfall_model::config::Problem;
use serde::{Deserialize, Serialize};

/// `[limits]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawLimits {
    /// The most hostnames of a property, its system hostname included.
    pub hostnames_per_property: u32,
    /// The most names that a property claims and others have or had.
    pub claims_per_property: u32,
}

impl Default for RawLimits {
    fn default() -> Self {
        Self { hostnames_per_property: 1_000_000, claims_per_property: 1_000 }
    }
}

/// What a property may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) hostnames_per_property: u32,
    pub(crate) claims_per_property: u32,
}

pub(super) fn check(raw: &RawLimits, problems: &mut Vec<Problem>) -> Limits {
    if raw.hostnames_per_property == 0 {
        // Its system hostname is one.
        problems.push(Problem::new("limits.hostnames_per_property", "expected at least 1"));
    }
    let RawLimits { hostnames_per_property, claims_per_property } = *raw;
    Limits { hostnames_per_property, claims_per_property }
}
