//! `[issuance]`: the agent that obtains certificates.

use std::{num::NonZeroUsize, time::Duration};

use landfall_dns::DnsConfig;
use landfall_issuance::agent::AgentSettings;
use serde::Deserialize;

/// `[issuance]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawIssuance {
    /// Default: true.
    pub enabled: bool,
    /// Default: 8.
    pub jobs: usize,
    /// Default: the system's, from `/etc/resolv.conf`.
    pub resolvers: Vec<String>,
    /// Default: true.
    pub zone_servers: bool,
    /// Default: 53.
    pub zone_port: u16,
    /// Default: none.
    pub allow_networks: Vec<String>,
    /// Default: 80.
    pub http_port: u16,
    /// Default: 443.
    pub tls_port: u16,
    /// Default: `5s`.
    #[serde(with = "humantime_serde")]
    pub dns_timeout: Duration,
    /// Default: `1m`.
    #[serde(with = "humantime_serde")]
    pub propagation_timeout: Duration,
    /// Default: `5s`.
    #[serde(with = "humantime_serde")]
    pub probe_timeout: Duration,
    /// Default: `3m`.
    #[serde(with = "humantime_serde")]
    pub validation_timeout: Duration,
    /// Default: `3m`.
    #[serde(with = "humantime_serde")]
    pub issuing_timeout: Duration,
}

impl Default for RawIssuance {
    fn default() -> Self {
        let (dns, agent) = (DnsConfig::default(), AgentSettings::default());
        Self {
            enabled: true,
            jobs: agent.jobs.get(),
            resolvers: Vec::new(),
            zone_servers: true,
            zone_port: dns.zone_port,
            allow_networks: Vec::new(),
            http_port: agent.http_port,
            tls_port: agent.tls_port,
            dns_timeout: dns.timeout,
            propagation_timeout: agent.propagation,
            probe_timeout: agent.probe,
            validation_timeout: agent.validation,
            issuing_timeout: agent.issuing,
        }
    }
}

/// How certificates are obtained here.
#[derive(Clone, Debug)]
pub struct Issuance {
    /// How the agent works.
    pub agent: AgentSettings,
    /// Whom it asks for names.
    pub dns: DnsConfig,
}

impl Issuance {
    /// The most jobs at a time that may be configured.
    pub(super) const MOST_JOBS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(63);
}
