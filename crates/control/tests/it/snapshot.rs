//! Snapshots: manifests, segments, and when a new one is built.

use landfall_control::admin;
use landfall_feed::{
    digest::StateDigest,
    page::{Manifest, PageKind, SegmentRef, VerifiedPage},
    protocol::{Ack, AckState},
    seal::sha256,
};
use landfall_model::{Epoch, Revision};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::support::{Plane, Pop, ids, read, records};

async fn manifest(pop: &Pop) -> (VerifiedPage, Manifest) {
    let response = pop.request(Method::GET, "/feed/v1/snapshot").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let page = pop.verify(response, PageKind::Manifest).await;
    let manifest = page.manifest().unwrap();
    (page, manifest)
}

fn path(segment: &SegmentRef) -> String {
    format!("/feed/v1/snapshot/{}", segment.name)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_holds_every_live_record_and_no_tombstone() {
    let plane = Plane::start_with(json!({"feed": {"segment_records": 2}})).await;
    let pop = plane.pop("pop-1").await;
    let property = plane.property("shop").await;
    for name in ["a.test.test", "b.test.test", "c.test.test"] {
        plane.hostname(&property, name).await;
    }
    let gone = plane.hostname(&property, "gone.test.test").await;
    plane.delete(&gone).await;

    let (page, manifest) = manifest(&pop).await;

    let head = Revision(pop.head(page.header().epoch.0).await);
    assert_eq!(page.header().to, head);
    assert_eq!(manifest.hostnames, 4);
    let mut found = Vec::new();
    for segment in &manifest.segments {
        let response = pop.request(Method::GET, &path(segment)).send().await.unwrap();
        let bytes = response.bytes().await.unwrap();
        assert_eq!(bytes.len() as u64, segment.len);
        assert_eq!(sha256(&bytes)[..], segment.sha256[..]);
        let keys = [pop.enrolment.signing_key];
        let page = VerifiedPage::open(&bytes, &keys, PageKind::Segment).unwrap();
        assert_eq!(page.header().to, head);
        let segment = records(&page);
        assert!((1..=2).contains(&segment.len()));
        found.extend(segment);
    }
    let expected = [
        "hostname/a.test.test",
        "hostname/b.test.test",
        "hostname/c.test.test",
        "hostname/shop.edge.test",
        "pop/pop-1",
        "property/1",
    ];
    assert_eq!(ids(&found), expected);
    assert_eq!(page.header().count, found.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_without_hostnames_has_a_snapshot_of_its_pops() {
    let plane = Plane::start().await;
    let pop = plane.pop("pop-1").await;
    let (page, manifest) = manifest(&pop).await;
    assert_eq!(manifest.hostnames, 0);
    assert!(page.header().count >= 1);
    assert!(!page.header().allow_shrink);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_is_served_in_parts() {
    let plane = Plane::start().await;
    let pop = plane.pop("pop-1").await;
    let (_, manifest) = manifest(&pop).await;
    let segment = &manifest.segments[0];
    let get = || pop.request(Method::GET, &path(segment));
    let whole = get().send().await.unwrap().bytes().await.unwrap();

    let part = get().header("range", "bytes=10-").send().await.unwrap();

    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    let range = format!("bytes 10-{}/{}", segment.len - 1, segment.len);
    assert_eq!(part.headers()["content-range"], range.as_str());
    assert_eq!(part.bytes().await.unwrap(), whole[10..]);
    for name in ["1-1-000000-00.seg", "control.db", "..%2Fcontrol.db", "A"] {
        let response = pop.request(Method::GET, &format!("/feed/v1/snapshot/{name}"));
        let (status, _) = read(response.send().await.unwrap()).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_built_anew_once_it_is_too_old_or_behind_its_reader() {
    let plane = Plane::start_with(json!({"feed": {"snapshot_every": 3}})).await;
    let (one, two) = (plane.pop("pop-1").await, plane.pop("pop-2").await);
    let revision = async |pop: &Pop| manifest(pop).await.0.header().to;
    let property = plane.property("shop").await;
    let first = revision(&one).await;
    plane.hostname(&property, "a.test.test").await;
    assert_eq!(revision(&one).await, Revision(first.0 + 1), "of few hostnames each is another");
    for number in 0..80 {
        plane.hostname(&property, &format!("h{number}.test.test")).await;
    }
    let first = revision(&one).await;
    plane.hostname(&property, "b.test.test").await;
    assert_eq!(revision(&one).await, first);

    // A reader that has told of a revision would refuse a snapshot of an earlier one.
    let epoch = Epoch(one.epoch().await);
    let digest = StateDigest::default();
    let ack = Ack {
        epoch,
        applied: Revision(first.0 + 1),
        digest,
        rejected: Vec::new(),
        busiest: Vec::new(),
    };
    assert_eq!(two.ack(&ack).await.state, AckState::Diverged);
    let second = revision(&two).await;
    assert_eq!(second, Revision(first.0 + 1));
    assert_eq!(revision(&one).await, second);

    for name in ["c.test.test", "d.test.test"] {
        plane.hostname(&property, name).await;
        assert_eq!(revision(&one).await, second);
    }
    plane.hostname(&property, "e.test.test").await;
    assert_eq!(revision(&one).await, Revision(second.0 + 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_epoch_has_a_new_snapshot_and_old_files_go() {
    let plane = Plane::start().await;
    let pop = plane.pop("pop-1").await;
    let (_, first) = manifest(&pop).await;
    for _ in 0..2 {
        let epoch = admin::new_epoch(&plane.config).await.unwrap();
        assert_eq!(manifest(&pop).await.0.header().epoch, epoch);
    }
    let gone = pop.request(Method::GET, &path(&first.segments[0])).send().await.unwrap();
    assert_eq!(gone.status(), StatusCode::NOT_FOUND);
    let files = std::fs::read_dir(plane.dir.path().join("state/snapshots")).unwrap().count();
    assert_eq!(files, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_lets_the_next_snapshots_shrink() {
    let plane = Plane::start().await;
    let pop = plane.pop("pop-1").await;
    assert!(!manifest(&pop).await.0.header().allow_shrink);
    admin::allow_shrink(&plane.config).await.unwrap();
    assert!(manifest(&pop).await.0.header().allow_shrink);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_readers_at_once_get_one_snapshot() {
    let plane = Plane::start().await;
    let pop = plane.pop("pop-1").await;
    let asked = (0..20).map(|_| async { manifest(&pop).await.1 });
    let answers = futures_util::future::join_all(asked).await;
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    let metrics = plane.client.get(plane.url("/metrics")).send().await.unwrap();
    assert!(metrics.text().await.unwrap().contains("landfall_feed_snapshots_total 1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_that_were_removed_are_built_anew() {
    let plane = Plane::start().await;
    let pop = plane.pop("pop-1").await;
    manifest(&pop).await;
    std::fs::remove_dir_all(plane.dir.path().join("state/snapshots")).unwrap();
    let (_, manifest) = manifest(&pop).await;
    let response = pop.request(Method::GET, &path(&manifest.segments[0])).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}
