use std::{collections::BTreeSet, time::Instant};

use landfall_model::{Fingerprint, HostPattern, LookupName, PropertyId};

use super::*;
use crate::{
    record::{HostnameRecord, hostname_id},
    seal::sha256,
};

fn new_hostname(name: &str, revision: u64, seed: u8) -> NewHostname {
    let leaf = vec![seed; 40];
    let spki_sha256 = vec![seed; 32];
    let sealed = Sealed { key_id: "k".into(), enc: vec![seed; 32], ciphertext: vec![seed; 64] };
    NewHostname {
        revision: Revision(revision),
        record: HostnameRecord {
            name: name.parse().unwrap(),
            hostname_id: HostnameId(1),
            state: HostnameState::Active,
            route: Route::to(PropertyId(1)),
            tls: TlsPolicy::default(),
            certificates: vec![],
            predecessors: vec![],
        },
        certificates: vec![NewCertificate {
            key: KeyDescription { key_type: KeyType::Ecdsa, bits: 256 },
            fingerprint: Fingerprint(sha256(&leaf)),
            not_after: 1_000 + i64::from(seed),
            chain: vec![leaf, vec![0xca; 50]],
            spki_sha256,
            sealed,
            standby: false,
        }],
    }
}

fn hostname(name: &str, revision: u64, seed: u8) -> Change {
    Change::Hostname(Box::new(new_hostname(name, revision, seed)))
}

fn lookup(reader: &Reader, name: &str) -> Option<(HostPattern, StoredHostname)> {
    reader.hostname(&LookupName::from_sni(name).unwrap()).unwrap()
}

fn counts(reader: &Reader) -> (u64, u64) {
    (reader.count_hostnames().unwrap(), reader.count_quarantined().unwrap())
}

#[test]
fn starts_again_from_what_was_applied() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open(dir.path()).unwrap();
    assert_eq!(opened.writer.position(), Position::default());
    let changes = [hostname("a.example", 1, 1), hostname("*.b.example", 2, 2)];
    opened.writer.apply(Revision(2), &changes, 77).unwrap();
    drop(opened);
    let again = open(dir.path()).unwrap();
    assert_eq!(again.writer.position().cursor, Revision(2));
    assert_eq!(again.writer.position().confirmed_at, 77);
    let (name, stored) = lookup(&again.reader, "x.b.example").unwrap();
    assert_eq!(name.to_string(), "*.b.example");
    let chain = again.reader.certificate(stored.certificates[0].id).unwrap().unwrap();
    assert_eq!(chain.chain, [vec![2; 40], vec![0xca; 50]]);
    assert_eq!(chain.key.ciphertext, [2; 64]);
    assert_eq!(lookup(&again.reader, "b.example"), None);
}

#[test]
fn keeps_the_row_of_a_certificate_that_stays_and_drops_that_of_one_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let Opened { mut writer, reader, .. } = open(dir.path()).unwrap();
    let id = |reader: &Reader| lookup(reader, "a.example").unwrap().1.certificates[0].id;
    writer.apply(Revision(1), &[hostname("a.example", 1, 1)], 0).unwrap();
    let first = id(&reader);
    writer.apply(Revision(2), &[hostname("a.example", 2, 1)], 0).unwrap();
    assert_eq!(id(&reader), first);
    writer.apply(Revision(3), &[hostname("a.example", 3, 9)], 0).unwrap();
    assert_ne!(id(&reader), first);
    assert_eq!(reader.certificate(first).unwrap(), None);
    writer
        .apply(
            Revision(4),
            &[Change::Remove { id: "hostname/a.example".into(), revision: Revision(4) }],
            0,
        )
        .unwrap();
    assert_eq!(counts(&reader), (0, 0));
    assert_eq!(reader.expiry_counts(&[]).unwrap().total, 0);
}

