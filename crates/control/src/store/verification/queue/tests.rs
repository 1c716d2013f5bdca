use sqlx::AssertSqlSafe;

use super::*;
use crate::{
    call::Call,
    store::{
        self, Change, Store,
        verification::{CheckResult, begin, end, find, keep},
    },
    token::random_number,
    verification::Progress,
};

const PROPERTIES: i64 = 5;
const HOSTNAMES: i64 = 8;

fn at(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_800_000_000 + seconds).unwrap()
}

async fn execute(change: &mut Change, statement: &str) {
    sqlx::query(AssertSqlSafe(statement)).execute(change.on()).await.unwrap();
}

/// A change with properties and hostnames, the last digit of whose ids is their property's.
async fn filled() -> (tempfile::NamedTempFile, Change) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let store = Store::open(file.path()).await.unwrap();
    let mut change = store.change(Call::system(at(0))).await.unwrap();
    for property in 1..=PROPERTIES {
        let insert = format!(
            "INSERT INTO property (id, name, zone_id, pool, created_at) \
             VALUES ({property}, 'p{property}', 'z{property}', '{{}}', 0)"
        );
        execute(&mut change, &insert).await;
        for id in (1..=HOSTNAMES).map(|number| number * 10 + property) {
            let insert = format!(
                "INSERT INTO hostname (id, property_id, name, public_id, ssl_id, ownership_token, \
                 system, status, internal, route, tls, metadata, wish, created_at) VALUES ({id}, \
                 {property}, 'h{id}.test', 'p{id}', 's{id}', 't', 0, 0, 0, '', '', '', '', 0)"
            );
            execute(&mut change, &insert).await;
        }
    }
    (file, change)
}

async fn move_to(change: &mut Change, id: HostnameId, lane: Lane, next_at: Option<OffsetDateTime>) {
    let before = find(change.on(), id).await.unwrap().unwrap().progress();
    let result = CheckResult {
        hostname: id,
        before,
        after: Progress { lane, next_at, ..before },
        checked_at: at(0),
        finding: landfall_dns::Finding::NxDomain,
        evidence: "{}".to_owned(),
    };
    assert!(keep(change.on(), &result).await.unwrap());
}

async fn turns(change: &mut Change, query: &'static str) -> Vec<(i64, i64, i64)> {
    sqlx::query_as(query).fetch_all(change.on()).await.unwrap()
}

#[tokio::test]
async fn whose_turn_it_is_is_what_the_hostnames_say_whatever_happens_to_them() {
    let (_file, mut change) = filled().await;
    for step in 0..2_000_i64 {
        let random = i64::from(random_number().unwrap());
        let id = HostnameId((random % HOSTNAMES + 1) * 10 + random / 8 % PROPERTIES + 1);
        let (lane, time) = (Lane::ALL[usize::try_from(random / 64 % 3).unwrap()], at(random % 99));
        match (random / 256 % 8, find(change.on(), id).await.unwrap().is_some()) {
            (_, false) => begin(change.on(), id, time).await.unwrap(),
            (0, true) => end(change.on(), id).await.unwrap(),
            (1, true) => move_to(&mut change, id, lane, None).await,
            (2, true) => put_off(change.on(), id, time, Jitter::of(0)).await.unwrap(),
            (3, true) => {
                let over = (at(0), Duration::from_secs(9));
                hasten(change.on(), Overlong::Misdated(lane, at(60)), over, 3).await.unwrap();
            }
            (4, true) => begin(change.on(), id, time).await.unwrap(),
            _ => move_to(&mut change, id, lane, Some(time)).await,
        }
        let kept = turns(&mut change, "SELECT * FROM verification_turn ORDER BY 1, 2").await;
        let told = turns(
            &mut change,
            "SELECT lane, property_id, min(next_at) FROM verification \
             WHERE next_at IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2",
        )
        .await;
        assert_eq!(kept, told, "step {step}");
    }
    for id in (1..=HOSTNAMES).flat_map(|number| (1..=PROPERTIES).map(move |own| number * 10 + own))
    {
        store::hostname::delete(change.on(), HostnameId(id)).await.unwrap();
    }
    assert_eq!(turns(&mut change, "SELECT * FROM verification_turn").await, []);
}

