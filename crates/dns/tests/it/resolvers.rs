//! Resolvers that are dead, slow, lie or have an old answer.

use std::time::Duration;

use hickory_resolver::proto::{op::ResponseCode, rr::RecordType};
use landfall_dns::{Conflict, DnsConfig, Finding, LookupOutcome, Verdict, ZoneServers};
use landfall_tests::RecursiveResolver;

use crate::{
    scripted::{Asked, Said, Scripted, address},
    support::{World, ask_resolver, nobody, verify},
};

const RIGHT: &str = "www CNAME my-site.edge.test.";
const LIE: &str = "local-data: \"www.shop.test. A 198.51.100.66\"";

#[tokio::test]
async fn the_resolver_that_is_alive_decides_where_the_other_is_dead() {
    let dead = nobody().await;
    for (records, finding, advice) in [
        (RIGHT, Finding::PointsHere, "Nothing is to be changed"),
        (
            "www A 198.51.100.20",
            Finding::WrongAddress,
            "Replace the A record 198.51.100.20 of www.shop.test by a CNAME",
        ),
        ("other A 192.0.2.1", Finding::NxDomain, "Create a CNAME record for www.shop.test"),
    ] {
        let world = World::start(records).await;
        let alive = world.resolver.address();
        let evidence = verify(&world.config(&[dead.address(), alive]), "www.shop.test").await;
        assert_eq!(evidence.finding, finding, "{evidence:#?}");
        assert_eq!(evidence.resolvers, [dead.address(), alive]);
        assert_eq!(evidence.answered, [alive]);
        assert!(evidence.advice.starts_with(advice), "{}", evidence.advice);
    }
}

#[tokio::test]
async fn other_resolvers_are_used_where_two_are_dead() {
    let world = World::start(RIGHT).await;
    let (dead, too) = (nobody().await, nobody().await);
    let other = RecursiveResolver::start(&world.authority, "").await;
    let (one, other) = (world.resolver.address(), other.address());
    let config = world.config(&[dead.address(), too.address(), one, other]);
    let evidence = verify(&config, "www.shop.test").await;
    assert_eq!(evidence.finding, Finding::PointsHere, "{evidence:#?}");
    assert_eq!(evidence.resolvers, [dead.address(), too.address(), one, other]);
    let mut answered = evidence.answered;
    answered.sort();
    let mut alive = [one, other];
    alive.sort();
    assert_eq!(answered, alive);
}

#[tokio::test]
async fn a_resolver_that_is_listed_twice_is_one() {
    let world = World::start(RIGHT).await;
    let resolver = world.resolver.address();
    let same = format!("[::ffff:{}]:{}", resolver.ip(), resolver.port()).parse().unwrap();
    let evidence = verify(&world.config(&[resolver, resolver, same]), "www.shop.test").await;
    assert_eq!(evidence.finding, Finding::PointsHere, "{evidence:#?}");
    assert_eq!(evidence.resolvers, [resolver]);
}

/// A resolver that has an address for the name, and is as fast with that as with all else.
async fn says(own: &'static str, delay: Duration) -> Scripted {
    Scripted::start(move |asked: &Asked| {
        let records = match (asked.name.as_str(), asked.kind) {
            ("www.shop.test", RecordType::A) => vec![address("www.shop.test", own)],
            _ => Vec::new(),
        };
        Said::After(delay, Box::new(Said::Records(records)))
    })
    .await
}

#[tokio::test]
async fn the_slower_resolver_is_waited_for_where_a_faster_one_lies() {
    let liar = says("192.0.2.1", Duration::ZERO).await;
    let honest = says("198.51.100.20", Duration::from_millis(1400)).await;
    let config =
        DnsConfig { resolvers: vec![liar.address(), honest.address()], ..DnsConfig::default() };
    let evidence = verify(&config, "www.shop.test").await;
    assert_eq!(evidence.finding, Finding::WrongAddress, "{evidence:#?}");
    assert_eq!(evidence.answered, [liar.address(), honest.address()]);
}

