//! Who needs the database for many hostnames at once leaves room for others.

use std::path::Path;

use serde_json::json;
use sqlx::AssertSqlSafe;

use crate::{
    agents::lease,
    support::{
        Plane, database, eventually,
        responder::{Reply, Responder},
    },
};

const HOSTNAMES: i64 = 300;
/// More than there are connections, and than may wait.
const CHECKS: i64 = 128;
/// Of those who may wait for the writer: two checks, two agents, and tasks of which there is one each.
const MOST_FOR_WRITER: i64 = 8;
const MOST_FOR_READERS: i64 = 12;

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_hostnames_that_are_activated_at_once_leave_the_database_to_others() {
    let dns = Responder::start().await;
    dns.set(".many.test", Reply::Addresses(vec!["192.0.2.1".parse().unwrap()]));
    let plane = Plane::start_with(json!({
        "dns": {"resolvers": [dns.address.to_string()], "zone_servers": false, "timeout": "2s"},
        "verification": {"fresh_checks": CHECKS},
        "issuance": {
            "certificate_authorities": ["own"],
            "authority": {"own": {"directory": "https://ca.test/directory", "at_once": 10_000}},
        },
    }))
    .await;
    let pop = plane.pop("pop-1").await;
    pop.epoch().await;
    plane.property("shop").await;
    let plane = plane.restart(fill).await;
    let pop = pop.at(&plane);
    pop.epoch().await;
    let (mut writer, mut readers) = (0, 0);
    eventually(async || {
        lease(&pop, "agent-1", 0).await;
        (active(&plane).await > 0).then_some(())
    })
    .await;
    while active(&plane).await < HOSTNAMES {
        lease(&pop, "agent-1", 0).await;
        writer = writer.max(waiting(&plane, "writer").await);
        readers = readers.max(waiting(&plane, "reader").await);
    }
    assert!(writer <= MOST_FOR_WRITER, "{writer} waited for the writer");
    assert!(readers <= MOST_FOR_READERS, "{readers} waited for a reader");
    plane.stop().await;
}

async fn active(plane: &Plane) -> i64 {
    let mut rows = database(plane.dir.path()).await;
    let query = "SELECT count(*) FROM hostname WHERE status = 1 AND name LIKE '%.many.test'";
    sqlx::query_scalar(query).fetch_one(&mut rows).await.unwrap()
}

async fn waiting(plane: &Plane, connection: &str) -> i64 {
    let text = plane.client.get(plane.url("/metrics")).send().await.unwrap().text().await.unwrap();
    let name = format!("landfall_database_waiting{{connection=\"{connection}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
}

/// As if so many hostnames had been added at once.
async fn fill(directory: &Path) {
    let mut database = database(directory).await;
    let hostnames = format!(
        "WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < {HOSTNAMES}) \
         INSERT INTO hostname (property_id, name, public_id, ssl_id, ownership_token, system, status, \
         internal, route, tls, metadata, wish, created_at) \
         SELECT property_id, 'h' || n || '.many.test', 'p' || n, 's' || n, 't', 0, 0, 0, route, tls, \
         metadata, wish, created_at FROM hostname, number WHERE hostname.id = 1"
    );
    let others = [
        "INSERT INTO held_name (name, hostname_id, property_id, parent, verified) \
         SELECT name, id, property_id, '', 0 FROM hostname WHERE name LIKE '%.many.test'",
        "INSERT INTO verification (hostname_id, property_id, lane, next_at, since) \
         SELECT id, property_id, 0, unixepoch(), unixepoch() FROM hostname \
         WHERE name LIKE '%.many.test'",
    ];
    for statement in [hostnames].into_iter().chain(others.map(str::to_owned)) {
        sqlx::query(AssertSqlSafe(statement)).execute(&mut database).await.unwrap();
    }
}
