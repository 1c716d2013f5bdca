//! What a hostname is.
//!
//! [`Hostname`] is the one normal form: lower case, A-labels, no trailing dot. [`HostPattern`]
//! is a hostname or `*.` and a hostname. [`LookupName`] is the same normal form made on the stack
//! from an SNI or a Host header, for the request path.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The longest name in its textual form without the trailing dot (RFC 1035 section 2.3.4).
pub const MAX_NAME_LEN: usize = 253;
/// The longest label (RFC 1035 section 2.3.4).
pub const MAX_LABEL_LEN: usize = 63;

/// Why a text is not a hostname.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing was given.
    #[error("the name is empty")]
    Empty,
    /// More than 253 bytes once converted to A-labels.
    #[error("the name is longer than {MAX_NAME_LEN} bytes")]
    TooLong,
    /// A label is empty, as in `a..b`.
    #[error("the name has an empty label")]
    EmptyLabel,
    /// A label is longer than 63 bytes.
    #[error("a label is longer than {MAX_LABEL_LEN} bytes")]
    LabelTooLong,
    /// A byte that a hostname cannot have (RFC 1123 section 2.1), or text that IDNA refuses.
    #[error("the name has a character that a hostname cannot have")]
    InvalidCharacter,
    /// A label starts or ends with a hyphen.
    #[error("a label starts or ends with a hyphen")]
    HyphenAtEdge,
    /// An IPv4 or IPv6 address.
    #[error("the name is an IP address; certificates and SNI need a DNS name")]
    IpAddress,
    /// A single label, which no public certificate can cover.
    #[error("the name has one label only; a hostname has at least two")]
    SingleLabel,
    /// `*` anywhere but as the whole first label.
    #[error("`*` may only stand as the whole first label")]
    MisplacedWildcard,
}

/// A DNS hostname of at least two labels in normal form.
///
/// ```
/// # use landfall_model::Hostname;
/// assert_eq!("Bücher.Example.".parse::<Hostname>().unwrap().as_str(), "xn--bcher-kva.example");
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hostname(Box<str>);

impl Hostname {
    /// The normal form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name without its first label; `None` where one label would be left.
    pub fn parent(&self) -> Option<Self> {
        let (_, rest) = self.0.split_once('.')?;
        rest.contains('.').then(|| Self(rest.into()))
    }

    /// The name as people read it, with U-labels (RFC 5890 section 2.3.2.1); `None` where that is
    /// the normal form.
    pub fn to_unicode(&self) -> Option<String> {
        let (unicode, _) = idna::domain_to_unicode(&self.0);
        (unicode != *self.0).then_some(unicode)
    }

    /// Whether the name ends in `.` and `suffix`. A name is not under itself.
    pub fn is_under(&self, suffix: &Self) -> bool {
        self.0.strip_suffix(suffix.as_str()).is_some_and(|head| head.ends_with('.'))
    }

    /// `label` in front of this name.
    ///
    /// # Errors
    /// As for parsing: the label or the whole may be too long or malformed.
    pub fn child(&self, label: &str) -> Result<Self, NameError> {
        format!("{label}.{self}").parse()
    }
}

impl FromStr for Hostname {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.contains('*') {
            return Err(NameError::MisplacedWildcard);
        }
        let ascii = to_ascii(text)?;
        if !ascii.contains('.') {
            return Err(NameError::SingleLabel);
        }
        Ok(Self(ascii.into()))
    }
}

/// What a record, a certificate or a route is for: one name, or every name one label below it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPattern {
    /// `www.example.com`
    Exact(Hostname),
    /// `*.example.com`; covers exactly one label in place of `*` (RFC 6125 section 6.4.3).
    Wildcard(Hostname),
}

impl HostPattern {
    /// The hostname without the `*.`.
    pub fn base(&self) -> &Hostname {
        match self {
            Self::Exact(name) | Self::Wildcard(name) => name,
        }
    }

    /// As [`Hostname::to_unicode`].
    pub fn to_unicode(&self) -> Option<String> {
        let base = self.base().to_unicode()?;
        Some(match self {
            Self::Exact(_) => base,
            Self::Wildcard(_) => format!("*.{base}"),
        })
    }

    /// Whether a client that asks for `name` is answered by this pattern.
    pub fn covers(&self, name: &Hostname) -> bool {
        match self {
            Self::Exact(own) => own == name,
            Self::Wildcard(base) => {
                name.as_str().split_once('.').is_some_and(|(_, rest)| rest == base.as_str())
            }
        }
    }
}

impl FromStr for HostPattern {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.strip_prefix("*.") {
            Some(base) => base.parse().map(Self::Wildcard),
            None => text.parse().map(Self::Exact),
        }
    }
}