/// A resolver that fails for what is in the zone, and answers the rest.
async fn fails_for_the_zone() -> Scripted {
    Scripted::start(|asked: &Asked| match asked.name.as_str() {
        "www.shop.test" | "shop.test" => Said::Code(ResponseCode::ServFail),
        _ => Said::Records(Vec::new()),
    })
    .await
}

#[tokio::test]
async fn a_liar_does_not_win_where_the_other_resolver_fails() {
    let world = World::start("www A 198.51.100.20").await;
    let lie = "local-data: \"www.shop.test. A 192.0.2.1\"";
    let liar = RecursiveResolver::start(&world.authority, lie).await;
    let failing = fails_for_the_zone().await;
    for zone_servers in [ZoneServers::Asked, ZoneServers::NotAsked] {
        let resolvers = [liar.address(), failing.address()];
        let config = DnsConfig { zone_servers, ..world.config(&resolvers) };
        let evidence = verify(&config, "www.shop.test").await;
        assert_ne!(evidence.verdict(), Verdict::Passed, "{evidence:#?}");
    }
}

#[tokio::test]
async fn a_resolver_that_is_cut_off_is_as_good_as_dead() {
    let world = World::start(RIGHT).await;
    let cut_off = Scripted::start(|_| Said::Code(ResponseCode::ServFail)).await;
    let other = RecursiveResolver::start(&world.authority, "").await;
    let (cut_off, one, other) = (cut_off.address(), world.resolver.address(), other.address());
    let cases = [
        (vec![cut_off], Finding::ResolverFailed),
        (vec![cut_off, one], Finding::PointsHere),
        (vec![cut_off, one, other], Finding::PointsHere),
    ];
    for (resolvers, finding) in cases {
        let evidence = verify(&world.config(&resolvers), "www.shop.test").await;
        assert_eq!(evidence.finding, finding, "{evidence:#?}");
        assert_ne!(evidence.verdict(), Verdict::Failed);
    }
}

/// A configuration with the system domain, below which resolvers show that they are alive.
fn probing(config: DnsConfig) -> DnsConfig {
    DnsConfig { probe: Some("edge.test".parse().unwrap()), ..config }
}

#[tokio::test]
async fn nothing_is_held_against_a_hostname_where_resolvers_live_by_what_they_remember() {
    let mut world = World::start(RIGHT).await;
    let other = RecursiveResolver::start(&world.authority, "").await;
    let resolvers = [world.resolver.address(), other.address()];
    for resolver in resolvers {
        for (name, kind) in [(".", RecordType::NS), ("edge.test.", RecordType::SOA)] {
            let answer = ask_resolver(resolver, name, kind).await;
            assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
        }
    }
    world.authority.stop();
    for resolvers in [&resolvers[..1], &resolvers] {
        let evidence = verify(&probing(world.config(resolvers)), "www.shop.test").await;
        assert_eq!(evidence.finding, Finding::ResolverFailed, "{evidence:#?}");
        assert_eq!(evidence.verdict(), Verdict::Inconclusive);
    }
}

#[tokio::test]
async fn a_zone_that_fails_is_found_where_the_resolver_finds_what_it_cannot_remember() {
    let world = World::start(RIGHT).await;
    let failing = Scripted::start(|asked: &Asked| match asked.name.as_str() {
        "www.shop.test" => Said::Code(ResponseCode::ServFail),
        name if name.ends_with(".edge.test") => Said::Code(ResponseCode::NXDomain),
        _ => Said::Nothing,
    })
    .await;
    let config = probing(world.config(&[failing.address()]));
    let config = DnsConfig { zone_servers: ZoneServers::NotAsked, ..config };
    let evidence = verify(&config, "www.shop.test").await;
    assert_eq!(evidence.finding, Finding::ServFail, "{evidence:#?}");
}

