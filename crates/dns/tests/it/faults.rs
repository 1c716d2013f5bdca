//! Servers that are slow, fail, or have what no zone may have.

use std::time::{Duration, Instant};

use hickory_resolver::proto::{
    op::ResponseCode,
    rr::{DNSClass, RecordType},
};
use landfall_dns::{CaaVerdict, Conflict, DnsConfig, Evidence, Finding, LookupOutcome, Verdict};

use crate::{
    scripted::{Asked, Said, Scripted, address, cname, ns},
    support::verify,
};

const NAME: &str = "www.shop.test";

fn config(server: &Scripted) -> DnsConfig {
    DnsConfig {
        resolvers: vec![server.address()],
        zone_port: server.address().port(),
        allowed_networks: vec!["127.0.0.0/8".parse().unwrap()],
        ..DnsConfig::default()
    }
}

/// With less time in all.
fn short(server: &Scripted) -> DnsConfig {
    DnsConfig { timeout: Duration::from_secs(2), ..config(server) }
}

/// A resolver that is well, in front of a zone that answers after `delay`.
async fn slow_zone(delay: Duration) -> Scripted {
    Scripted::start(move |asked: &Asked| {
        if asked.name != NAME {
            return Said::Records(Vec::new());
        }
        let records =
            if asked.kind == RecordType::A { vec![address(NAME, "192.0.2.1")] } else { Vec::new() };
        Said::After(delay, Box::new(Said::Records(records)))
    })
    .await
}

async fn timed(server: &Scripted) -> (Evidence, Duration) {
    let started = Instant::now();
    let evidence = verify(&config(server), NAME).await;
    (evidence, started.elapsed())
}

#[tokio::test]
async fn a_zone_that_answers_after_4900_ms_passes() {
    let server = slow_zone(Duration::from_millis(4900)).await;
    // A machine that is busy may take the last 100 ms for itself.
    let mut findings = Vec::new();
    for _ in 0..4 {
        let (evidence, _) = timed(&server).await;
        findings.push(evidence.finding);
        if evidence.finding == Finding::PointsHere {
            assert_eq!(evidence.caa.verdict, CaaVerdict::Permitted);
            return;
        }
    }
    panic!("{findings:?}");
}

#[tokio::test]
async fn a_zone_that_answers_after_5100_ms_is_too_slow() {
    let server = slow_zone(Duration::from_millis(5100)).await;
    let (evidence, took) = timed(&server).await;
    assert_eq!(evidence.finding, Finding::Timeout, "{evidence:#?}");
    assert_eq!(evidence.verdict(), Verdict::Failed);
    assert_eq!(evidence.ipv4.outcome, LookupOutcome::Timeout);
    assert_eq!(evidence.caa.verdict, CaaVerdict::Failed);
    assert_eq!(
        evidence.advice,
        "Check the name servers of www.shop.test: they did not answer in time."
    );
    assert!(took >= Duration::from_secs(5), "{took:?}");
    assert!((5000..8000).contains(&evidence.elapsed_ms), "{}", evidence.elapsed_ms);
}

#[tokio::test]
async fn a_zone_that_answers_for_ipv4_alone_is_too_slow() {
    let server = Scripted::start(|asked: &Asked| match (asked.name.as_str(), asked.kind) {
        (NAME, RecordType::AAAA) => Said::Nothing,
        (NAME, RecordType::A) => Said::Records(vec![address(NAME, "192.0.2.1")]),
        _ => Said::Records(Vec::new()),
    })
    .await;
    let evidence = verify(&short(&server), NAME).await;
    assert_eq!(evidence.finding, Finding::Timeout, "{evidence:#?}");
    assert_eq!(evidence.ipv4.outcome, LookupOutcome::Found);
}

#[tokio::test]
async fn slow_caa_does_not_take_the_addresses_time() {
    let server = Scripted::start(|asked: &Asked| match (asked.name.as_str(), asked.kind) {
        (_, RecordType::CAA) => Said::Nothing,
        (NAME, RecordType::A) => Said::Records(vec![address(NAME, "192.0.2.1")]),
        _ => Said::Records(Vec::new()),
    })
    .await;
    let evidence = verify(&short(&server), NAME).await;
    assert_eq!(evidence.finding, Finding::PointsHere);
    assert_eq!(evidence.caa.verdict, CaaVerdict::Failed);
    let advice = "Have the name servers of www.shop.test answer questions for CAA records: www.shop.test \
                  points here, and without that answer no CA issues a certificate for it.";
    assert_eq!(evidence.advice, advice);
}

