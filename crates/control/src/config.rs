//! The control plane's config file: what it may say, and what it means once checked.

mod api;
mod challenge_zone;
mod issuance;
mod limits;
mod verification;
mod watch;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use landfall_model::{Hostname, Network, Origin, OriginHost, config::Problem, network::is_public};
use serde::{Deserialize, Serialize};

pub use api::RawApi;
pub(crate) use api::{ApiConfig, ConnectionLimits, RateLimits};
pub(crate) use challenge_zone::{ChallengeZoneConfig, Publication, ServedConfig, UpdateConfig};
pub use challenge_zone::{RawChallengeZone, RawTsigAlgorithm, RawUpdate};
pub(crate) use issuance::{AuthorityConfig, ExternalAccountConfig, IssuanceConfig};
pub use issuance::{RawAuthority, RawExternalAccount, RawIssuance};
pub(crate) use limits::Limits;
pub use limits::RawLimits;
pub(crate) use verification::{ChecksAtATime, Schedule, VerificationConfig};
pub use verification::{RawDns, RawPops, RawVerification};
pub use watch::RawWatch;
pub(crate) use watch::WatchConfig;

/// The file as it is written. Every key has a default or is reported by [`Self::check`].
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawControlConfig {
    /// The domain under which every property gets its system hostname.
    pub system_domain: Option<String>,
    /// The listener.
    pub api: RawApi,
    /// What is kept on disk.
    pub state: RawState,
    /// The keys that others made.
    pub keys: RawKeys,
    /// The certificates that the control plane issues itself.
    pub internal_ca: RawInternalCa,
    /// What PoPs read.
    pub feed: RawFeed,
    /// Which origins properties may name.
    pub origins: RawOrigins,
    /// Who is asked for hostnames' DNS.
    pub dns: RawDns,
    /// When hostnames are verified, and how many at a time.
    pub verification: RawVerification,
    /// Who issues certificates for hostnames.
    pub issuance: RawIssuance,
    /// The zone that `_acme-challenge` of customers' names leads to.
    pub challenge_zone: RawChallengeZone,
    /// When a PoP counts as healthy.
    pub pops: RawPops,
    /// How it is seen that PoPs serve what they should.
    pub watch: RawWatch,
    /// What a property may have.
    pub limits: RawLimits,
}

/// `[state]`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawState {
    /// The folder of the database, the keys made at the first start, and the snapshots.
    pub directory: Option<PathBuf>,
}

/// `[keys]`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawKeys {
    /// The public half of the fleet's group key.
    pub group_public_key_file: Option<PathBuf>,
}

/// `[internal_ca]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawInternalCa {
    /// Which names outside the system domain get a certificate of the internal CA, for tests and private
    /// networks.
    pub external_hostnames: RawExternalHostnames,
    /// For how long a certificate is valid; it is renewed with a third left.
    #[serde(with = "humantime_serde")]
    pub lifetime: Duration,
}

/// `internal_ca.external_hostnames`
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RawExternalHostnames {
    /// None.
    #[default]
    None,
    /// Those whose DNS was verified.
    Verified,
    /// All: they are Active at once and never verified.
    Unverified,
}

impl Default for RawInternalCa {
    fn default() -> Self {
        Self { external_hostnames: RawExternalHostnames::None, lifetime: days(90) }
    }
}

/// `[feed]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawFeed {
    /// How long a deletion stays in the feed. A PoP that was away for longer takes a snapshot.
    #[serde(with = "humantime_serde")]
    pub tombstone_retention: Duration,
    /// How many revisions old a snapshot may be when it is handed out; a twentieth of its hostnames, where that is less.
    pub snapshot_every: u64,
    /// The most records in a snapshot's segment, which ends early at 2 MiB.
    pub segment_records: u32,
    /// The most long polls that wait at a time; more are told to come back.
    pub max_long_polls: u32,
}

impl Default for RawFeed {
    fn default() -> Self {
        Self {
            tombstone_retention: days(7),
            snapshot_every: 10_000,
            segment_records: 10_000,
            max_long_polls: 4_096,
        }
    }
}

/// `[origins]`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawOrigins {
    /// Networks that are not the public internet's, whose addresses origins may have all the same, as in
    /// `["10.0.0.0/8"]`. Edges have a list of their own. Default: none.
    pub allow_networks: Vec<String>,
}

const fn days(count: u64) -> Duration {
    Duration::from_secs(count * 24 * 60 * 60)
}

