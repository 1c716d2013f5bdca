//! One sentence for the person who edits the zone: what to change, with names and addresses.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use landfall_model::HostPattern;
use time::format_description::well_known::Rfc3339;

use crate::{
    Activity, AddressOwner, CaaEvidence, CaaVerdict, Conflict, Expectation, Finding, LookupOutcome,
    Pop, RequiredKind, RequiredRecord,
    conclusion::Ground,
    judge::{is_pop, origin_name, other_property, owner},
    record::{AddressKind, record_of, required_record},
    sight::Sight,
    walk::MAX_HOPS,
};

/// How many addresses or names a sentence lists.
const MAX_LISTED: usize = 8;
/// Of how many PoPs a sentence says why they are not active.
const MAX_REASONS: usize = 3;

/// What a sentence is about.
pub(crate) struct Case<'a> {
    pub(crate) name: &'a HostPattern,
    pub(crate) expected: &'a Expectation,
    pub(crate) sight: &'a Sight,
    pub(crate) finding: Finding,
    /// What the look that is believed shows, where too few resolvers show anything.
    pub(crate) shown: Finding,
    pub(crate) ground: Ground,
    /// The resolver by which DNSSEC fails, where another one's look is believed.
    pub(crate) fails_dnssec: Option<SocketAddr>,
    /// The zone that the name is in, where its servers were asked.
    pub(crate) zone: Option<&'a str>,
    pub(crate) conflicts: &'a [Conflict],
    pub(crate) caa: &'a CaaEvidence,
}

/// What to change; where nothing is to be changed, what is right.
pub(crate) fn advice(case: &Case<'_>) -> String {
    let Case { name, expected, .. } = case;
    if let Some(sentence) = case.spreading() {
        return sentence;
    }
    match case.shown {
        Finding::PointsHere if case.finding == Finding::OneResolver => case.alone(),
        Finding::PointsHere => case.passed(),
        Finding::NxDomain => format!("Create {}: {name} does not exist yet.", case.record()),
        Finding::NoData => format!("Create {}: {name} has no address yet.", case.record()),
        // Broken DNSSEC of which the resolver does not say so looks the same as dead servers.
        Finding::ServFail => format!(
            "Check the name servers of the zone that {0} is in, and its DNSSEC (the DS record at the \
             registrar and the zone's signatures): look-ups of {0} fail.",
            case.last()
        ),
        Finding::DnssecFails => format!(
            "Mend the DNSSEC of the zone that {0} is in, or remove the zone's DS record at the registrar: \
             the signatures of {0} are not valid, so no CA may believe its records.",
            case.last()
        ),
        Finding::Timeout => {
            format!("Check the name servers of {}: they did not answer in time.", case.last())
        }
        Finding::Loop => case.repoint(&case.circle()),
        Finding::TooManyHops => {
            case.repoint(&format!("it leads on over more than {MAX_HOPS} names now"))
        }
        Finding::DanglingCname => case.repoint(&case.dangling()),
        Finding::CnameToOrigin => case.repoint(&case.to_origin()),
        Finding::CnameToOtherProperty => {
            let other = other_property(case.sight.chain(), expected).unwrap_or_default();
            case.repoint(&format!("it leads to {other} now, which is another property's"))
        }
        Finding::CnameElsewhere => case.repoint(&format!("it leads to {} now", case.first())),
        Finding::WrongAddress => case.wrong_address(),
        Finding::StaleAddress => case.stale(),
        Finding::InactivePop => {
            let pops = case.inactive();
            let names = listed(pops.iter().map(|pop| &pop.name));
            format!(
                "Nothing is to be changed at {name}, which points at {names}: {}.",
                reasons(&pops)
            )
        }
        Finding::NoActivePop if expected.pops.is_empty() => format!(
            "Nothing is to be changed at {name}: there is no PoP yet; the operator has to add one \
             (`landfall pop add`)."
        ),
        Finding::NoActivePop => format!(
            "Nothing is to be changed at {name}, which is checked again once a PoP is active: {}.",
            reasons(&expected.pops.iter().collect::<Vec<_>>())
        ),
        Finding::TargetUnready => case.unready(),
        Finding::ResolverFailed | Finding::OneResolver => format!(
            "Nothing is to be changed: our resolvers gave no answer, and {name} is checked again later."
        ),
    }
}

