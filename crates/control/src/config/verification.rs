//! `[dns]`, `[verification]` and `[pops]`: how it is told whether hostnames lead here.

use std::{net::SocketAddr, time::Duration};

use landfall_dns::{DnsConfig, ZoneServers, canonical_resolver, server_address};
use landfall_model::{Hostname, Network, config::Problem};
use serde::{Deserialize, Serialize};

use super::days;
use crate::rate::Quota;

const MAX_RESOLVERS: usize = 8;
const DNS_PORT: u16 = 53;

/// `[dns]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawDns {
    /// The resolvers that are asked, as addresses with or without a port, at most eight. Default: the
    /// system's.
    pub resolvers: Vec<String>,
    /// Whether a zone's own servers are asked before a resolver's answer is held against a hostname:
    /// resolvers remember old answers.
    pub zone_servers: bool,
    /// How long one verification may take in all.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// The port of zones' own servers.
    pub zone_port: u16,
    /// The most sockets that are open at once for questions; half of the files that the process may open, if
    /// that is less.
    pub sockets: u32,
}

impl Default for RawDns {
    fn default() -> Self {
        Self {
            resolvers: Vec::new(),
            zone_servers: true,
            timeout: Duration::from_secs(5),
            zone_port: DNS_PORT,
            sockets: 4_096,
        }
    }
}

/// `[verification]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawVerification {
    /// How many first checks of new hostnames run at a time.
    pub fresh_checks: u32,
    /// How many further checks of pending hostnames run at a time.
    pub pending_checks: u32,
    /// How many checks of active hostnames run at a time.
    pub active_checks: u32,
    /// How often an active hostname is checked.
    #[serde(with = "humantime_serde")]
    pub recheck_every: Duration,
    /// How often an active hostname is checked that did not pass lately.
    #[serde(with = "humantime_serde")]
    pub recheck_failed_every: Duration,
    /// The most checks of active hostnames that begin in a second.
    pub recheck_rate: u32,
    /// For how many checks in a row an active hostname must fail before its DNS is said to have left.
    pub left_after_failures: u32,
    /// For how long an active hostname must fail its checks before its DNS is said to have left: it is
    /// served on, and its certificate is not renewed.
    #[serde(with = "humantime_serde")]
    pub left_after: Duration,
    /// After how many checks a pending hostname is given up. The first ones are a minute apart, the last ones
    /// four hours: 75 take seven days.
    pub give_up_after: u32,
    /// How many files with ownership tokens are fetched from the hosts of one registered domain in a minute.
    pub token_files_per_minute: u32,
    /// How many files with ownership tokens are fetched from the hosts of one registered domain at once,
    /// after a rest.
    pub token_files_burst: u32,
    /// The port that ownership tokens are fetched from.
    pub http_port: u16,
    /// Networks that are not the public internet's, where zones' own servers and hosts with ownership tokens
    /// may be all the same, as in `["10.0.0.0/8"]`. Default: none.
    pub allow_networks: Vec<String>,
}

impl Default for RawVerification {
    fn default() -> Self {
        Self {
            fresh_checks: 32,
            pending_checks: 64,
            active_checks: 16,
            recheck_every: days(1),
            recheck_failed_every: Duration::from_secs(3_600),
            recheck_rate: 50,
            left_after_failures: 3,
            left_after: Duration::from_secs(3 * 3_600),
            give_up_after: 75,
            token_files_per_minute: 1,
            token_files_burst: 3,
            http_port: 80,
            allow_networks: Vec::new(),
        }
    }
}

/// `[pops]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawPops {
    /// How long a PoP may ask for nothing before it counts as unhealthy. Edges ask every half minute.
    #[serde(with = "humantime_serde")]
    pub unhealthy_after: Duration,
}

impl Default for RawPops {
    fn default() -> Self {
        Self { unhealthy_after: Duration::from_secs(120) }
    }
}

