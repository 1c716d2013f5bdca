//! What several looks at one hostname come down to together: pure functions of what was seen.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use crate::{
    Expectation, Finding, LookupOutcome, Verdict,
    judge::judge,
    resolvers::{Heard, SilentPart, Source, Testimony},
    sight::{Seen, Sight},
};

/// What is to be believed of all that was seen.
#[derive(Debug)]
pub(crate) struct Conclusion {
    pub(crate) sight: Sight,
    /// What it comes down to.
    pub(crate) finding: Finding,
    /// What the look that is believed shows: the finding, unless too few show anything.
    pub(crate) shown: Finding,
    /// Who answered, and did not merely fail.
    pub(crate) answered: Vec<SocketAddr>,
    pub(crate) ground: Ground,
    /// The resolver by which DNSSEC fails, where another one's look is believed.
    pub(crate) fails_dnssec: Option<SocketAddr>,
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

/// Whether the zone's own servers should be heard: where what a resolver says would be held against the
/// hostname.
pub(crate) fn zone_should_tell(heard: &Heard<Sight>, expected: &Expectation) -> bool {
    let findings: Vec<Finding> =
        heard.words.iter().map(|(_, sight)| judge(sight, expected)).collect();
    // Without a PoP no answer is right; and a zone's servers know nothing of the validation of
    // their signatures.
    let settled = [Finding::DnssecFails, Finding::NoActivePop];
    !findings.iter().any(|finding| settled.contains(finding))
        && findings.iter().any(|finding| *finding != Finding::PointsHere)
}

/// What is believed: of what resolvers and the zone's servers say in the end, that which does not pass;
/// and nothing where not every resolver that is alive answered with anything but a failure: one of them
/// may lie, and one that fails may have trouble of its own.
pub(crate) fn conclude(
    heard: &Heard<Sight>,
    zone: &[Option<Sight>],
    expected: &Expectation,
) -> Conclusion {
    let judged = heard.testimonies(zone).map(|own| {
        let finding = judge(own.word, expected);
        (own, finding)
    });
    let judged: Vec<_> = judged.collect();
    let by_dnssec = judged.iter().find(|(_, finding)| *finding == Finding::DnssecFails);
    let fails_dnssec = by_dnssec.map(|(own, _)| own.server);
    let speaking = speaking(judged);
    let answered = speaking.iter().map(|(own, _)| own.server);
    let answered: Vec<SocketAddr> = answered.filter(|own| heard.asked.contains(own)).collect();
    let Some((own, shown)) = weakest(&speaking) else { return nobody(heard.silence) };
    let sight = own.word;
    let ground = match own.source {
        Source::Resolver => Ground::Resolvers,
        Source::Zone if heard.words.iter().any(|(_, word)| is_same(word, sight)) => {
            Ground::ZoneAgrees
        }
        Source::Zone => Ground::ZoneDiffers,
    };
    let differing = match (ground, shown.verdict()) {
        // Resolvers that all pass don't differ: PoPs may be many, and each sees some.
        (Ground::Resolvers, Verdict::Passed) => Vec::new(),
        (Ground::Resolvers, Verdict::Failed | Verdict::Inconclusive) => {
            differing(heard, &answered, |other| is_same(other, sight))
        }
        (Ground::ZoneAgrees | Ground::ZoneDiffers, _) => {
            differing(heard, &answered, |other| !is_same(other, sight))
        }
    };
    let finding = match shown.verdict() {
        Verdict::Passed | Verdict::Failed if speaking.len() < heard.quorum() => {
            Finding::OneResolver
        }
        Verdict::Passed | Verdict::Failed | Verdict::Inconclusive => shown,
    };
    let fails_dnssec = fails_dnssec.filter(|_| shown != Finding::DnssecFails);
    Conclusion { sight: sight.clone(), finding, shown, answered, ground, fails_dnssec, differing }
}

/// Where no resolver answered.
fn nobody(silence: SilentPart) -> Conclusion {
    let finding = match silence {
        SilentPart::Zone => Finding::Timeout,
        SilentPart::Resolvers => Finding::ResolverFailed,
    };
    let seen = Seen::nothing(LookupOutcome::Timeout);
    Conclusion {
        sight: Sight { v4: seen.clone(), v6: seen, cname: None },
        finding,
        shown: finding,
        answered: Vec::new(),
        ground: Ground::Resolvers,
        fails_dnssec: None,
        differing: Vec::new(),
    }
}

/// Those that say something of the hostname; or, where all of them fail, those whose failure can be the
/// zone's; or, where none but them is left, those by which DNSSEC fails.
fn speaking<'a>(
    judged: Vec<(Testimony<'a, Sight>, Finding)>,
) -> Vec<(Testimony<'a, Sight>, Finding)> {
    let failures = [Finding::ServFail, Finding::Timeout, Finding::ResolverFailed];
    let rank = |finding: &Finding| {
        let by_dnssec = u8::from(*finding == Finding::DnssecFails);
        u8::from(failures.contains(finding)) + 2 * by_dnssec
    };
    let best = judged.iter().map(|(_, finding)| rank(finding)).min();
    judged.into_iter().filter(|(_, finding)| Some(rank(finding)) == best).collect()
}

/// The look that speaks most against the hostname.
fn weakest<'a, 'b>(
    judged: &'b [(Testimony<'a, Sight>, Finding)],
) -> Option<(&'b Testimony<'a, Sight>, Finding)> {
    let judged = judged.iter().map(|(own, finding)| (own, *finding));
    judged.min_by_key(|(_, finding)| match finding.verdict() {
        Verdict::Failed => 0,
        Verdict::Inconclusive => 1,
        Verdict::Passed => 2,
    })
}

/// Of those that answered, which resolvers `is_odd` is true of, unless they agree with each other.
fn differing(
    heard: &Heard<Sight>,
    answered: &[SocketAddr],
    is_odd: impl Fn(&Sight) -> bool,
) -> Vec<(SocketAddr, BTreeSet<IpAddr>)> {
    let words = || heard.words.iter().filter(|(server, _)| answered.contains(server));
    if words().zip(words().skip(1)).all(|((_, one), (_, other))| is_same(one, other)) {
        return Vec::new();
    }
    let odd = words().filter(|(_, sight)| is_odd(sight));
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
