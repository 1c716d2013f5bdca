//! A CA that is about to revoke many certificates at once says so by moving the windows of their renewal into
//! the past (RFC 9773 section 4.2). All become urgent: the busiest hostnames go first, and nothing else starves.

use std::collections::BTreeMap;

use landfall_feed::protocol::{Ack, Busy};
use landfall_model::Epoch;
use serde_json::{Value, json};

use crate::{
    agents::{ask, execute},
    many_jobs::fill,
    support::{Plane, Pop, database, eventually},
};

/// Half of them with a certificate, half of them new names.
const HOSTNAMES: u32 = 80;
const WITH_CERTIFICATE: usize = 40;
/// As many questions are asked at once at most.
const AT_ONCE: usize = 25;
/// How many of those with a certificate are among the busiest.
const BUSY: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_a_ca_is_about_to_revoke_are_renewed_the_busiest_first() {
    let plane = Plane::start_with(json!({"issuance": {
        "certificate_authorities": ["own"],
        "authority": {"own": {"directory": "https://ca.test/directory", "at_once": 10_000}},
        "renewal_questions_per_minute": AT_ONCE,
    }}))
    .await;
    let pop = plane.pop("pop-1").await;
    plane.property("shop").await;
    let plane = plane.restart(async |dir| fill(dir, HOSTNAMES).await).await;
    let pop = pop.at(&plane);
    let epoch = pop.epoch().await;
    let traffic = tell_traffic(&plane, &pop, epoch).await;
    // Nothing is due, and each certificate's CA is to be asked about it.
    execute(
        &plane,
        "UPDATE certificate SET not_before = unixepoch() - 2592000, not_after = unixepoch() + 5184000, \
         renew_at = unixepoch() + 2592000, urgent_at = NULL, poll_at = unixepoch() - hostname_id",
    )
    .await;
    execute(&plane, "DELETE FROM job WHERE lane = 0").await;
    execute(&plane, "UPDATE certificate SET unasked = 1").await;

    let (asked, new) = ask_all(&pop).await;
    assert!((AT_ONCE..=AT_ONCE + 5).contains(&asked), "{asked}");
    assert!(new >= asked, "new names do not wait for questions: {new}");
    // There is another minute's worth of questions after a restart, and what is due is looked for.
    let plane = plane.restart(async |_| {}).await;
    let pop = pop.at(&plane);
    pop.epoch().await;
    assert_eq!(asked + ask_all(&pop).await.0, WITH_CERTIFICATE);
    // New names come meanwhile.
    execute(
        &plane,
        "INSERT INTO job (hostname_id, issuer, property_id, lane, choice, state, next_at, created_at) \
         SELECT id, 0, property_id, 1, '', 0, 0, 0 FROM hostname WHERE name LIKE '%.new.%' \
         AND NOT EXISTS (SELECT 1 FROM job WHERE hostname_id = hostname.id AND state = 0)",
    )
    .await;
    execute(&plane, "UPDATE job SET leased_until = NULL WHERE state = 0").await;
    let plane = plane.restart(async |_| {}).await;
    let pop = pop.at(&plane);
    pop.epoch().await;
    let waiting = "SELECT count(*) FROM job WHERE state = 0 AND deadline < unixepoch() - 3000";
    eventually(async || (count(&plane, waiting).await == WITH_CERTIFICATE).then_some(())).await;

    let leased = lease_all(&pop).await;
    let of = |name: &String| traffic.get(name).copied().unwrap_or(0);
    let (renewed, new): (Vec<&String>, Vec<&String>) =
        leased.iter().partition(|name| name.contains(".renewal."));
    assert_eq!((renewed.len(), new.len()), (WITH_CERTIFICATE, WITH_CERTIFICATE));
    let order: Vec<u32> = renewed.iter().map(|name| of(name)).collect();
    assert!(order.is_sorted_by(|one, next| one >= next), "{order:?}");
    assert_eq!(order.iter().filter(|traffic| **traffic > 0).count(), BUSY);
    let early = leased.iter().take(30).filter(|name| name.contains(".new.")).count();
    assert!((5..=7).contains(&early), "one in five is a new name: {early}");
    plane.stop().await;
}

/// An edge says which hostnames have how many handshakes.
async fn tell_traffic(plane: &Plane, pop: &Pop, epoch: u64) -> BTreeMap<String, u32> {
    let mut rows = database(plane.dir.path()).await;
    let names = "SELECT name FROM hostname WHERE name LIKE '%.renewal.%' ORDER BY id * 37 % 101";
    let names: Vec<String> = sqlx::query_scalar(names).fetch_all(&mut rows).await.unwrap();
    let traffic: BTreeMap<String, u32> =
        names.into_iter().take(BUSY).zip((1..).step_by(7)).collect();
    let busy =
        |(name, handshakes): (&String, &u32)| Busy { name: name.clone(), handshakes: *handshakes };
    let ack = Ack {
        epoch: Epoch(epoch),
        applied: pop.page(epoch, 0, "").await.header().to,
        digest: Default::default(),
        rejected: vec![],
        busiest: traffic.iter().map(busy).collect(),
    };
    pop.ack(&ack).await;
    traffic
}

/// Leases until there is nothing to do. The CA wanted all that it is asked about renewed an hour ago. Says how
/// much it was asked, and how many new names were leased.
async fn ask_all(pop: &Pop) -> (usize, usize) {
    let (mut asked, mut new) = (0, 0);
    loop {
        let tasks = lease(pop).await;
        if tasks.is_empty() {
            return (asked, new);
        }
        for task in tasks {
            if task["task"] != "ask_renewal" {
                new += 1;
                continue;
            }
            asked += 1;
            let now = time::OffsetDateTime::now_utc().unix_timestamp();
            let advice =
                json!({"start": now - 7_200, "end": now - 3_600, "ask_again_at": now + 9_000});
            let said = json!({"hostname": task["hostname"], "certificate": task["certificate"],
                "advice": advice});
            ask(pop, "/agent/v1/renewal", said).await;
        }
    }
}

async fn lease_all(pop: &Pop) -> Vec<String> {
    let mut names = Vec::new();
    loop {
        let tasks = lease(pop).await;
        if tasks.is_empty() {
            return names;
        }
        names.extend(tasks.iter().map(|task| task["names"][0].as_str().unwrap().to_owned()));
    }
}

async fn lease(pop: &Pop) -> Vec<Value> {
    let body = json!({"agent": "agent-1", "free": 8, "wait": 0});
    ask(pop, "/agent/v1/lease", body).await["tasks"].as_array().unwrap().clone()
}

async fn count(plane: &Plane, query: &'static str) -> usize {
    let mut rows = database(plane.dir.path()).await;
    let count = sqlx::query_scalar::<_, i64>(query).fetch_one(&mut rows).await.unwrap();
    count.try_into().unwrap()
}
