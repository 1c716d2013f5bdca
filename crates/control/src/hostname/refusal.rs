//! Names that nobody may have, whoever asks.

use landfall_model::{HostPattern, Hostname};

use super::Placement;

/// Top-level domains that are never in the DNS, so that nothing under them could be verified or get
/// a certificate: RFC 6761 sections 6.3 and 6.4, RFC 7686 section 2 and RFC 9476 section 2. Others that are
/// not public, such as `test`, `local` and `internal`, are in the DNS of private networks.
const NEVER_IN_DNS: [&str; 4] = ["invalid", "localhost", "onion", "alt"];
/// Where the DNS keeps what is no host: addresses' names above all (RFC 3172 section 2).
const INFRASTRUCTURE: &str = "arpa";

/// Why nobody may have a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NameRefusal {
    /// The operator's own.
    #[error("it is the system domain, is above it, or would answer for names that belong to it")]
    SystemDomain,
    /// Everybody's.
    #[error(
        "`{0}` is a public suffix: anybody can register names under it, and no CA issues for it or for \
         all that is right under it"
    )]
    PublicSuffix(Hostname),
    /// Nobody's.
    #[error("names under `{0}` are never in the DNS")]
    NeverInDns(&'static str),
    /// The DNS's own.
    #[error("names under `{INFRASTRUCTURE}` are no hosts'")]
    Infrastructure,
}

impl NameRefusal {
    /// A constant for programs.
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::SystemDomain => "hostname_reserved",
            Self::PublicSuffix(_) => "public_suffix",
            Self::NeverInDns(_) => "not_in_dns",
            Self::Infrastructure => "name_is_no_host",
        }
    }
}

/// Places a name in relation to the system domain, unless nobody may have it.
pub(crate) fn place(
    name: &HostPattern,
    system_domain: &Hostname,
) -> Result<Placement, NameRefusal> {
    let placement = Placement::of(name, system_domain);
    match placement {
        // Whatever suffix list the operator's domain is on, its names are the operator's to give.
        Placement::Site(_) | Placement::SystemWildcard => return Ok(placement),
        Placement::Reserved => return Err(NameRefusal::SystemDomain),
        Placement::External => {}
    }
    let base = name.base();
    let last = base.as_str().rsplit('.').next().unwrap_or_default();
    if let Some(domain) = NEVER_IN_DNS.iter().find(|own| **own == last) {
        return Err(NameRefusal::NeverInDns(domain));
    }
    if last == INFRASTRUCTURE {
        return Err(NameRefusal::Infrastructure);
    }
    match landfall_dns::is_public_suffix(base) {
        true => Err(NameRefusal::PublicSuffix(base.clone())),
        false => Ok(placement),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_suffixes_our_own_domain_and_what_is_never_in_dns_are_refused() {
        let domain: Hostname = "edge.example.net".parse().unwrap();
        let table = [
            ("www.shop.co.uk", None),
            ("shop.co.uk", None),
            ("*.shop.co.uk", None),
            ("co.uk", Some("public_suffix")),
            ("*.co.uk", Some("public_suffix")),
            ("github.io", Some("public_suffix")),
            ("*.github.io", Some("public_suffix")),
            ("mine.github.io", None),
            ("xn--55qx5d.cn", Some("public_suffix")),
            ("customer.test", None),
            ("printer.local", None),
            ("wiki.corp.internal", None),
            ("shop.localhost", Some("not_in_dns")),
            ("1.2.0.192.in-addr.arpa", Some("name_is_no_host")),
            ("*.8.b.d.0.1.0.0.2.ip6.arpa", Some("name_is_no_host")),
            ("a.invalid", Some("not_in_dns")),
            ("*.a.onion", Some("not_in_dns")),
            ("x.alt", Some("not_in_dns")),
            ("edge.example.net", Some("hostname_reserved")),
            ("*.edge.example.net", None),
            ("*.example.net", Some("hostname_reserved")),
            ("example.net", Some("hostname_reserved")),
            ("www.example.net", None),
            ("a.shop.edge.example.net", None),
        ];
        for (name, refused) in table {
            let placed = place(&name.parse().unwrap(), &domain);
            assert_eq!(placed.err().map(|refusal| refusal.code()), refused, "{name}");
        }
        let suffix: Hostname = "edge.github.io".parse().unwrap();
        assert!(place(&"shop.edge.github.io".parse().unwrap(), &suffix).is_ok());
    }
}
