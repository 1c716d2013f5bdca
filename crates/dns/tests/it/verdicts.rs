//! What is made of a zone, by one resolver and by the zone's own servers.

use landfall_dns::{AddressOwner, CaaVerdict, Conflict, Evidence, Finding, LookupOutcome, Verdict};

use crate::support::World;

/// Every name is its own case.
const ZONE: &str = "
@ A 198.51.100.20
www CNAME my-site.edge.test.
ipv4 A 192.0.2.1
mapped AAAA ::ffff:192.0.2.1
upper CNAME MY-SITE.Edge.TEST.
pair A 192.0.2.2
pair AAAA 2001:db8::1
*.wild CNAME my-site.edge.test.
text TXT \"no address\"
far CNAME shop.host.test.
dangling CNAME nothing.host.test.
further CNAME dangling
empty CNAME text
origin CNAME origin.host.test.
neighbour CNAME other-site.edge.test.
circle CNAME circle2
circle2 CNAME circle
self CNAME self
elsewhere A 198.51.100.20
elsewhere AAAA 2001:db8::20
itself A 198.51.100.7
stale A 192.0.2.1
stale AAAA 2001:db8::bad
mixed CNAME stale
paused A 192.0.2.9
odd CNAME \\000\\255a\\.b.host.test.
";

