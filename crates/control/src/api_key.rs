//! Keys to the API: what each may do, and to what.

use std::{fmt, str::FromStr};

use landfall_model::PropertyId;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{call::SiteRight, token::ApiKeyId};

/// The longest name of a key or a PoP, in bytes.
const MAX_NAME_LEN: usize = 63;

/// What a key may do. Each scope may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Look.
    Read,
    /// Change properties, hostnames and certificates.
    Write,
    /// Manage keys, and read the audit log.
    Admin,
}

impl Scope {
    /// As the API and the command line have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name of a key or a PoP: a word for people and for scripts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlainName(String);

/// Why a text is not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name has 1 to {MAX_NAME_LEN} letters, digits, hyphens, dots and underscores")]
pub(crate) struct PlainNameError;

impl PlainName {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PlainName {
    type Err = PlainNameError;

    fn from_str(text: &str) -> Result<Self, PlainNameError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        match (1..=MAX_NAME_LEN).contains(&text.len()) && text.bytes().all(allowed) {
            true => Ok(Self(text.to_owned())),
            false => Err(PlainNameError),
        }
    }
}

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// What it may do.
    pub scope: Scope,
    /// The one property that it is for; `None`: all.
    pub property: Option<PropertyId>,
    /// When it ends by itself.
    pub expires_at: Option<OffsetDateTime>,
}

/// A key to the API, without its secret.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// Its number, which its secret form has in it.
    pub id: i64,
    /// What its maker called it; no two for the same property have one name.
    pub name: String,
    /// What it is for.
    pub grant: Grant,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// When it was revoked, if it was.
    pub revoked_at: Option<OffsetDateTime>,
    /// When it was last used, within a minute.
    pub last_used_at: Option<OffsetDateTime>,
}

/// Whoever holds a key, proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) key: ApiKeyId,
    pub(crate) scope: Scope,
    /// The one property that the caller sees; `None`: all.
    pub(crate) property: Option<PropertyId>,
}

impl Caller {
    /// Whether `property` is anything that the caller may know of.
    pub(crate) fn sees(&self, property: PropertyId) -> bool {
        self.property.is_none_or(|own| own == property)
    }

    /// A key that is for one property takes no site that could be another's.
    pub(crate) fn sites(&self) -> SiteRight {
        match self.property {
            None => SiteRight::Open,
            Some(_) => SiteRight::Own,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_plain_word() {
        for good in ["ops", "a", "ci-2_x.y", &"x".repeat(63)] {
            assert!(good.parse::<PlainName>().is_ok(), "{good}");
        }
        for bad in ["", "a b", "a/b", "é", "a\n", "'; DROP TABLE api_key", &"x".repeat(64)] {
            assert!(bad.parse::<PlainName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_scope_may_do_what_lesser_ones_may() {
        assert!(Scope::Read < Scope::Write && Scope::Write < Scope::Admin);
    }
}