#[test]
fn quarantine_keeps_what_the_hostname_had_and_ends_with_a_good_record() {
    let dir = tempfile::tempdir().unwrap();
    let Opened { mut writer, reader, .. } = open(dir.path()).unwrap();
    writer.apply(Revision(1), &[hostname("a.example", 1, 1)], 0).unwrap();
    let quarantine = Change::Quarantine {
        id: "hostname/a.example".into(),
        revision: Revision(2),
        kind: "expired",
        reason: "expired".into(),
        wire: vec![1],
    };
    writer.apply(Revision(2), &[quarantine], 0).unwrap();
    assert!(lookup(&reader, "a.example").is_some());
    assert_eq!(reader.quarantined(10).unwrap()[0].reason, "expired");
    writer.apply(Revision(3), &[hostname("a.example", 3, 3)], 0).unwrap();
    assert_eq!(counts(&reader), (1, 0));
}

#[test]
fn the_digest_is_that_of_what_was_received() {
    let dir = tempfile::tempdir().unwrap();
    let Opened { mut writer, .. } = open(dir.path()).unwrap();
    writer
        .apply(Revision(2), &[hostname("a.example", 1, 1), hostname("b.example", 2, 1)], 0)
        .unwrap();
    let other = Change::Other { id: "pop/ams".into(), revision: Revision(3), wire: vec![1] };
    writer.apply(Revision(3), &[other], 0).unwrap();
    let bad = Change::Quarantine {
        id: "hostname/a.example".into(),
        revision: Revision(4),
        kind: "x",
        reason: "x".into(),
        wire: vec![],
    };
    writer.apply(Revision(4), &[bad], 0).unwrap();
    let remove = Change::Remove { id: "hostname/b.example".into(), revision: Revision(5) };
    writer.apply(Revision(5), &[remove], 0).unwrap();
    let mut expected = StateDigest::default();
    expected.toggle("pop/ams", Revision(3));
    expected.toggle("hostname/a.example", Revision(4));
    assert_eq!(writer.position().digest, expected);
}

#[test]
fn a_snapshot_takes_the_place_of_everything_or_never_was() {
    let dir = tempfile::tempdir().unwrap();
    let Opened { mut writer, reader, .. } = open(dir.path()).unwrap();
    let changes = [hostname("old.example", 1, 1), hostname("kept.example", 2, 2)];
    writer.apply(Revision(2), &changes, 0).unwrap();
    let kept = lookup(&reader, "kept.example").unwrap().1.certificates[0].id;
    let mut abandoned = writer.snapshot(Epoch(4)).unwrap();
    abandoned.add(&[hostname("new.example", 9, 3)]).unwrap();
    drop(abandoned);
    assert!(lookup(&reader, "old.example").is_some());
    assert!(lookup(&reader, "new.example").is_none());
    let mut snapshot = writer.snapshot(Epoch(4)).unwrap();
    snapshot.add(&[hostname("new.example", 9, 3), hostname("kept.example", 2, 2)]).unwrap();
    snapshot.finish(Revision(9), 5).unwrap();
    assert!(lookup(&reader, "old.example").is_none());
    assert!(lookup(&reader, "new.example").is_some());
    assert_eq!(lookup(&reader, "kept.example").unwrap().1.certificates[0].id, kept);
    let mut digest = StateDigest::default();
    digest.toggle(&hostname_id(&"new.example".parse().unwrap()), Revision(9));
    digest.toggle(&hostname_id(&"kept.example".parse().unwrap()), Revision(2));
    let position = Position { epoch: Epoch(4), cursor: Revision(9), digest, confirmed_at: 5 };
    assert_eq!(writer.position(), position);
}

#[test]
fn a_snapshot_keeps_what_a_quarantined_hostname_had() {
    let dir = tempfile::tempdir().unwrap();
    let Opened { mut writer, reader, .. } = open(dir.path()).unwrap();
    writer.apply(Revision(1), &[hostname("a.example", 1, 1)], 0).unwrap();
    let bad = Change::Quarantine {
        id: "hostname/a.example".into(),
        revision: Revision(2),
        kind: "x",
        reason: "x".into(),
        wire: vec![],
    };
    let mut snapshot = writer.snapshot(Epoch(1)).unwrap();
    snapshot.add(&[bad]).unwrap();
    snapshot.finish(Revision(2), 0).unwrap();
    assert!(lookup(&reader, "a.example").is_some());
    assert_eq!(counts(&reader), (1, 1));
}

