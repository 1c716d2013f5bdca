//! Ownership tokens.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use axum::{
    Router,
    http::{HeaderMap, StatusCode},
    response::Redirect,
    routing::get,
};
use hickory_resolver::proto::{
    op::ResponseCode,
    rr::{Record, RecordType},
};
use landfall_dns::{DnsConfig, HttpTokenSlug, LookupOutcome, Verifier, ZoneServers};
use landfall_tests::RecursiveResolver;

use crate::{
    scripted::{Asked, Said, Scripted},
    support::{World, ask_resolver, nobody},
};

const TOKEN: &str = "landfall-3f9c";

async fn txt(world: &World, config: &DnsConfig) -> landfall_dns::TxtTokenEvidence {
    let _ = world;
    let verifier = Verifier::new(config).unwrap();
    tokio::spawn(async move { verifier.txt_token("_landfall.shop.test", TOKEN).await })
        .await
        .unwrap()
}

#[tokio::test]
async fn finds_a_token_among_other_texts() {
    let world =
        World::start("_landfall TXT \"something else\"\n_landfall TXT \"landfall-\" \"3f9c\"")
            .await;
    let evidence = txt(&world, &world.config(&[world.resolver.address()])).await;
    assert!(evidence.found, "{evidence:?}");
    assert_eq!(evidence.values, ["landfall-3f9c", "something else"]);
}

#[tokio::test]
async fn says_what_a_text_record_holds_instead() {
    let world = World::start("_landfall TXT \"landfall-3f9\"\n_landfall TXT \"\\255\\000\"").await;
    let evidence = txt(&world, &world.config(&[world.resolver.address()])).await;
    assert!(!evidence.found);
    assert_eq!(evidence.values, ["landfall-3f9", "\\255\\000"]);
    assert_eq!(evidence.outcome, LookupOutcome::Found);
}

#[tokio::test]
async fn finds_a_token_that_a_resolver_remembers_not_to_exist() {
    let mut world = World::start("www A 192.0.2.1").await;
    let config = world.config(&[world.resolver.address()]);
    let before = txt(&world, &config).await;
    assert_eq!((before.found, before.outcome), (false, LookupOutcome::NxDomain));
    world.authority.set("shop.test", &format!("_landfall TXT {TOKEN}")).await;
    assert!(txt(&world, &config).await.found);
    let resolvers_alone = DnsConfig { zone_servers: ZoneServers::NotAsked, ..config };
    assert!(!txt(&world, &resolvers_alone).await.found);
}

/// Whether the value of a challenge is there, by what one resolver finds.
async fn challenge(world: &World, value: &'static str) -> bool {
    let verifier = Verifier::new(&world.config(&[world.resolver.address()])).unwrap();
    let name = "_acme-challenge.www.shop.test";
    let look = async move { verifier.challenge_txt(name, value).await.found };
    tokio::spawn(look).await.unwrap()
}

#[tokio::test]
async fn a_resolver_is_not_asked_for_a_challenge_before_it_is_there() {
    // "There is none" is remembered for an hour.
    for (owners, published, zone) in [
        ("www A 192.0.2.1", "_acme-challenge.www TXT value", "shop.test"),
        ("_acme-challenge.www CNAME label.edge.test.", "label TXT value", "edge.test"),
        ("_acme-challenge.www CNAME label.dcv.edge.test.", "label.dcv TXT value", "edge.test"),
    ] {
        let mut world = World::start(owners).await;
        assert!(!challenge(&world, "value").await, "{owners}");
        world.authority.set(zone, published).await;
        let name = "_acme-challenge.www.shop.test.";
        let answer = ask_resolver(world.resolver.address(), name, RecordType::TXT).await;
        let is_text = |record: &Record| record.record_type() == RecordType::TXT;
        assert!(answer.answers.iter().any(is_text), "{owners}: {answer}");
        assert!(challenge(&world, "value").await, "{owners}");
        assert!(!challenge(&world, "another").await, "{owners}");
    }
}

#[tokio::test]
async fn resolvers_are_asked_for_a_challenge_whose_zone_says_nothing() {
    let mut world = World::start("_acme-challenge.www TXT value").await;
    // The zone's servers are at addresses that may not be asked.
    let config =
        DnsConfig { allowed_networks: Vec::new(), ..world.config(&[world.resolver.address()]) };
    let resolvers_alone = DnsConfig { zone_servers: ZoneServers::NotAsked, ..config.clone() };
    for config in [config, resolvers_alone] {
        let verifier = Verifier::new(&config).unwrap();
        let name = "_acme-challenge.www.shop.test";
        let look = async move { verifier.challenge_txt(name, "value").await.found };
        assert!(tokio::spawn(look).await.unwrap());
    }
    // Whoever is said to have it has a zone above alone.
    let local = "local-data: '_acme-challenge.x.elsewhere.example. TXT \"value\"'\n  \
        local-data: 'elsewhere.example. NS ns1.shop.test.'\n  \
        local-data: 'x.elsewhere.example. A 192.0.2.1'";
    world.resolver = RecursiveResolver::start(&world.authority, local).await;
    let verifier = Verifier::new(&world.config(&[world.resolver.address()])).unwrap();
    let name = "_acme-challenge.x.elsewhere.example";
    let look = async move { verifier.challenge_txt(name, "value").await.found };
    assert!(tokio::spawn(look).await.unwrap());
}

