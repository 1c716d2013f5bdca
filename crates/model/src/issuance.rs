//! What the control plane and the agents at the edges say to each other of certificates to be issued.

use std::{collections::BTreeMap, fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{Der, HostPattern, Hostname, HostnameId, KeyType, Sealed};

/// The longest name of a CA, in bytes.
const MAX_AUTHORITY_NAME: usize = 63;

/// A CA, by the name that the operator's configuration calls it, such as `lets_encrypt`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AuthorityName(String);

/// A text that names no CA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a CA's name has 1 to {MAX_AUTHORITY_NAME} of `a-z`, `0-9`, `_` and `-`")]
pub struct AuthorityNameError;

impl AuthorityName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AuthorityName {
    type Err = AuthorityNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
        let is_name = (1..=MAX_AUTHORITY_NAME).contains(&text.len()) && text.bytes().all(plain);
        is_name.then(|| Self(text.to_owned())).ok_or(AuthorityNameError)
    }
}

impl TryFrom<String> for AuthorityName {
    type Error = AuthorityNameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<AuthorityName> for String {
    fn from(name: AuthorityName) -> Self {
        name.0
    }
}

impl fmt::Display for AuthorityName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The length of a thumbprint: 32 bytes in base64url.
const THUMBPRINT_LEN: usize = 43;

/// The SHA-256 thumbprint of an account's public key (RFC 7638), in base64url.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Thumbprint(String);

/// A text that is no thumbprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a thumbprint is the base64url of 32 bytes, without padding")]
pub struct ThumbprintError;

impl Thumbprint {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Thumbprint {
    type Err = ThumbprintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_thumbprint = text.len() == THUMBPRINT_LEN && is_base64url(text);
        is_thumbprint.then(|| Self(text.to_owned())).ok_or(ThumbprintError)
    }
}

impl TryFrom<String> for Thumbprint {
    type Error = ThumbprintError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Thumbprint> for String {
    fn from(thumbprint: Thumbprint) -> Self {
        thumbprint.0
    }
}

/// Whether a text has nothing but the alphabet of base64url (RFC 4648 section 5), without padding.
pub fn is_base64url(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// A certificate to be issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub i64);

/// Counts the leases of a job. Who reports under another number than the job's has lost it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fence(pub u64);

/// How a CA is shown that names are their owner's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChallengeMethod {
    /// A file over plain HTTP (RFC 8555 section 8.3). Not for wildcards.
    #[serde(rename = "http-01")]
    Http01,
    /// A certificate that is shown for the protocol `acme-tls/1` (RFC 8737). Not for wildcards.
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
    /// A TXT record (RFC 8555 section 8.4).
    #[serde(rename = "dns-01")]
    Dns01,
    /// A TXT record that names the CA and our account, and stays (draft-ietf-acme-dns-persist). It is used
    /// in the place of the records that an owner would make for each order.
    #[serde(rename = "dns-persist-01")]
    DnsPersist01,
}

impl ChallengeMethod {
    /// As RFC 8555 section 9.7.8 registers it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
            Self::Dns01 => "dns-01",
            Self::DnsPersist01 => "dns-persist-01",
        }
    }

    /// Reads what [`Self::name`] writes.
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [Self::Http01, Self::TlsAlpn01, Self::Dns01, Self::DnsPersist01];
        all.into_iter().find(|own| own.name() == name)
    }
}

/// A CA, as an agent needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authority {
    /// What the configuration calls it.
    pub name: AuthorityName,
    /// The URL of its directory (RFC 8555 section 7.1.1).
    pub directory: String,
    /// What it calls itself in CAA records (RFC 8659 section 4.2). Empty: what its directory says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub caa_identities: Vec<String>,
    /// PEM of the roots that the directory is verified with, in place of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roots: Option<String>,
    /// What the account says of whom to write to, as `mailto:` URLs.
    #[serde(default)]
    pub contact: Vec<String>,
    /// The profile to ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// The common name of the issuer whose chain is preferred where the CA offers several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preferred_chain: Option<String>,
    /// What ties the account to a customer of the CA (RFC 8555 section 7.3.4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_account: Option<ExternalAccount>,
    /// The account; none where nobody has made its key yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<Account>,
    /// The id of the fleet's group key that everything is sealed to: what is obtained of the CA, and the
    /// account's key, which may still be sealed to an older one.
    pub group_key: String,
}

/// An external account binding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExternalAccount {
    /// The key's id at the CA.
    pub key_id: String,
    /// The HMAC key, sealed for this CA and id.
    pub hmac_key: Sealed,
}