/// How hostnames are verified.
#[derive(Clone, Debug)]
pub(crate) struct VerificationConfig {
    pub(crate) dns: DnsConfig,
    pub(crate) checks: ChecksAtATime,
    /// The most checks of active hostnames that begin in a second.
    pub(crate) recheck_rate: u32,
    pub(crate) schedule: Schedule,
    /// How many files with ownership tokens are fetched from one registered domain.
    pub(crate) token_files: Quota,
    /// How long a PoP may ask for nothing before it is unhealthy.
    pub(crate) pop_unhealthy_after: Duration,
}

/// How many checks run at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChecksAtATime {
    pub(crate) fresh: u32,
    pub(crate) pending: u32,
    pub(crate) active: u32,
}

/// When hostnames are checked, and what follows from how often they did not pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    pub(crate) recheck_every: Duration,
    pub(crate) recheck_failed_every: Duration,
    pub(crate) left_after_failures: u32,
    pub(crate) left_after: Duration,
    pub(crate) give_up_after: u32,
}

pub(super) fn check(
    (dns, verification, pops): (&RawDns, &RawVerification, &RawPops),
    system_domain: Option<&Hostname>,
    problems: &mut Vec<Problem>,
) -> VerificationConfig {
    check_numbers(dns, verification, problems);
    check_times((dns, verification, pops), problems);
    let raw = verification;
    VerificationConfig {
        dns: DnsConfig {
            resolvers: check_resolvers(&dns.resolvers, problems),
            probe: system_domain.cloned(),
            zone_servers: match dns.zone_servers {
                true => ZoneServers::Asked,
                false => ZoneServers::NotAsked,
            },
            timeout: dns.timeout,
            zone_port: dns.zone_port,
            http_port: raw.http_port,
            sockets: usize::try_from(dns.sockets).unwrap_or(usize::MAX),
            allowed_networks: check_networks(&raw.allow_networks, problems),
        },
        checks: ChecksAtATime {
            fresh: raw.fresh_checks,
            pending: raw.pending_checks,
            active: raw.active_checks,
        },
        recheck_rate: raw.recheck_rate,
        schedule: Schedule {
            recheck_every: raw.recheck_every,
            recheck_failed_every: raw.recheck_failed_every,
            left_after_failures: raw.left_after_failures,
            left_after: raw.left_after,
            give_up_after: raw.give_up_after,
        },
        token_files: Quota { per_minute: raw.token_files_per_minute, burst: raw.token_files_burst },
        pop_unhealthy_after: pops.unhealthy_after,
    }
}

fn check_resolvers(texts: &[String], problems: &mut Vec<Problem>) -> Vec<SocketAddr> {
    if texts.len() > MAX_RESOLVERS {
        let message = format!("expected at most {MAX_RESOLVERS} resolvers, got {}", texts.len());
        problems.push(Problem::new("dns.resolvers", message));
    }
    let mut resolvers = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        let key = format!("dns.resolvers[{index}]");
        match server_address(text).map(canonical_resolver) {
            Ok(resolver) if resolvers.contains(&resolver) => {
                let message = format!(
                    "expected each resolver once, got {text:?} again: it is no second witness"
                );
                problems.push(Problem::new(&key, message));
            }
            Ok(resolver) => resolvers.push(resolver),
            Err(error) => problems.push(Problem::new(&key, error.to_string())),
        }
    }
    resolvers
}

fn check_networks(texts: &[String], problems: &mut Vec<Problem>) -> Vec<Network> {
    let mut networks = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        match text.parse() {
            Ok(network) => networks.push(network),
            Err(error) => {
                let key = format!("verification.allow_networks[{index}]");
                problems.push(Problem::new(&key, format!("{error}")));
            }
        }
    }
    networks
}

fn check_numbers(dns: &RawDns, raw: &RawVerification, problems: &mut Vec<Problem>) {
    let numbers = [
        ("dns.sockets", dns.sockets, 64, 65_536),
        ("verification.fresh_checks", raw.fresh_checks, 1, 1_024),
        ("verification.pending_checks", raw.pending_checks, 1, 1_024),
        ("verification.active_checks", raw.active_checks, 1, 1_024),
        ("verification.recheck_rate", raw.recheck_rate, 1, 10_000),
        ("verification.left_after_failures", raw.left_after_failures, 1, 1_000),
        ("verification.give_up_after", raw.give_up_after, 1, 10_000),
        ("verification.token_files_per_minute", raw.token_files_per_minute, 1, 1_000_000),
        ("verification.token_files_burst", raw.token_files_burst, 1, 1_000_000),
        ("verification.http_port", u32::from(raw.http_port), 1, 65_535),
    ];
    for (key, number, least, most) in numbers {
        if !(least..=most).contains(&number) {
            let message = format!("expected {least} to {most}, got {number}");
            problems.push(Problem::new(key, message));
        }
    }
}

