//! A control plane that is killed again and again while everything is changed.

mod agents;
mod invariants;
mod load;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use agents::Agents;
use landfall_tests::{Authority, Lab, LabBuilder, wait_until};
use load::{Dice, World};

/// How many times it is killed at least, and how long it lives at most, in milliseconds; with agents it gets
/// further each time.
const KILLS: u64 = 30;
const LIFE: u64 = 500;
const KILLS_WITH_AGENTS: u64 = 15;
const LIFE_WITH_AGENTS: u64 = 2_500;
const CLIENTS: u64 = 6;
/// How many agents there are, where there are any.
const AGENTS: u64 = 3;
/// How long all of it may take on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(300);

#[tokio::test]
async fn leaves_nothing_half_made_wherever_it_is_killed() {
    let lab = Lab::builder().control_setting("internal_ca.external_hostnames", "verified");
    let actions = ["hostname.create", "hostname.take_over", "hostname.delete", "property.delete"];
    killed_again_and_again(lab, 0, |state| {
        actions.into_iter().find(|action| invariants::audited(state, action) == 0)
    })
    .await;
}

#[tokio::test]
async fn leaves_no_lease_half_made_wherever_it_is_killed() {
    let lab = Lab::builder()
        .control_setting("issuance.lease", "2s")
        .control_setting("issuance.certificate_authorities", vec![agents::AUTHORITY])
        .control_setting("issuance.authority.scripted.directory", "https://ca.test/directory")
        .control_setting("issuance.authority.scripted.limits", "lets_encrypt");
    let kinds = ["certificate_issued", "certificate_attempt_failed"];
    let lab = killed_again_and_again(lab, AGENTS, |state| {
        kinds.into_iter().find(|kind| invariants::told(state, kind) == 0)
    })
    .await;
    let state = lab.folder().join("control");
    assert!(invariants::leased(&state) > 0, "there was no lease");
    wait_until("nothing is shown for nobody", Duration::from_secs(60), async || {
        invariants::shown_for_nobody(&state).is_empty().then_some(())
    })
    .await;
}

/// Kills the control plane while clients change everything and so many agents do jobs, and checks what it
/// leaves each time; goes on until nothing is `missing` of what is to come about.
async fn killed_again_and_again(
    lab: LabBuilder,
    agents: u64,
    missing: impl Fn(&Path) -> Option<&'static str>,
) -> Lab {
    let (kills, life) = match agents {
        0 => (KILLS, LIFE),
        _ => (KILLS_WITH_AGENTS, LIFE_WITH_AGENTS),
    };
    let world = World::start().await;
    // Names lead to the PoP, and at other times to hosts that prove who owns them.
    let zones = ["* A 127.0.0.1".to_owned(), format!("* A {}", world.hosts.ip())];
    let mut dns = Authority::start(&[("customer.test", &zones[0])]).await;
    let mut lab = lab
        .control_setting("dns.resolvers", vec![dns.address().to_string()])
        .control_setting("dns.zone_port", i64::from(dns.address().port()))
        .control_setting("verification.http_port", i64::from(world.hosts.port()))
        .control_setting("verification.token_files_per_minute", 1_000_000)
        .control_setting("verification.token_files_burst", 1_000_000)
        .control_setting("verification.allow_networks", vec!["127.0.0.0/8"])
        .start()
        .await;
    let state = lab.folder().join("control");
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let started = Instant::now();

    for (kill, zone) in (0..).zip(zones.iter().cycle()) {
        let missing = missing(&state);
        if kill >= kills && missing.is_none() {
            break;
        }
        dns.set("customer.test", zone).await;
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let own = Dice(dice.roll(u64::MAX) | 1);
                tokio::spawn(Arc::clone(&world).change(lab.api(), own))
            })
            .collect();
        let workers = (0..agents).map(|_| {
            let own = Dice(dice.roll(u64::MAX) | 1);
            tokio::spawn(Agents::of(&lab).work(own))
        });
        let clients: Vec<_> = clients.into_iter().chain(workers.collect::<Vec<_>>()).collect();
        let moment = Duration::from_millis(100 + dice.roll(life));
        tokio::time::sleep(moment).await;
        lab.control().kill().await;
        for client in clients {
            client.await.unwrap();
        }
        invariants::check(&state);
        assert!(started.elapsed() < PATIENCE, "after {kill} kills; missing: {missing:?}");
        lab.control().start();
        lab.wait_until_control_is_ready().await;
    }

    let rejected = lab.metric(0, "landfall_feed_records_rejected_total", "").await;
    assert_eq!(rejected.unwrap_or(0.0), 0.0);
    wait_until("the edge has all of it", Duration::from_secs(60), async || {
        let head = invariants::head(&state);
        let applied = lab.metric(0, "landfall_feed_revision", "").await?;
        (applied == head).then_some(())
    })
    .await;
    lab
}
