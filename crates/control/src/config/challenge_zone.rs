//! `[challenge_zone]`: the zone that `_acme-challenge` of customers' names leads to.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use hickory_proto::rr::{Name, rdata::tsig::TsigAlgorithm};
use landfall_dns::server_address;
use landfall_model::{Hostname, config::Problem};
use serde::{Deserialize, Serialize};

use crate::rate::Quota;

/// The most addresses that it is served at, and the most name servers.
const MOST: usize = 16;

/// `[challenge_zone]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawChallengeZone {
    /// What the zone is called: owners point `_acme-challenge` of their names into it by a CNAME. Default: there is none, and owners make TXT records themselves.
    pub zone: Option<String>,
    /// Where the zone is served over UDP and TCP, as addresses with or without a port. Required, unless there is
    /// `update`.
    pub listen: Vec<String>,
    /// The names of the zone's servers, which lead to `listen` and are outside of the zone. Required with `listen`.
    pub nameservers: Vec<String>,
    /// The mailbox of who runs the zone, with a dot for the `@` (RFC 1035 section 3.3.13). Default: `hostmaster` in
    /// the zone.
    pub contact: Option<String>,
    /// How many UDP queries a minute of one address (of IPv6, a /64) get a whole answer; more are told to ask
    /// over TCP.
    pub query_rate: u32,
    /// How many UDP queries of one address get a whole answer at once, after a rest.
    pub query_burst: u32,
    /// The most TCP connections at a time; where another comes, the one that has asked nothing for longest
    /// ends.
    pub max_connections: u32,
    /// The most TCP connections at a time of one address (of IPv6, a /64).
    pub max_connections_per_client: u32,
    /// How long a TCP connection may say nothing, and an answer may take.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    /// How long a TCP connection may last in all.
    #[serde(with = "humantime_serde")]
    pub connection_timeout: Duration,
    /// The operator's own server, which the records are put into instead.
    pub update: Option<RawUpdate>,
}

impl Default for RawChallengeZone {
    fn default() -> Self {
        Self {
            zone: None,
            listen: Vec::new(),
            nameservers: Vec::new(),
            contact: None,
            query_rate: 12_000,
            query_burst: 2_000,
            max_connections: 256,
            max_connections_per_client: 16,
            idle_timeout: Duration::from_secs(5),
            connection_timeout: Duration::from_secs(30),
            update: None,
        }
    }
}

/// `[challenge_zone.update]`: RFC 2136 with TSIG (RFC 8945).
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RawUpdate {
    /// The zone's primary server, as an address with or without a port.
    pub server: String,
    /// What the server calls the key.
    pub tsig_key_name: String,
    /// How messages are signed.
    #[serde(default)]
    pub tsig_algorithm: RawTsigAlgorithm,
    /// The file with the key's base64. Mode 0600.
    pub tsig_secret_file: PathBuf,
    /// How long one update may take.
    #[serde(default = "update_timeout", with = "humantime_serde")]
    pub timeout: Duration,
}

const fn update_timeout() -> Duration {
    Duration::from_secs(5)
}

/// `challenge_zone.update.tsig_algorithm`
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub enum RawTsigAlgorithm {
    /// HMAC with SHA-256.
    #[default]
    #[serde(rename = "hmac-sha256")]
    HmacSha256,
    /// HMAC with SHA-384.
    #[serde(rename = "hmac-sha384")]
    HmacSha384,
    /// HMAC with SHA-512.
    #[serde(rename = "hmac-sha512")]
    HmacSha512,
}

/// The zone, and where its records go.
#[derive(Clone, Debug)]
pub(crate) struct ChallengeZoneConfig {
    pub(crate) zone: Zone,
    pub(crate) publication: Publication,
}

/// A name that is one in the DNS as well.
#[derive(Clone, Debug)]
pub(crate) struct Zone {
    pub(crate) hostname: Hostname,
    pub(crate) name: Name,
}

/// Where the records go.
#[derive(Clone, Debug)]
pub(crate) enum Publication {
    /// We serve them.
    Served(ServedConfig),
    /// Another server does.
    Updated(UpdateConfig),
}

/// How we serve the zone.
#[derive(Clone, Debug)]
pub(crate) struct ServedConfig {
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) nameservers: Vec<Name>,
    pub(crate) contact: Name,
    pub(crate) queries: Quota,
    pub(crate) max_connections: usize,
    pub(crate) max_connections_per_client: usize,
    pub(crate) idle_timeout: Duration,
    pub(crate) connection_timeout: Duration,
}

/// How another server is told.
#[derive(Clone, Debug)]
pub(crate) struct UpdateConfig {
    pub(crate) server: SocketAddr,
    pub(crate) key_name: Name,
    pub(crate) algorithm: TsigAlgorithm,
    pub(crate) secret_file: PathBuf,
    pub(crate) timeout: Duration,
}

