//! Why the service did not do what it was asked for.

use std::sync::Arc;

use landfall_dns::Evidence;
use landfall_feed::{record::MAX_RECORD_LEN, seal::SealError};
use landfall_model::{NameError, Origin};

use super::{MAX_SETTINGS_LEN, MAX_TLS_POLICIES};
use crate::{
    ca::CaError,
    certificate::upload::UploadError,
    hostname::refusal::NameRefusal,
    property::PropertyNameError,
    settings::SettingsError,
    store::{StoreError, change::PublishError},
    token::RandomError,
};

/// What was looked for in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    Property,
    Hostname,
    UploadedCertificate,
    IssuedCertificate,
    FallbackOrigin,
    Key,
}

impl Missing {
    /// As errors call it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Property => "property",
            Self::Hostname => "hostname",
            Self::UploadedCertificate => "uploaded certificate",
            Self::IssuedCertificate => "certificate of a CA",
            Self::FallbackOrigin => "fallback origin",
            Self::Key => "key",
        }
    }
}

/// Why the service did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServiceError {
    #[error("there is no such thing")]
    Missing(Missing),
    #[error("the property's name is in use")]
    PropertyNameTaken,
    #[error("the object has the version {version}, which is not the expected one")]
    Stale { version: i64 },
    #[error("the request's key was used for another request")]
    KeyReused,
    #[error("what the request made is gone")]
    CreatedIsGone,
    #[error("the key's name is in use")]
    KeyNameTaken,
    #[error("the property has {most} keys already")]
    TooManyKeys { most: u32 },
    #[error("the property has hostnames")]
    PropertyNotEmpty,
    #[error("the property's system hostname is not a hostname")]
    SystemName(#[source] NameError),
    #[error("the property has the hostname already")]
    HostnameTaken,
    #[error("the site is another property's, or others have names in it")]
    SiteTaken,
    #[error("the wildcard is somebody's, or others have names under it")]
    WildcardTaken,
    #[error("the property has {limit} hostnames, as many as it may")]
    TooManyHostnames { limit: u32 },
    #[error("the property has {limit} claims, as many as it may")]
    TooManyClaims { limit: u32 },
    #[error("the site belongs to another property, or to none")]
    SiteNotOwned,
    #[error("nobody may have the hostname")]
    NameRefused(#[source] NameRefusal),
    #[error("a property's system hostname stays for as long as the property")]
    SystemHostname,
    #[error("the settings can't be used")]
    Settings(#[from] SettingsError),
    #[error("the property's name can't be used")]
    PropertyName(#[source] PropertyNameError),
    #[error("the hostname's name can't be used")]
    HostnameName(#[source] NameError),
    #[error("the origin {origin} is not on the public internet")]
    OriginRefused {
        origin: Origin,
        /// Its place among a property's origins, where it is one.
        place: Option<usize>,
    },
    #[error("the property's hostnames would have more than {MAX_TLS_POLICIES} TLS policies")]
    TooManyPolicies,
    #[error("the certificate was refused")]
    Upload {
        /// Where the certificate and its key are in the request, as [`Upload::within`] has it.
        ///
        /// [`Upload::within`]: super::Upload
        within: &'static str,
        #[source]
        source: UploadError,
    },
    #[error("the record would have {len} bytes, {MAX_RECORD_LEN} are allowed")]
    TooLarge { len: usize },
    #[error("the settings would take {len} bytes, {MAX_SETTINGS_LEN} are allowed")]
    SettingsTooLarge { len: usize },
    #[error("the store failed")]
    Store(#[from] StoreError),
    #[error("the internal CA failed")]
    Ca(#[source] CaError),
    #[error("the private key could not be sealed")]
    Seal(#[source] SealError),
    #[error("no randomness")]
    Random(#[from] RandomError),
    #[error("a check was cut off")]
    Interrupted,
    #[error("no certificate can be requested")]
    Verification(#[from] VerificationError),
    #[error("the certificate authority {wanted} is not configured")]
    AuthorityNotConfigured { field: &'static str, wanted: String, configured: Vec<String> },
}

/// Why no certificate can be requested for a hostname.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VerificationError {
    #[error("the hostname's DNS does not lead here: {}", .0.finding.name())]
    Failed(Arc<Evidence>),
    #[error("it could not be told where the hostname's DNS leads: {}", .0.finding.name())]
    Inconclusive(Arc<Evidence>),
    #[error("the hostname is a claim, and ownership is not proven")]
    OwnershipNotProven,
    #[error("the hostname was changed meanwhile")]
    Changed,
    #[error("the hostname has an uploaded certificate")]
    UploadedCertificate,
    #[error("too many of the property's hostnames are being verified")]
    TooMany,
}

impl From<PublishError> for ServiceError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::TooLarge { len } => Self::TooLarge { len },
            PublishError::Store(error) => Self::Store(error),
        }
    }
}
