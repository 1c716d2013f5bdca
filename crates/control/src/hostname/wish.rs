//! What a hostname's owner asks of its managed certificate.

use std::collections::BTreeSet;

use landfall_model::{AuthorityName, KeyType};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a hostname's owner asks of its managed certificate. Stored as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct CertificateWish {
    /// How the CA is shown that the name is its owner's.
    pub(crate) method: ValidationMethod,
    /// Which CA issues; `None` leaves the choice to the property.
    pub(crate) authority: Option<AuthorityName>,
    /// Which names it is for.
    pub(crate) coverage: Coverage,
    /// One certificate is issued for each; never empty.
    pub(crate) key_types: BTreeSet<KeyType>,
    /// Kept and shown by the Cloudflare-compatible API; nothing goes by it.
    pub(crate) labels: CertificateLabels,
}

impl Default for CertificateWish {
    fn default() -> Self {
        Self {
            method: ValidationMethod::default(),
            authority: None,
            coverage: Coverage::default(),
            key_types: BTreeSet::from([KeyType::Ecdsa]),
            labels: CertificateLabels::default(),
        }
    }
}

/// What the Cloudflare-compatible API keeps of a certificate and shows, and nothing goes by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct CertificateLabels {
    /// Every chain is served as it was issued or uploaded.
    pub(crate) bundle: BundleMethod,
    /// The request that an uploaded certificate was made from, in its owner's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) csr_id: Option<String>,
}

/// Which intermediates a chain should have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BundleMethod {
    /// Those that old clients know.
    #[default]
    Ubiquitous,
    /// As few as can be.
    Optimal,
    /// Those that were uploaded.
    Force,
}

/// How a CA is shown that a name is its owner's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ValidationMethod {
    /// By a file under `/.well-known/`, which the edges answer (RFC 8555 section 8.3).
    #[default]
    Http,
    /// By a TXT record (RFC 8555 section 8.4).
    Txt,
}

/// Which names a certificate is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Coverage {
    /// The hostname.
    #[default]
    Name,
    /// The hostname and everything one label below it.
    NameAndWildcard,
}
