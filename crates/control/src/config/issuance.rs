//! `[issuance]`: which CAs issue for hostnames, and how agents are set to work.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use landfall_issuance::{
    ledger::{Limits, Overrides, Preset},
    plan::Rules,
};
use landfall_model::{AuthorityName, config::Problem, issuance::ChallengeMethod};
use serde::{Deserialize, Serialize};

/// The most CAs.
const MAX_AUTHORITIES: usize = 16;

/// `[issuance]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawIssuance {
    /// The CAs that may issue for hostnames, the preferred one first. CAA records are judged by them.
    pub certificate_authorities: Vec<String>,
    /// What is known of CAs, by name.
    pub authority: BTreeMap<String, RawAuthority>,
    /// The one method by which names are proven. Default: by what is seen of each hostname.
    pub method: Option<ChallengeMethod>,
    /// How long an agent has a job without a word.
    #[serde(with = "humantime_serde")]
    pub lease: Duration,
    /// The most questions in a minute to CAs when they want certificates renewed.
    pub renewal_questions_per_minute: u32,
    /// Who goes before whom.
    pub rules: Rules,
}

impl Default for RawIssuance {
    fn default() -> Self {
        Self {
            certificate_authorities: vec!["lets_encrypt".to_owned()],
            authority: BTreeMap::new(),
            method: None,
            lease: Duration::from_secs(120),
            renewal_questions_per_minute: 3_000,
            rules: Rules::default(),
        }
    }
}

/// `[issuance.authority.<name>]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawAuthority {
    /// The URL of the CA's directory, with https. Default: what is known; other CAs need one.
    pub directory: Option<String>,
    /// PEM of the roots that the CA's directory is verified with. Default: the system's roots.
    pub roots_file: Option<PathBuf>,
    /// Whom the CA may write to, as in `["mailto:ops@example.net"]`. Default: nobody.
    pub contact: Vec<String>,
    /// The profile to ask for. Default: the CA's own choice.
    pub profile: Option<String>,
    /// The common name of the issuer whose chain is preferred. Default: the CA's own choice.
    pub preferred_chain: Option<String>,
    /// What the CA is called in CAA records. Default: what is known, else what its directory says, which
    /// agents look at: until one has, the control plane judges no CAA record by it.
    pub caa_identities: Option<Vec<String>>,
    /// The name of its staging environment, where names that fail often are tried first. Default: what is
    /// known, else none.
    pub staging: Option<String>,
    /// `[issuance.authority.<name>.external_account]`: what ties the account to a customer of the CA.
    pub external_account: Option<RawExternalAccount>,
    /// Whose limits the CA has. Default: what is known, else
    /// `unlimited`.
    pub limits: Option<Preset>,
    /// `[issuance.authority.<name>.limit]`: what differs from these.
    pub limit: Overrides,
    /// The most jobs that the CA does at a time.
    pub at_once: u32,
}

impl Default for RawAuthority {
    fn default() -> Self {
        Self {
            directory: None,
            roots_file: None,
            contact: Vec::new(),
            profile: None,
            preferred_chain: None,
            caa_identities: None,
            staging: None,
            external_account: None,
            limits: None,
            limit: Overrides::default(),
            at_once: 64,
        }
    }
}

/// `[issuance.authority.<name>.external_account]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RawExternalAccount {
    /// The key's id at the CA.
    pub key_id: String,
    /// What `landfall keys seal-external-account` made of the HMAC key.
    pub hmac_key_file: PathBuf,
}

/// Which CAs issue, and how agents are set to work.
#[derive(Clone, Debug)]
pub(crate) struct IssuanceConfig {
    /// The CAs that may issue, the preferred one first.
    pub(crate) order: Vec<AuthorityName>,
    /// What is known of these and of their staging environments.
    pub(crate) authorities: BTreeMap<AuthorityName, AuthorityConfig>,
    pub(crate) method: Option<ChallengeMethod>,
    pub(crate) lease: Duration,
    pub(crate) renewal_questions_per_minute: u32,
    pub(crate) rules: Rules,
}