pub(super) fn check(
    raw: &RawChallengeZone,
    base: &Path,
    problems: &mut Vec<Problem>,
) -> Option<ChallengeZoneConfig> {
    let Some(text) = &raw.zone else {
        if raw.update.is_some() || !raw.listen.is_empty() {
            let message = "is missing: expected a zone of yours such as \"acme-dcv.example.net\"";
            problems.push(Problem::new("challenge_zone.zone", message));
        }
        return None;
    };
    let zone = name("challenge_zone.zone", text, problems);
    let publication = match &raw.update {
        Some(update) if raw.listen.is_empty() => {
            check_update(update, base, problems).map(Publication::Updated)
        }
        Some(_) => {
            let message = "expected either `listen` or `update`, got both";
            problems.push(Problem::new("challenge_zone.update", message));
            None
        }
        None => check_served(raw, zone.as_ref(), problems).map(Publication::Served),
    };
    Some(ChallengeZoneConfig { zone: zone?, publication: publication? })
}

fn check_served(
    raw: &RawChallengeZone,
    zone: Option<&Zone>,
    problems: &mut Vec<Problem>,
) -> Option<ServedConfig> {
    check_numbers(raw, problems);
    if raw.listen.is_empty() || raw.listen.len() > MOST {
        let message = format!(
            "expected 1 to {MOST} addresses such as \"192.0.2.53\", or `challenge_zone.update`"
        );
        problems.push(Problem::new("challenge_zone.listen", message));
    }
    let mut listen = Vec::new();
    for (index, text) in raw.listen.iter().enumerate() {
        listen.extend(address(&format!("challenge_zone.listen[{index}]"), text, problems));
    }
    let zone = zone?;
    if raw.nameservers.is_empty() || raw.nameservers.len() > MOST {
        let message = format!("expected 1 to {MOST} names such as \"ns1.example.net\"");
        problems.push(Problem::new("challenge_zone.nameservers", message));
    }
    let mut nameservers = Vec::new();
    for (index, text) in raw.nameservers.iter().enumerate() {
        let key = format!("challenge_zone.nameservers[{index}]");
        let Some(server) = name(&key, text, problems) else { continue };
        if zone.name.zone_of(&server.name) {
            let message = format!("expected a name outside of {}, got {text:?}", zone.hostname);
            problems.push(Problem::new(key, message));
        }
        nameservers.push(server.name);
    }
    let contact = match &raw.contact {
        Some(text) => name("challenge_zone.contact", text, problems)?.name,
        None => zone.name.prepend_label("hostmaster").ok()?,
    };
    Some(ServedConfig {
        listen,
        nameservers,
        contact,
        queries: Quota { per_minute: raw.query_rate, burst: raw.query_burst },
        max_connections: raw.max_connections as usize,
        max_connections_per_client: raw.max_connections_per_client as usize,
        idle_timeout: raw.idle_timeout,
        connection_timeout: raw.connection_timeout,
    })
}

fn check_numbers(raw: &RawChallengeZone, problems: &mut Vec<Problem>) {
    let numbers = [
        ("query_rate", raw.query_rate),
        ("query_burst", raw.query_burst),
        ("max_connections", raw.max_connections),
        ("max_connections_per_client", raw.max_connections_per_client),
    ];
    for (key, number) in numbers {
        if !(1..=1_000_000).contains(&number) {
            let message = format!("expected 1 to 1000000, got {number}");
            problems.push(Problem::new(format!("challenge_zone.{key}"), message));
        }
    }
    check_duration("challenge_zone.idle_timeout", raw.idle_timeout, problems);
    check_duration("challenge_zone.connection_timeout", raw.connection_timeout, problems);
}

fn check_update(raw: &RawUpdate, base: &Path, problems: &mut Vec<Problem>) -> Option<UpdateConfig> {
    check_duration("challenge_zone.update.timeout", raw.timeout, problems);
    let server = address("challenge_zone.update.server", &raw.server, problems);
    // The name of a key is none of a host.
    let key_name = Name::from_ascii(format!("{}.", raw.tsig_key_name.trim_end_matches('.')));
    let key_name = key_name.ok().filter(|name| !name.is_root());
    if key_name.is_none() {
        let message = format!("expected the key's name at the server, got {:?}", raw.tsig_key_name);
        problems.push(Problem::new("challenge_zone.update.tsig_key_name", message));
    }
    Some(UpdateConfig {
        server: server?,
        key_name: key_name?,
        algorithm: match raw.tsig_algorithm {
            RawTsigAlgorithm::HmacSha256 => TsigAlgorithm::HmacSha256,
            RawTsigAlgorithm::HmacSha384 => TsigAlgorithm::HmacSha384,
            RawTsigAlgorithm::HmacSha512 => TsigAlgorithm::HmacSha512,
        },
        secret_file: base.join(&raw.tsig_secret_file),
        timeout: raw.timeout,
    })
}