#[tokio::test]
async fn servfail_is_told_and_dnssec_suspected() {
    let server = Scripted::start(|asked: &Asked| {
        if asked.name == NAME {
            Said::Code(ResponseCode::ServFail)
        } else {
            Said::Records(Vec::new())
        }
    })
    .await;
    let (evidence, _) = timed(&server).await;
    assert_eq!(evidence.finding, Finding::ServFail, "{evidence:#?}");
    assert_eq!(evidence.caa.verdict, CaaVerdict::Failed);
    let advice = "Check the name servers of the zone that www.shop.test is in, and its DNSSEC (the DS \
                  record at the registrar and the zone's signatures): look-ups of www.shop.test fail.";
    assert_eq!(evidence.advice, advice);
}

#[tokio::test]
async fn a_failure_behind_a_cname_is_found_where_it_is() {
    let server = Scripted::start(|asked: &Asked| match (asked.name.as_str(), asked.kind) {
        (NAME, RecordType::CNAME) => Said::Records(vec![cname(NAME, "broken.host.test")]),
        (NAME | "broken.host.test", _) => Said::Code(ResponseCode::ServFail),
        _ => Said::Records(Vec::new()),
    })
    .await;
    let (evidence, _) = timed(&server).await;
    assert_eq!(evidence.finding, Finding::ServFail, "{evidence:#?}");
    assert_eq!(evidence.chain, ["broken.host.test"]);
    assert!(evidence.advice.contains("look-ups of broken.host.test fail"));
}

/// A zone in which the name has an address beside its CNAME.
fn beside(asked: &Asked, stale: &str) -> Said {
    let target = "my-site.edge.test";
    Said::Records(match (asked.name.as_str(), asked.kind) {
        (NAME, RecordType::A) => vec![address(NAME, stale)],
        (NAME, RecordType::AAAA) => vec![cname(NAME, target), address(target, "2001:db8::1")],
        (NAME, RecordType::CNAME) => vec![cname(NAME, target)],
        ("my-site.edge.test", RecordType::AAAA) => vec![address(target, "2001:db8::1")],
        ("shop.test", RecordType::NS) => vec![ns("shop.test", "ns.shop.test")],
        ("edge.test", RecordType::NS) => vec![ns("edge.test", "ns.shop.test")],
        ("ns.shop.test", RecordType::A) => vec![address("ns.shop.test", "127.0.0.1")],
        _ => Vec::new(),
    })
}

#[tokio::test]
async fn an_address_beside_a_cname_is_found() {
    let server = Scripted::start(|asked: &Asked| beside(asked, "198.51.100.20")).await;
    let (evidence, _) = timed(&server).await;
    assert_eq!(evidence.finding, Finding::StaleAddress, "{evidence:#?}");
    let addresses = vec!["198.51.100.20".parse().unwrap()];
    let conflict = Conflict::AddressBesideCname { name: NAME.to_owned(), addresses };
    assert_eq!(evidence.conflicts[0], conflict);
    assert_eq!(evidence.zone.as_ref().map(|zone| zone.zone.as_str()), Some("shop.test"));
    let advice = "Remove the A record 198.51.100.20 of www.shop.test: it stands beside its CNAME, and is \
                  not ours.";
    assert_eq!(evidence.advice, advice);
}

#[tokio::test]
async fn an_address_of_ours_beside_a_cname_passes_and_is_told() {
    let server = Scripted::start(|asked: &Asked| beside(asked, "192.0.2.1")).await;
    let (evidence, _) = timed(&server).await;
    assert_eq!(evidence.finding, Finding::PointsHere, "{evidence:#?}");
    let advice = "Remove the A record 192.0.2.1 of www.shop.test: it points here, and nothing may stand \
                  beside its CNAME.";
    assert_eq!(evidence.advice, advice);
}

