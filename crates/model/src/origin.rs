//! The servers that hold the content, and how they are spoken to.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{Der, Hostname};

/// The most origins in one pool.
pub const MAX_ORIGINS: usize = 32;
/// The largest weight of an origin.
pub const MAX_WEIGHT: u16 = 1_000;
/// How much of a text that is no origin an error quotes, in characters.
const MAX_QUOTED: usize = 32;

/// A server: scheme, host and port.
///
/// ```
/// # use landfall_model::Origin;
/// let text = |origin: &str| origin.parse::<Origin>().unwrap().to_string();
/// assert_eq!(text("http://192.0.2.7"), "http://192.0.2.7:80");
/// assert_eq!(text("https://Origin.Example"), "https://origin.example:443");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    scheme: Scheme,
    host: OriginHost,
    port: u16,
}

/// Whether an origin is spoken to over TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// No
    Http,
    /// Yes
    Https,
}

/// Where an origin is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OriginHost {
    /// An IP address.
    Address(IpAddr),
    /// A DNS name, resolved at the edge.
    Name(Hostname),
}

impl Origin {
    /// Whether it is spoken to over TLS.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Where it is.
    pub fn host(&self) -> &OriginHost {
        &self.host
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Scheme {
    fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl From<SocketAddr> for Origin {
    fn from(address: SocketAddr) -> Self {
        let host = OriginHost::Address(address.ip());
        Self { scheme: Scheme::Http, host, port: address.port() }
    }
}

/// Why a text is not an origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OriginError {
    /// Another scheme, or none.
    #[error("`{0}` does not start with `http://` or `https://`")]
    Scheme(String),
    /// The host is neither a name nor an address that can be connected to.
    #[error(
        "`{0}` has no IP address or DNS name of at least two labels, or a port that is not from 1 to 65535"
    )]
    Address(String),
    /// Something follows the authority.
    #[error("`{0}` has a path, query or user; an origin is scheme, host and port")]
    Trailing(String),
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let https = text.strip_prefix("https://").map(|rest| (Scheme::Https, rest));
        let http = text.strip_prefix("http://").map(|rest| (Scheme::Http, rest));
        let (scheme, rest) = https.or(http).ok_or_else(|| OriginError::Scheme(beginning(text)))?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#', '@']) {
            return Err(OriginError::Trailing(beginning(text)));
        }
        let wrong = || OriginError::Address(beginning(text));
        let (host, port) = split_port(rest).ok_or_else(wrong)?;
        let host = parse_host(host).ok_or_else(wrong)?;
        Ok(Self { scheme, host, port: port.unwrap_or(scheme.port()) })
    }
}

/// As much of a text that is no origin as an error quotes: it may be anything, a secret among others.
fn beginning(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTED) {
        Some((end, _)) => format!("{}…", text.split_at(end).0),
        None => text.to_owned(),
    }
}

/// The host, and the port where there is one.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let colon = match authority.rfind(']') {
        Some(bracket) => authority.get(bracket..)?.find(':').map(|at| bracket + at),
        None => authority.find(':'),
    };
    let Some(colon) = colon else { return Some((authority, None)) };
    let digits = authority.get(colon + 1..)?;
    let port = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
    (port != 0).then_some((authority.get(..colon)?, Some(port)))
}

fn parse_host(host: &str) -> Option<OriginHost> {
    let address = match host.strip_prefix('[') {
        Some(rest) => Some(rest.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::from)?),
        None => host.parse::<Ipv4Addr>().ok().map(IpAddr::from),
    };
    match address {
        Some(address) => (!address.is_unspecified()).then_some(OriginHost::Address(address)),
        None => host.parse().ok().map(OriginHost::Name),
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.scheme.as_str(), self.host, self.port)
    }
}

impl fmt::Display for OriginHost {
    /// As it stands in a URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Name(name) => name.fmt(f),
        }
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

/// An origin and its share of the requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WeightedOrigin {
    /// The server.
    pub url: Origin,
    /// Its share in relation to the others': 1 to [`MAX_WEIGHT`]. Default: 1.
    #[serde(default = "one")]
    pub weight: u16,
}

fn one() -> u16 {
    1
}

impl From<Origin> for WeightedOrigin {
    fn from(url: Origin) -> Self {
        Self { url, weight: one() }
    }
}

