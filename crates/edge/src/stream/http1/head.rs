//! What a request's header says of itself, read by the letter (RFC 9112 sections 2 to 6).

use super::Fault;

/// A header that is well-formed and says once and plainly where its request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) body: Body,
    pub(super) upgrade: Upgrade,
}

/// How the end of a request is found (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    None,
    Length(u64),
    Chunked,
}

/// Whether the client wants another protocol (RFC 9110 section 7.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upgrade {
    Wanted,
    NotWanted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Http10,
    Http11,
}

/// The longest method that is looked at. The registered ones have up to 17 bytes.
const MAX_METHOD: usize = 32;
/// More digits than any length that a body can have.
const MAX_LENGTH_DIGITS: usize = 18;

/// Fields that may not come after the content: they frame or route a message, or say how it is to
/// be treated as a whole (RFC 9110 section 6.5.1).
const NO_TRAILERS: [&str; 20] = [
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "max-forwards",
    "proxy-authorization",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// Reads a whole header, its empty line included. `section` is known to have no control
/// characters but its CRLFs and tabs.
pub(super) fn parse(section: &[u8]) -> Result<Head, Fault> {
    let mut lines = lines(section);
    let version = request_line(lines.next().ok_or(Fault::Malformed)?)?;
    let mut framing = Framing::default();
    for line in lines {
        framing.take(field(line)?)?;
    }
    framing.head(version)
}

/// Checks a whole trailer section, its empty line included.
pub(super) fn check_trailers(section: &[u8]) -> Result<(), Fault> {
    for line in lines(section) {
        let (name, _) = field(line)?;
        if NO_TRAILERS.iter().any(|forbidden| names_match(name, forbidden)) {
            return Err(Fault::Malformed);
        }
    }
    Ok(())
}

/// The lines up to the empty one. Every CR is followed by an LF and the other way round.
fn lines(section: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = section.split(|byte| *byte == b'\n');
    lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line)).take_while(|line| !line.is_empty())
}

/// `method SP request-target SP HTTP-version`, with one space each (RFC 9112 section 3).
fn request_line(line: &[u8]) -> Result<Version, Fault> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Fault::Malformed);
    };
    let is_method = is_token(method) && method.len() <= MAX_METHOD;
    // A fragment is no part of a target; servers that cut it off and such that don't disagree.
    let is_target = !target.is_empty() && !target.iter().any(|byte| matches!(byte, b'\t' | b'#'));
    match (is_method && is_target, version) {
        (true, b"HTTP/1.1") => Ok(Version::Http11),
        (true, b"HTTP/1.0") => Ok(Version::Http10),
        _ => Err(Fault::Malformed),
    }
}

/// `field-name ":" OWS field-value OWS` (RFC 9112 section 5). A line that starts with a space or
/// has one before the colon has no token for a name, so folding ends here too.
fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    let colon = line.iter().position(|byte| *byte == b':').ok_or(Fault::Malformed)?;
    let (name, value) = line.split_at_checked(colon).ok_or(Fault::Malformed)?;
    let value = value.strip_prefix(b":").unwrap_or(value).trim_ascii();
    match is_token(name) {
        true => Ok((name, value)),
        false => Err(Fault::Malformed),
    }
}

/// What the fields say of the message's end.
#[derive(Debug, Default)]
struct Framing {
    length: Option<u64>,
    chunked: bool,
    hosts: usize,
    upgrade: bool,
}

impl Framing {
    fn take(&mut self, (name, value): (&[u8], &[u8])) -> Result<(), Fault> {
        if names_match(name, "content-length") {
            // A second one is refused though it may say the same: what comes next may believe
            // either.
            if !is_plain(name) || self.length.is_some() {
                return Err(Fault::Framing);
            }
            self.length = Some(length(value)?);
        } else if names_match(name, "transfer-encoding") {
            if !is_plain(name) || self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Fault::Framing);
            }
            self.chunked = true;
        } else if name.eq_ignore_ascii_case(b"host") {
            self.hosts += 1;
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            self.upgrade = true;
        }
        Ok(())
    }

    fn head(&self, version: Version) -> Result<Head, Fault> {
        let body = match (self.length, self.chunked) {
            (None, false) => Body::None,
            (Some(length), false) => Body::Length(length),
            (None, true) if version == Version::Http11 => Body::Chunked,
            (_, true) => return Err(Fault::Framing),
        };
        let has_host = match version {
            Version::Http11 => self.hosts == 1,
            Version::Http10 => self.hosts <= 1,
        };
        if !has_host {
            return Err(Fault::Malformed);
        }
        let is_wanted = self.upgrade && version == Version::Http11;
        let upgrade = if is_wanted { Upgrade::Wanted } else { Upgrade::NotWanted };
        Ok(Head { body, upgrade })
    }
}

fn length(value: &[u8]) -> Result<u64, Fault> {
    let is_number = (1..=MAX_LENGTH_DIGITS).contains(&value.len());
    let digits = is_number.then(|| std::str::from_utf8(value).ok()).flatten();
    let digits = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|digits| digits.parse().ok()).ok_or(Fault::Framing)
}

/// Whether a name is `expected`, which is in lower case, to any reader: many take `_` for `-`.
fn names_match(name: &[u8], expected: &str) -> bool {
    let same = |(byte, expected): (&u8, u8)| match byte {
        b'_' => expected == b'-',
        byte => byte.to_ascii_lowercase() == expected,
    };
    name.len() == expected.len() && name.iter().zip(expected.bytes()).all(same)
}

fn is_plain(name: &[u8]) -> bool {
    !name.contains(&b'_')
}

/// RFC 9110 section 5.6.2.
fn is_token(bytes: &[u8]) -> bool {
    let is_tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !bytes.is_empty() && bytes.iter().all(is_tchar)
}