#[tokio::test]
async fn a_resolver_that_makes_up_a_token_does_not_decide() {
    let world = World::start("www A 192.0.2.1").await;
    let lie = format!("local-data: '_landfall.shop.test. TXT \"{TOKEN}\"'");
    let liar = RecursiveResolver::start(&world.authority, &lie).await;
    let config = world.config(&[liar.address(), world.resolver.address()]);
    assert!(!txt(&world, &config).await.found);
    let resolvers_alone = DnsConfig { zone_servers: ZoneServers::NotAsked, ..config };
    assert!(!txt(&world, &resolvers_alone).await.found);
}

/// A web server whose paths behave as their names say.
async fn files() -> u16 {
    let file = |body: &'static str| get(move || async move { body });
    let router = Router::new()
        .route("/right", file("\r\n  landfall-3f9c\n"))
        .route("/wrong", file("landfall-3f9"))
        .route("/long", get(|| async { "x".repeat(5000) }))
        .route("/binary", get(|| async { [0xffu8, 0xfe].to_vec() }))
        .route("/redirect", get(|| async { Redirect::to("/right") }))
        .route("/missing", get(|| async { StatusCode::NOT_FOUND }))
        .route("/silent", get(std::future::pending::<()>))
        .route(
            "/host",
            get(|headers: HeaderMap| async move {
                let host = headers["host"].to_str().unwrap_or_default().to_owned();
                if host.starts_with("www.shop.test:") { TOKEN } else { "another host" }
            }),
        );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, router).await });
    port
}

async fn fetch(config: &DnsConfig, path: &'static str) -> landfall_dns::HttpTokenEvidence {
    fetch_beside(config, path, &[]).await
}

/// Where these addresses are PoPs'.
async fn fetch_beside(
    config: &DnsConfig,
    path: &'static str,
    pops: &'static [IpAddr],
) -> landfall_dns::HttpTokenEvidence {
    let verifier = Verifier::new(config).unwrap();
    let task = tokio::spawn(async move {
        verifier.http_token(&"www.shop.test".parse().unwrap(), (path, TOKEN), pops).await
    });
    task.await.unwrap()
}

#[tokio::test]
async fn a_token_by_one_resolver_of_two_proves_nothing() {
    let records = format!("www A 127.0.0.1\n_landfall TXT {TOKEN}");
    let world = World::start(&records).await;
    let (dead, alive) = (nobody().await, world.resolver.address());
    let refusing = Scripted::start(|_| Said::Code(ResponseCode::Refused)).await;
    let port = files().await;
    for silent in [dead.address(), refusing.address()] {
        let config = DnsConfig { http_port: port, ..world.config(&[silent, alive]) };
        let evidence = txt(&world, &config).await;
        assert_eq!((evidence.found, evidence.outcome), (false, LookupOutcome::Timeout));
        let evidence = fetch(&config, "/right").await;
        assert_eq!(evidence.file_found, 0);
        assert_eq!(evidence.error_info, "Too few resolvers of ours answered to prove anything.");
    }
    let config = DnsConfig { http_port: port, ..world.config(&[alive]) };
    assert!(txt(&world, &config).await.found);
    assert_eq!(fetch(&config, "/right").await.file_found, 1);
}

#[tokio::test]
async fn the_zone_as_a_liar_has_found_it_does_not_speak_for_another_resolver() {
    let world = World::start("www A 198.51.100.20").await;
    let lie = format!("local-data: '_landfall.shop.test. TXT \"{TOKEN}\"'");
    let liar = RecursiveResolver::start(&world.authority, &lie).await;
    // It finds no servers of the zone.
    let other = Scripted::start(|asked: &Asked| match asked.name.as_str() {
        "" => Said::Records(Vec::new()),
        _ => Said::Code(ResponseCode::NXDomain),
    })
    .await;
    let config = world.config(&[liar.address(), other.address()]);
    assert!(!txt(&world, &config).await.found);
}

#[tokio::test]
async fn a_file_at_a_pops_address_proves_nothing() {
    const POPS: &[IpAddr] = &[IpAddr::V4(Ipv4Addr::LOCALHOST)];
    let world = World::start("www A 127.0.0.1\nwww A 127.0.0.2").await;
    let config =
        DnsConfig { http_port: files().await, ..world.config(&[world.resolver.address()]) };
    let evidence = fetch_beside(&config, "/right", POPS).await;
    assert_eq!((evidence.file_found, evidence.error), (0, true), "{evidence:?}");
    assert_eq!(
        evidence.error_info,
        "The host leads to a PoP of ours, which proves nothing: publish the TXT record."
    );
    assert_eq!(fetch(&config, "/right").await.file_found, 1);
}

