//! Whether `_acme-challenge` leads to where challenges are answered.

use hickory_resolver::proto::rr::{Record, RecordType};
use landfall_dns::{Delegation, Verifier};

use crate::support::{World, ask_resolver};

const TARGET: &str = "0123456789abcdef.dcv.edge.test";

async fn delegation(world: &World, name: &str) -> Delegation {
    let verifier = Verifier::new(&world.config(&[world.resolver.address()])).unwrap();
    let name = name.parse().unwrap();
    let task = tokio::spawn(async move { verifier.challenge_delegation(&name, TARGET).await });
    task.await.unwrap()
}

#[tokio::test]
async fn tells_a_delegation_that_leads_here_from_others() {
    let world = World::start(&format!(
        "_acme-challenge.www CNAME {TARGET}.\n_acme-challenge.chain CNAME _acme-challenge.www\n\
         _acme-challenge.old CNAME x.edge.test.\n_acme-challenge.text TXT \"a value\""
    ))
    .await;
    let elsewhere = Delegation::Elsewhere { to: "x.edge.test".to_owned() };
    let cases = [
        ("www.shop.test", Delegation::Present),
        ("*.www.shop.test", Delegation::Present),
        ("chain.shop.test", Delegation::Present),
        ("old.shop.test", elsewhere),
        ("text.shop.test", Delegation::Absent),
        ("none.shop.test", Delegation::Absent),
    ];
    for (name, expected) in cases {
        assert_eq!(delegation(&world, name).await, expected, "{name}");
    }
}

#[tokio::test]
async fn sees_a_delegation_that_a_resolver_remembers_not_to_exist() {
    let mut world = World::start("www A 192.0.2.1").await;
    assert_eq!(delegation(&world, "www.shop.test").await, Delegation::Absent);
    world.authority.set("shop.test", &format!("_acme-challenge.www CNAME {TARGET}.")).await;
    assert_eq!(delegation(&world, "www.shop.test").await, Delegation::Present);
}

#[tokio::test]
async fn a_resolver_learns_nothing_of_a_delegation_or_its_target_before_they_are_there() {
    let mut world = World::start("_acme-challenge.www CNAME value.edge.test.").await;
    let config = world.config(&[world.resolver.address()]);
    let verifier = Verifier::new(&config).unwrap();
    let name = "www.shop.test".parse().unwrap();
    let task = async move { verifier.challenge_delegation(&name, "value.edge.test").await };
    assert_eq!(tokio::spawn(task).await.unwrap(), Delegation::Present);
    assert_eq!(delegation(&world, "other.shop.test").await, Delegation::Absent);

    let records = "_acme-challenge.www CNAME value.edge.test.\n_acme-challenge.other TXT there";
    world.authority.set("shop.test", records).await;
    world.authority.set("edge.test", "value TXT there").await;
    for name in ["_acme-challenge.www.shop.test.", "_acme-challenge.other.shop.test."] {
        let answer = ask_resolver(world.resolver.address(), name, RecordType::TXT).await;
        let is_text = |record: &Record| record.record_type() == RecordType::TXT;
        assert!(answer.answers.iter().any(is_text), "{answer}");
    }
}

#[tokio::test]
async fn cannot_tell_where_nobody_answers() {
    let mut world = World::start("www A 192.0.2.1").await;
    world.authority.stop();
    world.resolver.stop();
    assert_eq!(delegation(&world, "www.shop.test").await, Delegation::Unclear);
}
