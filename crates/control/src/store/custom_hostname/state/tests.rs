use std::{collections::BTreeSet, sync::Arc, time::Duration};

use landfall_feed::protocol::{AckState, Rejected};
use landfall_model::{Epoch, HostnameId, PropertyId};
use sqlx::AssertSqlSafe;
use time::OffsetDateTime;

use super::super::{CertificateFilter, Direction, Order, Page, Selection, select};

use super::*;
use crate::{
    call::Call,
    hostname::{
        certificate_state::{CertificateState, PublicStatus, Situation},
        deployment::{Proof, Published},
    },
    store::{
        self, Store,
        pop::{Pop, PopAck, Traffic},
    },
    token::PopId,
};

const REJECTED: i64 = 7;
const NOW: i64 = 1_800_000_000;
const DAY: i64 = 86_400;

/// The parts that hostnames of the test are put together from, as statements on the hostname `?`.
const HELD: [&str; 2] = [
    "",
    "INSERT INTO held_name (name, hostname_id, property_id, parent, verified) \
                               SELECT name, id, property_id, '', 0 FROM hostname WHERE id = ?",
];
const LEFT: [&str; 3] = [
    "",
    "INSERT INTO verification (hostname_id, property_id, lane, since) VALUES (?, 1, 2, 0)",
    "INSERT INTO verification (hostname_id, property_id, lane, since, left_at) \
     VALUES (?, 1, 2, 0, 7)",
];
const JOBS: [&str; 4] = [
    "",
    "INSERT INTO job \
     (hostname_id, property_id, issuer, lane, choice, state, attempts, next_at, created_at) \
     VALUES (?, 1, 1, 1, '', 0, 3, 0, 0)",
    "INSERT INTO job \
     (hostname_id, property_id, issuer, lane, choice, state, attempts, next_at, created_at) \
     VALUES (?, 1, 1, 1, '', 0, 4, 0, 0)",
    "INSERT INTO job \
     (hostname_id, property_id, issuer, lane, choice, state, attempts, next_at, created_at) \
     VALUES (?, 1, 1, 1, '', 1, 4, 0, 0)",
];
/// Revision and age in seconds of the feed record: PoPs have applied revision 50, and rejected
/// another.
const RECORDS: [Option<(i64, i64)>; 5] =
    [None, Some((50, 9)), Some((51, 9)), Some((51, 9_000)), Some((REJECTED, 9))];
/// Issuer, type of key and days left of certificates with a life of 90 days.
const CERTIFICATES: [&[(i64, i64, i64)]; 9] = [
    &[],
    &[(0, 0, 60)],
    &[(0, 0, 10)],
    &[(1, 0, 60)],
    &[(3, 0, 10)],
    &[(1, 1, 10)],
    &[(1, 0, -1), (1, 1, 60)],
    &[(2, 0, 60)],
    &[(2, 0, -1), (1, 1, 60)],
];

fn at(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(seconds).unwrap()
}

async fn add_hostname(on: &mut store::Connection, id: i64, status: i64, parts: [&str; 3]) {
    let name = format!("n{id}.customer.test");
    let insert = "INSERT INTO hostname (id, property_id, name, public_id, ssl_id, ownership_token, \
                  system, status, internal, route, tls, metadata, wish, created_at) \
                  VALUES (?1, 1, ?2, ?1, ?1, '', 0, ?3, 0, '{\"property\":1}', '{}', '{}', '{}', 0)";
    sqlx::query(insert).bind(id).bind(name).bind(status).execute(&mut *on).await.unwrap();
    for part in parts {
        if !part.is_empty() {
            sqlx::query(AssertSqlSafe(part)).bind(id).execute(&mut *on).await.unwrap();
        }
    }
}

async fn add_record(on: &mut store::Connection, id: i64, record: (i64, i64)) {
    let insert = "INSERT INTO feed_record (revision, id, kind, deleted, changed_at, encoded) \
                  VALUES (?, ?, 'hostname', 0, ?, x'00')";
    // Revisions are unique in the feed; here their order alone matters.
    let revision = record.0 * 1_000_000 + id;
    let name = format!("hostname/n{id}.customer.test");
    let query = sqlx::query(insert).bind(revision).bind(name).bind(NOW - record.1);
    query.execute(on).await.unwrap();
}

async fn add_certificates(
    on: &mut store::Connection,
    id: i64,
    chain: &[u8],
    certificates: &[(i64, i64, i64)],
) {
    for (issuer, key_type, days) in certificates {
        let insert = "INSERT INTO certificate (hostname_id, key_type, issuer, fingerprint, \
                      not_before, not_after, renew_at, chain, spki_sha256, created_at, shown_at) \
                      VALUES (?1, ?2, ?3, zeroblob(32), ?4, ?5, ?5, ?6, x'00', ?7, ?8)";
        // Seen or not, and for how long.
        let (seen, age) = (id % 2, [9, 9_000][usize::from(id % 4 < 2)]);
        let end = NOW + days * DAY;
        let query = sqlx::query(insert).bind(id).bind(key_type).bind(issuer);
        let query = query.bind(end - 90 * DAY).bind(end).bind(chain);
        let query = query.bind(NOW - age).bind((seen == 0).then_some(NOW));
        query.execute(&mut *on).await.unwrap();
    }
}

