//! A CA's problem document.

use landfall_model::ChallengeMethod;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::Words;

/// What was being done when something failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The CA's directory was read, or a nonce asked for.
    Directory,
    /// The account was registered or looked up.
    Account,
    /// An order was made or read.
    Order,
    /// A challenge was to be validated.
    Validation,
    /// The order was finalized.
    Finalize,
    /// The chain was fetched.
    Download,
    /// It was asked when to renew (RFC 9773).
    RenewalInfo,
    /// A certificate was to be revoked.
    Revocation,
}

/// What a CA answered, as a problem document (RFC 8555 section 6.7, RFC 9457), or as a challenge's
/// error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What was being done.
    pub step: Step,
    /// The status of the HTTP answer; none for a challenge's error, which comes in a good answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What kind of a problem it is.
    pub kind: ProblemKind,
    /// The CA's words.
    #[serde(default)]
    pub detail: Words,
    /// The problems of single names (RFC 8555 section 6.7.1).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subproblems: Vec<Subproblem>,
    /// Not before then is the CA to be asked again (RFC 9110 section 10.2.3), in seconds since 1970.
    #[serde(default, with = "time::serde::timestamp::option")]
    pub retry_after: Option<OffsetDateTime>,
    /// The method of the challenge that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<ChallengeMethod>,
}

/// A problem with one name of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subproblem {
    /// The name as the CA has it, without a `*.`.
    #[serde(default)]
    pub name: Words,
    /// What kind of a problem it is.
    pub kind: ProblemKind,
    /// The CA's words.
    #[serde(default)]
    pub detail: Words,
}

/// The kinds of problems: RFC 8555 section 6.7, RFC 9773 section 7.4, the profiles' draft, and what
/// CAs use beside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum ProblemKind {
    /// The account doesn't exist.
    AccountDoesNotExist,
    /// The certificate that the order replaces has been replaced already.
    AlreadyReplaced,
    /// The certificate was revoked before.
    AlreadyRevoked,
    /// The certificate signing request is refused.
    BadCsr,
    /// The nonce is not one of the CA's, or was used before.
    BadNonce,
    /// The key that signed is refused.
    BadPublicKey,
    /// The reason is not one that the CA allows.
    BadRevocationReason,
    /// The signature's algorithm is refused.
    BadSignatureAlgorithm,
    /// CAA records forbid it.
    Caa,
    /// Several; see the subproblems.
    Compound,
    /// Another order replaces the same certificate.
    Conflict,
    /// The CA can't connect to the name.
    Connection,
    /// The CA can't look the name up.
    Dns,
    /// An external account is needed.
    ExternalAccountRequired,
    /// The challenge was answered wrongly.
    IncorrectResponse,
    /// The account's contact is refused.
    InvalidContact,
    /// There is no such profile.
    InvalidProfile,
    /// The request is not well formed.
    Malformed,
    /// The order can't be finalized yet.
    OrderNotReady,
    /// Too much was asked for.
    RateLimited,
    /// The CA's policy refuses the name.
    RejectedIdentifier,
    /// Something broke at the CA.
    ServerInternal,
    /// The CA could not set up TLS with the name.
    Tls,
    /// The challenge was answered by somebody else, or the account may not do this.
    Unauthorized,
    /// A contact of this kind is not supported.
    UnsupportedContact,
    /// A name of this kind is not supported.
    UnsupportedIdentifier,
    /// Somebody has to do something at the CA's site, such as to agree to new terms.
    UserActionRequired,
    /// None that is known here, or none at all.
    Unlisted,
}

/// What the registered kinds' names begin with.
const PREFIX: &str = "urn:ietf:params:acme:error:";

impl ProblemKind {
    const ALL: [Self; 27] = [
        Self::AccountDoesNotExist,
        Self::AlreadyReplaced,
        Self::AlreadyRevoked,
        Self::BadCsr,
        Self::BadNonce,
        Self::BadPublicKey,
        Self::BadRevocationReason,
        Self::BadSignatureAlgorithm,
        Self::Caa,
        Self::Compound,
        Self::Conflict,
        Self::Connection,
        Self::Dns,
        Self::ExternalAccountRequired,
        Self::IncorrectResponse,
        Self::InvalidContact,
        Self::InvalidProfile,
        Self::Malformed,
        Self::OrderNotReady,
        Self::RateLimited,
        Self::RejectedIdentifier,
        Self::ServerInternal,
        Self::Tls,
        Self::Unauthorized,
        Self::UnsupportedContact,
        Self::UnsupportedIdentifier,
        Self::UserActionRequired,
    ];