/// A CA, as the operator has set it.
#[derive(Clone, Debug)]
pub(crate) struct AuthorityConfig {
    pub(crate) directory: String,
    pub(crate) roots_file: Option<PathBuf>,
    pub(crate) contact: Vec<String>,
    pub(crate) profile: Option<String>,
    pub(crate) preferred_chain: Option<String>,
    pub(crate) caa_identities: Vec<String>,
    pub(crate) staging: Option<AuthorityName>,
    pub(crate) external_account: Option<ExternalAccountConfig>,
    pub(crate) limits: Limits,
    pub(crate) at_once: u32,
}

/// Where the binding of an account is.
#[derive(Clone, Debug)]
pub(crate) struct ExternalAccountConfig {
    pub(crate) key_id: String,
    pub(crate) hmac_key_file: PathBuf,
}

/// What is known of a CA without being told.
struct Known {
    name: &'static str,
    directory: Option<&'static str>,
    caa_identities: &'static [&'static str],
    limits: Preset,
    staging: Option<&'static str>,
    needs_external_account: Needed,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Needed {
    Yes,
    No,
}

const KNOWN: &[Known] = &[
    Known {
        name: "lets_encrypt",
        directory: Some("https://acme-v02.api.letsencrypt.org/directory"),
        caa_identities: &["letsencrypt.org"],
        limits: Preset::LetsEncrypt,
        staging: Some("lets_encrypt_staging"),
        needs_external_account: Needed::No,
    },
    Known {
        name: "lets_encrypt_staging",
        directory: Some("https://acme-staging-v02.api.letsencrypt.org/directory"),
        caa_identities: &["letsencrypt.org"],
        limits: Preset::LetsEncryptStaging,
        staging: None,
        needs_external_account: Needed::No,
    },
    Known {
        name: "zerossl",
        directory: Some("https://acme.zerossl.com/v2/DV90"),
        caa_identities: &["sectigo.com", "zerossl.com", "comodoca.com", "usertrust.com"],
        limits: Preset::Unlimited,
        staging: None,
        needs_external_account: Needed::Yes,
    },
    Known {
        name: "google",
        directory: Some("https://dv.acme-v02.api.pki.goog/directory"),
        caa_identities: &["pki.goog"],
        limits: Preset::Unlimited,
        staging: None,
        needs_external_account: Needed::Yes,
    },
    Known {
        name: "ssl_com",
        directory: Some("https://acme.ssl.com/sslcom-dv-ecc"),
        caa_identities: &["ssl.com"],
        limits: Preset::Unlimited,
        staging: None,
        needs_external_account: Needed::Yes,
    },
    Known {
        name: "digicert",
        // Each customer has one of their own.
        directory: None,
        caa_identities: &[
            "digicert.com",
            "www.digicert.com",
            "digicert.ne.jp",
            "cybertrust.ne.jp",
            "symantec.com",
            "thawte.com",
            "geotrust.com",
            "rapidssl.com",
        ],
        limits: Preset::Unlimited,
        staging: None,
        needs_external_account: Needed::Yes,
    },
];