impl Case<'_> {
    /// Resolvers that differ, where nobody decides between them: one of them has what is right.
    fn spreading(&self) -> Option<String> {
        let differs = self.conflicts.iter().find_map(|conflict| match conflict {
            Conflict::ResolversDiffer { resolver, addresses } => Some((resolver, addresses)),
            Conflict::AddressBesideCname { .. } | Conflict::StaleAddress { .. } => None,
        });
        let (resolver, addresses) = differs.filter(|_| self.ground == Ground::Resolvers)?;
        let said =
            if addresses.is_empty() { "no address".to_owned() } else { listed(addresses.iter()) };
        Some(format!(
            "Wait until the records of {} have spread, or check its name servers if it lasts: the \
             resolver {} says {said}, and another says something else.",
            self.name,
            resolver.ip()
        ))
    }

    /// It points here by one resolver alone.
    fn alone(&self) -> String {
        let name = self.name;
        match self.fails_dnssec {
            Some(resolver) => format!(
                "Mend the DNSSEC of the zone that {} is in, or remove the zone's DS record at the \
                 registrar: it fails at our resolver {}, and that {name} points here by another one decides \
                 nothing.",
                self.last(),
                resolver.ip()
            ),
            None => format!(
                "Nothing is to be changed: {name} points here by one of our resolvers, which decides \
                 nothing alone, and is checked again later."
            ),
        }
    }

    fn passed(&self) -> String {
        let name = self.name;
        let caa = self.caa;
        let at = caa.found_at.as_deref().unwrap_or_default();
        let beside = self.conflicts.iter().find_map(|conflict| match conflict {
            Conflict::AddressBesideCname { addresses, .. } => Some(addresses),
            Conflict::StaleAddress { .. } | Conflict::ResolversDiffer { .. } => None,
        });
        match caa.verdict {
            CaaVerdict::Forbidden => {
                let ca = self.expected.cas.iter().find_map(|ca| ca.domains.first());
                let tag = match name {
                    HostPattern::Wildcard(_)
                        if caa.records.iter().any(|record| record.contains(" issuewild ")) =>
                    {
                        "issuewild"
                    }
                    HostPattern::Exact(_) | HostPattern::Wildcard(_) => "issue",
                };
                format!(
                    "Add the CAA record 0 {tag} \"{}\" at {at}: {name} points here, and the CAA records \
                     there keep our CAs from issuing a certificate for it.",
                    ca.map_or("", String::as_str)
                )
            }
            CaaVerdict::Failed => format!(
                "Have the name servers of {at} answer questions for CAA records: {name} points here, \
                 and without that answer no CA issues a certificate for it."
            ),
            CaaVerdict::Permitted | CaaVerdict::NotJudged => match beside {
                Some(addresses) => format!(
                    "Remove {} of {name}: it points here, and nothing may stand beside its CNAME.",
                    records(addresses)
                ),
                None if self.ground == Ground::ZoneDiffers => format!(
                    "Nothing is to be changed: {name} points here, and some resolvers give an older \
                     answer for a while."
                ),
                None => format!("Nothing is to be changed: {name} points here."),
            },
        }
    }

    /// A target that leads nowhere is not the customer's to mend.
    fn unready(&self) -> String {
        let Case { name, expected, .. } = self;
        let addresses: Vec<IpAddr> = expected.active_addresses().into_iter().collect();
        format!(
            "Nothing is to be changed at {name}, which points at {target}: the operator has to publish {} \
             of {target}, which does not lead to our PoPs yet.",
            records(&addresses),
            target = expected.target
        )
    }

    /// The record that should be, in words.
    fn record(&self) -> String {
        let record = self.required();
        let target = &record.target;
        match record.kind {
            RequiredKind::Cname => {
                format!("a CNAME record for {} that points at {target}", self.name)
            }
            RequiredKind::Alias => format!(
                "an ALIAS (or ANAME) record for {} that points at {target}, or else the records {}",
                self.name,
                listed_records(record.alternatives.iter().map(|record| record.address))
            ),
        }
    }

    /// A name that is a zone of its own can have no CNAME either, however deep it is.
    fn required(&self) -> RequiredRecord {
        let Expectation { target, .. } = self.expected;
        let addresses = self.expected.active_addresses();
        if self.zone.is_some_and(|zone| zone == self.name.to_string()) {
            record_of(RequiredKind::Alias, self.name, target, addresses)
        } else {
            required_record(self.name, target, addresses)
        }
    }

    /// How a name that has a CNAME is made to lead here.
    fn repoint(&self, why: &str) -> String {
        let Expectation { target, .. } = self.expected;
        match self.required().kind {
            RequiredKind::Cname => format!("Point {}'s CNAME at {target}: {why}.", self.name),
            RequiredKind::Alias => {
                format!("Replace the record of {} by {}: {why}.", self.name, self.record())
            }
        }
    }

    fn dangling(&self) -> String {
        let outcomes = self.sight.both().map(|seen| seen.outcome);
        let lack = if outcomes.contains(&LookupOutcome::NxDomain) {
            "does not exist"
        } else {
            "has no address"
        };
        let (first, last) = (self.first(), self.last());
        if first == last {
            format!("it leads to {first} now, which {lack}")
        } else {
            format!("it leads to {first} now and on to {last}, which {lack}")
        }
    }

    fn to_origin(&self) -> String {
        let chain = self.sight.chain();
        let origin = origin_name(chain, self.expected).unwrap_or_else(|| self.first());
        format!("it leads to {origin} now, which is the origin itself")
    }

    fn wrong_address(&self) -> String {
        let addresses: Vec<IpAddr> = self.sight.addresses().into_iter().collect();
        let is_origin =
            addresses.iter().all(|own| owner(*own, self.expected) == AddressOwner::Origin);
        let whose = if is_origin { "the origin's own" } else { "not ours" };
        format!(
            "Replace {} of {} by {}: {} {whose}.",
            records(&addresses),
            self.name,
            self.record(),
            are(&addresses)
        )
    }

    fn stale(&self) -> String {
        let foreign = |own: &IpAddr| !is_pop(&owner(*own, self.expected));
        let beside: Vec<IpAddr> = self.sight.beside_cname().into_iter().filter(foreign).collect();
        if !beside.is_empty() {
            return format!(
                "Remove {} of {}: {} beside its CNAME, and {} not ours.",
                records(&beside),
                self.name,
                if let [_] = beside.as_slice() { "it stands" } else { "they stand" },
                if let [_] = beside.as_slice() { "is" } else { "are" }
            );
        }
        let stale: Vec<IpAddr> = self.sight.addresses().into_iter().filter(foreign).collect();
        let ours =
            if let [_] = stale.as_slice() { "it is not one of ours" } else { "they are not ours" };
        format!("Remove {} of {}: {ours}.", records(&stale), self.last())
    }

    /// The PoPs that it leads to and that are not active.
    fn inactive(&self) -> Vec<&Pop> {
        let addresses = self.sight.addresses();
        let names = addresses.iter().filter_map(|own| match owner(*own, self.expected) {
            AddressOwner::InactivePop(pop) => Some(pop),
            AddressOwner::ActivePop(_) | AddressOwner::Origin | AddressOwner::Other => None,
        });
        let names: BTreeSet<String> = names.collect();
        self.expected.pops.iter().filter(|pop| names.contains(&pop.name)).collect()
    }

    fn first(&self) -> &str {
        self.sight.chain().first().map_or("", String::as_str)
    }

    /// The last name on the way, which is the hostname itself without a CNAME.
    fn last(&self) -> String {
        self.sight.chain().last().cloned().unwrap_or_else(|| self.name.to_string())
    }

    fn circle(&self) -> String {
        match self.sight.chain() {
            [_] => "it leads to itself now".to_owned(),
            chain => format!("it leads in a circle now, by {}", listed(chain.iter())),
        }
    }
}