fn check_times(
    (dns, verification, pops): (&RawDns, &RawVerification, &RawPops),
    problems: &mut Vec<Problem>,
) {
    let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
    let times = [
        ("dns.timeout", dns.timeout, Duration::from_millis(100), 20 * second),
        ("verification.recheck_every", verification.recheck_every, minute, days(30)),
        ("verification.recheck_failed_every", verification.recheck_failed_every, second, days(1)),
        ("verification.left_after", verification.left_after, Duration::ZERO, days(30)),
        ("pops.unhealthy_after", pops.unhealthy_after, 45 * second, days(1)),
    ];
    for (key, time, least, most) in times {
        if !(least..=most).contains(&time) {
            let text = |time| humantime::format_duration(time);
            let message =
                format!("expected a duration from \"{}\" to \"{}\"", text(least), text(most));
            problems.push(Problem::new(key, message));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_are_addresses_with_or_without_a_port() {
        let texts = ["192.0.2.53", "192.0.2.53:5353", "2001:db8::53", "[2001:db8::53]:5353"];
        let texts: Vec<String> = texts.map(str::to_owned).into();
        let mut problems = Vec::new();
        let resolvers = check_resolvers(&texts, &mut problems);
        let ports: Vec<u16> = resolvers.iter().map(SocketAddr::port).collect();
        assert_eq!((ports, problems.len()), (vec![53, 5353, 53, 5353], 0));
    }

    #[test]
    fn a_resolver_is_listed_once() {
        for (texts, key) in [
            (["192.0.2.53", "192.0.2.53"], "dns.resolvers[1]"),
            (["192.0.2.53", "192.0.2.53:53"], "dns.resolvers[1]"),
            (["192.0.2.53:5353", "[::ffff:192.0.2.53]:5353"], "dns.resolvers[1]"),
            (["::ffff:192.0.2.53", "192.0.2.53"], "dns.resolvers[1]"),
            (["2001:db8::53", "[2001:db8:0::53]:53"], "dns.resolvers[1]"),
            (["192.0.2.53", "192.0.2.53:5353"], ""),
        ] {
            let mut problems = Vec::new();
            check_resolvers(&texts.map(str::to_owned), &mut problems);
            let found = problems.first().map_or("", |problem| problem.key.as_str());
            assert_eq!(found, key, "{texts:?}");
        }
    }

    #[test]
    fn a_problem_names_its_key_and_what_was_expected() {
        let dns = RawDns {
            resolvers: vec!["dns.example".to_owned()],
            timeout: Duration::from_secs(60),
            sockets: 1,
            ..RawDns::default()
        };
        let verification = RawVerification {
            pending_checks: 0,
            allow_networks: vec!["10.0.0.1/8".to_owned()],
            ..RawVerification::default()
        };
        let pops = RawPops { unhealthy_after: Duration::from_secs(1) };
        let mut problems = Vec::new();
        check((&dns, &verification, &pops), None, &mut problems);
        let keys: Vec<&str> = problems.iter().map(|problem| problem.key.as_str()).collect();
        let expected = [
            "dns.sockets",
            "verification.pending_checks",
            "dns.timeout",
            "pops.unhealthy_after",
            "dns.resolvers[0]",
            "verification.allow_networks[0]",
        ];
        assert_eq!(keys, expected);
    }

    #[test]
    fn the_defaults_are_without_problems() {
        let mut problems = Vec::new();
        let raw = (&RawDns::default(), &RawVerification::default(), &RawPops::default());
        let system_domain = "edge.example.net".parse().unwrap();
        let config = check(raw, Some(&system_domain), &mut problems);
        assert_eq!(problems.len(), 0);
        assert_eq!(config.dns.probe, Some(system_domain));
    }
}