pub(super) fn check(raw: &RawIssuance, base: &Path, problems: &mut Vec<Problem>) -> IssuanceConfig {
    check_numbers(raw, problems);
    let mut authorities = BTreeMap::new();
    let mut order: Vec<AuthorityName> = Vec::new();
    for (index, name) in raw.certificate_authorities.iter().enumerate() {
        let key = format!("issuance.certificate_authorities[{index}]");
        let Some(name) = check_name(&key, name, problems) else { continue };
        if order.contains(&name) {
            problems.push(Problem::new(key, format!("{name} is there twice")));
        } else {
            order.push(name);
        }
    }
    let configured = raw.authority.keys();
    let named = configured
        .filter_map(|name| check_name(&format!("issuance.authority.{name}"), name, problems));
    let mut wanted: Vec<AuthorityName> =
        order.iter().cloned().chain(named.collect::<Vec<_>>()).collect();
    while let Some(name) = wanted.pop() {
        if authorities.contains_key(&name) {
            continue;
        }
        let Some(authority) = check_authority(&name, raw, base, problems) else { continue };
        wanted.extend(authority.staging.clone());
        authorities.insert(name, authority);
    }
    if authorities.len() > MAX_AUTHORITIES {
        let message = format!("expected at most {MAX_AUTHORITIES} CAs, got {}", authorities.len());
        problems.push(Problem::new("issuance.authority", message));
    }
    if raw.method == Some(ChallengeMethod::DnsPersist01) {
        let message = "expected \"http-01\", \"tls-alpn-01\" or \"dns-01\"";
        problems.push(Problem::new("issuance.method", message));
    }
    IssuanceConfig {
        order,
        authorities,
        method: raw.method,
        lease: raw.lease,
        renewal_questions_per_minute: raw.renewal_questions_per_minute,
        rules: raw.rules,
    }
}

fn check_name(key: &str, name: &str, problems: &mut Vec<Problem>) -> Option<AuthorityName> {
    let parsed = name.parse();
    parsed.map_err(|error| problems.push(Problem::new(key, format!("{error}, got {name:?}")))).ok()
}

fn check_authority(
    name: &AuthorityName,
    raw: &RawIssuance,
    base: &Path,
    problems: &mut Vec<Problem>,
) -> Option<AuthorityConfig> {
    let key = |field: &str| format!("issuance.authority.{name}.{field}");
    let known = KNOWN.iter().find(|known| known.name == name.as_str());
    let own = raw.authority.get(name.as_str()).cloned().unwrap_or_default();
    let directory = own.directory.or_else(|| known?.directory.map(str::to_owned));
    let Some(directory) = directory.filter(|url| url.starts_with("https://")) else {
        let known: Vec<&str> = KNOWN.iter().map(|known| known.name).collect();
        let message = format!(
            "expected the https:// URL of its directory, as in \"https://ca.example/directory\"; known \
             without one are {}",
            known.join(", ")
        );
        problems.push(Problem::new(key("directory"), message));
        return None;
    };
    for (index, contact) in own.contact.iter().enumerate() {
        if !contact.starts_with("mailto:") {
            let message = format!("expected as in \"mailto:ops@example.net\", got {contact:?}");
            problems.push(Problem::new(key(&format!("contact[{index}]")), message));
        }
    }
    if own.external_account.is_none()
        && known.is_some_and(|known| known.needs_external_account == Needed::Yes)
    {
        let message = "is missing: this CA takes no account without `key_id` and `hmac_key_file`";
        problems.push(Problem::new(key("external_account"), message));
    }
    if !(1..=10_000).contains(&own.at_once) {
        let message = format!("expected 1 to 10000, got {}", own.at_once);
        problems.push(Problem::new(key("at_once"), message));
    }
    let staging = own.staging.or_else(|| known?.staging.map(str::to_owned));
    let staging = staging.and_then(|staging| check_name(&key("staging"), &staging, problems));
    if staging.as_ref() == Some(name) {
        problems.push(Problem::new(key("staging"), "expected another CA than itself"));
    }
    let identities = || known.map_or(&[][..], |known| known.caa_identities);
    let preset = own.limits.or_else(|| Some(known?.limits)).unwrap_or(Preset::Unlimited);
    Some(AuthorityConfig {
        directory,
        roots_file: own.roots_file.map(|path| base.join(path)),
        contact: own.contact,
        profile: own.profile,
        preferred_chain: own.preferred_chain,
        caa_identities: own
            .caa_identities
            .unwrap_or_else(|| identities().iter().map(|&own| own.to_owned()).collect()),
        staging,
        external_account: own.external_account.map(|account| ExternalAccountConfig {
            key_id: account.key_id,
            hmac_key_file: base.join(account.hmac_key_file),
        }),
        limits: preset.limits().with(own.limit),
        at_once: own.at_once,
    })
}

