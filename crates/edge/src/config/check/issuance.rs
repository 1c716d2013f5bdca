//! `[issuance]`, checked.

use std::{num::NonZeroUsize, time::Duration};

use landfall_dns::{DnsConfig, ZoneServers};
use landfall_issuance::agent::AgentSettings;

use super::{
    super::{Issuance, RawIssuance},
    Checker,
};

/// The shortest and the longest that anything of a job may take.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(900);
/// A job is one check at a time: a handful of sockets each.
const SOCKETS: usize = 512;

impl Checker<'_> {
    /// `None` where certificates are obtained elsewhere, or something is wrong.
    pub(super) fn issuance(&mut self, raw: RawIssuance) -> Option<Issuance> {
        let most = Issuance::MOST_JOBS;
        let jobs = NonZeroUsize::new(raw.jobs).filter(|jobs| *jobs <= most);
        if jobs.is_none() {
            self.problem("issuance.jobs", format!("expected from 1 to {most}, got {}", raw.jobs));
        }
        for (key, port) in [
            ("issuance.zone_port", raw.zone_port),
            ("issuance.http_port", raw.http_port),
            ("issuance.tls_port", raw.tls_port),
        ] {
            if port == 0 {
                self.problem(key, "expected a port from 1 to 65535");
            }
        }
        let mut limit = |key, value| self.duration(key, value, SHORTEST, LONGEST);
        let timeout = limit("issuance.dns_timeout", raw.dns_timeout);
        let propagation = limit("issuance.propagation_timeout", raw.propagation_timeout);
        let probe = limit("issuance.probe_timeout", raw.probe_timeout);
        let validation = limit("issuance.validation_timeout", raw.validation_timeout);
        let issuing = limit("issuance.issuing_timeout", raw.issuing_timeout);
        let dns = DnsConfig {
            resolvers: self.resolvers("issuance.resolvers", &raw.resolvers),
            zone_servers: match raw.zone_servers {
                true => ZoneServers::Asked,
                false => ZoneServers::NotAsked,
            },
            timeout,
            zone_port: raw.zone_port,
            sockets: SOCKETS,
            allowed_networks: self.networks("issuance.allow_networks", &raw.allow_networks),
            ..DnsConfig::default()
        };
        let (http_port, tls_port) = (raw.http_port, raw.tls_port);
        let limits =
            AgentSettings { propagation, probe, validation, issuing, ..Default::default() };
        let agent = AgentSettings { jobs: jobs?, http_port, tls_port, ..limits };
        raw.enabled.then_some(Issuance { agent, dns })
    }
}