/// Why PoPs are not active, and what their operator does about it.
fn reasons(pops: &[&Pop]) -> String {
    let mut reasons: Vec<String> =
        pops.iter().take(MAX_REASONS).map(|pop| reason(&pop.name, pop.activity)).collect();
    if pops.len() > MAX_REASONS {
        reasons.push(format!("{} more are not active", pops.len() - MAX_REASONS));
    }
    reasons.join("; ")
}

fn reason(pop: &str, activity: Activity) -> String {
    match activity {
        Activity::Off => format!(
            "{pop} takes no traffic, as its operator wants it (`landfall pop traffic {pop} on` ends that)"
        ),
        Activity::NeverSeen => format!(
            "{pop} is not active, for it has never asked the control plane for anything; its operator has to \
             start its edge, and the edge to reach the control plane"
        ),
        Activity::Silent { since } => format!(
            "{pop} is not active, for it has asked the control plane for nothing since {}; its operator has \
             to see whether its edge runs and reaches the control plane",
            since.format(&Rfc3339).unwrap_or_default()
        ),
        Activity::TokenRefused => format!(
            "{pop} is not active, for the control plane refuses its token; its operator has to give it its \
             present one, or another one by `landfall pop renew-token {pop}`"
        ),
        Activity::Active | Activity::Untold => format!("{pop} is not active for now"),
    }
}