/// A name, what is found, and what is said.
const CASES: &[(&str, Finding, &str)] = &[
    ("www.shop.test", Finding::PointsHere, "Nothing is to be changed: www.shop.test points here."),
    (
        "ipv4.shop.test",
        Finding::PointsHere,
        "Nothing is to be changed: ipv4.shop.test points here.",
    ),
    (
        "upper.shop.test",
        Finding::PointsHere,
        "Nothing is to be changed: upper.shop.test points here.",
    ),
    (
        "pair.shop.test",
        Finding::PointsHere,
        "Nothing is to be changed: pair.shop.test points here.",
    ),
    (
        "*.wild.shop.test",
        Finding::PointsHere,
        "Nothing is to be changed: *.wild.shop.test points here.",
    ),
    (
        "absent.shop.test",
        Finding::NxDomain,
        "Create a CNAME record for absent.shop.test that points at my-site.edge.test: \
         absent.shop.test does not exist yet.",
    ),
    (
        "*.absent.shop.test",
        Finding::NxDomain,
        "Create a CNAME record for *.absent.shop.test that points at my-site.edge.test: \
         *.absent.shop.test does not exist yet.",
    ),
    (
        "new-shop.test",
        Finding::NxDomain,
        "Create an ALIAS (or ANAME) record for new-shop.test that points at my-site.edge.test, or else \
         the records A 192.0.2.1, A 192.0.2.2 and AAAA 2001:db8::1: new-shop.test does not exist yet.",
    ),
    (
        "text.shop.test",
        Finding::NoData,
        "Create a CNAME record for text.shop.test that points at my-site.edge.test: text.shop.test has \
         no address yet.",
    ),
    (
        "far.shop.test",
        Finding::CnameElsewhere,
        "Point far.shop.test's CNAME at my-site.edge.test: it leads to shop.host.test now.",
    ),
    (
        "dangling.shop.test",
        Finding::DanglingCname,
        "Point dangling.shop.test's CNAME at my-site.edge.test: it leads to nothing.host.test now, \
         which does not exist.",
    ),
    (
        "further.shop.test",
        Finding::DanglingCname,
        "Point further.shop.test's CNAME at my-site.edge.test: it leads to dangling.shop.test now and \
         on to nothing.host.test, which does not exist.",
    ),
    (
        "empty.shop.test",
        Finding::DanglingCname,
        "Point empty.shop.test's CNAME at my-site.edge.test: it leads to text.shop.test now, which has \
         no address.",
    ),
    (
        "origin.shop.test",
        Finding::CnameToOrigin,
        "Point origin.shop.test's CNAME at my-site.edge.test: it leads to origin.host.test now, which \
         is the origin itself.",
    ),
    (
        "neighbour.shop.test",
        Finding::CnameToOtherProperty,
        "Point neighbour.shop.test's CNAME at my-site.edge.test: it leads to other-site.edge.test now, \
         which is another property's.",
    ),
    (
        "circle.shop.test",
        Finding::Loop,
        "Point circle.shop.test's CNAME at my-site.edge.test: it leads in a circle now, by \
         circle2.shop.test and circle.shop.test.",
    ),
    (
        "self.shop.test",
        Finding::Loop,
        "Point self.shop.test's CNAME at my-site.edge.test: it leads to itself now.",
    ),
    (
        "mapped.shop.test",
        Finding::WrongAddress,
        "Replace the AAAA record ::ffff:192.0.2.1 of mapped.shop.test by a CNAME record for \
         mapped.shop.test that points at my-site.edge.test: it is not ours.",
    ),
    (
        "elsewhere.shop.test",
        Finding::WrongAddress,
        "Replace the records A 198.51.100.20 and AAAA 2001:db8::20 of elsewhere.shop.test by a CNAME \
         record for elsewhere.shop.test that points at my-site.edge.test: they are not ours.",
    ),
    (
        "itself.shop.test",
        Finding::WrongAddress,
        "Replace the A record 198.51.100.7 of itself.shop.test by a CNAME record for itself.shop.test \
         that points at my-site.edge.test: it is the origin's own.",
    ),
    (
        "shop.test",
        Finding::WrongAddress,
        "Replace the A record 198.51.100.20 of shop.test by an ALIAS (or ANAME) record for shop.test \
         that points at my-site.edge.test, or else the records A 192.0.2.1, A 192.0.2.2 and AAAA \
         2001:db8::1: it is not ours.",
    ),
    (
        "own.shop.test",
        Finding::WrongAddress,
        "Replace the A record 198.51.100.20 of own.shop.test by an ALIAS (or ANAME) record for \
         own.shop.test that points at my-site.edge.test, or else the records A 192.0.2.1, A 192.0.2.2 \
         and AAAA 2001:db8::1: it is not ours.",
    ),
    (
        "stale.shop.test",
        Finding::StaleAddress,
        "Remove the AAAA record 2001:db8::bad of stale.shop.test: it is not one of ours.",
    ),
    (
        "mixed.shop.test",
        Finding::StaleAddress,
        "Remove the AAAA record 2001:db8::bad of stale.shop.test: it is not one of ours.",
    ),
    (
        "paused.shop.test",
        Finding::InactivePop,
        "Nothing is to be changed at paused.shop.test, which points at old: old takes no traffic, as its \
         operator wants it (`landfall pop traffic old on` ends that).",
    ),
    (
        "odd.shop.test",
        Finding::DanglingCname,
        "Point odd.shop.test's CNAME at my-site.edge.test: it leads to \\000\\255a\\.b.host.test now, \
         which does not exist.",
    ),
];

#[tokio::test]
async fn says_what_is_there_and_what_to_change() {
    let world = World::start(ZONE).await;
    for (name, finding, advice) in CASES {
        let evidence = world.verify(name).await;
        assert_eq!(evidence.finding, *finding, "{name}: {evidence:#?}");
        assert_eq!(evidence.advice, *advice, "{name}");
        assert_survives_storage(&evidence);
    }
}

#[tokio::test]
async fn the_zones_own_servers_say_the_same() {
    let world = World::start(ZONE).await;
    for (name, finding, _) in CASES.iter().filter(|(_, finding, _)| *finding != Finding::PointsHere)
    {
        let evidence = world.verify(name).await;
        // A name outside of every zone has only the root's servers, which are not asked.
        if let Some(zone) = &evidence.zone {
            let expected = if *name == "own.shop.test" { name } else { "shop.test" };
            assert_eq!((zone.zone.as_str(), zone.differs), (expected, false), "{name}");
            assert_eq!(zone.servers, [world.authority.address()], "{name}");
        } else {
            assert_eq!((*name, *finding), ("new-shop.test", Finding::NxDomain));
        }
    }
}

