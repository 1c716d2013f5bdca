//! From what was seen to the evidence that is stored and shown.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use landfall_model::HostPattern;
use time::OffsetDateTime;

use crate::{
    AddressEvidence, AddressOwner, CaaEvidence, Conflict, DomainValidation, Evidence, Expectation,
    Finding, LookupEvidence, Verdict, ZoneEvidence,
    advice::{self, Case},
    conclusion::{Conclusion, Ground},
    judge::{is_pop, owner},
    sight::Seen,
};

/// How many addresses of one type are shown.
const MAX_ADDRESSES: usize = 64;

/// One verification: what was asked, and what came of it.
pub(crate) struct Findings<'a> {
    pub(crate) name: &'a HostPattern,
    pub(crate) expected: &'a Expectation,
    pub(crate) checked_at: OffsetDateTime,
    pub(crate) elapsed: Duration,
    pub(crate) resolvers: Vec<SocketAddr>,
    /// The zone and its servers, where they were asked.
    pub(crate) zone: Option<(String, Vec<SocketAddr>)>,
    pub(crate) conclusion: Conclusion,
    pub(crate) caa: CaaEvidence,
}

impl Findings<'_> {
    /// The evidence.
    pub(crate) fn evidence(self) -> Evidence {
        let Conclusion { sight, finding, shown, answered, ground, fails_dnssec, .. } =
            &self.conclusion;
        let conflicts = self.conflicts();
        let case = Case {
            name: self.name,
            expected: self.expected,
            sight,
            finding: *finding,
            shown: *shown,
            ground: *ground,
            fails_dnssec: *fails_dnssec,
            zone: self.zone.as_ref().map(|(zone, _)| zone.as_str()),
            conflicts: &conflicts,
            caa: &self.caa,
        };
        Evidence {
            hostname: self.name.clone(),
            checked_at: self.checked_at,
            elapsed_ms: u64::try_from(self.elapsed.as_millis()).unwrap_or(u64::MAX),
            resolvers: self.resolvers.clone(),
            answered: answered.clone(),
            expected_target: self.expected.target.clone(),
            expected_addresses: self.expected.active_addresses().into_iter().collect(),
            chain: sight.chain().to_vec(),
            ipv4: lookup(&sight.v4, self.expected),
            ipv6: lookup(&sight.v6, self.expected),
            zone: self.zone.as_ref().map(|(zone, servers)| ZoneEvidence {
                zone: zone.clone(),
                servers: servers.clone(),
                differs: *ground == Ground::ZoneDiffers,
            }),
            finding: *finding,
            advice: advice::advice(&case),
            validation: self.validation(),
            conflicts,
            caa: self.caa,
            challenge: None,
        }
    }

    fn conflicts(&self) -> Vec<Conflict> {
        let Conclusion { sight, shown, differing, .. } = &self.conclusion;
        let beside: Vec<IpAddr> = sight.beside_cname().into_iter().take(MAX_ADDRESSES).collect();
        let mut conflicts = Vec::new();
        if !beside.is_empty() {
            let name = self.name.to_string();
            conflicts.push(Conflict::AddressBesideCname { name, addresses: beside });
        }
        if *shown == Finding::StaleAddress {
            let addresses = sight.addresses().into_iter();
            let stale = addresses.filter(|address| !is_pop(&owner(*address, self.expected)));
            let stale = stale.take(MAX_ADDRESSES);
            conflicts.extend(stale.map(|address| Conflict::StaleAddress { address }));
        }
        conflicts.extend(differing.iter().map(|(resolver, addresses)| Conflict::ResolversDiffer {
            resolver: *resolver,
            addresses: addresses.iter().copied().take(MAX_ADDRESSES).collect(),
        }));
        conflicts
    }

    fn validation(&self) -> DomainValidation {
        let Conclusion { sight, shown, .. } = &self.conclusion;
        let actual = sight.cname.clone().unwrap_or_default();
        DomainValidation {
            cname_found: u8::from(!actual.is_empty()),
            record_correct: u8::from(shown.verdict() == Verdict::Passed),
            target_host: self.name.to_string(),
            target_record: self.expected.target.to_string(),
            actual_record: actual,
        }
    }
}

/// What was found for one type. Of more addresses than are shown, those that are not right are.
fn lookup(seen: &Seen, expected: &Expectation) -> LookupEvidence {
    let judged = seen.addresses.iter();
    let mut addresses: Vec<AddressEvidence> = judged
        .map(|address| AddressEvidence { address: *address, owner: owner(*address, expected) })
        .collect();
    addresses.sort_by_key(|found| matches!(found.owner, AddressOwner::ActivePop(_)));
    addresses.truncate(MAX_ADDRESSES);
    addresses.sort_by_key(|found| found.address);
    LookupEvidence { outcome: seen.outcome, addresses }
}
