use std::fs;

use landfall_model::{HostnameId, LookupName, PropertyId};

use super::*;
use crate::record::HostnameRecord;

fn hostname(name: &str, revision: u64) -> Change {
    let seed = u8::try_from(revision).unwrap();
    Change::Hostname(Box::new(NewHostname {
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
            fingerprint: landfall_model::Fingerprint([seed; 32]),
            not_after: 1_000,
            chain: vec![vec![seed; 40]],
            spki_sha256: vec![seed; 32],
            sealed: Sealed { key_id: "k".into(), enc: vec![seed; 32], ciphertext: vec![seed; 64] },
            standby: false,
        }],
    }))
}

fn certificate_of(reader: &Reader, name: &str) -> Option<i64> {
    let found = reader.hostname(&LookupName::from_sni(name).unwrap()).unwrap();
    let id = found?.1.certificates[0].id;
    assert!(reader.certificate(id).unwrap().is_some());
    Some(id)
}

fn delete_all(folder: &Path) {
    for file in fs::read_dir(folder).unwrap() {
        fs::remove_file(file.unwrap().path()).unwrap();
    }
}

#[test]
fn a_database_that_was_deleted_in_use_is_written_anew() {
    type Deletion = fn(&Path);
    let table: [(&str, Deletion); 4] = [
        ("the file alone", |folder| fs::remove_file(folder.join(FILE)).unwrap()),
        ("every file", delete_all),
        ("the folder", |folder| fs::remove_dir_all(folder).unwrap()),
        ("another in its place", |folder| {
            fs::remove_file(folder.join(FILE)).unwrap();
            fs::write(folder.join(FILE), "no database").unwrap();
        }),
    ];
    for (what, delete) in table {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("state");
        let Opened { mut writer, reader, .. } = open(&folder).unwrap();
        writer.apply(Revision(1), &[hostname("a.example", 1)], 7).unwrap();
        let first = certificate_of(&reader, "a.example").unwrap();
        assert_eq!(writer.restore_deleted().unwrap(), FileState::Present, "{what}");

        delete(&folder);
        assert_eq!(writer.restore_deleted().unwrap(), FileState::Restored, "{what}");
        assert_eq!(writer.restore_deleted().unwrap(), FileState::Present, "{what}");
        assert_eq!(certificate_of(&reader, "a.example"), Some(first), "{what}");
        writer.apply(Revision(2), &[hostname("b.example", 2)], 8).unwrap();
        let second = certificate_of(&reader, "b.example").unwrap();
        assert!(second > first, "an id is never used again: {what}");

        drop((writer, reader));
        let again = open(&folder).unwrap();
        assert!(again.set_aside.is_none(), "{what}");
        let position = again.writer.position();
        assert_eq!((position.cursor, position.confirmed_at), (Revision(2), 8), "{what}");
        assert_eq!(certificate_of(&again.reader, "a.example"), Some(first), "{what}");
        assert_eq!(certificate_of(&again.reader, "b.example"), Some(second), "{what}");
    }
}

#[test]
fn a_restored_database_is_readable_by_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let mut writer = open(dir.path()).unwrap().writer;
    delete_all(dir.path());
    writer.restore_deleted().unwrap();
    let mode = fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!dir.path().join("last-known-good.db.new").exists());
}

#[test]
fn what_a_blanked_record_said_is_gone_and_the_digest_stays() {
    let dir = tempfile::tempdir().unwrap();
    let Opened { mut writer, reader, .. } = open(dir.path()).unwrap();
    let other = |id: &str, byte| Change::Other {
        id: id.to_owned(),
        revision: Revision(1),
        wire: vec![byte; 100],
    };
    writer.apply(Revision(1), &[other("tickets/1", 0xaa), other("tickets/2", 0xbb)], 0).unwrap();
    let before = writer.position();
    writer.blank(&["tickets/1".to_owned(), "tickets/9".to_owned()]).unwrap();
    assert_eq!(writer.position(), before);
    let mut left = Vec::new();
    reader.for_each_other(|wire| left.push(wire.to_vec())).unwrap();
    left.retain(|wire| !wire.is_empty());
    assert_eq!(left, [vec![0xbb; 100]]);
    drop((writer, reader));
    let file = fs::read(dir.path().join(FILE)).unwrap();
    assert!(!file.windows(50).any(|window| window == [0xaa; 50]), "it is still on the disk");
    let mut again = open(dir.path()).unwrap().writer;
    let removed = Change::Remove { id: "tickets/1".into(), revision: Revision(2) };
    again.apply(Revision(2), &[removed], 0).unwrap();
    assert_ne!(again.position().digest, before.digest);
}