fn assert_survives_storage(evidence: &Evidence) {
    let json = serde_json::to_string(evidence).unwrap();
    assert_eq!(serde_json::from_str::<Evidence>(&json).unwrap(), *evidence);
}

#[tokio::test]
async fn tells_whose_each_address_is() {
    let records = "www A 192.0.2.1\nwww A 192.0.2.9\nwww A 198.51.100.7\nwww AAAA 2001:db8::5";
    let world = World::start(records).await;
    let evidence = world.verify("www.shop.test").await;
    let owners = |lookup: &landfall_dns::LookupEvidence| {
        let found = lookup.addresses.iter();
        found.map(|found| (found.address.to_string(), found.owner.clone())).collect::<Vec<_>>()
    };
    let own = |address: &str, owner| (address.to_owned(), owner);
    assert_eq!(
        owners(&evidence.ipv4),
        [
            own("192.0.2.1", AddressOwner::ActivePop("fra".into())),
            own("192.0.2.9", AddressOwner::InactivePop("old".into())),
            own("198.51.100.7", AddressOwner::Origin),
        ]
    );
    assert_eq!(owners(&evidence.ipv6), [own("2001:db8::5", AddressOwner::Other)]);
    let stale = |address: &str| Conflict::StaleAddress { address: address.parse().unwrap() };
    assert_eq!(evidence.conflicts, [stale("198.51.100.7"), stale("2001:db8::5")]);
    assert_eq!(evidence.expected_addresses.len(), 3);
}

#[tokio::test]
async fn has_the_form_of_a_cas_answer() {
    let world = World::start("www CNAME my-site.edge.test.\nfar CNAME shop.host.test.").await;
    let said = |evidence: Evidence| {
        let own = evidence.validation;
        (own.cname_found, own.record_correct, own.actual_record)
    };
    assert_eq!(said(world.verify("www.shop.test").await), (1, 1, "my-site.edge.test".into()));
    assert_eq!(said(world.verify("far.shop.test").await), (1, 0, "shop.host.test".into()));
    let absent = world.verify("absent.shop.test").await;
    assert_eq!(absent.validation.target_host, "absent.shop.test");
    assert_eq!(absent.validation.target_record, "my-site.edge.test");
    assert_eq!(said(absent), (0, 0, String::new()));
}

/// A chain of `hops` CNAME records from `hop0` to the target.
fn chain(hops: usize) -> String {
    let between = (1..hops).map(|hop| format!("hop{} CNAME hop{hop}\n", hop - 1));
    let last = format!("hop{} CNAME my-site.edge.test.\n", hops - 1);
    between.chain([last]).collect()
}

#[tokio::test]
async fn follows_a_chain_of_twelve_and_of_sixteen() {
    for hops in [12, 16] {
        let world = World::start(&chain(hops)).await;
        let evidence = world.verify("hop0.shop.test").await;
        assert_eq!(evidence.finding, Finding::PointsHere, "{evidence:#?}");
        assert_eq!(evidence.chain.len(), hops);
        assert_eq!(evidence.chain[0], "hop1.shop.test");
        assert_eq!(evidence.chain[hops - 1], "my-site.edge.test");
        assert_eq!(evidence.caa.verdict, CaaVerdict::Permitted);
    }
}

#[tokio::test]
async fn stops_after_sixteen() {
    let world = World::start(&chain(17)).await;
    let evidence = world.verify("hop0.shop.test").await;
    assert_eq!(evidence.finding, Finding::TooManyHops, "{evidence:#?}");
    assert_eq!(evidence.ipv4.outcome, LookupOutcome::TooManyHops);
    assert_eq!(evidence.chain.len(), 16);
    let advice = "Point hop0.shop.test's CNAME at my-site.edge.test: it leads on over more than 16 \
                  names now.";
    assert_eq!(evidence.advice, advice);
}