#[test]
fn an_active_name_keeps_its_certificate_over_a_new_epoch_until_there_is_another() {
    let dir = tempfile::tempdir().unwrap();
    let Opened { mut writer, reader, .. } = open(dir.path()).unwrap();
    let without = |name: &str, revision, state| {
        let mut new = new_hostname(name, revision, 1);
        (new.certificates, new.record.state) = (Vec::new(), state);
        Change::Hostname(Box::new(new))
    };
    let active = |name, revision| without(name, revision, HostnameState::Active);
    let certificates = |name| lookup(&reader, name).unwrap().1.certificates.len();
    let names = ["kept.example", "pending.example", "gone.example"];
    let changes = names.map(|name| hostname(name, 1, 1));
    let mut first = writer.snapshot(Epoch(1)).unwrap();
    first.add(&changes).unwrap();
    first.finish(Revision(1), 0).unwrap();

    let mut restored = writer.snapshot(Epoch(2)).unwrap();
    let pending = without("pending.example", 1, HostnameState::PendingValidation);
    restored.add(&[active("kept.example", 1), pending, active("new.example", 1)]).unwrap();
    restored.finish(Revision(1), 0).unwrap();
    assert_eq!(certificates("kept.example"), 1);
    assert_eq!((certificates("pending.example"), certificates("new.example")), (0, 0));
    assert!(lookup(&reader, "gone.example").is_none());
    assert_eq!(reader.expiry_counts(&[]).unwrap().total, 1);

    // What was verified meanwhile has nothing to keep, and what is kept stays.
    let changes = [active("kept.example", 2), active("pending.example", 2)];
    writer.apply(Revision(2), &changes, 0).unwrap();
    assert_eq!((certificates("kept.example"), certificates("pending.example")), (1, 0));
    writer.apply(Revision(3), &[hostname("kept.example", 3, 9)], 0).unwrap();
    assert_eq!(certificates("kept.example"), 1);
    // Within an epoch a record without certificates has none.
    writer.apply(Revision(4), &[active("kept.example", 4)], 0).unwrap();
    assert_eq!(reader.expiry_counts(&[]).unwrap().total, 0);
}

