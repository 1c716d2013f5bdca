//! What PoPs read: pages, long polls, acks.

use std::time::{Duration, Instant};

use landfall_control::admin;
use landfall_feed::{
    digest::StateDigest,
    protocol::{Ack, AckState, Rejected},
    record::Body,
};
use landfall_model::{Epoch, Revision};
use reqwest::{Method, StatusCode};
use serde_json::json;
use sqlx::{Connection, SqliteConnection};

use crate::support::{Plane, eventually, ids, read, records, with_json, within};

#[tokio::test(flavor = "multi_thread")]
async fn pages_follow_each_other_in_the_order_of_revisions() {
    let plane = Plane::start().await;
    let pop = plane.pop("pop-1").await;
    let property = plane.property("shop").await;
    for name in ["a.test.test", "b.test.test", "c.test.test"] {
        plane.hostname(&property, name).await;
    }
    let epoch = pop.epoch().await;
    let head = Revision(pop.head(epoch).await);
    let mut seen = Vec::new();
    let mut cursor = Revision(0);
    while cursor < head {
        let page = pop.page(epoch, cursor.0, "&limit=2").await;
        page.follows(Epoch(epoch), cursor).unwrap();
        cursor = page.header().to;
        seen.extend(records(&page));
    }
    let expected = [
        "pop/pop-1",
        "property/1",
        "hostname/shop.edge.test",
        "hostname/a.test.test",
        "hostname/b.test.test",
        "hostname/c.test.test",
    ];
    assert_eq!(ids(&seen), expected);
    assert!(seen.is_sorted_by(|one, next| one.revision < next.revision));
    assert_eq!(pop.changes(epoch, head.0, "").await.status(), StatusCode::NOT_MODIFIED);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_epoch_and_a_cursor_from_the_future_are_conflicts() {
    let plane = Plane::start().await;
    let pop = plane.pop("pop-1").await;
    let epoch = pop.epoch().await;
    let head = pop.head(epoch).await;
    for (epoch, after) in [(epoch - 1, 0), (epoch + 1, 0), (epoch, head + 1)] {
        let (status, problem) = read(pop.changes(epoch, after, "").await).await;
        assert_eq!(status, StatusCode::CONFLICT);
        assert_eq!(problem["code"], "epoch_mismatch");
    }
    let new = admin::new_epoch(&plane.config).await.unwrap();
    assert!(new.0 > epoch);
    assert_eq!(pop.changes(epoch, head, "").await.status(), StatusCode::CONFLICT);
    assert_eq!(pop.epoch().await, new.0);
    let (status, _) =
        read(pop.request(Method::GET, "/feed/v1/changes").send().await.unwrap()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_poll_is_answered_as_soon_as_something_changes() {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    let pop = plane.pop("pop-1").await;
    let epoch = pop.epoch().await;
    let head = pop.head(epoch).await;
    let polled = pop.changes(epoch, head, "&wait=30");
    let adding = async {
        plane.long_polls(1).await;
        plane.hostname(&property, "www.one.test").await;
    };
    let (response, ()) = within(async { tokio::join!(polled, adding) }).await;
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_by_another_process_reaches_a_long_poll() {
    let plane = Plane::start().await;
    let pop = plane.pop("pop-1").await;
    let epoch = pop.epoch().await;
    let polled = pop.page(epoch, pop.head(epoch).await, "&wait=30");
    let (page, _) = within(async { tokio::join!(polled, plane.pop("pop-2")) }).await;
    assert_eq!(records(&page)[0].id, "pop/pop-2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pop_that_is_removed_gets_nothing_more_from_a_poll_that_waits() {
    let plane = Plane::start().await;
    let pop = plane.pop("pop-1").await;
    let epoch = pop.epoch().await;
    let head = pop.head(epoch).await;
    let polled = tokio::spawn(async move { pop.changes(epoch, head, "&wait=30").await.status() });
    plane.long_polls(1).await;
    admin::remove_pop(&plane.config, "pop-1").await.unwrap();
    assert_eq!(within(polled).await.unwrap(), StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_poll_ends_with_its_wait_and_with_the_server() {
    let plane = Plane::start().await;
    let pop = plane.pop("pop-1").await;
    let epoch = pop.epoch().await;
    let head = pop.head(epoch).await;
    assert_eq!(pop.changes(epoch, head, "&wait=1").await.status(), StatusCode::NOT_MODIFIED);
    let polled = tokio::spawn(async move { pop.changes(epoch, head, "&wait=30").await.status() });
    plane.long_polls(1).await;
    let started = Instant::now();
    within(plane.stop()).await;
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(within(polled).await.unwrap(), StatusCode::NOT_MODIFIED);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_long_polls_than_allowed_are_told_to_come_back() {
    let plane = Plane::start_with(json!({"feed": {"max_long_polls": 1}})).await;
    let pop = plane.pop("pop-1").await;
    let epoch = pop.epoch().await;
    let head = pop.head(epoch).await;
    let first = pop.changes(epoch, head, "&wait=30");
    let second = async {
        plane.long_polls(1).await;
        let response = pop.changes(epoch, head, "&wait=1").await;
        assert_eq!(response.headers()["retry-after"], "5");
        assert_eq!(read(response).await.1["code"], "too_many_long_polls");
        plane.property("shop").await;
    };
    let (first, ()) = within(async { tokio::join!(first, second) }).await;
    assert_eq!(first.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_reads_one_json_record_a_line() {
    let plane = Plane::start().await;
    let pop = plane.pop("pop-1").await;
    plane.property("shop").await;
    let path = format!("/feed/v1/changes?epoch={}&after=0", pop.epoch().await);
    let request = pop.request(Method::GET, &path).header("accept", "application/x-ndjson");
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let text = response.text().await.unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let line = |id: &str| lines.iter().find(|line| line["id"] == id).unwrap();
    assert_eq!(line("pop/pop-1")["kind"], "pop");
    assert_eq!(line("hostname/shop.edge.test")["name"], "shop.edge.test");
    assert_eq!(line("property/1")["pool"]["origins"][0]["url"], "http://127.0.0.1:9001");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_older_than_the_pruned_tombstones_is_gone() {
    let plane = Plane::start().await;
    let pop = plane.pop("pop-1").await;
    let property = plane.property("shop").await;
    let path = plane.hostname(&property, "www.one.test").await;
    plane.delete(&path).await;
    plane.hostname(&property, "www.two.test").await;
    let epoch = pop.epoch().await;
    let found = pop.records(epoch, 0).await;
    let deletion = found.iter().find(|record| matches!(record.body, Body::Tombstone)).unwrap();
    let deleted = deletion.revision.0;

    let plane = plane
        .restart(async |dir| {
            let url = format!("sqlite://{}", dir.join("state/control.db").display());
            let mut database = SqliteConnection::connect(&url).await.unwrap();
            let query = "UPDATE feed_record SET changed_at = changed_at - 8 * 24 * 3600";
            sqlx::query(query).execute(&mut database).await.unwrap();
            database.close().await.unwrap();
        })
        .await;

    let pop = plane.pop("pop-2").await;
    let refused = eventually(async || {
        let response = pop.changes(epoch, deleted - 1, "").await;
        (response.status() != StatusCode::OK).then_some(response)
    });
    let (status, problem) = read(refused.await).await;
    assert_eq!((status, &problem["code"]), (StatusCode::GONE, &json!("cursor_too_old")));
    // Who had seen the deletion goes on.
    let rest = pop.records(epoch, deleted).await;
    assert_eq!(ids(&rest), ["hostname/www.two.test", "pop/pop-2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ack_is_held_against_the_state() {
    let plane = Plane::start().await;
    let pop = plane.pop("pop-1").await;
    let property = plane.property("shop").await;
    let path = plane.hostname(&property, "www.one.test").await;
    plane.delete(&path).await;
    let epoch = Epoch(pop.epoch().await);
    let mut digest = StateDigest::default();
    for record in pop.records(epoch.0, 0).await {
        if !matches!(record.body, Body::Tombstone) {
            digest.toggle(&record.id, record.revision);
        }
    }
    let applied = Revision(pop.head(epoch.0).await);
    let (before, after) = (Revision(applied.0 - 1), Revision(applied.0 + 1));
    let ack = |epoch, applied, digest| Ack {
        epoch,
        applied,
        digest,
        rejected: Vec::new(),
        busiest: Vec::new(),
    };

    assert_eq!(pop.ack(&ack(epoch, applied, digest)).await.state, AckState::InSync);
    let other = StateDigest::default();
    assert_eq!(pop.ack(&ack(epoch, applied, other)).await.state, AckState::Diverged);
    assert_eq!(pop.ack(&ack(epoch, before, other)).await.state, AckState::Behind);
    assert_eq!(pop.ack(&ack(Epoch(1), after, other)).await.state, AckState::Behind);
    assert_eq!(pop.ack(&ack(epoch, after, digest)).await.state, AckState::Diverged);

    let id = "hostname/shop.edge.test".to_owned();
    let rejected = vec![Rejected { id, revision: Revision(2), reason: "bad".repeat(999) }; 200];
    pop.ack(&Ack { epoch, applied, digest, rejected, busiest: Vec::new() }).await;
    let pops = admin::list_pops(&plane.config).await.unwrap();
    let kept = pops[0].ack.as_ref().unwrap();
    assert_eq!((kept.applied, kept.state, kept.rejected.len()), (applied, AckState::InSync, 100));
    let metrics = plane.client.get(plane.url("/metrics")).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    let line = format!("landfall_pop_applied_revision{{pop=\"pop-1\"}} {applied}\n");
    assert!(metrics.contains(&line), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostname_says_on_how_many_pops_it_is_live() {
    let plane = Plane::start().await;
    let pops = [plane.pop("pop-1").await, plane.pop("pop-2").await];
    let property = plane.property("shop").await;
    let path = plane.hostname(&property, "www.edge.test").await;
    let epoch = Epoch(pops[0].epoch().await);
    let live = async || plane.get(&path).await.1["pops"].clone();
    let applied = pops[0].records(epoch.0, 0).await.last().unwrap().revision;
    assert_eq!(live().await, json!({"live": 0, "shown": 0, "total": 2}));

    let digest = StateDigest::default();
    let ack = Ack { epoch, applied, digest, rejected: Vec::new(), busiest: Vec::new() };
    pops[0].ack(&ack).await;
    assert_eq!(live().await, json!({"live": 1, "shown": 0, "total": 2}));
    let id = "hostname/www.edge.test".to_owned();
    let rejected = vec![Rejected { id, revision: applied, reason: "expired".into() }];
    pops[1].ack(&Ack { rejected, ..ack.clone() }).await;
    assert_eq!(live().await, json!({"live": 1, "shown": 0, "total": 2}));
    pops[1].ack(&ack).await;
    assert_eq!(live().await, json!({"live": 2, "shown": 0, "total": 2}));
    plane.patch(&path, &json!({"tls": {"http2": false}})).await;
    assert_eq!(live().await, json!({"live": 0, "shown": 0, "total": 2}));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ack_of_a_later_version_is_understood() {
    let plane = Plane::start().await;
    let pop = plane.pop("pop-1").await;
    let body = json!({
        "epoch": 1, "applied": 0, "digest": StateDigest::default().to_string(), "later": true
    });
    let request = with_json(pop.request(Method::POST, "/feed/v1/ack"), &body);
    let (status, reply) = crate::support::answer(request).await;
    assert_eq!((status, &reply["state"]), (StatusCode::OK, &json!("behind")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_ends_before_it_is_larger_than_a_reader_takes() {
    let plane = Plane::start().await;
    let pop = plane.pop("pop-1").await;
    let property = plane.property("shop").await;
    let chain = crate::upload::long_chain("*.big.test");
    let count = 50;
    for index in 0..count {
        let path = plane.hostname(&property, &format!("n{index}.big.test")).await;
        let (status, problem) = plane.post(&format!("{path}/certificate"), &chain).await;
        assert_eq!(status, StatusCode::OK, "{problem}");
    }
    let epoch = pop.epoch().await;
    let (mut cursor, mut pages, mut seen) = (0, 0, 0);
    loop {
        let response = pop.changes(epoch, cursor, "").await;
        if response.status() == StatusCode::NOT_MODIFIED {
            break;
        }
        // Verifying refuses a body over the limit.
        let page = pop.verify(response, landfall_feed::page::PageKind::Changes).await;
        let found = records(&page);
        seen += ids(&found).into_iter().filter(|id| id.ends_with(".big.test")).count();
        cursor = page.header().to.0;
        pages += 1;
    }
    assert_eq!(seen, count);
    assert!(pages >= 2, "{pages}");
}
