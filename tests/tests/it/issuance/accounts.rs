//! What an operator does about the accounts at CAs, and about what waits.

use landfall_tests::{CUSTOMER_ZONE, DEADLINE, Fleet, Origin, wait_until};
use serde_json::Value;

/// One edge, and a property whose hostnames' DNS leads there.
async fn start() -> (Fleet, Origin, i64) {
    let origin = Origin::start("shop").await;
    let mut fleet = Fleet::start(1).await;
    fleet.set_zone(CUSTOMER_ZONE, "* CNAME shop.edge.test.").await;
    let property = fleet.lab.api().create_property("shop", origin.address()).await;
    (fleet, origin, property)
}

async fn serve(fleet: &Fleet, property: i64, name: &str) {
    fleet.lab.api().add_hostname(property, name).await;
    fleet.wait_until_served_everywhere(name, "shop").await;
}

/// What is told of a command that must succeed.
async fn told(fleet: &Fleet, args: &[&str]) -> String {
    let ran = fleet.operate(args).await;
    assert!(ran.status.success(), "{args:?}: {}", ran.all());
    ran.stderr
}

/// The line of the only account, by its columns.
async fn account(fleet: &Fleet) -> Vec<String> {
    let ran = fleet.operate(&["issuance", "accounts"]).await;
    let lines: Vec<_> = ran.stdout.lines().collect();
    let [header, account] = lines.as_slice() else { panic!("{}", ran.all()) };
    let columns: Vec<_> = account.split('\t').map(str::to_owned).collect();
    assert_eq!(columns.len(), header.split('\t').count(), "{}", ran.all());
    columns
}

#[tokio::test]
async fn names_are_proven_with_the_new_key_of_an_account_after_a_rollover() {
    let (fleet, _origin, property) = start().await;
    serve(&fleet, property, "before.customer.test").await;
    let before = account(&fleet).await;

    let said = told(&fleet, &["issuance", "rollover", "pebble"]).await;

    assert!(said.contains("The account at pebble will get a new key"), "{said}");
    let after = wait_until("the account has a new key", DEADLINE, async || {
        let account = account(&fleet).await;
        (account[2] != before[2]).then_some(account)
    })
    .await;
    assert_eq!(after[..2], before[..2], "it is the same account");
    serve(&fleet, property, "after.customer.test").await;
    assert_eq!(account(&fleet).await[..3], after[..3]);
}

#[tokio::test]
async fn another_account_is_registered_for_one_that_was_forgotten() {
    let (fleet, _origin, property) = start().await;
    let none = fleet.operate(&["issuance", "forget", "pebble"]).await;
    assert_eq!(none.status.code(), Some(1));
    assert!(none.stderr.contains("no account at a CA named `pebble`"), "{}", none.stderr);
    serve(&fleet, property, "before.customer.test").await;
    let before = account(&fleet).await;

    told(&fleet, &["issuance", "forget", "pebble"]).await;
    serve(&fleet, property, "after.customer.test").await;

    let after = account(&fleet).await;
    assert_eq!(after[0], "pebble");
    assert!(after[1] != before[1] && after[2] != before[2], "{before:?} {after:?}");
}

#[tokio::test]
async fn what_waits_for_a_ca_that_was_down_is_told_and_tried_again_at_once() {
    let (mut fleet, _origin, property) = start().await;
    fleet.pebble.stop();
    let name = "www.customer.test";
    fleet.lab.api().add_hostname(property, name).await;
    let forecast = async || {
        let ran = fleet.operate(&["issuance", "forecast", "--json"]).await;
        serde_json::from_str::<Value>(&ran.stdout).unwrap_or_else(|_| panic!("{}", ran.all()))
    };
    let waits = wait_until("an attempt has failed", DEADLINE, async || {
        let forecast = forecast().await;
        let failed = forecast["waits"].as_array()?.iter().any(|wait| wait["reason"] != "in_flight");
        (forecast["waiting"] == 1 && failed).then_some(forecast)
    })
    .await;
    assert_eq!(waits["byAuthority"]["pebble"], 1, "{waits}");
    let said = fleet.operate(&["issuance", "forecast"]).await.expect_success();
    assert!(said.starts_with("1 job waits"), "{said}");

    fleet.pebble.resume().await;
    let said = told(&fleet, &["issuance", "retry", "pebble"]).await;

    assert!(said.contains("1 job"), "{said}");
    fleet.wait_until_served_everywhere(name, "shop").await;
    let said = fleet.operate(&["issuance", "forecast"]).await.expect_success();
    assert!(said.starts_with("No job waits"), "{said}");
}
