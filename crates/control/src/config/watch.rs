//! `[watch]`: how it is seen that PoPs serve what they should.

use std::time::Duration;

use landfall_model::config::Problem;
use serde::{Deserialize, Serialize};

/// `[watch]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawWatch {
    /// Whether PoPs are looked at by handshakes from here: a certificate is active once one has shown it.
    /// Without, once every active PoP has acknowledged it.
    pub handshakes: bool,
    /// The port of PoPs' addresses where they serve TLS.
    pub port: u16,
    /// How many handshakes run at a time.
    pub at_once: u32,
    /// The most handshakes with one PoP in a second.
    pub per_pop_per_second: u32,
    /// How long a handshake may take in all.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
}

impl Default for RawWatch {
    fn default() -> Self {
        Self {
            handshakes: true,
            port: 443,
            at_once: 64,
            per_pop_per_second: 50,
            timeout: Duration::from_secs(5),
        }
    }
}

/// How it is seen that PoPs serve what they should.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WatchConfig {
    pub(crate) handshakes: bool,
    pub(crate) port: u16,
    pub(crate) at_once: u32,
    pub(crate) per_pop_per_second: u32,
    pub(crate) timeout: Duration,
}

pub(super) fn check(raw: &RawWatch, problems: &mut Vec<Problem>) -> WatchConfig {
    if raw.port == 0 {
        problems.push(Problem::new("watch.port", "expected 1 to 65535, got 0"));
    }
    for (key, value) in
        [("watch.at_once", raw.at_once), ("watch.per_pop_per_second", raw.per_pop_per_second)]
    {
        if !(1..=1_000).contains(&value) {
            problems.push(Problem::new(key, format!("expected 1 to 1000, got {value}")));
        }
    }
    if !(Duration::from_millis(100)..=Duration::from_secs(60)).contains(&raw.timeout) {
        let message = "expected a duration from \"100ms\" to \"60s\"";
        problems.push(Problem::new("watch.timeout", message));
    }
    let RawWatch { handshakes, port, at_once, per_pop_per_second, timeout } = *raw;
    WatchConfig { handshakes, port, at_once, per_pop_per_second, timeout }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_its_key() {
        let raw = RawWatch {
            port: 0,
            at_once: 0,
            per_pop_per_second: 1_001,
            timeout: Duration::ZERO,
            ..RawWatch::default()
        };
        let mut problems = Vec::new();
        check(&raw, &mut problems);
        let keys: Vec<&str> = problems.iter().map(|problem| problem.key.as_str()).collect();
        let expected = ["watch.port", "watch.at_once", "watch.per_pop_per_second", "watch.timeout"];
        assert_eq!(keys, expected);
        let mut problems = Vec::new();
        check(&RawWatch::default(), &mut problems);
        assert!(problems.is_empty());
    }
}
