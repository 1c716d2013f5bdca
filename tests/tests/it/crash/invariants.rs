//! What must hold of the control plane's database whenever its process ends.

use std::{collections::BTreeMap, fs, path::Path};

use landfall_feed::{
    digest::StateDigest,
    record::{Body, HostnameRecord, HostnameState, WireRecord},
};
use landfall_model::{OriginPool, Revision, Route};
use rusqlite::{Connection, OptionalExtension};

/// Rules whose query must find nothing.
const NEVER: [(&str, &str); 18] = [
    (
        "a hostname that has names has its own",
        "SELECT name FROM hostname WHERE EXISTS (SELECT 1 FROM held_name \
         WHERE hostname_id = hostname.id) AND NOT EXISTS (SELECT 1 FROM held_name \
         WHERE hostname_id = hostname.id AND held_name.name = hostname.name)",
    ),
    (
        "a name is had by the hostname that is called so, or asks for its wildcard",
        "SELECT held_name.name FROM held_name JOIN hostname ON hostname.id = hostname_id \
         WHERE held_name.property_id <> hostname.property_id OR (held_name.name <> hostname.name \
         AND (held_name.name <> '*.' || hostname.name \
              OR json_extract(wish, '$.coverage') <> 'name_and_wildcard'))",
    ),
    (
        "what is published is had by somebody",
        "SELECT id FROM feed_record WHERE kind = 'hostname' AND deleted = 0 AND NOT EXISTS \
         (SELECT 1 FROM held_name WHERE 'hostname/' || name = feed_record.id)",
    ),
    (
        "what is had is published",
        "SELECT name FROM held_name WHERE NOT EXISTS \
         (SELECT 1 FROM feed_record WHERE id = 'hostname/' || name AND deleted = 0)",
    ),
    (
        "properties are published as long as they are",
        "SELECT id FROM property WHERE NOT EXISTS (SELECT 1 FROM feed_record \
         WHERE feed_record.id = 'property/' || property.id AND deleted = 0) \
         UNION ALL SELECT feed_record.id FROM feed_record WHERE kind = 'property' AND deleted = 0 \
         AND NOT EXISTS (SELECT 1 FROM property WHERE feed_record.id = 'property/' || property.id)",
    ),
    (
        "a property has one system hostname",
        "SELECT name FROM property WHERE (SELECT count(*) FROM hostname \
         WHERE property_id = property.id AND system = 1) <> 1",
    ),
    (
        "a hostname has at most one open job",
        "SELECT hostname_id FROM job WHERE state = 0 GROUP BY hostname_id HAVING count(*) > 1",
    ),
    (
        "what an agent has is open, and it is known whose it is and at which CA",
        "SELECT id FROM job WHERE leased_until IS NOT NULL AND (state <> 0 OR issuer <> 0 \
         OR authority IS NULL OR pop IS NULL OR agent IS NULL OR fence = 0)",
    ),
    (
        "edges are told of what is shown to a CA",
        "SELECT name FROM validation WHERE NOT EXISTS (SELECT 1 FROM feed_record \
         WHERE feed_record.id = 'validation/' || name AND deleted = 0)",
    ),
    (
        "edges are told of nothing that is not shown to a CA",
        "SELECT id FROM feed_record WHERE kind = 'validation' AND deleted = 0 AND NOT EXISTS \
         (SELECT 1 FROM validation WHERE feed_record.id = 'validation/' || name)",
    ),
    (
        "of the certificates that agents obtained the newest is kept",
        "SELECT hostname_id FROM certificate WHERE issuer = 3 AND created_at < \
         (SELECT max(at) FROM event WHERE kind = 'certificate_issued' \
          AND event.hostname_id = certificate.hostname_id)",
    ),
    (
        "no limit of a CA is drawn from for more than it has",
        "SELECT subject FROM bucket WHERE arrival > unixepoch() + 8 * 86400 OR arrival < 0",
    ),
    (
        "what was taken over has no name, check or job left",
        "SELECT name FROM hostname WHERE status = 3 AND ( \
             EXISTS (SELECT 1 FROM held_name WHERE hostname_id = hostname.id) \
          OR EXISTS (SELECT 1 FROM verification WHERE hostname_id = hostname.id) \
          OR EXISTS (SELECT 1 FROM job WHERE hostname_id = hostname.id AND state = 0))",
    ),
    (
        "an active hostname has its name",
        "SELECT name FROM hostname WHERE status = 1 \
         AND NOT EXISTS (SELECT 1 FROM held_name WHERE hostname_id = hostname.id)",
    ),
    (
        "what is pending or active elsewhere than under the system domain is verified",
        "SELECT name FROM hostname WHERE status IN (0, 1) AND name NOT LIKE '%.lab.localhost' \
         AND NOT EXISTS (SELECT 1 FROM verification WHERE hostname_id = hostname.id)",
    ),
    (
        "a certificate has a key, for a name of its hostname's",
        "SELECT hostname_id FROM certificate WHERE NOT EXISTS (SELECT 1 FROM certificate_key AS own \
         JOIN hostname ON hostname.id = own.hostname_id \
         WHERE own.hostname_id = certificate.hostname_id AND own.key_type = certificate.key_type \
         AND own.name IN (hostname.name, '*.' || hostname.name))",
    ),
    (
        "every hostname's and property's creation is in the audit log",
        "SELECT name FROM hostname WHERE system = 0 AND NOT EXISTS (SELECT 1 FROM audit \
         WHERE action = 'hostname.create' AND hostname.name IN (object, '*.' || object) \
         AND json_extract(detail, '$.hostnameId') = hostname.id) \
         UNION ALL SELECT name FROM property WHERE NOT EXISTS (SELECT 1 FROM audit \
         WHERE action = 'property.create' AND property_id = property.id)",
    ),
    (
        "what an idempotency key made is there, or its deletion in the audit log",
        "SELECT key FROM idempotency WHERE NOT EXISTS (SELECT 1 FROM hostname WHERE id = object_id) \
         AND NOT EXISTS (SELECT 1 FROM property WHERE id = object_id) \
         AND NOT EXISTS (SELECT 1 FROM audit WHERE (action = 'hostname.delete' \
                         AND json_extract(detail, '$.hostnameId') = object_id) \
                         OR (action = 'property.delete' AND property_id = object_id))",
    ),
];

