//! What a certificate took the place of stays beside it until PoPs are seen to serve that.

use landfall_feed::{
    protocol::{Ack, Rejected},
    record::HostnameRecord,
};
use landfall_model::{Epoch, Revision};
use serde_json::{Value, json};

use crate::{
    agents::{NAME, Scene, execute, group, issued, lease, report, scene},
    support::{Pop, eventually, hostname_record},
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

async fn record(pop: &Pop, epoch: u64) -> HostnameRecord {
    hostname_record(&pop.records(epoch, 0).await, NAME)
}
