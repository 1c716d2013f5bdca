//! Where a hostname's requests go.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::PropertyId;

/// The property that a hostname belongs to, and its origins.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Route {
    /// The owner.
    pub property: PropertyId,
    /// Where requests are sent. Never empty once the control plane has accepted it.
    pub origins: Vec<Origin>,
}

/// A server that holds the content: `http://` and an IP address, with a port.
///
/// ```
/// # use landfall_model::Origin;
/// assert_eq!("http://192.0.2.7".parse::<Origin>().unwrap().to_string(), "http://192.0.2.7:80");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    address: SocketAddr,
}

impl Origin {
    /// The address to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl From<SocketAddr> for Origin {
    fn from(address: SocketAddr) -> Self {
        Self { address }
    }
}

/// Why a text is not an origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OriginError {
    /// Another scheme than `http`, or none.
    #[error("`{0}` does not start with `http://`, the only scheme that origins have so far")]
    Scheme(String),
    /// The host is a name, or nothing that can be connected to.
    #[error(
        "`{0}` is not an IP address with an optional port; origins by name are not supported yet"
    )]
    Address(String),
    /// Something follows the authority.
    #[error("`{0}` has a path, query or user; an origin is scheme, address and port")]
    Trailing(String),
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let scheme_missing = || OriginError::Scheme(text.to_owned());
        let rest = text.strip_prefix("http://").ok_or_else(scheme_missing)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#', '@']) {
            return Err(OriginError::Trailing(text.to_owned()));
        }
        let with_port = rest.parse::<SocketAddr>().ok();
        let bare = || match rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(bracketed) => bracketed.parse::<Ipv6Addr>().map(IpAddr::from),
            None => rest.parse::<Ipv4Addr>().map(IpAddr::from),
        };
        let address = match with_port {
            Some(address) => address,
            None => (bare().map_err(|_| OriginError::Address(text.to_owned()))?, 80).into(),
        };
        if address.port() == 0 || address.ip().is_unspecified() {
            return Err(OriginError::Address(text.to_owned()));
        }
        Ok(Self { address })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.address)
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Origin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_an_address_with_or_without_port() {
        let table = [
            ("http://127.0.0.1:9001", "http://127.0.0.1:9001"),
            ("http://127.0.0.1:9001/", "http://127.0.0.1:9001"),
            ("http://192.0.2.7", "http://192.0.2.7:80"),
            ("http://[2001:db8::1]:8080", "http://[2001:db8::1]:8080"),
            ("http://[2001:db8::1]", "http://[2001:db8::1]:80"),
        ];
        for (given, expected) in table {
            assert_eq!(given.parse::<Origin>().unwrap().to_string(), expected);
        }
    }

    #[test]
    fn says_what_is_wrong_with_an_origin() {
        let text = |given: &str| given.parse::<Origin>().unwrap_err().to_string();
        assert!(text("127.0.0.1:80").contains("http://"));
        assert!(text("https://127.0.0.1").contains("http://"));
        assert!(text("http://origin.example").contains("not an IP address"));
        assert!(text("http://0.0.0.0:80").contains("not an IP address"));
        assert!(text("http://127.0.0.1:0").contains("not an IP address"));
        for unbalanced in ["http://[[2001:db8::1]]", "http://[2001:db8::1", "http://[127.0.0.1]"] {
            assert!(text(unbalanced).contains("not an IP address"), "{unbalanced}");
        }
        assert!(text("http://127.0.0.1/path").contains("has a path"));
        assert!(text("http://user@127.0.0.1").contains("has a path"));
    }
}