#[tokio::test]
async fn only_servers_with_authority_are_believed() {
    // The zone's server knows the zone no more, and refuses.
    let server = Scripted::start(|asked: &Asked| {
        if asked.recursion_desired {
            match (asked.name.as_str(), asked.kind) {
                ("shop.test", RecordType::NS) => {
                    Said::Records(vec![ns("shop.test", "ns.shop.test")])
                }
                ("ns.shop.test", RecordType::A) => {
                    Said::Records(vec![address("ns.shop.test", "127.0.0.1")])
                }
                _ => Said::Code(ResponseCode::NXDomain),
            }
        } else {
            Said::Code(ResponseCode::Refused)
        }
    })
    .await;
    let (evidence, _) = timed(&server).await;
    assert_eq!(evidence.finding, Finding::NxDomain, "{evidence:#?}");
    assert_eq!(evidence.zone.map(|zone| zone.differs), Some(false));
}

#[tokio::test]
async fn nonsense_is_no_answer() {
    for bytes in [&b""[..], b"\x81\x80\0\x01\0\xff", &[0xff; 4000]] {
        let server = Scripted::start(move |_| Said::Bytes(bytes.to_vec())).await;
        let evidence = verify(&short(&server), NAME).await;
        assert_eq!(evidence.finding, Finding::ResolverFailed, "{evidence:#?}");
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_the_questions_failure() {
    let server = Scripted::start(|asked: &Asked| match asked.name.as_str() {
        NAME => Said::Bytes(b"\x81\x80\0\x01\0\xff".to_vec()),
        _ => Said::Records(Vec::new()),
    })
    .await;
    let (evidence, _) = timed(&server).await;
    assert_eq!(evidence.finding, Finding::ServFail, "{evidence:#?}");
    assert_eq!(evidence.verdict(), Verdict::Failed);
}

#[tokio::test]
async fn a_record_of_another_class_is_none() {
    let server = Scripted::start(|asked: &Asked| match (asked.name.as_str(), asked.kind) {
        (NAME, RecordType::A) => {
            let mut record = address(NAME, "192.0.2.1");
            record.dns_class = DNSClass::CH;
            Said::Records(vec![record])
        }
        _ => Said::Records(Vec::new()),
    })
    .await;
    let (evidence, _) = timed(&server).await;
    assert_eq!(evidence.finding, Finding::NoData, "{evidence:#?}");
}

#[tokio::test]
async fn whoever_guesses_ids_neither_wins_nor_holds_a_check_up() {
    for (guesses, answers) in [(10, true), (1000, true), (1000, false)] {
        let server = Scripted::start(move |asked: &Asked| {
            let said = match (asked.name.as_str(), asked.kind) {
                (NAME, RecordType::A) => Said::Records(vec![address(NAME, "192.0.2.1")]),
                _ => Said::Records(Vec::new()),
            };
            let said = if answers { said } else { Said::Nothing };
            Said::AfterGuesses(guesses, Box::new(said))
        })
        .await;
        let started = Instant::now();
        let evidence = verify(&short(&server), NAME).await;
        let finding = if answers { Finding::PointsHere } else { Finding::ResolverFailed };
        assert_eq!(evidence.finding, finding, "{evidence:#?}");
        // Its time, and some for a machine that is busy.
        assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    }
}

#[tokio::test]
async fn a_want_of_sockets_is_held_against_nobody() {
    let server = Scripted::start(|asked: &Asked| match asked.name.as_str() {
        NAME => Said::Nothing,
        _ => Said::Records(Vec::new()),
    })
    .await;
    let enough = verify(&short(&server), NAME).await;
    assert_eq!(enough.finding, Finding::Timeout, "{enough:#?}");
    let scarce = DnsConfig { sockets: 1, ..short(&server) };
    let evidence = verify(&scarce, NAME).await;
    assert_eq!(evidence.finding, Finding::ResolverFailed, "{evidence:#?}");
    assert_eq!(evidence.verdict(), Verdict::Inconclusive);
}

#[tokio::test]
async fn a_resolver_that_this_node_cannot_send_to_is_held_against_nobody() {
    // The system refuses to send there.
    let resolvers = vec!["255.255.255.255:53".parse().unwrap()];
    let evidence = verify(&DnsConfig { resolvers, ..DnsConfig::default() }, NAME).await;
    assert_eq!(evidence.finding, Finding::ResolverFailed, "{evidence:#?}");
    assert!(evidence.elapsed_ms < 4000, "{}", evidence.elapsed_ms);
}
