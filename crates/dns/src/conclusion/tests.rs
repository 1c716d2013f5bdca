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
    Heard { asked: Vec::new(), words: words.collect(), wanted, silence }
}

const RIGHT: &str = "192.0.2.1";
const ALSO_RIGHT: &str = "192.0.2.2";
const WRONG: &str = "198.51.100.66";

#[test]
fn the_zone_is_heard_where_it_may_tell_more() {
    let expected = expectation(&[RIGHT, ALSO_RIGHT], &[]);
    let cases = [
        (vec![at(RIGHT), at(RIGHT)], 2, false),
        (vec![at(RIGHT), at(ALSO_RIGHT)], 2, false),
        (vec![at(RIGHT)], 1, false),
        (vec![at(RIGHT)], 2, true),
        (vec![at(RIGHT), at(WRONG)], 2, true),
        (vec![nothing(LookupOutcome::NxDomain)], 1, true),
        (vec![nothing(LookupOutcome::ServFail)], 1, true),
        (vec![nothing(LookupOutcome::DnssecFails), at(RIGHT)], 2, false),
        (vec![], 2, false),
    ];
    for (sights, wanted, expects) in cases {
        let heard = heard(&sights, wanted, SilentPart::Resolvers);
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
    let silent = || nothing(LookupOutcome::Timeout);
    let cases = [
        (vec![at(RIGHT), at(RIGHT)], vec![], Finding::PointsHere, Ground::Resolvers, 0),
        (vec![at(RIGHT), at(ALSO_RIGHT)], vec![], Finding::PointsHere, Ground::Resolvers, 0),
        (vec![at(RIGHT), at(WRONG)], vec![], Finding::WrongAddress, Ground::Resolvers, 1),
        (vec![gone(), gone()], vec![at(RIGHT)], Finding::PointsHere, Ground::ZoneDiffers, 0),
        (vec![gone(), gone()], vec![gone()], Finding::NxDomain, Ground::ZoneAgrees, 0),
        (vec![gone(), at(RIGHT)], vec![at(RIGHT)], Finding::PointsHere, Ground::ZoneAgrees, 1),
        (vec![gone(), at(WRONG)], vec![at(RIGHT)], Finding::PointsHere, Ground::ZoneDiffers, 2),
        (vec![gone()], vec![at(RIGHT), at(WRONG)], Finding::WrongAddress, Ground::ZoneDiffers, 0),
        (vec![gone()], vec![silent()], Finding::NxDomain, Ground::Resolvers, 0),
    ];
    for (resolvers, zone, finding, ground, differing) in cases {
        let heard = heard(&resolvers, 2, SilentPart::Resolvers);
        let conclusion = conclude(&heard, zone.clone(), &expected);
        let said = (conclusion.finding, conclusion.ground, conclusion.differing.len());
        assert_eq!(said, (finding, ground, differing), "{resolvers:?} {zone:?}");
    }
}

#[test]
fn tells_a_silent_zone_from_silent_resolvers() {
    let expected = expectation(&[RIGHT], &[]);
    let finding = |silence| conclude(&heard(&[], 2, silence), Vec::new(), &expected).finding;
    assert_eq!(finding(SilentPart::Zone), Finding::Timeout);
    assert_eq!(finding(SilentPart::Resolvers), Finding::ResolverFailed);
}
