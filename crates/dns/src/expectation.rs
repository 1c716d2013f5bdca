//! What a hostname's DNS should say.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use landfall_model::Hostname;
use time::OffsetDateTime;

/// What a hostname's DNS should say, and whose the addresses are that it may say instead.
#[derive(Clone, Debug)]
pub struct Expectation {
    /// The property's system hostname: where a CNAME should lead.
    pub target: Hostname,
    /// Under which every property has its system hostname. A chain that passes through another
    /// property's was made for that one.
    pub system_domain: Hostname,
    /// Every PoP of the fleet.
    pub pops: Arc<[Pop]>,
    /// Names and addresses of the property's own origins, to tell a CNAME past us.
    pub origin_names: Vec<Hostname>,
    /// As [`Self::origin_names`].
    pub origin_addresses: Vec<IpAddr>,
    /// Who may issue. Empty where no public CA is to: CAA is then shown and not judged.
    pub cas: Arc<[CaIdentity]>,
}

impl Expectation {
    /// The addresses of active PoPs, each once, IPv4 first.
    pub fn active_addresses(&self) -> BTreeSet<IpAddr> {
        let active = self.pops.iter().filter(|pop| pop.is_active());
        active.flat_map(|pop| pop.addresses.iter().copied()).collect()
    }
}

/// A PoP and its public addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pop {
    /// Its name.
    pub name: String,
    /// Where clients reach it.
    pub addresses: Vec<IpAddr>,
    /// Whether it is healthy and takes traffic.
    pub activity: Activity,
}

/// Whether hostnames may lead to a PoP, and why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// They may.
    Active,
    /// Its operator keeps traffic off it.
    Off,
    /// It has never asked the control plane for anything.
    NeverSeen,
    /// It has asked the control plane for nothing since then.
    Silent {
        /// When it last did.
        since: OffsetDateTime,
    },
    /// What asks in its name since it was last seen has another token than its own.
    TokenRefused,
    /// They may not; whoever asks was not told why.
    Untold,
}

impl Pop {
    /// Whether hostnames may lead to it.
    pub fn is_active(&self) -> bool {
        self.activity == Activity::Active
    }
}

/// A CA by the names that CAA records know it under (RFC 8659 section 4.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaIdentity {
    /// What the API calls it, such as `lets_encrypt`.
    pub name: String,
    /// Its issuer domain names, such as `letsencrypt.org`.
    pub domains: Vec<String>,
}
