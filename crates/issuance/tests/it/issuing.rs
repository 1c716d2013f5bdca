//! From an order to a chain, by each method.

use landfall_issuance::acme::{AuthorizationStatus, NewOrder, OrderStatus};
use landfall_model::{ChallengeMethod, KeyType};
use landfall_tests::{
    Authority, RecursiveResolver,
    acme::{Pebble, PebbleVersion},
};
use time::OffsetDateTime;

use crate::support::{Customer, Prover, challenges, collect, finish, names};

/// A CA that finds names under `shop.test` here, and the server that proves them.
async fn lab(version: PebbleVersion) -> (Pebble, Prover, Authority) {
    let dns = Authority::start(&[("shop.test", "www A 127.0.0.1\napp A 127.0.0.1")]).await;
    let pebble = Pebble::builder().version(version).dns(dns.address()).start().await;
    let prover = Prover::start(pebble.http_port(), pebble.tls_port()).await;
    (pebble, prover, dns)
}

async fn issues_by(version: PebbleVersion, method: ChallengeMethod, key_type: KeyType) {
    let (pebble, prover, _dns) = lab(version).await;
    let customer = Customer::of(&pebble.authority()).await;
    let names = names(&["www.shop.test"]);
    let mut order = customer.order(&names).await;
    assert_eq!(order.status(), OrderStatus::Pending);
    assert!(order.expires().unwrap() > OffsetDateTime::now_utc());
    prover.prove(&challenges(&mut order, method).await);
    let issued = finish(&mut order, &names, method, key_type).await.unwrap();
    assert_eq!(issued.key.kind(), key_type);
    assert!(issued.chain.len() > 1);
}

#[tokio::test]
async fn issues_by_a_file_over_http() {
    issues_by(PebbleVersion::Newest, ChallengeMethod::Http01, KeyType::Ecdsa).await;
}

#[tokio::test]
async fn issues_for_an_rsa_key_by_a_certificate_over_tls() {
    issues_by(PebbleVersion::Newest, ChallengeMethod::TlsAlpn01, KeyType::Rsa).await;
}

#[tokio::test]
async fn issues_by_both_with_a_pebble_that_knows_no_renewal_info() {
    issues_by(PebbleVersion::V2_4, ChallengeMethod::Http01, KeyType::Ecdsa).await;
    issues_by(PebbleVersion::V2_4, ChallengeMethod::TlsAlpn01, KeyType::Ecdsa).await;
}

#[tokio::test]
async fn issues_for_a_wildcard_and_its_name_by_a_delegated_txt_record() {
    let delegation = "_acme-challenge 0 CNAME shop.challenges.test.";
    let zones = [("shop.test", delegation), ("challenges.test", "")];
    let mut dns = Authority::start(&zones).await;
    let settings = "  cache-max-ttl: 0\n  cache-max-negative-ttl: 0";
    let resolver = RecursiveResolver::start(&dns, settings).await;
    let pebble = Pebble::builder().dns(resolver.address()).start().await;
    let customer = Customer::of(&pebble.authority()).await;
    let names = names(&["shop.test", "*.shop.test"]);
    let mut order = customer.order(&names).await;
    let challenges = challenges(&mut order, ChallengeMethod::Dns01).await;
    // One name of the DNS, two values.
    let record = |value: &String| format!("shop 0 TXT \"{value}\"");
    let values: Vec<_> = challenges.iter().map(|challenge| challenge.txt_value()).collect();
    assert_eq!(values.len(), 2);
    dns.set("challenges.test", &values.iter().map(record).collect::<Vec<_>>().join("\n")).await;
    finish(&mut order, &names, ChallengeMethod::Dns01, KeyType::Ecdsa).await.unwrap();
}

#[tokio::test]
async fn an_order_is_taken_up_by_another_session() {
    let (pebble, prover, _dns) = lab(PebbleVersion::Newest).await;
    let first = Customer::of(&pebble.authority()).await;
    let names = names(&["www.shop.test"]);
    let mut order = first.order(&names).await;
    prover.prove(&challenges(&mut order, ChallengeMethod::Http01).await);
    order.answer(&names[0], ChallengeMethod::Http01).await.unwrap();
    let url = order.url().to_owned();
    drop(order);

    let connection = first.connection.clone();
    let second = Customer::with(connection, first.key, first.session.account()).await;
    let mut order = second.session.resume(&url, &names).await.unwrap();
    order.wait_until_ready(crate::support::deadline()).await.unwrap();
    assert_eq!(order.authorizations().await.unwrap()[0].status, AuthorizationStatus::Valid);
    // What is proven is not proven again.
    order.answer(&names[0], ChallengeMethod::Http01).await.unwrap();
    collect(&mut order, &names, KeyType::Ecdsa, None).await.unwrap();
    let mut order = second.session.resume(&url, &names).await.unwrap();
    assert_eq!(order.status(), OrderStatus::Valid);
    let chain = order.wait_until_issued(crate::support::deadline(), None).await.unwrap();
    assert!(!chain.is_empty());
}

#[tokio::test]
async fn fetches_the_chain_that_is_preferred() {
    let dns = Authority::start(&[("shop.test", "www A 127.0.0.1")]).await;
    let pebble = Pebble::builder().alternate_roots(2).dns(dns.address()).start().await;
    let prover = Prover::start(pebble.http_port(), pebble.tls_port()).await;
    let customer = Customer::of(&pebble.authority()).await;
    let names = names(&["www.shop.test"]);
    let mut roots = Vec::new();
    for number in 0..3 {
        let pem = x509_parser::pem::parse_x509_pem(pebble.root(number).await.as_bytes()).unwrap().1;
        let root = pem.parse_x509().unwrap();
        let name = root.subject().iter_common_name().next().unwrap().as_str().unwrap();
        roots.push(name.to_owned());
    }
    assert_ne!(roots[0], roots[2]);
    for (preferred, expected) in
        [(None, &roots[0]), (Some(&roots[2]), &roots[2]), (Some(&"None".to_owned()), &roots[0])]
    {
        let mut order = customer.order(&names).await;
        prover.prove(&challenges(&mut order, ChallengeMethod::Http01).await);
        order.answer(&names[0], ChallengeMethod::Http01).await.unwrap();
        order.wait_until_ready(crate::support::deadline()).await.unwrap();
        let preferred = preferred.map(String::as_str);
        let issued = collect(&mut order, &names, KeyType::Ecdsa, preferred).await.unwrap();
        let (_, top) =
            x509_parser::parse_x509_certificate(&issued.chain.last().unwrap().0).unwrap();
        let issuer = top.issuer().iter_common_name().next().unwrap().as_str().unwrap();
        assert_eq!(issuer, expected, "{preferred:?}");
    }
}

#[tokio::test]
async fn issues_with_a_profile() {
    let (pebble, prover, _dns) = lab(PebbleVersion::Newest).await;
    let customer = Customer::of(&pebble.authority()).await;
    let offered: Vec<_> = customer.connection.profiles().collect();
    assert_eq!(offered, ["default", "shortlived"]);
    let names = names(&["www.shop.test"]);
    let new = NewOrder { names: &names, profile: Some("shortlived"), replaces: None };
    let mut order = customer.session.order(new).await.unwrap();
    prover.prove(&challenges(&mut order, ChallengeMethod::Http01).await);
    let issued = finish(&mut order, &names, ChallengeMethod::Http01, KeyType::Ecdsa).await.unwrap();
    assert!(issued.lifetime(&names).whole_days() <= 6);
}
