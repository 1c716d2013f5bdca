//! Whether `_acme-challenge` leads to where challenges are answered.

use landfall_dns::{Delegation, Verifier};

use crate::support::World;

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
async fn cannot_tell_where_nobody_answers() {
    let mut world = World::start("www A 192.0.2.1").await;
    world.authority.stop();
    world.resolver.stop();
    assert_eq!(delegation(&world, "www.shop.test").await, Delegation::Unclear);
}
