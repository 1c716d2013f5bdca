//! Many jobs that wait hold up no lease. `LANDFALL_JOBS=1000000` measures a million, half of them renewals.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use rcgen::KeyPair;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _};

use crate::{
    support::{Plane, Pop, answer, database, with_json},
    upload::{ca, leaf},
};

/// How many hostnames there are, each with a job.
const JOBS: u32 = 3_000;
const PROPERTIES: u32 = 1_000;
/// How many leases are timed.
const LEASES: u32 = 100;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_leased_is_urgent_first_and_of_many_properties_however_many_wait() {
    let jobs = std::env::var("LANDFALL_JOBS").map_or(JOBS, |jobs| jobs.parse().unwrap());
    let plane = Plane::start_with(json!({"issuance": {
        "certificate_authorities": ["own"],
        "authority": {"own": {"directory": "https://ca.test/directory", "at_once": 10_000}},
    }}))
    .await;
    let pop = plane.pop("pop-1").await;
    pop.epoch().await;
    plane.property("shop").await;
    let begun = Instant::now();
    let plane = plane.restart(async |dir| fill(dir, jobs).await).await;
    let pop = pop.at(&plane);
    pop.epoch().await;
    let filled = begun.elapsed();

    let (mut times, mut tasks) = (Vec::new(), Vec::new());
    for _ in 0..LEASES {
        let begun = Instant::now();
        tasks.extend(lease(&pop).await);
        times.push(begun.elapsed());
    }
    let begun = Instant::now();
    let metrics = plane.client.get(plane.url("/metrics")).send().await.unwrap();
    let text = metrics.text().await.unwrap();
    report(jobs, filled, &mut times, begun.elapsed());

    assert_eq!(tasks.len(), 8 * LEASES as usize);
    // Every tenth renewal ends within the hour.
    let is_urgent = |task: &&Value| task["names"][0].as_str().unwrap().contains("0.renewal.");
    // New names get one of five.
    let urgent = tasks.iter().take(60).filter(is_urgent).count();
    assert!((46..=50).contains(&urgent), "{urgent}");
    let open = i64::from(jobs) - i64::from(LEASES * 8);
    assert!(text.contains("landfall_jobs{state=\"leased\"} 800\n"), "{open}");
    plane.stop().await;
}

async fn lease(pop: &Pop) -> Vec<Value> {
    let body = json!({"agent": "agent-1", "free": 8, "wait": 0});
    let (status, reply) =
        answer(with_json(pop.request(Method::POST, "/agent/v1/lease"), &body)).await;
    assert!(status.is_success(), "{reply}");
    reply["tasks"].as_array().unwrap().clone()
}

fn report(jobs: u32, filled: Duration, times: &mut [Duration], metrics: Duration) {
    times.sort_unstable();
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let memory = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default();
    if std::env::var_os("LANDFALL_JOBS").is_some() {
        eprintln!(
            "{jobs} jobs, filled in {filled:?}: a lease of eight takes {median:?}, at worst {worst:?}; \
             /metrics {metrics:?}; {memory}"
        );
    }
}

/// As if so many hostnames of many properties had been added: half of them with a certificate that is to be
/// renewed, of which every tenth ends within the hour; the others without.
pub(crate) async fn fill(directory: &Path, jobs: u32) {
    let mut database = database(directory).await;
    let authority = ca("Own CA");
    let key = KeyPair::generate().unwrap();
    let chain = leaf("renewal.test").signed_by(&key, &authority).unwrap().der().to_vec();
    let numbers = |most| {
        format!(
            "WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < {most})"
        )
    };
    let statements = [
        format!(
            "{} INSERT INTO property (name, zone_id, pool, created_at) \
             SELECT 'p' || n, n, pool, 0 FROM property, number WHERE id = 1",
            numbers(PROPERTIES)
        ),
        format!(
            "{} INSERT INTO hostname (property_id, name, public_id, ssl_id, ownership_token, system, \
                 status, internal, route, tls, metadata, wish, created_at) \
             SELECT 2 + n % {PROPERTIES}, 'n' || n || iif(n % 2, '.new.d', '.renewal.d') || n || '.test', \
                 'p' || n, 's' || n, 't', 0, 1, 0, route, tls, metadata, wish, created_at \
             FROM hostname, number WHERE hostname.id = 1",
            numbers(jobs)
        ),
        "INSERT INTO held_name (name, hostname_id, property_id, parent, verified) \
         SELECT name, id, property_id, '', 1 FROM hostname WHERE name LIKE 'n%'"
            .to_owned(),
        "INSERT INTO certificate (hostname_id, key_type, issuer, fingerprint, not_before, not_after, \
             renew_at, authority, ari_id, poll_at, chain, spki_sha256, created_at) \
         SELECT id, 0, 3, randomblob(32), unixepoch() - 5000000, \
             unixepoch() + iif(name LIKE '%0.renewal.%', 3600, 864000) + id % 3000, unixepoch() - 9000, \
             'own', 'ari' || id, unixepoch() + 9000 + id % 9000, ?, x'00', 0 \
         FROM hostname WHERE name LIKE '%.renewal.%'"
            .to_owned(),
        "INSERT INTO job (hostname_id, issuer, property_id, lane, deadline, choice, state, next_at, \
             created_at) \
         SELECT id, 0, property_id, name LIKE '%.new.%', \
             (SELECT not_after FROM certificate WHERE hostname_id = hostname.id), '', 0, \
             unixepoch() - 9000 + id % 9000, unixepoch() - 9000 \
         FROM hostname WHERE name LIKE 'n%'"
            .to_owned(),
        "UPDATE property SET hostnames = 1".to_owned(),
    ];
    let cache = "PRAGMA cache_size = -1000000";
    sqlx::query(cache).execute(&mut database).await.unwrap();
    let mut change = database.begin().await.unwrap();
    for statement in statements {
        let query = sqlx::query(AssertSqlSafe(statement.clone()));
        let query = if statement.contains('?') { query.bind(&chain) } else { query };
        query.execute(&mut *change).await.unwrap();
    }
    change.commit().await.unwrap();
}