#[tokio::test]
async fn properties_that_have_something_due_take_turns() {
    let (_file, mut change) = filled().await;
    for (hostname, due) in [(11, 0), (21, 1), (12, 99), (13, 2), (14, 3), (24, 1)] {
        begin(change.on(), HostnameId(hostname), at(due)).await.unwrap();
    }
    for (last, limit, expected) in [
        (0, 9, vec![1, 3, 4]),
        (1, 9, vec![3, 4, 1]),
        (3, 2, vec![4, 1]),
        (4, 9, vec![1, 3, 4]),
        (99, 1, vec![1]),
    ] {
        let ring = (PropertyId(last), limit);
        let found = properties_due(change.on(), Lane::Fresh, at(9), ring).await.unwrap();
        assert_eq!(found, expected.into_iter().map(PropertyId).collect::<Vec<_>>(), "{last}");
    }
    let ring = (PropertyId(0), 9);
    assert_eq!(properties_due(change.on(), Lane::Active, at(9), ring).await.unwrap(), []);
    for (order, expected) in [(Order::OldestFirst, [11, 21]), (Order::NewestFirst, [21, 11])] {
        let of = (Lane::Fresh, PropertyId(1));
        let found = hostnames_due(change.on(), of, at(9), (order, 9)).await.unwrap();
        assert_eq!(found, expected.map(HostnameId));
    }
}

#[tokio::test]
async fn what_a_lane_asks_for_again_and_again_is_read_off_an_index() {
    let (_file, mut change) = filled().await;
    for (query, index) in [
        (PROPERTIES_DUE, "COVERING INDEX verification_turn_due (lane=? AND next_at<?)"),
        (OLDEST_DUE, "INDEX verification_property (lane=? AND property_id=? AND next_at<?)"),
        (NEWEST_DUE, "INDEX verification_property (lane=? AND property_id=? AND next_at<?)"),
    ] {
        let explain = format!("EXPLAIN QUERY PLAN {query}");
        let steps = sqlx::query(AssertSqlSafe(explain)).fetch_all(change.on()).await.unwrap();
        let steps: Vec<String> = steps.iter().map(|step| step.get(3)).collect();
        assert!(steps[0].starts_with("SEARCH") && steps[0].contains(index), "{steps:?}");
    }
}

#[tokio::test]
async fn what_waits_for_too_long_is_brought_forward_and_nothing_else_is() {
    let (_file, mut change) = filled().await;
    for (hostname, lane, next_at) in
        [(11, Lane::Pending, 500), (12, Lane::Pending, 50), (13, Lane::Active, 500)]
    {
        begin(change.on(), HostnameId(hostname), at(0)).await.unwrap();
        move_to(&mut change, HostnameId(hostname), lane, Some(at(next_at))).await;
    }
    let overlong = Overlong::Misdated(Lane::Pending, at(100));
    assert_eq!(count_overlong(change.on(), overlong).await.unwrap(), 1);
    let over = (at(0), Duration::from_secs(10));
    assert_eq!(hasten(change.on(), overlong, over, 9).await.unwrap(), 1);
    let mut due = Vec::new();
    for hostname in [11, 12, 13] {
        let state = find(change.on(), HostnameId(hostname)).await.unwrap().unwrap();
        due.push((state.next_at.unwrap() - at(0)).whole_seconds());
    }
    assert!((0..10).contains(&due[0]) && due[1..] == [50, 500], "{due:?}");
    assert_eq!(hasten(change.on(), overlong, over, 9).await.unwrap(), 0);
}