#[test]
fn keeps_the_issuers_that_a_chain_has_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let Opened { mut writer, reader, .. } = open(dir.path()).unwrap();
    let with_issuer = |name: &str, seed: u8, issuer: Vec<u8>| {
        let mut new = new_hostname(name, 1, seed);
        new.certificates[0].chain = vec![vec![seed; 40], issuer];
        Change::Hostname(Box::new(new))
    };
    let first = [with_issuer("a.example", 1, vec![1; 9]), with_issuer("b.example", 2, vec![2; 9])];
    writer.apply(Revision(1), &first, 0).unwrap();
    writer.apply(Revision(2), &[with_issuer("a.example", 3, vec![3; 9])], 0).unwrap();
    writer.prune_issuers().unwrap();
    let issuers = |reader: &Reader| {
        let database = Connection::open(reader.path()).unwrap();
        database.query_row("SELECT count(*) FROM issuer", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert_eq!(issuers(&reader), 2);
    for (name, issuer) in [("a.example", vec![3; 9]), ("b.example", vec![2; 9])] {
        let id = lookup(&reader, name).unwrap().1.certificates[0].id;
        assert_eq!(reader.certificate(id).unwrap().unwrap().chain[1], issuer);
    }
}

#[test]
fn counts_expiries() {
    let dir = tempfile::tempdir().unwrap();
    let Opened { mut writer, reader, .. } = open(dir.path()).unwrap();
    let changes: Vec<_> =
        (1..=10).map(|n| hostname(&format!("h{n}.example"), u64::from(n), n)).collect();
    writer.apply(Revision(10), &changes, 0).unwrap();
    let counts = reader.expiry_counts(&[1_000, 1_005, 2_000]).unwrap();
    assert_eq!(counts.at_or_before, [0, 5, 10]);
    assert_eq!((counts.total, counts.nearest), (10, Some(1_001)));
}

#[test]
fn counts_what_is_sealed_to_other_group_keys() {
    let dir = tempfile::tempdir().unwrap();
    let Opened { mut writer, reader, .. } = open(dir.path()).unwrap();
    let sealed_to = |key_id: &str, name: &str, revision, seed| {
        let mut new = new_hostname(name, revision, seed);
        new.certificates[0].sealed.key_id = key_id.into();
        Change::Hostname(Box::new(new))
    };
    let changes = [
        sealed_to("aa", "one.example", 1, 1),
        sealed_to("bb", "two.example", 2, 2),
        sealed_to("bb", "three.example", 3, 3),
        sealed_to("cc", "expired.example", 4, 0),
    ];
    writer.apply(Revision(4), &changes, 0).unwrap();
    let others = |held: &[&str]| {
        let others = reader.sealed_to_others(held, 1_000).unwrap().into_iter();
        others.map(|own| (own.key_id, own.certificates, own.hostname)).collect::<Vec<_>>()
    };
    let (aa, bb) = (("aa".to_owned(), 1, "one.example".to_owned()), "three.example".to_owned());
    let bb = ("bb".to_owned(), 2, bb);
    assert_eq!(others(&["aa", "bb"]), []);
    assert_eq!(others(&["aa", "dd"]), std::slice::from_ref(&bb));
    assert_eq!(others(&[]), [aa, bb]);
}

#[test]
fn sets_a_damaged_file_aside_and_starts_empty() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(FILE), vec![0x42; 10_000]).unwrap();
    let opened = open(dir.path()).unwrap();
    assert!(opened.set_aside.unwrap().exists());
    assert_eq!(opened.writer.position(), Position::default());
}

#[test]
fn the_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("state");
    let _opened = open(&folder).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    for file in fs::read_dir(&folder).unwrap() {
        assert_eq!(mode(&file.unwrap().path()), 0o600);
    }
}

#[test]
fn a_snapshot_counts_what_it_would_drop_before_it_does() {
    let dir = tempfile::tempdir().unwrap();
    let Opened { mut writer, reader, .. } = open(dir.path()).unwrap();
    let names = ["a.example", "b.example", "c.example"];
    writer.apply(Revision(3), &names.map(|name| hostname(name, 1, 1)), 0).unwrap();
    let mut snapshot = writer.snapshot(Epoch(1)).unwrap();
    snapshot
        .add(&["a.example", "y.example", "z.example"].map(|name| hostname(name, 4, 2)))
        .unwrap();
    assert_eq!(snapshot.outcome().unwrap(), SnapshotOutcome { hostnames: 3, dropped: 2 });
    drop(snapshot);
    assert_eq!(counts(&reader), (3, 0));
    assert!(lookup(&reader, "b.example").is_some());
}

/// A folder that nobody can write: SQLite's own files can't be made in it.
fn with_read_only_disk(folder: &Path, test: impl FnOnce(&Path)) {
    // A directory in place of each of SQLite's files stops even a user who may write anywhere.
    let blocks = ["-wal", "-shm"].map(|suffix| folder.join(format!("{FILE}{suffix}")));
    for block in &blocks {
        fs::create_dir_all(block.join("in the way")).unwrap();
    }
    test(folder);
    blocks.iter().for_each(|block| fs::remove_dir_all(block).unwrap());
}