/// A config that was checked. Paths are resolved, numbers are within their bounds.
#[derive(Clone, Debug)]
pub struct ControlConfig {
    pub(crate) system_domain: Hostname,
    pub(crate) api: ApiConfig,
    pub(crate) state_directory: PathBuf,
    pub(crate) group_public_key_file: PathBuf,
    pub(crate) issuance: IssuancePolicy,
    pub(crate) agents: IssuanceConfig,
    pub(crate) feed: FeedConfig,
    pub(crate) origins: OriginPolicy,
    pub(crate) limits: Limits,
    pub(crate) verification: VerificationConfig,
    pub(crate) challenge_zone: Option<ChallengeZoneConfig>,
    pub(crate) watch: WatchConfig,
}

impl ControlConfig {
    /// The port that the API and the feed are asked at, unless something in front maps it.
    pub fn api_port(&self) -> u16 {
        self.api.listen.port()
    }
}

/// For what the internal CA issues, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IssuancePolicy {
    pub(crate) scope: IssuanceScope,
    pub(crate) lifetime: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IssuanceScope {
    /// The system domain's own names.
    SystemDomain,
    /// Others too, once their DNS was verified.
    VerifiedHostnames,
    /// Others too, which are never verified.
    EveryHostname,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct FeedConfig {
    pub(crate) tombstone_retention: Duration,
    pub(crate) snapshot_every: u64,
    pub(crate) segment_records: u32,
    pub(crate) max_long_polls: usize,
}

/// Which addresses origins may have besides public ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct OriginPolicy {
    allowed: Vec<Network>,
}

impl OriginPolicy {
    /// Whether a property may name `origin`. What a DNS name leads to is looked at by the edge that
    /// connects to it.
    pub(crate) fn allows(&self, origin: &Origin) -> bool {
        match origin.host() {
            OriginHost::Name(_) => true,
            OriginHost::Address(address) => {
                let allowed = |network: &Network| network.contains(*address);
                is_public(*address) || self.allowed.iter().any(allowed)
            }
        }
    }
}

impl RawControlConfig {
    /// Checks every key; relative paths are meant from `base`, the config file's folder.
    ///
    /// # Errors
    /// Every problem that there is, at once.
    pub fn check(self, base: &Path) -> Result<ControlConfig, Vec<Problem>> {
        let mut problems = Vec::new();
        let system_domain = check_domain(self.system_domain.as_deref(), &mut problems);
        let directory = check_path("state.directory", self.state.directory, base, &mut problems);
        let group_public_key_file = check_path(
            "keys.group_public_key_file",
            self.keys.group_public_key_file,
            base,
            &mut problems,
        );
        let api = api::check(&self.api, &mut problems);
        let issuance = check_issuance(&self.internal_ca, &mut problems);
        let feed = check_feed(&self.feed, &mut problems);
        let origins = check_origins(&self.origins, &mut problems);
        let limits = limits::check(&self.limits, &mut problems);
        let challenge_zone = challenge_zone::check(&self.challenge_zone, base, &mut problems);
        let watch = watch::check(&self.watch, &mut problems);
        let agents = issuance::check(&self.issuance, base, &mut problems);
        let raw = (&self.dns, &self.verification, &self.pops);
        let verification = verification::check(raw, system_domain.as_ref(), &mut problems);
        match (system_domain, api, directory, group_public_key_file) {
            (Some(system_domain), Some(api), Some(state_directory), Some(key))
                if problems.is_empty() =>
            {
                let group_public_key_file = key;
                Ok(ControlConfig {
                    system_domain,
                    api,
                    state_directory,
                    group_public_key_file,
                    issuance,
                    agents,
                    feed,
                    origins,
                    limits,
                    verification,
                    challenge_zone,
                    watch,
                })
            }
            _ => Err(problems),
        }
    }
}

fn check_domain(text: Option<&str>, problems: &mut Vec<Problem>) -> Option<Hostname> {
    let expected = "expected a domain of yours such as \"edge.example.net\"";
    let Some(text) = text else {
        problems.push(Problem::new("system_domain", format!("is missing: {expected}")));
        return None;
    };
    let parsed = text.parse();
    parsed
        .map_err(|error| {
            let message = format!("{expected}, got {text:?}: {error}");
            problems.push(Problem::new("system_domain", message));
        })
        .ok()
}

fn check_path(
    key: &str,
    path: Option<PathBuf>,
    base: &Path,
    problems: &mut Vec<Problem>,
) -> Option<PathBuf> {
    match path {
        Some(path) if !path.as_os_str().is_empty() => Some(base.join(path)),
        _ => {
            problems.push(Problem::new(key, "is missing: expected a path"));
            None
        }
    }
}

fn check_issuance(raw: &RawInternalCa, problems: &mut Vec<Problem>) -> IssuancePolicy {
    if raw.lifetime < Duration::from_secs(3_600) || raw.lifetime > days(398) {
        let message = "expected a duration from \"1h\" to \"398d\"";
        problems.push(Problem::new("internal_ca.lifetime", message));
    }
    let scope = match raw.external_hostnames {
        RawExternalHostnames::None => IssuanceScope::SystemDomain,
        RawExternalHostnames::Verified => IssuanceScope::VerifiedHostnames,
        RawExternalHostnames::Unverified => IssuanceScope::EveryHostname,
    };
    IssuancePolicy { scope, lifetime: raw.lifetime }
}

