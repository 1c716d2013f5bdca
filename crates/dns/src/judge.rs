//! What a look at a hostname comes down to: pure functions of what was seen and expected.

use std::net::IpAddr;

use crate::{
    AddressOwner, Expectation, Finding, LookupOutcome,
    sight::{Seen, Sight},
};

/// What the look comes down to.
pub(crate) fn judge(sight: &Sight, expected: &Expectation) -> Finding {
    // What could not be asked may be why something else was not answered.
    if sight.both().iter().any(|seen| seen.outcome == LookupOutcome::NotAsked) {
        return Finding::ResolverFailed;
    }
    if let Some(finding) = sight.both().into_iter().find_map(|seen| open(seen.outcome)) {
        return finding;
    }
    if other_property(sight.chain(), expected).is_some() {
        return Finding::CnameToOtherProperty;
    }
    if sight.addresses().is_empty() {
        return without_addresses(sight, expected);
    }
    if !expected.pops.iter().any(|pop| pop.is_active()) {
        return Finding::NoActivePop;
    }
    of_addresses(sight, expected)
}

/// What a look-up that has not ended with records, or the lack of them, comes down to.
fn open(outcome: LookupOutcome) -> Option<Finding> {
    match outcome {
        LookupOutcome::Found | LookupOutcome::NoData | LookupOutcome::NxDomain => None,
        LookupOutcome::ServFail => Some(Finding::ServFail),
        LookupOutcome::DnssecFails => Some(Finding::DnssecFails),
        LookupOutcome::Refused | LookupOutcome::NotAsked => Some(Finding::ResolverFailed),
        LookupOutcome::Timeout => Some(Finding::Timeout),
        LookupOutcome::Loop => Some(Finding::Loop),
        LookupOutcome::TooManyHops => Some(Finding::TooManyHops),
    }
}

fn without_addresses(sight: &Sight, expected: &Expectation) -> Finding {
    let chain = sight.chain();
    if passes_target(chain, expected) {
        return Finding::TargetUnready;
    }
    if !chain.is_empty() {
        return Finding::DanglingCname;
    }
    let exists = sight.both().iter().any(|seen| seen.outcome == LookupOutcome::NoData);
    if exists { Finding::NoData } else { Finding::NxDomain }
}

fn of_addresses(sight: &Sight, expected: &Expectation) -> Finding {
    let found = sight.both().into_iter().flat_map(|seen| {
        seen.addresses.iter().map(move |address| (seen, owner(*address, expected)))
    });
    let found: Vec<(&Seen, AddressOwner)> = found.collect();
    let foreign: Vec<_> = found.iter().filter(|(_, owner)| !is_pop(owner)).collect();
    if foreign.is_empty() {
        let is_inactive = |(_, owner): &(_, _)| matches!(owner, AddressOwner::InactivePop(_));
        return if found.iter().any(is_inactive) {
            Finding::InactivePop
        } else {
            Finding::PointsHere
        };
    }
    if foreign.iter().all(|(seen, _)| passes_target(&seen.chain, expected)) {
        return Finding::TargetUnready;
    }
    if foreign.len() < found.len() {
        return Finding::StaleAddress;
    }
    let is_origin = |(_, owner): &&(_, _)| matches!(owner, AddressOwner::Origin);
    let chain = sight.chain();
    if chain.is_empty() {
        Finding::WrongAddress
    } else if origin_name(chain, expected).is_some() || foreign.iter().any(is_origin) {
        Finding::CnameToOrigin
    } else {
        Finding::CnameElsewhere
    }
}

/// Whose an address is.
pub(crate) fn owner(address: IpAddr, expected: &Expectation) -> AddressOwner {
    let mut owners = expected.pops.iter().filter(|pop| pop.addresses.contains(&address));
    // An address that PoPs share (anycast) is as active as one of them.
    let pop = owners.clone().find(|pop| pop.is_active()).or_else(|| owners.next());
    match pop {
        Some(pop) if pop.is_active() => AddressOwner::ActivePop(pop.name.clone()),
        Some(pop) => AddressOwner::InactivePop(pop.name.clone()),
        None if expected.origin_addresses.contains(&address) => AddressOwner::Origin,
        None => AddressOwner::Other,
    }
}

pub(crate) fn is_pop(owner: &AddressOwner) -> bool {
    matches!(owner, AddressOwner::ActivePop(_) | AddressOwner::InactivePop(_))
}

fn passes_target(chain: &[String], expected: &Expectation) -> bool {
    chain.iter().any(|name| name == expected.target.as_str())
}

/// The name on the chain that belongs to another property: the first one under the system domain, if
/// it is not the target.
pub(crate) fn other_property<'a>(chain: &'a [String], expected: &Expectation) -> Option<&'a str> {
    let ours = chain.iter().find(|name| is_under(name, expected.system_domain.as_str()))?;
    let is_target = ours == expected.target.as_str() || is_under(ours, expected.target.as_str());
    (!is_target).then_some(ours)
}

fn is_under(name: &str, suffix: &str) -> bool {
    name.strip_suffix(suffix).is_some_and(|head| head.ends_with('.'))
}

/// The name on the chain that is one of the property's origins.
pub(crate) fn origin_name<'a>(chain: &'a [String], expected: &Expectation) -> Option<&'a str> {
    let is_origin = |name: &&String| {
        expected.origin_names.iter().any(|origin| origin.as_str() == name.as_str())
    };
    chain.iter().find(is_origin).map(String::as_str)
}

#[cfg(test)]
pub(crate) mod tests;
