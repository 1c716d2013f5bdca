use sqlx::{AssertSqlSafe, Row};

use super::*;
use crate::{
    call::Call,
    store::{Store, certificate},
};

const NOW: i64 = 1_800_000_000;
const DAY: i64 = 86_400;

async fn execute(on: &mut Connection, statement: &str) {
    sqlx::query(AssertSqlSafe(statement.to_owned())).execute(on).await.unwrap();
}

async fn store(folder: &std::path::Path) -> Store {
    let path = folder.join("control.db");
    std::fs::File::create(&path).unwrap();
    Store::open(&path).await.unwrap()
}

/// A hundred hostnames of one property, each with a job and a certificate; what differs goes by the number.
async fn fill(on: &mut Connection) {
    let statements = [
        "INSERT INTO property (id, name, zone_id, pool, created_at) VALUES (1, 'shop', '', '{}', 0)",
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100) \
         INSERT INTO hostname (id, property_id, name, public_id, ssl_id, ownership_token, system, \
             status, internal, route, tls, metadata, wish, created_at) \
         SELECT i, 1, 'n' || i || '.test', i, i, '', 0, 1, 0, '{}', '{}', '{}', '{}', 0 FROM n",
        "INSERT INTO job (hostname_id, property_id, issuer, lane, choice, state, next_at, created_at) \
         SELECT id, 1, id % 10 = 0, id % 3, '', 0, 1800000000 - id, 0 FROM hostname",
        "INSERT INTO certificate (hostname_id, key_type, issuer, fingerprint, not_before, not_after, \
             renew_at, poll_at, chain, spki_sha256, created_at) \
         SELECT id, 0, id % 4, x'', 0, 1800000000 + id * 3600, 1800000000 + (id - 60) * 3600, \
             1800000000 + id - 7, x'', x'', 0 FROM hostname",
    ];
    for statement in statements {
        execute(on, statement).await;
    }
}

async fn number(on: &mut Connection, query: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_one(on).await.unwrap()
}

#[tokio::test]
async fn tallies_are_what_a_count_says_whatever_happens() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let mut change = store.change(Call::system(OffsetDateTime::now_utc())).await.unwrap();
    let on = change.on();
    fill(on).await;
    let events = [
        "UPDATE job SET state = 1 WHERE id % 5 = 0",
        "UPDATE job SET lane = 2 WHERE id % 7 = 0",
        "UPDATE job SET state = 2, lane = 0 WHERE id % 11 = 0",
        "DELETE FROM job WHERE id % 13 = 0",
        "DELETE FROM certificate WHERE hostname_id % 17 = 0",
        "DELETE FROM hostname WHERE id % 19 = 0",
    ];
    for event in events {
        execute(on, event).await;
        for label in 0..4 {
            let of =
                |kind| format!("SELECT count FROM tally WHERE kind = '{kind}' AND label = {label}");
            let jobs = format!(
                "SELECT count(*) FROM job WHERE state = 0 AND iif(issuer = 1, 3, lane) = {label}"
            );
            let certificates = format!("SELECT count(*) FROM certificate WHERE issuer = {label}");
            assert_eq!(number(on, &of("job")).await, number(on, &jobs).await, "{event}");
            let counted = number(on, &certificates).await;
            assert_eq!(number(on, &of("certificate")).await, counted, "{event}");
        }
    }
}

#[tokio::test]
async fn a_renewal_that_is_due_is_found_unless_it_is_asked_for_or_its_dns_has_left() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let mut change = store.change(Call::system(OffsetDateTime::now_utc())).await.unwrap();
    let on = change.on();
    fill(on).await;
    let verified = "INSERT INTO verification (hostname_id, property_id, lane, since) \
                    SELECT id, 1, 2, 0 FROM hostname";
    execute(on, verified).await;
    let ask = "INSERT INTO job (hostname_id, property_id, issuer, lane, choice, state, next_at, \
                   created_at) SELECT id, 1, 0, 0, '', 0, 0, 0 FROM hostname WHERE id IN (14, 16)";
    let replace = "INSERT OR REPLACE INTO certificate (hostname_id, key_type, issuer, fingerprint, \
                       not_before, not_after, renew_at, chain, spki_sha256, created_at) \
                   SELECT id, id % 2, 3, x'', 0, 0, 0, x'', x'', 0 FROM hostname WHERE id > 30";
    let events = [
        "UPDATE job SET state = 1 WHERE id % 2 = 0",
        "UPDATE verification SET left_at = 7 WHERE hostname_id % 3 = 0",
        ask,
        replace,
        "UPDATE job SET state = 2 WHERE id % 9 = 0",
        "UPDATE verification SET left_at = NULL WHERE hostname_id % 9 = 0",
        "DELETE FROM verification WHERE hostname_id % 4 = 0",
        "DELETE FROM hostname WHERE id % 19 = 0",
    ];
    for event in events {
        execute(on, event).await;
        let said = "SELECT count(*) FROM certificate AS due WHERE renew_at <= 1800000000 \
             AND NOT EXISTS (SELECT 1 FROM job WHERE job.hostname_id = due.hostname_id AND state = 0) \
             AND NOT EXISTS (SELECT 1 FROM verification AS own \
                             WHERE own.hostname_id = due.hostname_id AND left_at IS NOT NULL)";
        let now = OffsetDateTime::from_unix_timestamp(NOW).unwrap();
        let found = certificate::due_for_renewal(on, now, 1_000).await.unwrap();
        assert_eq!(i64::try_from(found.len()).unwrap(), number(on, said).await, "{event}");
        assert!(!found.is_empty(), "{event}");
    }
}