#[tokio::test]
async fn one_bad_resolver_of_three_stops_nothing() {
    let world = World::start(RIGHT).await;
    let third = RecursiveResolver::start(&world.authority, "").await;
    let (first, third) = (world.resolver.address(), third.address());
    let silent = Scripted::start(|asked: &Asked| match asked.name.as_str() {
        // What it remembers.
        "" => Said::Records(Vec::new()),
        _ => Said::Nothing,
    })
    .await;
    for bad in [nobody().await, silent, fails_for_the_zone().await] {
        for resolvers in [[first, bad.address(), third], [bad.address(), first, third]] {
            let evidence = verify(&world.config(&resolvers), "www.shop.test").await;
            assert_eq!(evidence.finding, Finding::PointsHere, "{evidence:#?}");
            assert_eq!(evidence.answered, [first, third]);
            assert!(evidence.elapsed_ms < 4000, "{}", evidence.elapsed_ms);
        }
    }
}

#[tokio::test]
async fn one_resolvers_own_dnssec_trouble_is_held_against_nobody() {
    let world = World::start(RIGHT).await;
    let troubled = Scripted::start(|asked: &Asked| {
        match (asked.name.as_str(), asked.kind, asked.checking_disabled) {
            ("www.shop.test", RecordType::A, true) => {
                Said::Records(vec![address("www.shop.test", "192.0.2.1")])
            }
            ("www.shop.test" | "shop.test", _, false) => Said::Code(ResponseCode::ServFail),
            _ => Said::Records(Vec::new()),
        }
    })
    .await;
    let alone = verify(&world.config(&[troubled.address()]), "www.shop.test").await;
    assert_eq!(alone.finding, Finding::DnssecFails, "{alone:#?}");
    let both = world.config(&[troubled.address(), world.resolver.address()]);
    let evidence = verify(&both, "www.shop.test").await;
    assert_eq!(evidence.finding, Finding::OneResolver, "{evidence:#?}");
    assert_eq!(evidence.answered, [world.resolver.address()]);
    let advice = format!(
        "Mend the DNSSEC of the zone that my-site.edge.test is in, or remove the zone's DS record at the \
         registrar: it fails at our resolver {}, and that www.shop.test points here by another one decides \
         nothing.",
        troubled.address().ip()
    );
    assert_eq!(evidence.advice, advice);
}

#[tokio::test]
async fn nothing_is_held_against_a_hostname_where_every_resolver_is_dead() {
    let world = World::start(RIGHT).await;
    let (dead, too) = (nobody().await, nobody().await);
    let config = world.config(&[dead.address(), too.address()]);
    let config = DnsConfig { timeout: Duration::from_secs(2), ..config };
    let evidence = verify(&config, "www.shop.test").await;
    assert_eq!(evidence.finding, Finding::ResolverFailed, "{evidence:#?}");
    assert_eq!(evidence.verdict(), Verdict::Inconclusive);
    let advice = "Nothing is to be changed: our resolvers gave no answer, and www.shop.test is checked \
                  again later.";
    assert_eq!(evidence.advice, advice);
}

#[tokio::test]
async fn a_resolver_that_refuses_is_as_good_as_dead() {
    let world = World::start(RIGHT).await;
    let refusing = Scripted::start(|_| Said::Code(ResponseCode::Refused)).await;
    let evidence = verify(&world.config(&[refusing.address()]), "www.shop.test").await;
    assert_eq!(evidence.finding, Finding::ResolverFailed, "{evidence:#?}");
    let both = world.config(&[refusing.address(), world.resolver.address()]);
    assert_eq!(verify(&both, "www.shop.test").await.finding, Finding::PointsHere);
}

#[tokio::test]
async fn the_zone_decides_against_a_resolver_that_lies() {
    let world = World::start(RIGHT).await;
    let liar = RecursiveResolver::start(&world.authority, LIE).await;
    for resolvers in
        [[liar.address(), world.resolver.address()], [world.resolver.address(), liar.address()]]
    {
        let evidence = verify(&world.config(&resolvers), "www.shop.test").await;
        assert_eq!(evidence.finding, Finding::PointsHere, "{evidence:#?}");
        let conflict = Conflict::ResolversDiffer {
            resolver: liar.address(),
            addresses: vec!["198.51.100.66".parse().unwrap()],
        };
        assert_eq!(evidence.conflicts, [conflict]);
        assert_eq!(evidence.zone.map(|zone| zone.differs), Some(false));
    }
}