fn check_feed(raw: &RawFeed, problems: &mut Vec<Problem>) -> FeedConfig {
    if raw.tombstone_retention < Duration::from_secs(60) || raw.tombstone_retention > days(3_650) {
        let message = "expected a duration from \"1m\" to \"3650d\"";
        problems.push(Problem::new("feed.tombstone_retention", message));
    }
    if raw.snapshot_every == 0 {
        problems.push(Problem::new("feed.snapshot_every", "expected at least 1 revision"));
    }
    if raw.segment_records == 0 {
        problems.push(Problem::new("feed.segment_records", "expected at least 1 record"));
    }
    if raw.max_long_polls == 0 {
        problems.push(Problem::new("feed.max_long_polls", "expected at least 1"));
    }
    FeedConfig {
        tombstone_retention: raw.tombstone_retention,
        snapshot_every: raw.snapshot_every,
        segment_records: raw.segment_records,
        max_long_polls: raw.max_long_polls as usize,
    }
}

fn check_origins(raw: &RawOrigins, problems: &mut Vec<Problem>) -> OriginPolicy {
    let mut allowed = Vec::new();
    for (index, text) in raw.allow_networks.iter().enumerate() {
        match text.parse() {
            Ok(network) => allowed.push(network),
            Err(error) => {
                let key = format!("origins.allow_networks[{index}]");
                problems.push(Problem::new(&key, format!("{error}")));
            }
        }
    }
    OriginPolicy { allowed }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: serde_json::Value) -> RawControlConfig {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_minimal_config_has_safe_defaults_and_paths_from_its_folder() {
        let raw = raw(serde_json::json!({
            "system_domain": "Edge.Example.NET",
            "state": {"directory": "state"},
            "keys": {"group_public_key_file": "/keys/group.pub"},
        }));
        let config = raw.check(Path::new("/etc/landfall")).unwrap();
        assert_eq!(config.system_domain.as_str(), "edge.example.net");
        assert_eq!(config.state_directory, Path::new("/etc/landfall/state"));
        assert_eq!(config.group_public_key_file, Path::new("/keys/group.pub"));
        assert_eq!(config.api.listen, "127.0.0.1:8081".parse().unwrap());
        assert_eq!(config.issuance.scope, IssuanceScope::SystemDomain);
        assert_eq!(config.issuance.lifetime, days(90));
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let raw = raw(serde_json::json!({
            "system_domain": "192.0.2.1",
            "api": {"listen": "here", "max_body": "1B", "request_timeout": "2h", "max_connections": 0},
            "internal_ca": {"lifetime": "1s"},
            "feed": {"snapshot_every": 0, "segment_records": 0, "tombstone_retention": "1s", "max_long_polls": 0},
            "origins": {"allow_networks": ["10.0.0.0/8", "10.0.0.1/8"]},
        }));
        let keys: Vec<String> =
            raw.check(Path::new("/")).unwrap_err().into_iter().map(|problem| problem.key).collect();
        let expected = [
            "system_domain",
            "state.directory",
            "keys.group_public_key_file",
            "api.listen",
            "api.max_body",
            "api.max_connections",
            "api.request_timeout",
            "internal_ca.lifetime",
            "feed.tombstone_retention",
            "feed.snapshot_every",
            "feed.segment_records",
            "feed.max_long_polls",
            "origins.allow_networks[1]",
        ];
        assert_eq!(keys, expected);
    }

    #[test]
    fn an_origin_is_public_or_in_a_network_that_is_allowed() {
        let raw = RawOrigins { allow_networks: vec!["10.1.0.0/16".to_owned()] };
        let policy = check_origins(&raw, &mut Vec::new());
        let allows = |origin: &str| policy.allows(&origin.parse().unwrap());
        for origin in ["https://1.1.1.1", "http://10.1.2.3:81", "http://[::ffff:10.1.2.3]"] {
            assert!(allows(origin), "{origin}");
        }
        assert!(allows("https://origin.example"));
        for origin in
            ["http://10.2.0.1", "http://127.0.0.1", "http://169.254.169.254", "http://[::1]"]
        {
            assert!(!allows(origin), "{origin}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let given = serde_json::json!({"api": {"listn": "127.0.0.1:1"}});
        let error = serde_json::from_value::<RawControlConfig>(given).unwrap_err().to_string();
        assert!(error.contains("listn") && error.contains("listen"), "{error}");
    }
}
