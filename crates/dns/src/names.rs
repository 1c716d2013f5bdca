//! What a name is in the tree of names.

use hickory_resolver::proto::rr::Name;
use landfall_model::{HostPattern, Hostname};

/// Whether the name is a domain's apex: one label below a public suffix, where a zone has its SOA
/// and NS records and can have no CNAME (RFC 1034 section 3.6.2).
///
/// ```
/// # use landfall_dns::is_apex;
/// assert!(is_apex(&"shop.co.uk".parse().unwrap()));
/// assert!(!is_apex(&"www.shop.co.uk".parse().unwrap()));
/// ```
pub fn is_apex(name: &Hostname) -> bool {
    psl::domain_str(name.as_str()) == Some(name.as_str())
}

/// Whether the name is one that anybody can register names under, by the public suffix list: a
/// registry's, or a provider's such as `github.io`.
pub fn is_public_suffix(name: &Hostname) -> bool {
    psl::suffix_str(name.as_str()) == Some(name.as_str())
}

/// The domain that the name is part of and that somebody registered: one label below a public suffix.
/// CAs count certificates by it. `None` for a public suffix.
///
/// ```
/// # use landfall_dns::registered_domain;
/// let domain = registered_domain(&"www.shop.co.uk".parse().unwrap()).unwrap();
/// assert_eq!(domain.as_str(), "shop.co.uk");
/// ```
pub fn registered_domain(name: &Hostname) -> Option<Hostname> {
    psl::domain_str(name.as_str())?.parse().ok()
}

/// The name as a question. A wildcard is asked for by its own name (RFC 4592 section 2.1.1).
pub(crate) fn question(name: &HostPattern) -> Option<Name> {
    absolute(&name.to_string())
}

/// A text without the trailing dot as a name.
pub(crate) fn absolute(text: &str) -> Option<Name> {
    let mut name = Name::from_ascii(text).ok()?;
    name.set_fqdn(true);
    Some(name)
}

/// A name right below `domain` that nobody has asked for, so that no cache can have it: its label is
/// `nonce` in 16 hexadecimal digits. `None` where it is too long.
pub(crate) fn unasked(domain: &Hostname, nonce: u64) -> Option<Name> {
    absolute(&format!("{nonce:016x}.{domain}"))
}

/// The name and those above it without the root, the longest first.
pub(crate) fn upwards(name: &Name) -> impl Iterator<Item = Name> {
    let labels = name.iter().count();
    (1..=labels).rev().map(move |labels| name.trim_to(labels))
}

/// A name for people: lower case, without the trailing dot, bytes that are no letters, digits or
/// signs of ASCII escaped (RFC 1035 section 5.1).
pub(crate) fn shown(name: &Name) -> String {
    let labels: Vec<String> = name.iter().map(shown_label).collect();
    if labels.is_empty() { ".".to_owned() } else { labels.join(".") }
}

fn shown_label(label: &[u8]) -> String {
    label.iter().map(|byte| shown_byte(*byte, b".\\\"")).collect()
}

/// Bytes of a record's text for people, escaped as in a zone file's quoted string.
pub(crate) fn shown_text(text: &[u8]) -> String {
    text.iter()
        .map(|byte| if *byte == b' ' { " ".to_owned() } else { shown_byte(*byte, b"\\\"") })
        .collect()
}

fn shown_byte(byte: u8, special: &[u8]) -> String {
    match byte {
        byte if special.contains(&byte) => format!("\\{}", char::from(byte)),
        byte if byte.is_ascii_graphic() => char::from(byte).to_ascii_lowercase().to_string(),
        byte => format!("\\{byte:03}"),
    }
}

#[cfg(test)]
mod tests;