fn check_duration(key: &str, duration: Duration, problems: &mut Vec<Problem>) {
    if !(Duration::from_millis(100)..=Duration::from_secs(60)).contains(&duration) {
        problems.push(Problem::new(key, "expected a duration from \"100ms\" to \"1m\""));
    }
}

fn name(key: &str, text: &str, problems: &mut Vec<Problem>) -> Option<Zone> {
    let hostname: Option<Hostname> = text.trim_end_matches('.').parse().ok();
    let found = hostname.and_then(|hostname| {
        let name = Name::from_ascii(format!("{hostname}.")).ok()?;
        Some(Zone { hostname, name })
    });
    if found.is_none() {
        let message = format!("expected a name such as \"ns1.example.net\", got {text:?}");
        problems.push(Problem::new(key, message));
    }
    found
}

fn address(key: &str, text: &str, problems: &mut Vec<Problem>) -> Option<SocketAddr> {
    let parsed = server_address(text);
    parsed.map_err(|error| problems.push(Problem::new(key, error.to_string()))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(value: serde_json::Value) -> (Option<ChallengeZoneConfig>, Vec<String>) {
        let raw: RawChallengeZone = serde_json::from_value(value).unwrap();
        let mut problems = Vec::new();
        let config = check(&raw, Path::new("/etc/landfall"), &mut problems);
        (config, problems.into_iter().map(|problem| problem.key).collect())
    }

    #[test]
    fn there_is_no_zone_by_default() {
        let (config, problems) = checked(serde_json::json!({}));
        assert!(config.is_none() && problems.is_empty());
    }

    #[test]
    fn a_zone_is_served_at_the_port_of_dns() {
        let (config, problems) = checked(serde_json::json!({
            "zone": "acme-dcv.Example.net.",
            "listen": ["192.0.2.53", "[2001:db8::53]:5353"],
            "nameservers": ["ns1.example.net"],
        }));
        assert_eq!(problems, [""; 0]);
        let config = config.unwrap();
        assert_eq!(config.zone.hostname.as_str(), "acme-dcv.example.net");
        let Publication::Served(served) = config.publication else { panic!() };
        let ports: Vec<u16> = served.listen.iter().map(SocketAddr::port).collect();
        assert_eq!(ports, [53, 5353]);
        assert_eq!(served.contact.to_string(), "hostmaster.acme-dcv.example.net.");
    }

    #[test]
    fn records_go_to_the_operators_server() {
        let (config, problems) = checked(serde_json::json!({
            "zone": "acme-dcv.example.net",
            "update": {
                "server": "192.0.2.53",
                "tsig_key_name": "acme_key",
                "tsig_algorithm": "hmac-sha512",
                "tsig_secret_file": "tsig.key",
            },
        }));
        assert_eq!(problems, [""; 0]);
        let Publication::Updated(update) = config.unwrap().publication else { panic!() };
        assert_eq!(update.secret_file, Path::new("/etc/landfall/tsig.key"));
        assert_eq!(update.key_name.to_string(), "acme_key.");
    }

    #[test]
    fn every_problem_names_its_key() {
        let update = serde_json::json!({
            "server": "ns1", "tsig_key_name": "", "tsig_secret_file": "a", "timeout": "1h",
        });
        let cases = [
            (serde_json::json!({"listen": ["192.0.2.1"]}), &["challenge_zone.zone"][..]),
            (
                serde_json::json!({"zone": "dcv.test"}),
                &["challenge_zone.listen", "challenge_zone.nameservers"],
            ),
            (
                serde_json::json!({
                    "zone": "a b", "listen": ["here"], "query_rate": 0, "idle_timeout": "1h",
                }),
                &[
                    "challenge_zone.zone",
                    "challenge_zone.query_rate",
                    "challenge_zone.idle_timeout",
                    "challenge_zone.listen[0]",
                ],
            ),
            (
                serde_json::json!({
                    "zone": "dcv.test", "listen": ["192.0.2.1"], "nameservers": ["ns.dcv.test", "-"],
                }),
                &["challenge_zone.nameservers[0]", "challenge_zone.nameservers[1]"],
            ),
            (
                serde_json::json!({"zone": "dcv.test", "update": update}),
                &[
                    "challenge_zone.update.timeout",
                    "challenge_zone.update.server",
                    "challenge_zone.update.tsig_key_name",
                ],
            ),
            (
                serde_json::json!({"zone": "dcv.test", "listen": ["::1"], "update": update}),
                &["challenge_zone.update"],
            ),
        ];
        for (given, expected) in cases {
            assert_eq!(checked(given.clone()).1, expected, "{given}");
        }
    }
}
