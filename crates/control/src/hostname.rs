//! A hostname as the control plane keeps it, and what its name means for others.

pub(crate) mod certificate_state;
pub(crate) mod delegation;
pub(crate) mod deployment;
pub(crate) mod metadata;
pub(crate) mod ownership;
pub(crate) mod refusal;
pub(crate) mod wish;

use landfall_model::{HostPattern, Hostname, HostnameId, PropertyId, Route, TlsPolicy};
use time::OffsetDateTime;

pub(crate) use metadata::Metadata;
use wish::{CertificateWish, Coverage};

/// A hostname as it is kept.
#[derive(Clone, Debug)]
pub(crate) struct ManagedHostname {
    pub(crate) id: HostnameId,
    pub(crate) property: PropertyId,
    pub(crate) name: HostPattern,
    /// Its id in the Cloudflare-compatible API: 32 hexadecimal digits.
    pub(crate) public_id: String,
    /// A UUID: its certificate's id there, and the last segment of the ownership token's URL.
    pub(crate) ssl_id: String,
    /// A UUID, which proves that whoever publishes it may speak for the name.
    pub(crate) ownership_token: String,
    pub(crate) origin: HostnameOrigin,
    pub(crate) status: HostnameStatus,
    /// Whether the property has the name, or only claims it.
    pub(crate) title: Title,
    pub(crate) issuance: Issuance,
    pub(crate) route: Route,
    pub(crate) tls: TlsPolicy,
    pub(crate) metadata: Metadata,
    pub(crate) wish: CertificateWish,
    /// Counts changes.
    pub(crate) version: i64,
    pub(crate) created_at: OffsetDateTime,
}

/// What its owner sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostnameSpec {
    pub(crate) route: Route,
    pub(crate) tls: TlsPolicy,
    pub(crate) metadata: Metadata,
    pub(crate) wish: CertificateWish,
}

impl ManagedHostname {
    /// What its owner set.
    pub(crate) fn spec(&self) -> HostnameSpec {
        HostnameSpec {
            route: self.route.clone(),
            tls: self.tls.clone(),
            metadata: self.metadata.clone(),
            wish: self.wish.clone(),
        }
    }

    /// Every name that it is to be served under.
    pub(crate) fn names(&self) -> Vec<HostPattern> {
        names_of(&self.name, self.wish.coverage)
    }
}

/// Every name that a hostname is to be served under, its own first.
pub(crate) fn names_of(name: &HostPattern, coverage: Coverage) -> Vec<HostPattern> {
    match (name, coverage) {
        (HostPattern::Exact(base), Coverage::NameAndWildcard) => {
            vec![name.clone(), HostPattern::Wildcard(base.clone())]
        }
        (HostPattern::Exact(_), Coverage::Name) | (HostPattern::Wildcard(_), _) => {
            vec![name.clone()]
        }
    }
}

/// Whether a property has a name. Edges know what somebody has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Title {
    /// It has.
    Held,
    /// Somebody else has it, or a name that answers for it: ownership is to be proven.
    Claimed,
}

/// How a hostname came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HostnameOrigin {
    /// Its owner added it.
    Added,
    /// It came with the property, and stays as long.
    System,
}

/// Where a hostname stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HostnameStatus {
    /// Its DNS is not known to lead here.
    PendingValidation,
    /// It is served.
    Active,
    /// Its DNS did not lead here for so long that it is no longer looked at by itself.
    GivenUp,
    /// Another property proved that the name is its own.
    TakenOver,
}

/// Who makes a hostname's certificate while none is uploaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Issuance {
    /// Nobody.
    None,
    /// The internal CA.
    Internal,
}

/// What a name is in relation to the system domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// Somewhere else.
    External,
    /// Under `<site>.<system domain>`, or that name itself.
    Site(String),
    /// `*.<system domain>`, which lends its certificate to all sites and makes none of them anybody's.
    SystemWildcard,
    /// The system domain itself or a name above it, or a wildcard right below one of the latter.
    Reserved,
}

impl Placement {
    /// Places `name`.
    pub(crate) fn of(name: &HostPattern, system_domain: &Hostname) -> Self {
        let base = name.base();
        if base == system_domain && matches!(name, HostPattern::Wildcard(_)) {
            return Self::SystemWildcard;
        }
        if base == system_domain || system_domain.is_under(base) {
            return Self::Reserved;
        }
        match base.is_under(system_domain) {
            true => {
                let suffix = system_domain.as_str().len() + 1;
                let head = base.as_str().get(..base.as_str().len() - suffix).unwrap_or_default();
                let site = head.rsplit('.').next().unwrap_or(head);
                Self::Site(site.to_owned())
            }
            false => Self::External,
        }
    }

    /// The label right below the system domain. No name that has one is in another property's way.
    pub(crate) fn label(&self) -> Option<&str> {
        match self {
            Self::Site(site) => Some(site),
            Self::SystemWildcard => Some("*"),
            Self::External | Self::Reserved => None,
        }
    }
}

/// The name without its first label, `*` included: equal for a wildcard and for all it covers.
pub(crate) fn parent_of(name: &HostPattern) -> &str {
    match name {
        HostPattern::Wildcard(base) => base.as_str(),
        HostPattern::Exact(name) => name.as_str().split_once('.').map_or("", |(_, parent)| parent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_names_in_relation_to_the_system_domain() {
        let domain: Hostname = "edge.example.net".parse().unwrap();
        let site = |name: &str| Placement::Site(name.to_owned());
        let table = [
            ("shop.edge.example.net", site("shop")),
            ("*.shop.edge.example.net", site("shop")),
            ("a.b.shop.edge.example.net", site("shop")),
            ("edge.example.net", Placement::Reserved),
            ("*.edge.example.net", Placement::SystemWildcard),
            ("*.example.net", Placement::Reserved),
            ("notedge.example.net", Placement::External),
            ("example.net", Placement::Reserved),
            ("www.example.net", Placement::External),
            ("www.customer.example", Placement::External),
        ];
        for (name, expected) in table {
            assert_eq!(Placement::of(&name.parse().unwrap(), &domain), expected, "{name}");
        }
    }

    #[test]
    fn a_wildcard_and_what_it_covers_have_one_parent() {
        let parent = |name: &str| parent_of(&name.parse().unwrap()).to_owned();
        assert_eq!(parent("*.customer.example"), "customer.example");
        assert_eq!(parent("www.customer.example"), "customer.example");
        assert_eq!(parent("customer.example"), "example");
    }
}