#[test]
fn reads_what_it_cannot_write_and_writes_again_once_it_can() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open(dir.path()).unwrap();
    opened.writer.apply(Revision(1), &[hostname("a.example", 1, 1)], 7).unwrap();
    drop(opened);
    let path = dir.path().join(FILE);
    let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = wal;";
    Connection::open(&path).unwrap().execute_batch(checkpoint).unwrap();
    assert!(!dir.path().join(format!("{FILE}-shm")).exists(), "a clean end leaves one file");

    let mut degraded = None;
    with_read_only_disk(dir.path(), |folder| {
        let mut opened = open(folder).unwrap();
        assert!(opened.not_writable.is_some());
        assert_eq!(opened.writer.position().cursor, Revision(1));
        let stored = lookup(&opened.reader, "a.example").unwrap().1;
        assert!(opened.reader.certificate(stored.certificates[0].id).unwrap().is_some());
        assert!(opened.writer.apply(Revision(2), &[hostname("b.example", 2, 2)], 8).is_err());
        degraded = Some(opened);
    });

    let Opened { mut writer, reader, .. } = degraded.unwrap();
    writer.apply(Revision(2), &[hostname("b.example", 2, 2)], 8).unwrap();
    assert!(lookup(&reader, "b.example").is_some());
    assert_eq!(open(dir.path()).unwrap().writer.position().cursor, Revision(2));
}

#[test]
fn what_was_deleted_or_replaced_is_in_no_file_once_the_log_is_emptied() {
    let key = |number: u16| {
        let mut key = b"sealed-".to_vec();
        key.extend(number.to_be_bytes().repeat(29));
        key
    };
    let hostname = |number: u16, key: Vec<u8>| {
        let mut new = new_hostname(&format!("h{number}.example"), 1, 7);
        new.certificates[0].sealed.enc = key[..32].to_vec();
        new.certificates[0].sealed.ciphertext = key;
        new.certificates[0].chain[0] = vec![7; 900 + usize::from(number % 400)];
        Change::Hostname(Box::new(new))
    };
    let remove = |id| Change::Remove { id, revision: Revision(2) };
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open(dir.path()).unwrap();
    let all: Vec<Change> = (0..400).map(|number| hostname(number, key(number))).collect();
    opened.writer.apply(Revision(1), &all, 1).unwrap();
    let aside = Change::Quarantine {
        id: hostname_id(&"aside.example".parse().unwrap()),
        revision: Revision(1),
        kind: "x",
        reason: "no reason".to_owned(),
        wire: key(900),
    };
    opened.writer.apply(Revision(1), &[aside], 1).unwrap();
    let begun = Instant::now();
    opened.writer.empty_log(begun).unwrap();
    let has = |wanted: u16| all_keys(dir.path()).contains(&wanted);
    assert!(has(3) && has(900));
    // A few of each page, whole pages, and one that is replaced.
    let gone: Vec<u16> = (0..100).step_by(3).chain(150..350).collect();
    let mut changes: Vec<Change> =
        gone.iter().map(|number| remove(format!("hostname/h{number}.example"))).collect();
    changes.push(remove("hostname/aside.example".to_owned()));
    changes.push(hostname(399, key(901)));
    opened.writer.apply(Revision(2), &changes, 2).unwrap();
    assert!(has(3), "the log has it");
    // Not more often than once a minute.
    opened.writer.empty_log(begun + Duration::from_secs(59)).unwrap();
    assert!(has(3));
    opened.writer.empty_log(begun + Duration::from_secs(60)).unwrap();
    let left = all_keys(dir.path());
    for number in gone.into_iter().chain([399, 900]) {
        assert!(!left.contains(&number), "{number}");
    }
    assert!(left.contains(&1) && left.contains(&901));
}

/// The numbers of the keys of which at least a part is in any file of a folder.
fn all_keys(folder: &Path) -> BTreeSet<u16> {
    let files = fs::read_dir(folder).unwrap();
    let files = files.map(|file| fs::read(file.unwrap().path()).unwrap());
    let numbers = |bytes: Vec<u8>| {
        let parts = bytes.windows(13).filter(|part| part.starts_with(b"sealed-"));
        let number = |part: &[u8]| u16::from_be_bytes([part[7], part[8]]);
        parts.map(number).collect::<Vec<_>>()
    };
    files.flat_map(numbers).collect()
}
