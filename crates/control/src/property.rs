//! A tenant's property: what owns hostnames and origins.

use std::{fmt, str::FromStr};

use landfall_model::{AuthorityName, Origin, OriginPool, PropertyId, name::MAX_LABEL_LEN};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// A property's name: one DNS label in lower case, since its system hostname starts with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PropertyName(String);

/// Why a text is not a property's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a property's name is a DNS label: 1 to {MAX_LABEL_LEN} letters, digits and hyphens, neither first nor last a hyphen"
)]
pub(crate) struct PropertyNameError;

impl PropertyName {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PropertyName {
    type Err = PropertyNameError;

    fn from_str(text: &str) -> Result<Self, PropertyNameError> {
        let label = text.to_ascii_lowercase();
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        // Hyphens in third and fourth place are for IDNA (RFC 5891 section 4.2.3.1).
        let reserved = label.get(2..4) == Some("--");
        let fits = (1..=MAX_LABEL_LEN).contains(&label.len()) && label.bytes().all(allowed);
        match fits && !reserved && !label.starts_with('-') && !label.ends_with('-') {
            true => Ok(Self(label)),
            false => Err(PropertyNameError),
        }
    }
}

impl fmt::Display for PropertyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A property as it is kept.
#[derive(Clone, Debug)]
pub(crate) struct Property {
    pub(crate) id: PropertyId,
    pub(crate) name: PropertyName,
    /// 32 hexadecimal digits.
    pub(crate) zone_id: String,
    pub(crate) spec: PropertySpec,
    pub(crate) fallback: Option<FallbackOrigin>,
    /// Counts changes.
    pub(crate) version: i64,
    pub(crate) created_at: OffsetDateTime,
}

/// What its owner sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PropertySpec {
    pub(crate) pool: OriginPool,
    /// Which CA issues for its hostnames, unless their own is another one; `None` leaves the choice to
    /// the operator.
    pub(crate) authority: Option<AuthorityName>,
}

/// An origin that takes the place of a property's others for as long as it is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FallbackOrigin {
    pub(crate) origin: Origin,
    #[serde(with = "time::serde::timestamp")]
    pub(crate) created_at: OffsetDateTime,
    #[serde(with = "time::serde::timestamp")]
    pub(crate) updated_at: OffsetDateTime,
}

impl Property {
    /// Where requests go, and how.
    pub(crate) fn pool_in_force(&self) -> OriginPool {
        match &self.fallback {
            None => self.spec.pool.clone(),
            Some(fallback) => OriginPool {
                origins: vec![fallback.origin.clone().into()],
                ..self.spec.pool.clone()
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_dns_label() {
        for good in ["shop", "a", "Shop-2", "2", &"x".repeat(63)] {
            assert!(good.parse::<PropertyName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "a.b", "a_b", "xn--a", "*", "é", &"x".repeat(64)] {
            assert!(bad.parse::<PropertyName>().is_err(), "{bad}");
        }
    }
}
