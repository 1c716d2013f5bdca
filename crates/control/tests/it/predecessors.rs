//! What a certificate took the place of stays beside it until PoPs are seen to serve that.

use landfall_feed::{
    protocol::{Ack, MAX_ACK_REJECTED, Rejected},
    record::HostnameRecord,
};
use landfall_model::{Epoch, Revision};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{
    agents::{NAME, Scene, execute, group, issued, lease, report, scene},
    support::{Plane, Pop, eventually, hostname_record},
    upload::{long_chain, padded_chain},
};

async fn acknowledge(pop: &Pop, rejected: Vec<Rejected>) {
    let epoch = pop.epoch().await;
    let applied = Revision(pop.head(epoch).await);
    let (epoch, digest) = (Epoch(epoch), Default::default());
    pop.ack(&Ack { epoch, applied, digest, rejected, busiest: Vec::new() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_certificate_replaced_is_published_until_pops_take_it_and_have_shown_it() {
    let Scene { mut plane, mut pop, .. } = scene(json!({})).await;
    let epoch = pop.epoch().await;
    let mut replaced = None;
    for _ in 0..3 {
        let is_issue = |task: &Value| task["task"] == "issue";
        let task = eventually(async || lease(&pop, "agent-1", 1).await.into_iter().find(is_issue));
        let task = task.await;
        assert_eq!(report(&pop, &task, issued(&group(&plane), NAME)).await["lease"], "ended");
        let now = record(&pop, epoch).await;
        // Of several that were never seen, the oldest is the one that is known to be good.
        assert_eq!(now.predecessors.first().cloned(), replaced);
        assert!(now.predecessors.len() <= 1);
        replaced = replaced.or(now.certificates.first().cloned());
        execute(&plane, "UPDATE certificate SET renew_at = 0").await;
        plane = plane.restart(async |_| {}).await;
        pop = pop.at(&plane);
    }
    let refusal = Rejected {
        id: format!("hostname/{NAME}"),
        revision: Revision(pop.head(epoch).await),
        reason: "the private key can't be used".to_owned(),
    };
    acknowledge(&pop, vec![refusal]).await;
    execute(&plane, "UPDATE certificate SET shown_at = unixepoch()").await;
    assert_eq!(record(&pop, epoch).await.predecessors.first().cloned(), replaced);
    acknowledge(&pop, Vec::new()).await;
    let served = record(&pop, epoch).await.certificates;
    let settled = eventually(async || {
        Some(record(&pop, epoch).await).filter(|own| own.predecessors.is_empty())
    });
    assert_eq!(settled.await.certificates, served);
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_forgotten_of_what_a_pop_has_no_room_to_refuse_or_by_the_clock_alone() {
    let plane = Plane::start().await;
    let pop = plane.pop("pop-1").await;
    let epoch = pop.epoch().await;
    let property = plane.property("shop").await;
    let (old, new) = ("old.edge.test", "new.edge.test");
    for name in [old, new] {
        let certificate = format!("{}/certificate", plane.hostname(&property, name).await);
        let (status, answer) = plane.post(&certificate, &long_chain(name)).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
    execute(&plane, "UPDATE certificate SET shown_at = unixepoch()").await;
    let left = async |name| hostname_record(&pop.records(epoch, 0).await, name).predecessors.len();
    assert_eq!((left(old).await, left(new).await), (1, 1));
    // So it looks while the clock is ahead.
    execute(&plane, "UPDATE predecessor SET not_after = 1").await;
    let head = Revision(pop.head(epoch).await);
    let refusals = |count| {
        let refusal = |index| Rejected {
            id: format!("hostname/{index}.customer.test"),
            revision: head,
            reason: "the private key can't be used".to_owned(),
        };
        (0..count).map(refusal).collect::<Vec<_>>()
    };

    acknowledge(&pop, refusals(MAX_ACK_REJECTED)).await;
    eventually(async || (left(new).await == 0).then_some(())).await;
    // The same round looked at it first.
    assert_eq!(left(old).await, 1);
    acknowledge(&pop, refusals(MAX_ACK_REJECTED - 1)).await;
    eventually(async || (left(old).await == 0).then_some(())).await;
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_ended_makes_room_for_what_has_not_and_for_nothing_else() {
    let plane = Plane::start().await;
    let pop = plane.pop("pop-1").await;
    let epoch = pop.epoch().await;
    let property = plane.property("shop").await;
    let name = "www.edge.test";
    let certificate = format!("{}/certificate", plane.hostname(&property, name).await);
    let ended = "UPDATE predecessor SET not_after = 1";
    let all_ended = "UPDATE certificate SET not_after = 1";
    let mut shown = Vec::new();
    for statement in [None, Some(all_ended), Some(ended)] {
        if let Some(statement) = statement {
            execute(&plane, ended).await;
            execute(&plane, statement).await;
        }
        let (status, answer) = plane.post(&certificate, &padded_chain(name, 1)).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let record = record_of(&pop, epoch, name).await;
        shown.push((record.certificates[0].clone(), record.predecessors[0].clone()));
    }
    assert_eq!(shown[1].1, shown[0].1);
    assert_eq!(shown[2].1, shown[1].0);
    plane.stop().await;
}

async fn record_of(pop: &Pop, epoch: u64, name: &str) -> HostnameRecord {
    hostname_record(&pop.records(epoch, 0).await, name)
}

async fn record(pop: &Pop, epoch: u64) -> HostnameRecord {
    record_of(pop, epoch, NAME).await
}