/// Checks everything on a copy of the database in `state`, as the process left it.
///
/// # Panics
/// With the rule that does not hold.
pub(crate) fn check(state: &Path) {
    let copy = tempfile::tempdir().unwrap();
    for file in ["control.db", "control.db-wal"] {
        let from = state.join(file);
        if from.exists() {
            fs::copy(from, copy.path().join(file)).unwrap();
        }
    }
    let database = Connection::open(copy.path().join("control.db")).unwrap();
    let integrity: String =
        database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(integrity, "ok");
    assert_eq!(texts(&database, "PRAGMA foreign_key_check"), [""; 0]);
    for (rule, query) in NEVER {
        assert_eq!(texts(&database, query), [""; 0], "{rule}");
    }
    records_are_what_rows_say(&database);
    the_digest_is_that_of_the_records(&database);
}

/// How many entries of the audit log have this action.
pub(crate) fn audited(state: &Path, action: &str) -> u64 {
    let database = Connection::open(state.join("control.db")).unwrap();
    let query = "SELECT count(*) FROM audit WHERE action = ?";
    database.query_row(query, [action], |row| row.get(0)).unwrap()
}

/// Names that are shown to a CA for a job that nobody has.
pub(crate) fn shown_for_nobody(state: &Path) -> Vec<String> {
    let database = Connection::open(state.join("control.db")).unwrap();
    let query = "SELECT name FROM validation WHERE NOT EXISTS (SELECT 1 FROM job \
                 WHERE job.id = job_id AND state = 0 AND leased_until IS NOT NULL)";
    texts(&database, query)
}

/// How many events are of this kind.
pub(crate) fn told(state: &Path, kind: &str) -> u64 {
    let database = Connection::open(state.join("control.db")).unwrap();
    let query = "SELECT count(*) FROM event WHERE kind = ?";
    database.query_row(query, [kind], |row| row.get(0)).unwrap()
}

/// How many jobs were leased that are known still.
pub(crate) fn leased(state: &Path) -> u64 {
    let database = Connection::open(state.join("control.db")).unwrap();
    database.query_row("SELECT count(*) FROM job WHERE fence > 0", [], |row| row.get(0)).unwrap()
}

