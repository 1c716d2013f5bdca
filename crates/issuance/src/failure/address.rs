//! The address in a CA's words.

use std::net::{IpAddr, SocketAddr};

use super::Words;

/// The first IP address in the text. CAs write it in front (`203.0.113.9: Fetching http://…`), or as
/// part of a system's error (`dial tcp 203.0.113.9:80: connect: …`).
pub(super) fn address_in(words: &Words) -> Option<IpAddr> {
    words
        .as_str()
        .split_whitespace()
        .find_map(|token| {
            let token = token.trim_matches(|char: char| "\"'(),;".contains(char));
            let token = token.strip_suffix(':').unwrap_or(token);
            let bare =
                token.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(token);
            let alone = bare.parse::<IpAddr>().ok();
            // `::` and `::1` are too short to have been meant as an address of a server.
            let alone = alone.filter(|_| bare.len() > 3);
            alone.or_else(|| token.parse::<SocketAddr>().ok().map(|at| at.ip()))
        })
        .map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_address_that_a_ca_names() {
        let cases = [
            ("203.0.113.9: Fetching http://a.test/.well-known/x: Timeout", Some("203.0.113.9")),
            ("2001:db8::9: Fetching http://a.test/: Connection refused", Some("2001:db8::9")),
            ("[2001:db8::9]: Invalid response from http://a.test/", Some("2001:db8::9")),
            (
                "Get \"http://a.test/\": dial tcp 203.0.113.9:80: connect: connection refused",
                Some("203.0.113.9"),
            ),
            ("dial tcp [2001:db8::9]:443: i/o timeout", Some("2001:db8::9")),
            ("DNS problem: NXDOMAIN looking up A for a.test", None),
            ("std::io error :: x", None),
            ("", None),
        ];
        for (text, address) in cases {
            let address = address.map(|text| text.parse().unwrap());
            assert_eq!(address_in(&Words::from(text)), address, "{text}");
        }
    }
}