#[tokio::test]
async fn a_resolver_does_not_lie_a_hostname_into_being_verified() {
    let world = World::start("www A 198.51.100.20").await;
    let lie = "local-data: \"www.shop.test. A 192.0.2.1\"";
    let liar = RecursiveResolver::start(&world.authority, lie).await;
    let config = world.config(&[liar.address(), world.resolver.address()]);
    let evidence = verify(&config, "www.shop.test").await;
    assert_eq!(evidence.finding, Finding::WrongAddress, "{evidence:#?}");
    let resolvers_alone = DnsConfig { zone_servers: ZoneServers::NotAsked, ..config };
    let evidence = verify(&resolvers_alone, "www.shop.test").await;
    assert_eq!(evidence.finding, Finding::WrongAddress, "{evidence:#?}");
    assert!(evidence.advice.starts_with("Wait until the records of www.shop.test have spread"));
}

#[tokio::test]
async fn without_the_zone_every_resolver_must_agree() {
    let world = World::start(RIGHT).await;
    let liar = RecursiveResolver::start(&world.authority, LIE).await;
    let config = world.config(&[world.resolver.address(), liar.address()]);
    let config = DnsConfig { zone_servers: ZoneServers::NotAsked, ..config };
    let evidence = verify(&config, "www.shop.test").await;
    assert_eq!(evidence.finding, Finding::WrongAddress, "{evidence:#?}");
    let advice = format!(
        "Wait until the records of www.shop.test have spread, or check its name servers if it lasts: \
         the resolver {} says 198.51.100.66, and another says something else.",
        liar.address().ip()
    );
    assert_eq!(evidence.advice, advice);
}

#[tokio::test]
async fn the_zone_is_believed_over_what_resolvers_remember() {
    let mut world = World::start("other A 192.0.2.1").await;
    let before = world.verify("www.shop.test").await;
    assert_eq!((before.finding, before.zone.unwrap().differs), (Finding::NxDomain, false));
    world.authority.set("shop.test", RIGHT).await;
    let after = world.verify("www.shop.test").await;
    assert_eq!(after.finding, Finding::PointsHere, "{after:#?}");
    assert_eq!(after.chain, ["my-site.edge.test"]);
    let zone = after.zone.unwrap();
    assert_eq!((zone.zone.as_str(), zone.differs), ("shop.test", true));
    assert_eq!(zone.servers, [world.authority.address()]);
    let advice = "Nothing is to be changed: www.shop.test points here, and some resolvers give an older \
                  answer for a while.";
    assert_eq!(after.advice, advice);
}

#[tokio::test]
async fn a_fresh_mistake_is_seen_past_what_resolvers_remember() {
    let mut world = World::start("www A 198.51.100.20").await;
    assert_eq!(world.verify("www.shop.test").await.finding, Finding::WrongAddress);
    world.authority.set("shop.test", "www CNAME nothing.host.test.").await;
    let evidence = world.verify("www.shop.test").await;
    assert_eq!(evidence.finding, Finding::DanglingCname, "{evidence:#?}");
    assert_eq!(evidence.ipv4.outcome, LookupOutcome::NxDomain);
}

#[tokio::test]
async fn name_servers_at_private_addresses_are_never_asked() {
    let mut world = World::start("other A 192.0.2.1").await;
    let resolver = world.resolver.address();
    let config = DnsConfig { allowed_networks: Vec::new(), ..world.config(&[resolver]) };
    assert_eq!(verify(&config, "www.shop.test").await.finding, Finding::NxDomain);
    world.authority.set("shop.test", RIGHT).await;
    let evidence = verify(&config, "www.shop.test").await;
    assert_eq!((evidence.finding, evidence.zone), (Finding::NxDomain, None));
}
