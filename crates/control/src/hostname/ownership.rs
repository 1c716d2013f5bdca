//! How the owner of a claim proves that the name is its own, and what was seen of that.

use landfall_dns::{HttpTokenEvidence, TxtTokenEvidence};
use landfall_model::{HostPattern, Hostname};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{ManagedHostname, wish::Coverage};

/// What the owner of a name can publish to prove it. Either is enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OwnershipTokens {
    /// What is in the TXT record, and in the file.
    pub(crate) token: String,
    /// The TXT record's name.
    pub(crate) txt_name: String,
    /// The file; `None` where a wildcard is to be proven: who may write files on one host need not
    /// speak for those below it.
    pub(crate) file: Option<TokenFile>,
}

/// A file on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenFile {
    pub(crate) host: Hostname,
    /// With the slash in front.
    pub(crate) path: String,
}

impl OwnershipTokens {
    /// What proves this hostname. A wildcard is proven by a record at the name that it is under.
    pub(crate) fn of(hostname: &ManagedHostname) -> Self {
        let base = hostname.name.base();
        let file = match (&hostname.name, hostname.wish.coverage) {
            (HostPattern::Exact(host), Coverage::Name) => Some(TokenFile {
                host: host.clone(),
                path: format!("/.well-known/cf-custom-hostname-challenge/{}", hostname.ssl_id),
            }),
            (HostPattern::Exact(_), Coverage::NameAndWildcard) | (HostPattern::Wildcard(_), _) => {
                None
            }
        };
        let txt_name = format!("_cf-custom-hostname.{base}");
        Self { token: hostname.ownership_token.clone(), txt_name, file }
    }
}

impl TokenFile {
    /// Where it is fetched from.
    pub(crate) fn url(&self) -> String {
        format!("http://{}{}", self.host, self.path)
    }
}

/// What the last look for an ownership token saw. Stored as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OwnershipEvidence {
    /// When it was.
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) checked_at: OffsetDateTime,
    pub(crate) txt: TxtTokenEvidence,
    /// `None` where the file was not fetched: a wildcard has none, and checks that nobody asks for go
    /// by the TXT record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) http: Option<HttpTokenEvidence>,
    /// From when on the file is fetched again on request, where files of this domain were fetched too
    /// often to fetch it now.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "time::serde::rfc3339::option"
    )]
    pub(crate) http_not_before: Option<OffsetDateTime>,
}

impl OwnershipEvidence {
    /// Whether it proves one of the hostname's names: a wildcard is proven by the record alone.
    pub(crate) fn proves(&self, name: &HostPattern) -> bool {
        match name {
            HostPattern::Exact(_) => self.is_in_record() || self.is_in_file(),
            HostPattern::Wildcard(_) => self.is_in_record(),
        }
    }

    /// Whether the token was in the TXT record.
    pub(crate) fn is_in_record(&self) -> bool {
        self.txt.found
    }

    /// Whether the token was in the file.
    pub(crate) fn is_in_file(&self) -> bool {
        self.http.as_ref().is_some_and(|http| http.file_found == 1 && !http.error)
    }
}