fn check_numbers(raw: &RawIssuance, problems: &mut Vec<Problem>) {
    if !(Duration::from_secs(2)..=Duration::from_secs(3_600)).contains(&raw.lease) {
        let message = "expected a duration from \"2s\" to \"1h\"";
        problems.push(Problem::new("issuance.lease", message));
    }
    if !(1..=1_000_000).contains(&raw.renewal_questions_per_minute) {
        let message = format!("expected 1 to 1000000, got {}", raw.renewal_questions_per_minute);
        problems.push(Problem::new("issuance.renewal_questions_per_minute", message));
    }
    if raw.rules.kept_for_renewals > 90 {
        let message = format!("expected 0 to 90, got {}", raw.rules.kept_for_renewals);
        problems.push(Problem::new("issuance.rules.kept_for_renewals", message));
    }
    if !(1..=100_000).contains(&raw.rules.owners_orders) {
        let message = format!("expected 1 to 100000, got {}", raw.rules.owners_orders);
        problems.push(Problem::new("issuance.rules.owners_orders", message));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(value: serde_json::Value) -> (IssuanceConfig, Vec<String>) {
        let raw: RawIssuance = serde_json::from_value(value).unwrap();
        let mut problems = Vec::new();
        let config = check(&raw, Path::new("/etc/landfall"), &mut problems);
        (config, problems.into_iter().map(|problem| problem.key).collect())
    }

    #[test]
    fn lets_encrypt_and_its_staging_are_there_without_a_word() {
        let (config, problems) = checked(serde_json::json!({}));
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(config.order, ["lets_encrypt".parse().unwrap()]);
        let names: Vec<&str> = config.authorities.keys().map(AuthorityName::as_str).collect();
        assert_eq!(names, ["lets_encrypt", "lets_encrypt_staging"]);
        let own = &config.authorities[&config.order[0]];
        assert_eq!(own.caa_identities, ["letsencrypt.org"]);
        assert_eq!(own.limits, Preset::LetsEncrypt.limits());
    }

    #[test]
    fn a_ca_of_ones_own_has_a_directory_and_files_from_the_configs_folder() {
        let (config, problems) = checked(serde_json::json!({
            "certificate_authorities": ["own"],
            "authority": {"own": {
                "directory": "https://ca.test/dir",
                "roots_file": "ca.pem",
                "external_account": {"key_id": "k", "hmac_key_file": "/keys/own.json"},
                "limits": "lets_encrypt",
                "limit": {"new_orders": {"count": 600, "per": "3h"}},
            }},
        }));
        assert!(problems.is_empty(), "{problems:?}");
        let own = &config.authorities[&config.order[0]];
        assert_eq!(own.roots_file.as_deref(), Some(Path::new("/etc/landfall/ca.pem")));
        assert_eq!(own.limits.new_orders.unwrap().count(), 600);
        assert_eq!(own.limits.certificates.unwrap().count(), 50);
    }

    #[test]
    fn a_problem_names_its_key() {
        let (_, problems) = checked(serde_json::json!({
            "certificate_authorities": ["Bad Name", "own", "zerossl", "own"],
            "authority": {"own": {"contact": ["ops@example.net"], "directory": "http://ca.test"}},
            "lease": "1s",
            "method": "dns-persist-01",
            "renewal_questions_per_minute": 0,
            "rules": {"kept_for_renewals": 91, "owners_orders": 0},
        }));
        let expected = [
            "issuance.lease",
            "issuance.method",
            "issuance.renewal_questions_per_minute",
            "issuance.rules.kept_for_renewals",
            "issuance.rules.owners_orders",
            "issuance.certificate_authorities[0]",
            "issuance.certificate_authorities[3]",
            "issuance.authority.own.directory",
            "issuance.authority.zerossl.external_account",
        ];
        for key in expected {
            assert!(problems.iter().any(|problem| problem == key), "{key} {problems:?}");
        }
    }
}