/// The feed's last revision.
pub(crate) fn head(state: &Path) -> f64 {
    let database = Connection::open(state.join("control.db")).unwrap();
    database.query_row("SELECT revision FROM feed_state", [], |row| row.get(0)).unwrap()
}

fn texts(database: &Connection, query: &str) -> Vec<String> {
    let mut statement = database.prepare(query).unwrap();
    let rows = statement.query_map([], |row| {
        let value: rusqlite::types::Value = row.get(0)?;
        Ok(format!("{value:?}"))
    });
    rows.unwrap().map(Result::unwrap).collect()
}

fn records_are_what_rows_say(database: &Connection) {
    let mut statement =
        database.prepare("SELECT encoded FROM feed_record WHERE deleted = 0").unwrap();
    let rows = statement.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap();
    for encoded in rows {
        let record = WireRecord::read(&encoded.unwrap()).unwrap().decode().unwrap();
        match record.body {
            Body::Hostname(hostname) => the_record_fits(database, &hostname),
            Body::Property(property) => {
                let query = "SELECT pool FROM property WHERE id = ?";
                let pool: String =
                    database.query_row(query, [property.property.0], |row| row.get(0)).unwrap();
                let pool: OriginPool = serde_json::from_str(&pool).unwrap();
                assert_eq!(pool, property.pool);
            }
            Body::Pop(_)
            | Body::Tickets(_)
            | Body::Validation(_)
            | Body::Tombstone
            | Body::Unknown => {}
        }
    }
}

fn the_record_fits(database: &Connection, record: &HostnameRecord) {
    let name = record.name.to_string();
    let query = "SELECT hostname.id, status, route FROM held_name \
                 JOIN hostname ON hostname.id = hostname_id WHERE held_name.name = ?";
    let found: Option<(i64, i64, String)> = database
        .query_row(query, [&name], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()
        .unwrap();
    let (id, status, route) = found.unwrap_or_else(|| panic!("nobody has {name}"));
    assert_eq!(record.hostname_id.0, id, "{name}");
    let proven = "SELECT EXISTS (SELECT 1 FROM ownership WHERE hostname_id = ?1 AND \
                  (evidence ->> '$.txt.found' OR \
                   (evidence ->> '$.http.file_found' AND ?2 NOT LIKE '*.%')))";
    let is_proven: bool = database.query_row(proven, (id, &name), |row| row.get(0)).unwrap();
    assert_eq!(record.state == HostnameState::Active, status == 1 || is_proven, "{name}");
    assert_eq!(record.route, serde_json::from_str::<Route>(&route).unwrap(), "{name}");
    let query = "SELECT spki_sha256 FROM certificate JOIN certificate_key \
                 USING (hostname_id, key_type) WHERE hostname_id = ? AND name = ? ORDER BY key_type";
    let mut statement = database.prepare(query).unwrap();
    let keys = statement.query_map((id, &name), |row| row.get::<_, Vec<u8>>(0)).unwrap();
    let keys: Vec<Vec<u8>> = keys.map(Result::unwrap).collect();
    let published: Vec<_> = record.certificates.iter().map(|own| own.spki_sha256.clone()).collect();
    assert_eq!(published, keys, "the certificates of {name}");
}

fn the_digest_is_that_of_the_records(database: &Connection) {
    let query = "SELECT id, revision, deleted FROM feed_record";
    let mut statement = database.prepare(query).unwrap();
    let rows = statement.query_map([], |row| {
        Ok((row.get::<_, String>(0)?, (row.get::<_, u64>(1)?, row.get::<_, bool>(2)?)))
    });
    let records: BTreeMap<String, (u64, bool)> = rows.unwrap().map(Result::unwrap).collect();
    let mut digest = StateDigest::default();
    for (id, (revision, _)) in records.iter().filter(|(_, (_, deleted))| !deleted) {
        digest.toggle(id, Revision(*revision));
    }
    let (head, kept): (u64, String) = database
        .query_row("SELECT revision, digest FROM feed_state", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert_eq!(kept, digest.to_string());
    let newest = records.values().map(|(revision, _)| *revision).max().unwrap_or_default();
    assert_eq!(head, newest, "the last revision is of a record");
}
