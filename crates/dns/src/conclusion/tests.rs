use super::*;
use crate::judge::tests::{expectation, seen, sight};

fn at(address: &str) -> Sight {
    sight(seen(LookupOutcome::Found, address), seen(LookupOutcome::NoData, ""))
}

fn nothing(outcome: LookupOutcome) -> Sight {
    sight(seen(outcome, ""), seen(outcome, ""))
}

fn heard(sights: &[Sight], wanted: usize, silence: SilentPart) -> Heard<Sight> {
    let server = |place| SocketAddr::from(([10, 0, 0, place], 53));
    let words = (1..).zip(sights).map(|(place, sight)| (server(place), sight.clone()));
    let asked = (1..=2).map(server).collect();
    Heard { asked, words: words.collect(), wanted, dead: 0, silence }
}

const RIGHT: &str = "192.0.2.1";
const ALSO_RIGHT: &str = "192.0.2.2";
const WRONG: &str = "198.51.100.66";

#[test]
fn the_zone_is_heard_where_it_may_tell_more() {
    let expected = expectation(&[RIGHT, ALSO_RIGHT], &[]);
    let cases = [
        (vec![at(RIGHT), at(RIGHT)], false),
        (vec![at(RIGHT), at(ALSO_RIGHT)], false),
        (vec![at(RIGHT)], false),
        (vec![at(RIGHT), at(WRONG)], true),
        (vec![nothing(LookupOutcome::NxDomain)], true),
        (vec![nothing(LookupOutcome::ServFail)], true),
        (vec![nothing(LookupOutcome::DnssecFails), at(RIGHT)], false),
        (vec![], false),
    ];
    for (sights, expects) in cases {
        let heard = heard(&sights, 2, SilentPart::Resolvers);
        assert_eq!(zone_should_tell(&heard, &expected), expects, "{sights:?}");
    }
    let nobody_active = expectation(&[], &[RIGHT]);
    let heard = heard(&[at(RIGHT)], 1, SilentPart::Resolvers);
    assert!(!zone_should_tell(&heard, &nobody_active));
}

#[test]
fn believes_the_zone_and_of_several_the_one_that_does_not_pass() {
    let expected = expectation(&[RIGHT, ALSO_RIGHT], &[]);
    let gone = || nothing(LookupOutcome::NxDomain);
    let (right, wrong) = (Some(at(RIGHT)), Some(at(WRONG)));
    let cases = [
        (vec![at(RIGHT), at(RIGHT)], vec![], Finding::PointsHere, Ground::Resolvers, 0),
        (vec![at(RIGHT), at(ALSO_RIGHT)], vec![], Finding::PointsHere, Ground::Resolvers, 0),
        (vec![at(RIGHT), at(WRONG)], vec![], Finding::WrongAddress, Ground::Resolvers, 1),
        (
            vec![gone(), gone()],
            vec![right.clone(), right.clone()],
            Finding::PointsHere,
            Ground::ZoneDiffers,
            0,
        ),
        (
            vec![gone(), gone()],
            vec![Some(gone()), Some(gone())],
            Finding::NxDomain,
            Ground::ZoneAgrees,
            0,
        ),
        (
            vec![gone(), at(RIGHT)],
            vec![right.clone(), right.clone()],
            Finding::PointsHere,
            Ground::ZoneAgrees,
            1,
        ),
        (
            vec![gone(), at(WRONG)],
            vec![right.clone(), right.clone()],
            Finding::PointsHere,
            Ground::ZoneDiffers,
            2,
        ),
        (
            vec![gone(), gone()],
            vec![right.clone(), wrong],
            Finding::WrongAddress,
            Ground::ZoneDiffers,
            0,
        ),
        // The zone as one resolver has found it is not the other's.
        (
            vec![at(WRONG), at(RIGHT)],
            vec![None, right.clone()],
            Finding::WrongAddress,
            Ground::Resolvers,
            1,
        ),
        (vec![gone(), gone()], vec![right, None], Finding::NxDomain, Ground::Resolvers, 0),
    ];
    for (resolvers, zone, finding, ground, differing) in cases {
        let heard = heard(&resolvers, 2, SilentPart::Resolvers);
        let conclusion = conclude(&heard, &zone, &expected);
        let said = (conclusion.finding, conclusion.ground, conclusion.differing.len());
        assert_eq!(said, (finding, ground, differing), "{resolvers:?} {zone:?}");
        assert_eq!((conclusion.shown, conclusion.answered.len()), (finding, 2));
    }
}

#[test]
fn one_that_is_alone_with_its_answer_decides_nothing() {
    use LookupOutcome::{DnssecFails, NxDomain, Refused, ServFail, Timeout};
    let expected = expectation(&[RIGHT], &[]);
    let alone = Finding::OneResolver;
    let cases = [
        (vec![at(RIGHT)], alone, Finding::PointsHere, 1),
        (vec![at(WRONG)], alone, Finding::WrongAddress, 1),
        (vec![nothing(NxDomain)], alone, Finding::NxDomain, 1),
        (vec![nothing(ServFail)], alone, Finding::ServFail, 1),
        (vec![nothing(ServFail), at(RIGHT)], alone, Finding::PointsHere, 1),
        (vec![at(RIGHT), nothing(Timeout)], alone, Finding::PointsHere, 1),
        (vec![at(WRONG), nothing(Refused)], alone, Finding::WrongAddress, 1),
        (vec![nothing(DnssecFails), at(RIGHT)], alone, Finding::PointsHere, 1),
        (vec![nothing(DnssecFails), nothing(ServFail)], alone, Finding::ServFail, 1),
        (vec![nothing(DnssecFails); 2], Finding::DnssecFails, Finding::DnssecFails, 2),
        (vec![nothing(ServFail); 2], Finding::ServFail, Finding::ServFail, 2),
        (vec![nothing(Timeout), nothing(ServFail)], Finding::Timeout, Finding::Timeout, 2),
    ];
    for (resolvers, finding, shown, answered) in cases {
        let heard_of_two = heard(&resolvers, 2, SilentPart::Resolvers);
        let conclusion = conclude(&heard_of_two, &[], &expected);
        let said = (conclusion.finding, conclusion.shown, conclusion.answered.len());
        assert_eq!(said, (finding, shown, answered), "{resolvers:?}");
        // The only one that there is decides.
        let heard_of_one = heard(&resolvers, 1, SilentPart::Resolvers);
        assert_eq!(conclude(&heard_of_one, &[], &expected).finding, shown, "{resolvers:?}");
        // As does the only one that is alive.
        let beside_a_dead_one = Heard { dead: 1, ..heard_of_two };
        assert_eq!(conclude(&beside_a_dead_one, &[], &expected).finding, shown, "{resolvers:?}");
    }
    let nobody_active = expectation(&[], &[RIGHT]);
    let heard = heard(&[at(RIGHT)], 2, SilentPart::Resolvers);
    assert_eq!(conclude(&heard, &[], &nobody_active).finding, Finding::NoActivePop);
}

#[test]
fn tells_a_silent_zone_from_silent_resolvers() {
    let expected = expectation(&[RIGHT], &[]);
    let finding = |silence| conclude(&heard(&[], 2, silence), &[], &expected).finding;
    assert_eq!(finding(SilentPart::Zone), Finding::Timeout);
    assert_eq!(finding(SilentPart::Resolvers), Finding::ResolverFailed);
}