#[tokio::test]
async fn takes_an_answer_that_does_not_fit_a_datagram() {
    let many: String = (0..100).map(|place| format!("www AAAA 2001:db8:1::{place:x}\n")).collect();
    let world = World::start(&format!("{many}\nwww AAAA 2001:db8::1")).await;
    let evidence = world.verify("www.shop.test").await;
    assert_eq!(evidence.finding, Finding::StaleAddress);
    assert_eq!(evidence.ipv6.addresses.len(), 64);
}

#[tokio::test]
async fn a_zone_with_broken_dnssec_fails_and_is_called_so() {
    let anchor = "trust-anchor: \"shop.test. DS 4711 13 2 \
                  0000000000000000000000000000000000000000000000000000000000000000\"";
    let world = World::with_settings(";signed\nwww CNAME my-site.edge.test.", anchor).await;
    let evidence = world.verify("www.shop.test").await;
    assert_eq!(evidence.finding, Finding::DnssecFails, "{evidence:#?}");
    assert_eq!(evidence.finding.verdict(), Verdict::Failed);
    let advice = "Mend the DNSSEC of the zone that www.shop.test is in, or remove the zone's DS record \
                  at the registrar: the signatures of www.shop.test are not valid, so no CA may \
                  believe its records.";
    assert_eq!(evidence.advice, advice);
}

#[tokio::test]
async fn climbs_to_the_caa_records_that_apply() {
    let zone = "
a.ours CNAME my-site.edge.test.
ours CAA 0 issue \"letsencrypt.org; accounturi=https://ca.test/1\"
a.theirs CNAME my-site.edge.test.
theirs CAA 0 issue \"other-ca.test\"
theirs CAA 0 iodef \"mailto:a@shop.test\"
a.critical CNAME my-site.edge.test.
critical CAA 128 future \"x\"
a.wild CNAME my-site.edge.test.
*.wild CNAME my-site.edge.test.
wild CAA 0 issue \"other-ca.test\"
wild CAA 0 issuewild \"letsencrypt.org\"
free CNAME my-site.edge.test.
alias CNAME target
target A 192.0.2.1
target CAA 0 issue \"other-ca.test\"
";
    let world = World::start(zone).await;
    let cases = [
        ("a.ours.shop.test", Some("ours.shop.test"), CaaVerdict::Permitted),
        ("a.theirs.shop.test", Some("theirs.shop.test"), CaaVerdict::Forbidden),
        ("a.critical.shop.test", Some("critical.shop.test"), CaaVerdict::Forbidden),
        ("a.wild.shop.test", Some("wild.shop.test"), CaaVerdict::Forbidden),
        ("*.wild.shop.test", Some("wild.shop.test"), CaaVerdict::Permitted),
        ("free.shop.test", None, CaaVerdict::Permitted),
        ("alias.shop.test", Some("target.shop.test"), CaaVerdict::Forbidden),
    ];
    for (name, found_at, verdict) in cases {
        let evidence = world.verify(name).await;
        assert_eq!(evidence.finding, Finding::PointsHere, "{name}");
        assert_eq!(evidence.caa.verdict, verdict, "{name}: {:?}", evidence.caa);
        assert_eq!(evidence.caa.found_at.as_deref(), found_at, "{name}");
    }
    let evidence = world.verify("a.ours.shop.test").await;
    assert_eq!(evidence.caa.records, ["0 issue \"letsencrypt.org; accounturi=https://ca.test/1\""]);
    let evidence = world.verify("a.theirs.shop.test").await;
    assert_eq!(
        evidence.advice,
        "Add the CAA record 0 issue \"letsencrypt.org\" at theirs.shop.test: a.theirs.shop.test points \
         here, and the CAA records there keep our CAs from issuing a certificate for it."
    );
}