#[tokio::test]
async fn what_the_internal_ca_issued_while_the_clock_was_ahead_is_due_before_all_others() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let mut change = store.change(Call::system(OffsetDateTime::now_utc())).await.unwrap();
    let on = change.on();
    fill(on).await;
    execute(on, "UPDATE job SET state = 1").await;
    let ahead = format!("UPDATE certificate SET not_before = {NOW} + 1, renew_at = {NOW} + {DAY}");
    execute(on, &format!("{ahead} WHERE hostname_id IN (12, 13, 14, 16)")).await;
    let ask = "INSERT INTO job (hostname_id, property_id, issuer, lane, choice, state, next_at, \
               created_at) VALUES (16, 1, 0, 0, '', 0, 0, 0)";
    execute(on, ask).await;
    let now = OffsetDateTime::from_unix_timestamp(NOW).unwrap();

    let due = certificate::due_for_renewal(on, now, 1_000).await.unwrap();
    let first = certificate::due_for_renewal(on, now, 1).await.unwrap();
    let set_right = now + time::Duration::SECOND;
    let valid = certificate::due_for_renewal(on, set_right, 1_000).await.unwrap();

    assert_eq!((due[0].0, &due[..1]), (12, &first[..]));
    assert!(due[1..].iter().all(|id| ![12, 13, 14, 16].contains(&id.0)), "{due:?}");
    assert!(due.len() > 1 && !valid.contains(&due[0]));
}

#[tokio::test]
async fn a_certificate_that_is_renewed_by_itself_says_when() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let mut change = store.change(Call::system(OffsetDateTime::now_utc())).await.unwrap();
    fill(change.on()).await;
    for (issuer, may) in [(0, false), (1, true), (2, true), (3, false)] {
        let never = format!("UPDATE certificate SET renew_at = NULL WHERE issuer = {issuer}");
        let done = sqlx::query(AssertSqlSafe(never)).execute(change.on()).await;
        assert_eq!(done.is_ok(), may, "{issuer}");
    }
}

#[tokio::test]
async fn what_is_due_and_near_its_end_is_counted_unless_its_dns_has_left() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let mut change = store.change(Call::system(OffsetDateTime::now_utc())).await.unwrap();
    let on = change.on();
    fill(on).await;
    let left = "INSERT INTO verification (hostname_id, property_id, lane, since, left_at) \
                VALUES (1, 1, 2, 0, 7), (3, 1, 2, 0, 7)";
    execute(on, left).await;
    let now = OffsetDateTime::from_unix_timestamp(NOW).unwrap();
    let counts = read(on, now, &[String::new(), "own".to_owned()]).await.unwrap();
    assert_eq!((counts.renewals_due, counts.renewals_overdue), (58, 34));
    // Of those that end within 24 hours, 3, 7, … have issuer 3 and 4, 8, … issuer 0.
    assert_eq!(counts.near_end, 11);
    assert_eq!(counts.first_end.unwrap().unix_timestamp(), NOW + 3_600);
    assert_eq!(counts.first_question.unwrap().unix_timestamp(), NOW - 6);
    let due = counts.lanes.map(|lane| lane.first_due.unwrap().unix_timestamp());
    assert_eq!(due, [NOW - 99, NOW - 97, NOW - 98]);
    let later = read(on, now + Duration::seconds(100 * DAY), &[]).await.unwrap();
    assert!(later.first_end.is_none() && later.lanes[0].first_due.is_none());
}

#[tokio::test]
async fn nothing_looks_at_all_rows() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let mut on = store.read().await.unwrap();
    let (renewals, near_end) =
        (format!("{RENEWALS} WHERE {IS_RENEWED}"), format!("{NEAR_END} AND {IS_RENEWED}"));
    for query in [FIRST_DUE, &renewals, &near_end, FIRST_END, FIRST_QUESTION] {
        let plan = format!("EXPLAIN QUERY PLAN {query}");
        let rows = sqlx::query(AssertSqlSafe(plan)).fetch_all(&mut *on).await.unwrap();
        let steps: Vec<String> = rows.iter().map(|row| row.get(3)).collect();
        for table in ["job", "certificate", "verification"] {
            let scan = format!("SCAN {table}");
            assert!(!steps.iter().any(|step| step.starts_with(&scan)), "{query}: {steps:?}");
        }
        assert!(!steps.iter().any(|step| step.contains("TEMP B-TREE")), "{query}: {steps:?}");
    }
}