    /// Reads a `type`: a URN, or its last part alone. What is not known is [`Self::Unlisted`].
    pub fn from_urn(urn: &str) -> Self {
        let name = urn.strip_prefix(PREFIX).unwrap_or(urn);
        Self::ALL.into_iter().find(|kind| kind.name() == name).unwrap_or(Self::Unlisted)
    }

    /// The URN's last part.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AccountDoesNotExist => "accountDoesNotExist",
            Self::AlreadyReplaced => "alreadyReplaced",
            Self::AlreadyRevoked => "alreadyRevoked",
            Self::BadCsr => "badCSR",
            Self::BadNonce => "badNonce",
            Self::BadPublicKey => "badPublicKey",
            Self::BadRevocationReason => "badRevocationReason",
            Self::BadSignatureAlgorithm => "badSignatureAlgorithm",
            Self::Caa => "caa",
            Self::Compound => "compound",
            Self::Conflict => "conflict",
            Self::Connection => "connection",
            Self::Dns => "dns",
            Self::ExternalAccountRequired => "externalAccountRequired",
            Self::IncorrectResponse => "incorrectResponse",
            Self::InvalidContact => "invalidContact",
            Self::InvalidProfile => "invalidProfile",
            Self::Malformed => "malformed",
            Self::OrderNotReady => "orderNotReady",
            Self::RateLimited => "rateLimited",
            Self::RejectedIdentifier => "rejectedIdentifier",
            Self::ServerInternal => "serverInternal",
            Self::Tls => "tls",
            Self::Unauthorized => "unauthorized",
            Self::UnsupportedContact => "unsupportedContact",
            Self::UnsupportedIdentifier => "unsupportedIdentifier",
            Self::UserActionRequired => "userActionRequired",
            Self::Unlisted => "unlisted",
        }
    }
}

impl From<String> for ProblemKind {
    fn from(urn: String) -> Self {
        Self::from_urn(&urn)
    }
}

impl From<ProblemKind> for String {
    fn from(kind: ProblemKind) -> Self {
        kind.name().to_owned()
    }
}

impl Problem {
    /// The kind and words that say most: a compound problem's are those of its first subproblem that
    /// has a kind of its own, as are those of a problem without one.
    pub(crate) fn heart(&self) -> (ProblemKind, &Words) {
        let own = !matches!(self.kind, ProblemKind::Compound | ProblemKind::Unlisted);
        let telling =
            |sub: &&Subproblem| !matches!(sub.kind, ProblemKind::Compound | ProblemKind::Unlisted);
        match self.subproblems.iter().find(telling) {
            Some(sub) if !own => (sub.kind, &sub.detail),
            // A subproblem of the same kind says whom it is about.
            Some(sub) if sub.kind == self.kind && !sub.detail.is_empty() => (sub.kind, &sub.detail),
            _ => (self.kind, &self.detail),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_takes_the_unknown_for_unlisted() {
        for kind in ProblemKind::ALL {
            assert_eq!(ProblemKind::from_urn(&format!("{PREFIX}{}", kind.name())), kind);
            let written = serde_json::to_value(kind).unwrap();
            assert_eq!(serde_json::from_value::<ProblemKind>(written).unwrap(), kind);
        }
        for unknown in ["", "about:blank", "urn:ietf:params:acme:error:onionCAARequired"] {
            assert_eq!(ProblemKind::from_urn(unknown), ProblemKind::Unlisted, "{unknown}");
        }
    }

    #[test]
    fn reads_a_problem_of_a_newer_agent() {
        let text = r#"{"step": "order", "kind": "somethingNew", "colour": "red"}"#;
        let problem: Problem = serde_json::from_str(text).unwrap();
        assert_eq!(problem.kind, ProblemKind::Unlisted);
        assert_eq!(problem.retry_after, None);
    }
}