impl From<Hostname> for HostPattern {
    fn from(name: Hostname) -> Self {
        Self::Exact(name)
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => name.fmt(f),
            Self::Wildcard(base) => write!(f, "*.{base}"),
        }
    }
}

/// A name as a client sent it, in normal form, held on the stack.
///
/// It proves less than [`Hostname`] (labels may hold `_`, one label is enough): it is a key to
/// look up, and what isn't a known name is simply not found.
#[derive(Clone, Copy)]
pub struct LookupName {
    bytes: [u8; MAX_NAME_LEN],
    len: u8,
}

impl LookupName {
    /// Normalises an SNI: lower case, one trailing dot dropped. `None` for what no hostname can be.
    pub fn from_sni(sni: &str) -> Option<Self> {
        let name = sni.strip_suffix('.').unwrap_or(sni).as_bytes();
        if name.is_empty() {
            return None;
        }
        let mut bytes = [0; MAX_NAME_LEN];
        let target = bytes.get_mut(..name.len())?;
        for (to, from) in target.iter_mut().zip(name) {
            *to = match from {
                b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' => *from,
                b'A'..=b'Z' => from.to_ascii_lowercase(),
                _ => return None,
            };
        }
        let len = u8::try_from(name.len()).ok()?;
        Some(Self { bytes, len })
    }

    /// Normalises a Host header or `:authority` (RFC 9110 section 7.2): as an SNI, once an
    /// optional port is taken off. `None` for an IPv6 literal or a port that is not a number.
    pub fn from_authority(authority: &str) -> Option<Self> {
        match authority.split_once(':') {
            None => Self::from_sni(authority),
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) && port.len() <= 5 => {
                Self::from_sni(host)
            }
            Some(_) => None,
        }
    }

    /// The normal form.
    pub fn as_str(&self) -> &str {
        self.bytes
            .get(..usize::from(self.len))
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
            .unwrap_or_default()
    }

    /// The name behind the first dot: the key under which a wildcard would stand. `None` where
    /// nothing is before the dot.
    pub fn wildcard_base(&self) -> Option<&str> {
        let (label, base) = self.as_str().split_once('.')?;
        (!label.is_empty()).then_some(base)
    }
}

impl From<&Hostname> for LookupName {
    fn from(name: &Hostname) -> Self {
        let text = name.as_str().as_bytes();
        let mut bytes = [0; MAX_NAME_LEN];
        let mut len = 0;
        for (to, from) in bytes.iter_mut().zip(text) {
            *to = *from;
            len += 1;
        }
        Self { bytes, len }
    }
}

impl fmt::Display for LookupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for LookupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LookupName({self})")
    }
}

fn to_ascii(text: &str) -> Result<String, NameError> {
    let text = text.strip_suffix('.').unwrap_or(text);
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    // No character of a U-label has more bytes than four; what is longer isn't even looked at.
    if text.len() > 4 * MAX_NAME_LEN {
        return Err(NameError::TooLong);
    }
    if is_ip_address(text) {
        return Err(NameError::IpAddress);
    }
    let ascii = match text.is_ascii() {
        true => text.to_ascii_lowercase(),
        false => idna::domain_to_ascii_strict(text).map_err(|_| NameError::InvalidCharacter)?,
    };
    if ascii.len() > MAX_NAME_LEN {
        return Err(NameError::TooLong);
    }
    ascii.split('.').try_for_each(check_label)?;
    // An all-numeric last label would be read as an IPv4 address by clients (WHATWG URL, host parser).
    match ascii.rsplit('.').next() {
        Some(last) if last.bytes().all(|b| b.is_ascii_digit()) => Err(NameError::IpAddress),
        _ => Ok(ascii),
    }
}

fn is_ip_address(text: &str) -> bool {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<std::net::IpAddr>().is_ok()
}

fn check_label(label: &str) -> Result<(), NameError> {
    if label.is_empty() {
        return Err(NameError::EmptyLabel);
    }
    if label.len() > MAX_LABEL_LEN {
        return Err(NameError::LabelTooLong);
    }
    if !label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err(NameError::InvalidCharacter);
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Err(NameError::HyphenAtEdge);
    }
    // An A-label must decode, or the name would show differently from what it is (RFC 5891 section 5.4).
    if label.starts_with("xn--") && idna::domain_to_unicode(label).1.is_err() {
        return Err(NameError::InvalidCharacter);
    }
    Ok(())
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hostname({self})")
    }
}

impl fmt::Debug for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostPattern({self})")
    }
}

macro_rules! serde_as_text {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    };
}

serde_as_text!(Hostname);
serde_as_text!(HostPattern);

#[cfg(test)]
mod tests;