/// Origins that hold the same content, and how they are spoken to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OriginPool {
    /// 1 to [`MAX_ORIGINS`].
    pub origins: Vec<WeightedOrigin>,
    /// How requests are spread.
    #[serde(default)]
    pub balance: Balance,
    /// Which HTTP is spoken.
    #[serde(default)]
    pub protocol: OriginProtocol,
    /// The `Host` that origins get. Default: the client's.
    #[serde(default)]
    pub host_header: OriginName,
    /// The name in the TLS handshake, which the certificate must have too. Default: the host of
    /// the origin's URL.
    #[serde(default = "OriginName::origin")]
    pub sni: OriginName,
    /// DER: the roots that an origin's certificate is verified with, instead of the public ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ca: Vec<Der>,
    /// Whether an origin's certificate is verified. Default: yes.
    #[serde(default = "yes")]
    pub verify: bool,
    /// How long is waited for an origin; what is not set is the edge's default.
    #[serde(default)]
    pub timeouts: OriginTimeouts,
    /// Requests that tell whether an origin works. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,
}

fn yes() -> bool {
    true
}

/// How requests are spread over the origins of a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Balance {
    /// One after the other, each as often as its weight says.
    #[default]
    RoundRobin,
    /// To the one with the fewest requests in flight for its weight.
    LeastConnections,
}

/// Which HTTP an origin is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OriginProtocol {
    /// HTTP/1.1
    #[default]
    Http1,
    /// HTTP/2: by ALPN over TLS, with prior knowledge without (RFC 9113 section 3.3).
    Http2,
    /// What ALPN chooses; HTTP/1.1 without TLS.
    Auto,
}

/// A name that an origin is told: `:request_host_header:`, `:origin:`, or the name itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum OriginName {
    /// The hostname that the client asked for.
    #[default]
    Request,
    /// The host of the origin's URL.
    Origin,
    /// This one.
    Fixed(Hostname),
}

const REQUEST_HOST: &str = ":request_host_header:";
const ORIGIN_HOST: &str = ":origin:";

impl OriginName {
    fn origin() -> Self {
        Self::Origin
    }
}

/// Why a text is not a name for an origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither a hostname nor `{REQUEST_HOST}` nor `{ORIGIN_HOST}`")]
pub struct OriginNameError(String);

impl FromStr for OriginName {
    type Err = OriginNameError;

    fn from_str(text: &str) -> Result<Self, OriginNameError> {
        match text {
            REQUEST_HOST => Ok(Self::Request),
            ORIGIN_HOST => Ok(Self::Origin),
            name => name.parse().map(Self::Fixed).map_err(|_| OriginNameError(beginning(name))),
        }
    }
}

impl fmt::Display for OriginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request => f.write_str(REQUEST_HOST),
            Self::Origin => f.write_str(ORIGIN_HOST),
            Self::Fixed(name) => name.fmt(f),
        }
    }
}

impl Serialize for OriginName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for OriginName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// How long is waited for an origin, in milliseconds. Unset: what the edge's operator configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OriginTimeouts {
    /// Until the connection is open, TLS included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect_ms: Option<u32>,
    /// Between two pieces of a response, and before the first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_ms: Option<u32>,
    /// For one write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_ms: Option<u32>,
    /// How long an unused connection is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_ms: Option<u32>,
    /// From the request's header to the end of the response, retries included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_ms: Option<u32>,
}

/// Requests that tell whether an origin works.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheck {
    /// What is asked for with GET: a path, with a query if it needs one.
    pub path: HealthPath,
    /// Between two checks of an origin, in seconds. Default: 10.
    #[serde(default = "HealthCheck::default_interval")]
    pub interval_s: u16,
    /// For one check, in seconds. Default: 2.
    #[serde(default = "HealthCheck::default_timeout")]
    pub timeout_s: u16,
    /// The status that says it works. Default: any from 200 to 399.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_status: Option<u16>,
    /// So many checks in a row must fail. Default: 3.
    #[serde(default = "HealthCheck::default_unhealthy")]
    pub unhealthy_after: u8,
    /// So many checks in a row must succeed. Default: 2.
    #[serde(default = "HealthCheck::default_healthy")]
    pub healthy_after: u8,
}

impl HealthCheck {
    /// A check of this path, everything else the default.
    pub fn of(path: HealthPath) -> Self {
        Self {
            path,
            interval_s: Self::default_interval(),
            timeout_s: Self::default_timeout(),
            expected_status: None,
            unhealthy_after: Self::default_unhealthy(),
            healthy_after: Self::default_healthy(),
        }
    }

    fn default_interval() -> u16 {
        10
    }

