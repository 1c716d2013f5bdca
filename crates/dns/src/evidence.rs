//! What was seen of a hostname's DNS, as it is stored and shown.

use std::net::{IpAddr, SocketAddr};

use landfall_model::{ChallengeMethod, HostPattern, Hostname};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::DelegationEvidence;

/// Everything that one verification saw, and what it means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// What was verified. A wildcard was asked for by its own name (RFC 4592 section 2.1.1).
    pub hostname: HostPattern,
    /// When it began.
    #[serde(with = "time::serde::rfc3339")]
    pub checked_at: OffsetDateTime,
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
    /// Who was asked.
    pub resolvers: Vec<SocketAddr>,
    /// Who of them answered, and did not merely fail.
    pub answered: Vec<SocketAddr>,
    /// Where a CNAME should lead.
    pub expected_target: Hostname,
    /// The addresses of active PoPs. Every address that is found should be one of them.
    pub expected_addresses: Vec<IpAddr>,
    /// Where the CNAME records lead, in their order, without trailing dots: the first one is the
    /// hostname's own. Names may hold `_`; other bytes are escaped (RFC 1035 section 5.1).
    pub chain: Vec<String>,
    /// What was found for A.
    pub ipv4: LookupEvidence,
    /// What was found for AAAA.
    pub ipv6: LookupEvidence,
    /// What the zone's own servers said, where they were asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<ZoneEvidence>,
    /// Which CAs may issue.
    pub caa: CaaEvidence,
    /// Whether the name's DNS challenges are left to us, where there is a zone for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub challenge: Option<DelegationEvidence>,
    /// Records that contradict each other or that were forgotten.
    pub conflicts: Vec<Conflict>,
    /// What it comes down to.
    pub finding: Finding,
    /// One sentence that says what to change; or, where nothing is to be changed, what is right.
    pub advice: String,
    /// The same in the form of a CA's answer to a CNAME validation.
    pub validation: DomainValidation,
}

/// One type of address record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LookupEvidence {
    /// How the look-up ended.
    pub outcome: LookupOutcome,
    /// What was found, in the order of the addresses.
    pub addresses: Vec<AddressEvidence>,
}

/// How a look-up ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LookupOutcome {
    /// There are addresses.
    Found,
    /// The name has no record of this type (RFC 2308 section 2.2).
    NoData,
    /// The name does not exist (RFC 2308 section 2.1).
    NxDomain,
    /// The resolver failed: SERVFAIL, which is also how it says that DNSSEC validation failed, or an
    /// answer that can't be read.
    ServFail,
    /// The resolver failed, and has an answer where it need not validate it (RFC 4035 section 3.2.2).
    DnssecFails,
    /// The resolver answered REFUSED or another code that leaves the question open.
    Refused,
    /// The resolver could not be asked: this node has no socket or no route for it.
    NotAsked,
    /// Nobody answered in time.
    Timeout,
    /// CNAME records lead in a circle.
    Loop,
    /// More CNAME records than are followed.
    TooManyHops,
}

/// An address and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AddressEvidence {
    /// The address.
    pub address: IpAddr,
    /// Whose it is.
    #[serde(flatten)]
    pub owner: AddressOwner,
}

/// Whose an address is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "owner", content = "pop")]
pub enum AddressOwner {
    /// A PoP's that is healthy and takes traffic.
    ActivePop(String),
    /// A PoP's that isn't, for now.
    InactivePop(String),
    /// The property's own origin's: requests would pass us by.
    Origin,
    /// Somebody else's.
    Other,
}

/// What the servers that are authoritative for the zone said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ZoneEvidence {
    /// The zone.
    pub zone: String,
    /// Which of its servers were asked.
    pub servers: Vec<SocketAddr>,
    /// Whether what they say is the verdict's ground, and the resolvers' answer is an older one.
    pub differs: bool,
}

/// Which CAs may issue (RFC 8659).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CaaEvidence {
    /// The name whose records apply: the first one with any on the way up to the root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found_at: Option<String>,
    /// The records as a zone file has them, such as `0 issue "letsencrypt.org"`.
    pub records: Vec<String>,
    /// Whether one of our CAs may issue.
    pub verdict: CaaVerdict,
    /// The methods of proof that the records leave to our CAs (RFC 8657 section 4); none where they leave
    /// all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub methods: Option<Vec<ChallengeMethod>>,
}

/// Whether one of our CAs may issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaaVerdict {
    /// There are no records, or they name one of ours.
    Permitted,
    /// They name none of ours.
    Forbidden,
    /// The look-up failed, which blocks issuance (RFC 8659 section 3).
    Failed,
    /// No public CA is to issue.
    NotJudged,
}

/// Records that contradict each other or that were forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Conflict {
    /// Address records beside a CNAME at one name (RFC 1034 section 3.6.2), as some servers have.
    AddressBesideCname {
        /// The name.
        name: String,
        /// The addresses.
        addresses: Vec<IpAddr>,
    },
    /// Some addresses are a PoP's and this one is not: a record that was forgotten.
    StaleAddress {
        /// The address. IPv6 ones break issuance where IPv4 works, for CAs try them first.
        address: IpAddr,
    },
    /// Two resolvers answer differently.
    ResolversDiffer {
        /// Which one is alone.
        resolver: SocketAddr,
        /// What it says.
        addresses: Vec<IpAddr>,
    },
}

