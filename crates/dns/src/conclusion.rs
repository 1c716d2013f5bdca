//! What several looks at one hostname come down to together: pure functions of what was seen.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use crate::{
    Expectation, Finding, LookupOutcome, Verdict,
    judge::judge,
    resolvers::{Heard, SilentPart},
    sight::{Seen, Sight},
};

/// What is to be believed of all that was seen.
#[derive(Debug)]
pub(crate) struct Conclusion {
    pub(crate) sight: Sight,
    pub(crate) finding: Finding,
    pub(crate) ground: Ground,
    /// Resolvers that say something else than is believed, where they don't agree.
    pub(crate) differing: Vec<(SocketAddr, BTreeSet<IpAddr>)>,
}

/// On whose word it is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ground {
    /// The resolvers'.
    Resolvers,
    /// The zone's servers', which say what a resolver says too.
    ZoneAgrees,
    /// The zone's servers', and resolvers have an older answer.
    ZoneDiffers,
}

/// Whether the zone's own servers should be heard: where what resolvers say would be held against
/// the hostname, where they differ, and where one would decide alone.
pub(crate) fn zone_should_tell(heard: &Heard<Sight>, expected: &Expectation) -> bool {
    let findings: Vec<Finding> =
        heard.words.iter().map(|(_, sight)| judge(sight, expected)).collect();
    // Without a PoP no answer is right; and a zone's servers know nothing of the validation of
    // their signatures.
    let settled = [Finding::DnssecFails, Finding::NoActivePop];
    if findings.is_empty() || findings.iter().any(|finding| settled.contains(finding)) {
        return false;
    }
    let passed = findings.iter().all(|finding| *finding == Finding::PointsHere);
    !passed || findings.len() < heard.wanted
}

/// What is believed: the zone's servers where they were heard, and of several looks one that does
/// not pass.
pub(crate) fn conclude(
    heard: &Heard<Sight>,
    zone: Vec<Sight>,
    expected: &Expectation,
) -> Conclusion {
    let zone: Vec<Sight> = zone.into_iter().filter(|sight| !sight.is_partial()).collect();
    let resolvers = || heard.words.iter().map(|(_, sight)| sight);
    if let Some((sight, finding)) = weakest(zone.iter(), expected) {
        let is_known = resolvers().any(|other| is_same(other, sight));
        let ground = if is_known { Ground::ZoneAgrees } else { Ground::ZoneDiffers };
        let differing = differing(heard, |other| !is_same(other, sight));
        return Conclusion { sight: sight.clone(), finding, ground, differing };
    }
    let ground = Ground::Resolvers;
    let Some((sight, finding)) = weakest(resolvers(), expected) else {
        let (outcome, finding) = match heard.silence {
            SilentPart::Zone => (LookupOutcome::Timeout, Finding::Timeout),
            SilentPart::Resolvers => (LookupOutcome::Timeout, Finding::ResolverFailed),
        };
        let seen = Seen::nothing(outcome);
        let sight = Sight { v4: seen.clone(), v6: seen, cname: None };
        return Conclusion { sight, finding, ground, differing: Vec::new() };
    };
    // Resolvers that all pass don't differ: PoPs may be many, and each sees some.
    let differing = match finding.verdict() {
        Verdict::Passed => Vec::new(),
        Verdict::Failed | Verdict::Inconclusive => differing(heard, |other| is_same(other, sight)),
    };
    Conclusion { sight: sight.clone(), finding, ground, differing }
}

/// The look that speaks most against the hostname.
fn weakest<'a>(
    sights: impl Iterator<Item = &'a Sight>,
    expected: &Expectation,
) -> Option<(&'a Sight, Finding)> {
    let judged = sights.map(|sight| (sight, judge(sight, expected)));
    judged.min_by_key(|(_, finding)| match finding.verdict() {
        Verdict::Failed => 0,
        Verdict::Inconclusive => 1,
        Verdict::Passed => 2,
    })
}

/// Which resolvers `is_odd` is true of, unless they agree with each other.
fn differing(
    heard: &Heard<Sight>,
    is_odd: impl Fn(&Sight) -> bool,
) -> Vec<(SocketAddr, BTreeSet<IpAddr>)> {
    let mut pairs = heard.words.iter().zip(heard.words.iter().skip(1));
    if pairs.all(|((_, one), (_, other))| is_same(one, other)) {
        return Vec::new();
    }
    let odd = heard.words.iter().filter(|(_, sight)| is_odd(sight));
    odd.map(|(server, sight)| (*server, sight.addresses())).collect()
}

/// Whether two looks show the same. A zone's server and a resolver may follow a chain differently
/// far into zones that both know.
fn is_same(one: &Sight, other: &Sight) -> bool {
    let outcomes = |sight: &Sight| sight.both().map(|seen| seen.outcome);
    one.addresses() == other.addresses()
        && outcomes(one) == outcomes(other)
        && one.chain().first() == other.chain().first()
}

#[cfg(test)]
mod tests;