    fn default_timeout() -> u16 {
        2
    }

    fn default_unhealthy() -> u8 {
        3
    }

    fn default_healthy() -> u8 {
        2
    }
}

/// The path of a health check: visible ASCII that starts with `/`, at most 1,024 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct HealthPath(String);

/// A text that is no path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a path starts with `/` and has at most 1024 visible ASCII characters, none of them `#`")]
pub struct HealthPathError;

impl HealthPath {
    /// The path as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HealthPath {
    type Err = HealthPathError;

    fn from_str(text: &str) -> Result<Self, HealthPathError> {
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        match text.starts_with('/') && visible && text.len() <= 1_024 {
            true => Ok(Self(text.to_owned())),
            false => Err(HealthPathError),
        }
    }
}

impl<'de> Deserialize<'de> for HealthPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// Why a pool can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OriginPoolError {
    /// None, or too many.
    #[error("a pool has 1 to {MAX_ORIGINS} origins, this one has {0}")]
    Count(usize),
    /// The same server stands there more than once.
    #[error("the origin {0} is named more than once")]
    Repeated(Origin),
    /// A weight out of range.
    #[error("an origin's weight is from 1 to {MAX_WEIGHT}, got {0}")]
    Weight(u16),
    /// A time out of range.
    #[error("{name} is from {min} to {max}, got {got}")]
    OutOfRange {
        /// The field.
        name: &'static str,
        /// The smallest value.
        min: u32,
        /// The largest value.
        max: u32,
        /// What was given.
        got: u32,
    },
}

/// The longest timeout, in milliseconds: one day.
const MAX_TIMEOUT_MS: u32 = 86_400_000;

impl OriginPool {
    /// A pool of one origin, everything else the default.
    pub fn of(origin: Origin) -> Self {
        Self::with(vec![origin.into()])
    }

    /// A pool of these origins, everything else the default.
    pub fn with(origins: Vec<WeightedOrigin>) -> Self {
        Self {
            origins,
            balance: Balance::default(),
            protocol: OriginProtocol::default(),
            host_header: OriginName::Request,
            sni: OriginName::Origin,
            ca: Vec::new(),
            verify: true,
            timeouts: OriginTimeouts::default(),
            health_check: None,
        }
    }

    /// Checks counts, weights and times.
    ///
    /// # Errors
    /// The first [`OriginPoolError`].
    pub fn checked(self) -> Result<Self, OriginPoolError> {
        check_origins(&self.origins)?;
        let OriginTimeouts { connect_ms, read_ms, write_ms, idle_ms, total_ms } = self.timeouts;
        let timeouts = [
            ("connectMs", connect_ms),
            ("readMs", read_ms),
            ("writeMs", write_ms),
            ("idleMs", idle_ms),
            ("totalMs", total_ms),
        ];
        for (name, value) in timeouts {
            in_range(name, value.unwrap_or(1), 1, MAX_TIMEOUT_MS)?;
        }
        if let Some(check) = &self.health_check {
            in_range("intervalS", check.interval_s.into(), 1, 3_600)?;
            in_range("timeoutS", check.timeout_s.into(), 1, 60)?;
            in_range("expectedStatus", check.expected_status.unwrap_or(200).into(), 200, 599)?;
            in_range("unhealthyAfter", check.unhealthy_after.into(), 1, 100)?;
            in_range("healthyAfter", check.healthy_after.into(), 1, 100)?;
        }
        Ok(self)
    }
}

/// Checks the origins of a pool.
///
/// # Errors
/// The first [`OriginPoolError`].
pub fn check_origins(origins: &[WeightedOrigin]) -> Result<(), OriginPoolError> {
    if !(1..=MAX_ORIGINS).contains(&origins.len()) {
        return Err(OriginPoolError::Count(origins.len()));
    }
    for (index, one) in origins.iter().enumerate() {
        if !(1..=MAX_WEIGHT).contains(&one.weight) {
            return Err(OriginPoolError::Weight(one.weight));
        }
        if origins.iter().skip(index + 1).any(|other| other.url == one.url) {
            return Err(OriginPoolError::Repeated(one.url.clone()));
        }
    }
    Ok(())
}

fn in_range(name: &'static str, got: u32, min: u32, max: u32) -> Result<(), OriginPoolError> {
    match (min..=max).contains(&got) {
        true => Ok(()),
        false => Err(OriginPoolError::OutOfRange { name, min, max, got }),
    }
}

#[cfg(test)]
mod tests;