/// A hostname of every combination that can make a difference. Answers how many there are, and those
/// whose records the PoP rejects.
async fn fill(store: &Store) -> (i64, Vec<i64>) {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["customer.test".to_owned()]).unwrap();
    let chain = params.self_signed(&key).unwrap().der().to_vec();
    let mut change = store.change(Call::system(at(NOW))).await.unwrap();
    let on = change.on();
    let insert = "INSERT INTO property (id, name, zone_id, pool, created_at) \
                  VALUES (1, 'shop', '', '{\"origins\":[]}', 0)";
    sqlx::query(insert).execute(&mut *on).await.unwrap();
    let (mut id, mut rejected) = (0, Vec::new());
    for combination in 0_usize.. {
        let (status, rest) = (combination % 4, combination / 4);
        let (left, rest) = (LEFT[rest % 3], rest / 3);
        let (held, rest) = (HELD[rest % 2], rest / 2);
        let (record, rest) = (RECORDS[rest % 5], rest / 5);
        let (job, rest) = (JOBS[rest % 4], rest / 4);
        let Some(certificates) = CERTIFICATES.get(rest) else { break };
        let has_record_unheld = held.is_empty() && record.is_some();
        if has_record_unheld || (!certificates.is_empty() && !job.is_empty()) {
            continue;
        }
        id += 1;
        add_hostname(on, id, status as i64, [held, left, job]).await;
        add_certificates(on, id, &chain, certificates).await;
        if let Some(record) = record {
            add_record(on, id, record).await;
            if record.0 == REJECTED {
                rejected.push(id);
            }
        }
    }
    change.commit().await.unwrap();
    (id, rejected)
}

fn fleet(ids: &[i64], seen_at: Option<i64>, proof: Proof) -> Fleet {
    let rejected = |id: &i64| Rejected {
        id: format!("hostname/n{id}.customer.test"),
        revision: Revision(0),
        reason: String::new(),
    };
    let ack = PopAck {
        epoch: Epoch(1),
        applied: Revision(50_999_999),
        state: AckState::InSync,
        rejected: ids.iter().map(rejected).collect(),
        seen_at: at(NOW),
    };
    let pop = Pop {
        id: PopId(1),
        name: "pop".to_owned(),
        addresses: Vec::new(),
        traffic: Traffic::On,
        seen_at: seen_at.map(at),
        refused_at: None,
        created_at: at(0),
        ack: Some(ack),
    };
    let unhealthy_after = Duration::from_secs(60);
    Fleet { at: at(NOW), epoch: Epoch(1), pops: vec![pop], unhealthy_after, proof }
}

/// Both statuses of a hostname as they are decided.
async fn decided(
    on: &mut store::Connection,
    id: HostnameId,
    fleet: &Arc<Fleet>,
) -> (PublicStatus, CertificateState) {
    let hostname = store::hostname::find(on, id).await.unwrap().unwrap();
    let verification = store::verification::find(on, id).await.unwrap();
    let job = store::job::newest(on, id).await.unwrap();
    let certificates = store::certificate::summaries(on, id).await.unwrap();
    let records = store::held_name::publications(on, id).await.unwrap();
    let published = Published { fleet: Arc::clone(fleet), records };
    let left_at = verification.and_then(|state| state.left_at);
    let situation = Situation {
        status: hostname.status,
        title: hostname.title,
        left_at,
        job: job.as_ref(),
        certificates: &certificates,
        deployment: published.deployment(),
        proof: fleet.proof,
        now: fleet.at,
    };
    (PublicStatus::of(hostname.status, left_at), situation.certificate_state())
}

async fn selected(
    on: &mut store::Connection,
    fleet: &Fleet,
    selection: Selection,
) -> BTreeSet<i64> {
    let (order, direction) = (Order::CertificateState, Direction::Descending);
    let page = Page { limit: 100_000, offset: 0, order, direction };
    let found = select(on, PropertyId(1), &selection, (page, fleet)).await.unwrap();
    assert_eq!(found.0.len() as u64, found.1);
    found.0.into_iter().map(|id| id.0).collect()
}

#[tokio::test]
async fn filters_find_what_is_decided_to_be_in_a_state() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let store = Store::open(file.path()).await.unwrap();
    let (ids, rejected) = fill(&store).await;
    let mut on = store.read().await.unwrap();
    let mut seen = BTreeSet::new();
    let fleets = [
        (Some(NOW), Proof::Acknowledgement),
        (Some(NOW), Proof::Handshake),
        (None, Proof::Handshake),
    ];
    for (seen_at, proof) in fleets {
        let fleet = Arc::new(fleet(&rejected, seen_at, proof));
        let mut expected = Vec::new();
        for id in 1..=ids {
            expected.push((id, decided(&mut on, HostnameId(id), &fleet).await));
        }
        for state in CertificateState::ALL {
            let certificate = Some(CertificateFilter::InState(state.name()));
            let selection = Selection { certificate, ..Selection::default() };
            let found = selected(&mut on, &fleet, selection).await;
            let own = expected.iter().filter(|(_, (_, own))| *own == state).map(|(id, _)| *id);
            assert_eq!(found, own.collect(), "{}", state.name());
            if !found.is_empty() {
                seen.insert(state.name());
            }
        }
        for status in [PublicStatus::Pending, PublicStatus::Active, PublicStatus::Moved] {
            let selection = Selection { status: Some(status.name()), ..Selection::default() };
            let found = selected(&mut on, &fleet, selection).await;
            let own = expected.iter().filter(|(_, (own, _))| *own == status).map(|(id, _)| *id);
            assert_eq!(found, own.collect(), "{}", status.name());
        }
    }
    assert_eq!(seen.len(), CertificateState::ALL.len(), "every state occurs: {seen:?}");
}
