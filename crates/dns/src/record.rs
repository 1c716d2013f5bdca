use std::net::IpAddr;

use landfall_model::{HostPattern, Hostname};
use serde::{Deserialize, Serialize};

use crate::is_apex;

/// The DNS record that makes a hostname lead here, to be copied as it is: no name has a trailing dot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequiredRecord {
    /// The record's type: `CNAME`, and `ALIAS` for a domain's apex, which can have no CNAME.
    #[serde(rename = "type")]
    pub kind: RequiredKind,
    /// Its name.
    pub name: HostPattern,
    /// Where it points.
    pub target: Hostname,
    /// For an apex, what to have instead where the provider has no ALIAS (or ANAME) records: all of
    /// these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alternatives: Vec<AddressRecord>,
}

/// The type of a record that points at a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RequiredKind {
    /// RFC 1035 section 3.3.1.
    #[serde(rename = "CNAME")]
    Cname,
    /// A CNAME that the provider's servers follow by themselves; some call it ANAME or flattening.
    #[serde(rename = "ALIAS")]
    Alias,
}

/// A record that holds an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AddressRecord {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: AddressKind,
    /// Its name.
    pub name: HostPattern,
    /// What it holds.
    pub address: IpAddr,
}

/// The type of a record that holds an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AddressKind {
    /// For IPv4 (RFC 1035 section 3.4.1).
    A,
    /// For IPv6 (RFC 3596).
    #[serde(rename = "AAAA")]
    Aaaa,
}

impl AddressKind {
    /// The type that holds this address.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::A,
            IpAddr::V6(_) => Self::Aaaa,
        }
    }

    /// As in a zone file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
        }
    }
}

/// The record that makes `name` lead to `target`, or to the PoPs' `addresses` where it can't point
/// at a name.
pub fn required_record(
    name: &HostPattern,
    target: &Hostname,
    addresses: impl IntoIterator<Item = IpAddr>,
) -> RequiredRecord {
    let kind = match name {
        HostPattern::Exact(name) if is_apex(name) => RequiredKind::Alias,
        HostPattern::Exact(_) | HostPattern::Wildcard(_) => RequiredKind::Cname,
    };
    record_of(kind, name, target, addresses)
}

/// The record of this kind that does.
pub(crate) fn record_of(
    kind: RequiredKind,
    name: &HostPattern,
    target: &Hostname,
    addresses: impl IntoIterator<Item = IpAddr>,
) -> RequiredRecord {
    let alternatives = if kind == RequiredKind::Alias {
        let record =
            |address| AddressRecord { kind: AddressKind::of(address), name: name.clone(), address };
        addresses.into_iter().map(record).collect()
    } else {
        Vec::new()
    };
    RequiredRecord { kind, name: name.clone(), target: target.clone(), alternatives }
}

#[cfg(test)]
mod tests;
