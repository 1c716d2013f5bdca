//! A hostname as the control plane keeps it, and what its name means for others.

use landfall_model::{HostPattern, Hostname, HostnameId, PropertyId, Route, TlsPolicy};
use time::OffsetDateTime;

/// A hostname as it is kept.
#[derive(Clone, Debug)]
pub(crate) struct ManagedHostname {
    pub(crate) id: HostnameId,
    pub(crate) property: PropertyId,
    pub(crate) name: HostPattern,
    pub(crate) origin: HostnameOrigin,
    pub(crate) status: HostnameStatus,
    pub(crate) issuance: Issuance,
    pub(crate) route: Route,
    pub(crate) tls: TlsPolicy,
    pub(crate) created_at: OffsetDateTime,
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
    /// Verification or issuance failed.
    Error,
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
    /// The system domain itself, or a wildcard that answers for it or for what is right under it.
    Reserved,
}

impl Placement {
    /// Places `name`.
    pub(crate) fn of(name: &HostPattern, system_domain: &Hostname) -> Self {
        let base = name.base();
        if base == system_domain || name.covers(system_domain) {
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

    /// The label in front of the system domain.
    pub(crate) fn site(&self) -> Option<&str> {
        match self {
            Self::Site(site) => Some(site),
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
            ("*.edge.example.net", Placement::Reserved),
            ("*.example.net", Placement::Reserved),
            ("notedge.example.net", Placement::External),
            ("example.net", Placement::External),
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