#[tokio::test]
async fn a_file_at_what_leads_to_a_pops_address_proves_nothing() {
    const POPS: &[IpAddr] = &[IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))];
    for carried in ["64:ff9b::c000:201", "2002:c000:201::1", "::ffff:192.0.2.1"] {
        let world = World::start(&format!("www AAAA {carried}")).await;
        let evidence =
            fetch_beside(&world.config(&[world.resolver.address()]), "/right", POPS).await;
        assert_eq!(
            evidence.error_info,
            "The host leads to a PoP of ours, which proves nothing: publish the TXT record."
        );
    }
}

#[tokio::test]
async fn resolvers_with_different_addresses_prove_nothing_and_it_is_said() {
    let world = World::start("www A 127.0.0.1").await;
    let lie = "local-data: \"www.shop.test. A 127.0.0.9\"";
    let liar = RecursiveResolver::start(&world.authority, lie).await;
    let config = world.config(&[liar.address(), world.resolver.address()]);
    let config = DnsConfig { zone_servers: ZoneServers::NotAsked, ..config };
    let evidence = fetch(&config, "/right").await;
    assert_eq!(evidence.error_slug, Some(HttpTokenSlug::HttpTransportFailed));
    assert_eq!(
        evidence.error_info,
        "Resolvers of ours give different addresses for the host: publish the TXT record."
    );
}

#[tokio::test]
async fn finds_a_token_in_a_file() {
    let world = World::start("www A 127.0.0.1").await;
    let config =
        DnsConfig { http_port: files().await, ..world.config(&[world.resolver.address()]) };
    for path in ["/right", "/host"] {
        let evidence = fetch(&config, path).await;
        assert_eq!((evidence.file_found, evidence.error), (1, false), "{evidence:?}");
        assert_eq!(evidence.error_info, "");
        assert_eq!(evidence.url, format!("http://www.shop.test{path}"));
    }
}

#[tokio::test]
async fn says_by_its_slug_why_a_file_is_not_right() {
    let world = World::start("www A 127.0.0.1").await;
    let config =
        DnsConfig { http_port: files().await, ..world.config(&[world.resolver.address()]) };
    let cases = [
        (
            "/wrong",
            HttpTokenSlug::WrongFileContent,
            "The validation file was found, but the contents are wrong.",
        ),
        (
            "/long",
            HttpTokenSlug::BadFileContent,
            "The validation file is longer than 1024 bytes, or no text.",
        ),
        (
            "/binary",
            HttpTokenSlug::BadFileContent,
            "The validation file is longer than 1024 bytes, or no text.",
        ),
        ("/redirect", HttpTokenSlug::BadResponseCode, "Server responded with status code: 303"),
        ("/missing", HttpTokenSlug::BadResponseCode, "Server responded with status code: 404"),
    ];
    for (path, slug, info) in cases {
        let evidence = fetch(&config, path).await;
        assert_eq!((evidence.file_found, evidence.error), (0, true), "{path}");
        assert_eq!(evidence.error_slug, Some(slug), "{path}");
        assert_eq!(evidence.error_info, info, "{path}");
    }
}

#[tokio::test]
async fn connects_to_no_address_that_is_not_public() {
    let world = World::start("www A 127.0.0.1\nwww A 169.254.169.254\nwww AAAA ::1").await;
    let config = DnsConfig {
        http_port: files().await,
        allowed_networks: Vec::new(),
        ..world.config(&[world.resolver.address()])
    };
    let evidence = fetch(&config, "/right").await;
    assert_eq!(evidence.error_slug, Some(HttpTokenSlug::HttpTransportFailed));
    assert_eq!(evidence.error_info, "The host has no address on the public internet.");
}

#[tokio::test]
async fn a_host_that_is_not_there_is_a_transport_failure() {
    let world = World::start("www A 127.0.0.1").await;
    let [nobody] = landfall_tests::free_ports();
    let config = DnsConfig { http_port: nobody, ..world.config(&[world.resolver.address()]) };
    let evidence = fetch(&config, "/right").await;
    assert_eq!(evidence.error_slug, Some(HttpTokenSlug::HttpTransportFailed));
    let absent = World::start("other A 127.0.0.1").await;
    let evidence = fetch(&absent.config(&[absent.resolver.address()]), "/right").await;
    assert_eq!(evidence.error_info, "The host has no address in the DNS.");
}

#[tokio::test]
async fn a_file_that_does_not_come_in_time_is_a_timeout() {
    let world = World::start("www A 127.0.0.1").await;
    let config = DnsConfig {
        http_port: files().await,
        timeout: Duration::from_secs(2),
        ..world.config(&[world.resolver.address()])
    };
    let evidence = fetch(&config, "/silent").await;
    assert_eq!(evidence.error_slug, Some(HttpTokenSlug::Timeout));
    assert_eq!(evidence.error_info, "The server did not answer in time.");
}