/// Such as `the A record 192.0.2.1` or `the records A 192.0.2.1 and AAAA 2001:db8::1`.
fn records(addresses: &[IpAddr]) -> String {
    match addresses {
        [one] => format!("the {} record {one}", AddressKind::of(*one).as_str()),
        several => format!("the records {}", listed_records(several.iter().copied())),
    }
}

fn listed_records(addresses: impl Iterator<Item = IpAddr>) -> String {
    let records: Vec<String> = addresses
        .map(|address| format!("{} {address}", AddressKind::of(address).as_str()))
        .collect();
    listed(records.iter())
}

const fn are(addresses: &[IpAddr]) -> &'static str {
    if let [_] = addresses { "it is" } else { "they are" }
}

/// `a`, `a and b`, `a, b and c`, `a, b and 40 more`.
fn listed<T: ToString>(items: impl Iterator<Item = T>) -> String {
    let mut items: Vec<String> = items.map(|item| item.to_string()).collect();
    if items.len() > MAX_LISTED {
        let rest = items.len() - MAX_LISTED;
        items.truncate(MAX_LISTED);
        items.push(format!("{rest} more"));
    }
    match items.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_why_each_of_the_first_pops_is_not_active_and_how_many_more_there_are() {
        let pop = |activity| Pop { name: "ams1".to_owned(), addresses: Vec::new(), activity };
        let silent = Activity::Silent { since: time::OffsetDateTime::UNIX_EPOCH };
        let activities =
            [Activity::NeverSeen, silent, Activity::TokenRefused, Activity::Off, Activity::Untold];
        let pops: Vec<Pop> = activities.into_iter().map(pop).collect();
        let said = reasons(&pops.iter().collect::<Vec<_>>());
        let said: Vec<&str> = said.split("; ").collect();
        assert!(said[0].contains("never asked"), "{said:?}");
        assert!(said[2].contains("nothing since 1970-01-01T00:00:00Z"), "{said:?}");
        assert!(said[5].contains("`landfall pop renew-token ams1`"), "{said:?}");
        assert_eq!(said[6], "2 more are not active");
    }
}