/// An account at a CA. It has a key before it is registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The private key as PKCS#8 DER, sealed for this CA and thumbprint.
    pub key: Sealed,
    /// Of the public key.
    pub thumbprint: Thumbprint,
    /// Where the CA keeps it; none while it is not registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// Where a name is served: its challenge must be answered there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PopTarget {
    /// The PoP's name.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// A job and what is needed to do it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// The job.
    pub job: JobId,
    /// The number of this lease.
    pub fence: Fence,
    /// For how long, in seconds. A report prolongs it by as much.
    pub lease_seconds: u32,
    /// Whom the certificate is for.
    pub hostname: HostnameId,
    /// The names of the certificate: at most a name and the wildcard below it.
    pub names: Vec<HostPattern>,
    /// One certificate is issued for each.
    pub key_types: Vec<KeyType>,
    /// Who issues.
    pub authority: Authority,
    /// Which methods may be used, the preferred one first.
    pub methods: Vec<ChallengeMethod>,
    /// Who makes TXT records, where a method needs them.
    #[serde(default)]
    pub records: TxtRecords,
    /// The id of the certificate that is replaced (RFC 9773 section 4.1), by its type of key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub replaces: BTreeMap<KeyType, String>,
    /// An order of an earlier lease that may still be good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<OpenOrder>,
    /// The TXT records that the owner was asked for, for that order. While one of them is missing, nothing
    /// is to be asked of the CA.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wanted: Vec<TxtRecord>,
    /// The TXT record that would do in place of them, for this order and all to come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lasting: Option<TxtRecord>,
    /// Where the hostname's CNAME should lead.
    pub target: Hostname,
    /// Under which every property has its system hostname.
    pub system_domain: Hostname,
    /// The active PoPs that must answer for the names.
    pub pops: Vec<PopTarget>,
    /// The active PoPs that are behind for too long to be waited for. Names may lead to them as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stalled_pops: Vec<PopTarget>,
    /// The other PoPs. That names lead to them too is nothing that their owners could help, and nothing is
    /// asked of them.
    #[serde(default)]
    pub inactive_pops: Vec<PopTarget>,
}

/// Who makes the TXT records of challenges.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TxtRecords {
    /// The hostname's owner, by hand: they are shown, and the job rests until they are there.
    #[default]
    ByOwner,
    /// We: `_acme-challenge` leads into a zone of ours.
    ByUs {
        /// Where its CNAME leads, without a trailing dot.
        target: String,
    },
}

/// A TXT record that the hostname's owner is to make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxtRecord {
    /// Its name, without a trailing dot.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// An order at a CA that is not finished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenOrder {
    /// Its URL.
    pub url: String,
    /// What it is for.
    pub key_type: KeyType,
    /// When it ends that is not done, where the CA says (RFC 8555 section 7.1.3).
    #[serde(
        default,
        with = "time::serde::timestamp::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub expires: Option<OffsetDateTime>,
}

/// A challenge that the edges, or the DNS, must answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedChallenge {
    /// The name that is proven.
    pub name: HostPattern,
    /// How.
    pub method: ChallengeMethod,
    /// The SHA-256 of the key authorization (RFC 8737 section 3); for DNS-01 the record's value is its
    /// base64url (RFC 8555 section 8.4).
    #[serde(with = "crate::seal::bytes")]
    pub digest: Vec<u8>,
}

/// A certificate that was issued, and its sealed key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedCertificate {
    /// DER, the leaf first, each followed by its issuer.
    pub chain: Vec<Der>,
    /// The private key as PKCS#8 DER, sealed for each of the certificate's names.
    pub keys: Vec<SealedName>,
    /// When to renew it, where the CA says (RFC 9773).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewal: Option<RenewalAdvice>,
}

/// A private key, sealed for one name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedName {
    /// The name.
    pub name: HostPattern,
    /// The key.
    pub key: Sealed,
}

/// When a CA wants a certificate to be renewed (RFC 9773 section 4.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewalAdvice {
    /// The window's start.
    #[serde(with = "time::serde::timestamp")]
    pub start: OffsetDateTime,
    /// The window's end.
    #[serde(with = "time::serde::timestamp")]
    pub end: OffsetDateTime,
    /// Where the CA explains it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<String>,
    /// Not before then is the CA to be asked again.
    #[serde(with = "time::serde::timestamp")]
    pub ask_again_at: OffsetDateTime,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cas_name_is_short_plain_and_lower_case() {
        for good in ["lets_encrypt", "zerossl", "own-ca-2"] {
            assert!(good.parse::<AuthorityName>().is_ok(), "{good}");
        }
        for bad in ["", "Lets", "a b", "a/b", "ä", &"a".repeat(64)] {
            assert!(bad.parse::<AuthorityName>().is_err(), "{bad}");
            assert!(serde_json::from_value::<AuthorityName>(bad.into()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_thumbprint_is_base64url_of_32_bytes() {
        let good = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
        assert!(good.parse::<Thumbprint>().is_ok());
        for bad in ["", &good[1..], &format!("{}/", &good[1..]), &format!("{good}=")] {
            assert!(bad.parse::<Thumbprint>().is_err(), "{bad}");
        }
    }

    #[test]
    fn methods_are_written_as_they_are_registered() {
        use ChallengeMethod::{Dns01, DnsPersist01, Http01, TlsAlpn01};
        for method in [Http01, TlsAlpn01, Dns01, DnsPersist01] {
            assert_eq!(ChallengeMethod::from_name(method.name()), Some(method));
            assert_eq!(serde_json::to_value(method).unwrap(), method.name());
        }
    }
}