/// What it comes down to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// Every address is an active PoP's.
    PointsHere,
    /// The name does not exist.
    NxDomain,
    /// The name exists and has no address.
    NoData,
    /// The zone is broken: DNSSEC is suspected.
    ServFail,
    /// The zone answers, and its DNSSEC signatures are not valid.
    DnssecFails,
    /// The zone's servers did not answer in time.
    Timeout,
    /// CNAME records lead in a circle.
    Loop,
    /// More CNAME records than are followed.
    TooManyHops,
    /// The CNAME leads to a name that does not exist or has no address.
    DanglingCname,
    /// The CNAME leads to the property's origin, past us.
    CnameToOrigin,
    /// The CNAME leads to another property's system hostname.
    CnameToOtherProperty,
    /// The CNAME leads somewhere else.
    CnameElsewhere,
    /// The addresses are somebody else's.
    WrongAddress,
    /// Some of the addresses are somebody else's.
    StaleAddress,
    /// Every address is a PoP's, and one of the PoPs is not active for now.
    InactivePop,
    /// No PoP is active: nothing can be said of the hostname.
    NoActivePop,
    /// The CNAME is right, and what it leads to has not the addresses of PoPs: ours to mend.
    TargetUnready,
    /// No resolver of ours could be asked: nothing can be said of the hostname.
    ResolverFailed,
    /// Two resolvers of ours are alive, and only one of them has an answer: it decides nothing alone.
    OneResolver,
}

/// What follows from a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The hostname may become active.
    Passed,
    /// Its DNS does not lead here.
    Failed,
    /// It could not be told: nothing may be held against the hostname.
    Inconclusive,
}

impl Finding {
    /// As it is stored and shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PointsHere => "points_here",
            Self::NxDomain => "nx_domain",
            Self::NoData => "no_data",
            Self::ServFail => "serv_fail",
            Self::DnssecFails => "dnssec_fails",
            Self::Timeout => "timeout",
            Self::Loop => "loop",
            Self::TooManyHops => "too_many_hops",
            Self::DanglingCname => "dangling_cname",
            Self::CnameToOrigin => "cname_to_origin",
            Self::CnameToOtherProperty => "cname_to_other_property",
            Self::CnameElsewhere => "cname_elsewhere",
            Self::WrongAddress => "wrong_address",
            Self::StaleAddress => "stale_address",
            Self::InactivePop => "inactive_pop",
            Self::NoActivePop => "no_active_pop",
            Self::TargetUnready => "target_unready",
            Self::ResolverFailed => "resolver_failed",
            Self::OneResolver => "one_resolver",
        }
    }

    /// What follows.
    pub const fn verdict(self) -> Verdict {
        match self {
            Self::PointsHere => Verdict::Passed,
            Self::InactivePop
            | Self::NoActivePop
            | Self::TargetUnready
            | Self::ResolverFailed
            | Self::OneResolver => Verdict::Inconclusive,
            Self::NxDomain
            | Self::NoData
            | Self::ServFail
            | Self::DnssecFails
            | Self::Timeout
            | Self::Loop
            | Self::TooManyHops
            | Self::DanglingCname
            | Self::CnameToOrigin
            | Self::CnameToOtherProperty
            | Self::CnameElsewhere
            | Self::WrongAddress
            | Self::StaleAddress => Verdict::Failed,
        }
    }
}

impl Evidence {
    /// What follows from it.
    pub const fn verdict(&self) -> Verdict {
        self.finding.verdict()
    }

    /// Every address that was found.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.ipv4.addresses.iter().chain(&self.ipv6.addresses).map(|own| own.address)
    }
}

/// A CNAME's check in the form of a CA's answer; 1 is yes and 0 is no.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainValidation {
    /// Whether there is a CNAME.
    pub cname_found: u8,
    /// Whether the hostname's DNS is right, by a CNAME or by addresses.
    pub record_correct: u8,
    /// The name of the record that should be.
    pub target_host: String,
    /// Where it should point.
    pub target_record: String,
    /// Where it points; empty without one.
    pub actual_record: String,
}

/// Whether an ownership token was found in a TXT record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TxtTokenEvidence {
    /// The record's name.
    pub name: String,
    /// Whether one of its values is the token.
    pub found: bool,
    /// What it holds instead: at most ten values of at most 255 bytes.
    pub values: Vec<String>,
    /// How the look-up ended.
    pub outcome: LookupOutcome,
}

/// Whether an ownership token was found under its URL, in the form of a CA's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpTokenEvidence {
    /// What was fetched.
    pub url: String,
    /// 1 if the file has the token, otherwise 0.
    pub file_found: u8,
    /// Whether it could not be verified.
    pub error: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_slug: Option<HttpTokenSlug>,
    /// The same for a person; empty without an error.
    pub error_info: String,
}

/// Why a token was not found under its URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HttpTokenSlug {
    /// No connection: the host can't be resolved, or does not answer.
    HttpTransportFailed,
    /// Another status than 200. Redirects are not followed.
    BadResponseCode,
    /// It took too long.
    Timeout,
    /// The file can't be read as text of a token's length.
    BadFileContent,
    /// It holds something else.
    WrongFileContent,
}
