//! `[http]`: how the edge speaks HTTP, for all hostnames.

use std::{net::IpAddr, num::NonZeroU16};

use bytesize::ByteSize;
use landfall_feed::sign::VerifyingKey;
use landfall_model::{Network, config::Problem};
use serde::{Deserialize, Serialize};

use crate::identity::CdnId;

/// The largest body that may be configured, in bytes.
const MAX_BODY: u64 = 1 << 50;

/// `[http]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawHttp {
    /// The fleet's name in `CDN-Loop` and `Via`: requests that carry it are answered 508. Default:
    /// made from `feed.signing_keys`, the same for all edges whose first key is the same.
    pub cdn_id: Option<String>,
    /// Whose `X-Request-Id` and trace context are taken over: load balancers of yours, as addresses
    /// or networks. From everyone else a request gets an id of its own. Default: nobody's.
    pub trusted_peers: Vec<String>,
    /// The largest request body, for hostnames without a limit of their own; more is answered 413.
    pub max_body: ByteSize,
    /// The port that clients find TLS at, which redirects from plain HTTP name. Set it where
    /// something in front maps ports. Default: the port of the first address in `listen.https`.
    pub https_port: Option<NonZeroU16>,
}

impl Default for RawHttp {
    fn default() -> Self {
        let (cdn_id, trusted_peers, https_port) = (None, Vec::new(), None);
        Self { cdn_id, trusted_peers, max_body: ByteSize::gib(64), https_port }
    }
}

/// How the edge speaks HTTP, for all hostnames.
#[derive(Clone, Debug)]
pub struct Http {
    /// The fleet's name in `CDN-Loop` and `Via`.
    pub cdn_id: CdnId,
    /// Whose request ids and trace contexts are taken over.
    pub trusted_peers: Vec<Network>,
    /// The most bytes of a request body, where the hostname has no limit of its own.
    pub max_body: u64,
    /// The port that clients find TLS at, unless it is the one that is listened on.
    pub https_port: Option<NonZeroU16>,
}

impl Http {
    /// Whether what `peer` says of a request's id and trace is taken over.
    pub(crate) fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted_peers.iter().any(|network| network.contains(peer))
    }
}

impl RawHttp {
    /// Checks the section. `None` only where a problem is added.
    pub(super) fn check(self, keys: &[VerifyingKey], problems: &mut Vec<Problem>) -> Option<Http> {
        let before = problems.len();
        let cdn_id = match self.cdn_id {
            Some(text) => CdnId::new(&text),
            None => keys.first().map(CdnId::of_feed),
        };
        // Without a signing key, that is the problem.
        if cdn_id.is_none() && !keys.is_empty() {
            let expected = "expected a token of at most 64 characters such as \"my-fleet\"";
            problems.push(Problem::new("http.cdn_id", expected));
        }
        let mut trusted_peers = Vec::with_capacity(self.trusted_peers.len());
        for text in &self.trusted_peers {
            match text.parse::<Network>() {
                Ok(network) => trusted_peers.push(network),
                Err(error) => problems.push(Problem::new("http.trusted_peers", error.to_string())),
            }
        }
        let max_body = self.max_body.as_u64();
        if max_body > MAX_BODY {
            let expected = format!("expected at most {}", ByteSize::b(MAX_BODY));
            problems.push(Problem::new("http.max_body", expected));
        }
        let cdn_id = cdn_id.filter(|_| problems.len() == before)?;
        Some(Http { cdn_id, trusted_peers, max_body, https_port: self.https_port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Http, Vec<Problem>> {
        let raw: RawHttp = toml::from_str(text).unwrap();
        let key = crate::config::fixtures::KEY.parse().unwrap();
        let mut problems = Vec::new();
        raw.check(&[key], &mut problems).ok_or(problems)
    }

    #[test]
    fn the_fleet_is_named_by_its_feed_unless_it_has_a_name() {
        assert!(check("").unwrap().cdn_id.as_str().starts_with("landfall-"));
        assert_eq!(check("cdn_id = \"mine\"").unwrap().cdn_id.as_str(), "mine");
    }

    #[test]
    fn peers_are_trusted_by_their_networks() {
        let http = check("trusted_peers = [\"192.0.2.0/24\", \"2001:db8::1\"]").unwrap();
        assert!(http.trusts("192.0.2.7".parse().unwrap()));
        assert!(http.trusts("2001:db8::1".parse().unwrap()));
        assert!(!http.trusts("192.0.3.7".parse().unwrap()));
        assert!(!check("").unwrap().trusts("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn every_problem_is_said_with_its_key() {
        let text = "cdn_id = \"a b\"\ntrusted_peers = [\"here\"]\nmax_body = \"2PiB\"";
        let keys: Vec<_> = check(text).unwrap_err().into_iter().map(|found| found.key).collect();
        assert_eq!(keys, ["http.cdn_id", "http.trusted_peers", "http.max_body"]);
    }
}
