//! `[issuance]`: the agent that obtains certificates.

use std::{num::NonZeroUsize, time::Duration};

use landfall_dns::DnsConfig;
use landfall_issuance::agent::AgentSettings;
use serde::{Deserialize, Serialize};

/// `[issuance]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawIssuance {
    /// Whether certificates are obtained here, for the whole fleet: jobs are leased from the
    /// control plane, and any PoP can do any job.
    pub enabled: bool,
    /// How many jobs at a time.
    pub jobs: usize,
    /// Where hostnames' DNS is looked at before anything is ordered, as addresses with or without a
    /// port; two are asked for each. Default: what `/etc/resolv.conf` says.
    pub resolvers: Vec<String>,
    /// Whether a zone's own servers are asked before a resolver's answer is held against a
    /// hostname.
    pub zone_servers: bool,
    /// The port of zones' own servers.
    pub zone_port: u16,
    /// Networks that are not the public internet's, where zones' own servers may be all the same.
    /// Default: none.
    pub allow_networks: Vec<String>,
    /// The port of PoPs where answers to HTTP-01 challenges are looked for before a CA does.
    pub http_port: u16,
    /// The port of PoPs where answers to TLS-ALPN-01 challenges are looked for before a CA does.
    pub tls_port: u16,
    /// For one look at a hostname's DNS.
    #[serde(with = "humantime_serde")]
    pub dns_timeout: Duration,
    /// For all PoPs to have taken up a challenge.
    #[serde(with = "humantime_serde")]
    pub propagation_timeout: Duration,
    /// For one PoP's address to answer our own fetch of a challenge.
    #[serde(with = "humantime_serde")]
    pub probe_timeout: Duration,
    /// For a CA to validate.
    #[serde(with = "humantime_serde")]
    pub validation_timeout: Duration,
    /// For a CA to issue once it has validated.
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
