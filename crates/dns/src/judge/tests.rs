use std::sync::Arc;

use super::*;
use crate::{Activity, Pop};

pub(crate) fn expectation(active: &[&str], inactive: &[&str]) -> Expectation {
    let pop = |address: &&str, active| Pop {
        name: format!("pop-{address}"),
        addresses: vec![address.parse().unwrap()],
        activity: if active { Activity::Active } else { Activity::Off },
    };
    let pops =
        active.iter().map(|own| pop(own, true)).chain(inactive.iter().map(|own| pop(own, false)));
    Expectation {
        target: "site.edge.test".parse().unwrap(),
        system_domain: "edge.test".parse().unwrap(),
        pops: pops.collect::<Vec<_>>().into(),
        origin_names: vec!["origin.test.test".parse().unwrap()],
        origin_addresses: vec!["198.51.100.7".parse().unwrap()],
        cas: Arc::new([]),
    }
}

/// A look-up from its outcome and, by words, the names of its chain and the addresses at its end.
pub(crate) fn seen(outcome: LookupOutcome, words: &str) -> Seen {
    let (addresses, chain): (Vec<&str>, Vec<&str>) =
        words.split_whitespace().partition(|word| word.parse::<IpAddr>().is_ok());
    Seen {
        outcome,
        chain: chain.into_iter().map(str::to_owned).collect(),
        addresses: addresses.into_iter().map(|address| address.parse().unwrap()).collect(),
    }
}

pub(crate) fn sight(v4: Seen, v6: Seen) -> Sight {
    let cname = v4.chain.first().or(v6.chain.first()).cloned();
    Sight { v4, v6, cname }
}

#[test]
fn judges_what_is_seen() {
    use LookupOutcome::{
        DnssecFails, Found, Loop, NoData, NotAsked, NxDomain, Refused, ServFail, Timeout,
        TooManyHops,
    };
    let expected = expectation(&["192.0.2.1", "2001:db8::1"], &["192.0.2.9"]);
    let target = "site.edge.test 192.0.2.1";
    let cases = [
        (Found, "192.0.2.1", NoData, "", Finding::PointsHere),
        (NoData, "", Found, "2001:db8::1", Finding::PointsHere),
        (Found, target, NoData, "site.edge.test", Finding::PointsHere),
        (Found, "a.test.test 192.0.2.1", NoData, "a.test.test", Finding::PointsHere),
        (Found, "192.0.2.1", Found, "2001:db8::2", Finding::StaleAddress),
        (Found, "192.0.2.1 192.0.2.9", NoData, "", Finding::InactivePop),
        (Found, "192.0.2.9 192.0.2.8", NoData, "", Finding::StaleAddress),
        (Found, "192.0.2.8", NoData, "", Finding::WrongAddress),
        (Found, "198.51.100.7", NoData, "", Finding::WrongAddress),
        (Found, "x.test.test 198.51.100.7", NoData, "x.test.test", Finding::CnameToOrigin),
        (Found, "origin.test.test 192.0.2.8", NoData, "", Finding::CnameToOrigin),
        (Found, "x.test.test 192.0.2.8", NoData, "", Finding::CnameElsewhere),
        (Found, "b.edge.test 192.0.2.1", NoData, "", Finding::CnameToOtherProperty),
        (NxDomain, "b.edge.test", NxDomain, "b.edge.test", Finding::CnameToOtherProperty),
        (Found, "site.edge.test b.edge.test 192.0.2.1", NoData, "", Finding::PointsHere),
        (Found, "site.edge.test 192.0.2.8", NoData, "", Finding::TargetUnready),
        (NxDomain, "site.edge.test", NxDomain, "site.edge.test", Finding::TargetUnready),
        (Found, "192.0.2.8", Found, "site.edge.test 2001:db8::1", Finding::StaleAddress),
        (NxDomain, "x.test.test", NxDomain, "x.test.test", Finding::DanglingCname),
        (NoData, "x.test.test", NoData, "x.test.test", Finding::DanglingCname),
        (NxDomain, "", NxDomain, "", Finding::NxDomain),
        (NoData, "", NoData, "", Finding::NoData),
        (Found, "192.0.2.1", ServFail, "", Finding::ServFail),
        (Found, "192.0.2.1", Timeout, "", Finding::Timeout),
        (Found, "192.0.2.1", DnssecFails, "", Finding::DnssecFails),
        (Refused, "", Refused, "", Finding::ResolverFailed),
        (Timeout, "", NotAsked, "", Finding::ResolverFailed),
        (Found, "192.0.2.8", NotAsked, "", Finding::ResolverFailed),
        (Loop, "a.test.test", Loop, "a.test.test", Finding::Loop),
        (TooManyHops, "a.test.test", TooManyHops, "", Finding::TooManyHops),
    ];
    for (outcome4, v4, outcome6, v6, finding) in cases {
        let sight = sight(seen(outcome4, v4), seen(outcome6, v6));
        assert_eq!(judge(&sight, &expected), finding, "{sight:?}");
    }
}

#[test]
fn nothing_is_said_of_addresses_without_an_active_pop() {
    let none = LookupOutcome::NoData;
    let found = |words| sight(seen(LookupOutcome::Found, words), seen(none, ""));
    for expected in [expectation(&[], &["192.0.2.9"]), expectation(&[], &[])] {
        assert_eq!(judge(&found("192.0.2.9"), &expected), Finding::NoActivePop);
        assert_eq!(judge(&found("192.0.2.8"), &expected), Finding::NoActivePop);
        assert_eq!(judge(&sight(seen(none, ""), seen(none, "")), &expected), Finding::NoData);
    }
}

#[test]
fn an_address_that_pops_share_is_as_active_as_one_of_them() {
    let mut expected = expectation(&["192.0.2.1"], &[]);
    let shared = |name: &str, active| Pop {
        name: name.to_owned(),
        addresses: vec!["192.0.2.5".parse().unwrap()],
        activity: if active { Activity::Active } else { Activity::Off },
    };
    expected.pops = Arc::new([shared("a", false), shared("b", true)]);
    let own = owner("192.0.2.5".parse().unwrap(), &expected);
    assert_eq!(own, AddressOwner::ActivePop("b".to_owned()));
}
