use ciborium::cbor;
use landfall_model::PropertyId;

use super::*;

pub(crate) fn sample(name: &str) -> HostnameRecord {
    HostnameRecord {
        name: name.parse().unwrap(),
        hostname_id: HostnameId(7),
        state: HostnameState::Active,
        route: Route::to(PropertyId(1)),
        tls: TlsPolicy::default(),
        certificates: vec![CertificateRecord {
            chain: vec![Der(vec![1, 2, 3])],
            spki_sha256: vec![4; 32],
            key: Sealed { key_id: "k".into(), enc: vec![5; 32], ciphertext: vec![6; 48] },
            standby: false,
        }],
        predecessors: Vec::new(),
    }
}

#[test]
fn reads_back_what_it_wrote() {
    let record = sample("*.example.com");
    let wire = WireRecord::hostname(Revision(3), &record);
    let read = WireRecord::read(&to_cbor(&wire)).unwrap().decode().unwrap();
    assert_eq!(read.id, "hostname/*.example.com");
    assert_eq!(read.revision, Revision(3));
    assert!(matches!(read.body, Body::Hostname(own) if own == record));
}

#[test]
fn a_bad_body_leaves_the_head_readable_and_has_a_reason() {
    let with_name = |name: &str| {
        let body = cbor!({ "name" => name }).unwrap();
        WireRecord {
            id: format!("hostname/{name}"),
            revision: Revision(1),
            kind: "hostname".into(),
            deleted: false,
            body: to_cbor(&body),
        }
    };
    assert_eq!(with_name("a..b").decode().unwrap_err().reason(), "invalid_name");
    assert_eq!(with_name("a.example").decode().unwrap_err().reason(), "malformed");
    let mut other_id = WireRecord::hostname(Revision(1), &sample("a.example"));
    other_id.id = "hostname/b.example".into();
    assert_eq!(other_id.decode().unwrap_err().reason(), "id_mismatch");
    let huge = vec![0; MAX_RECORD_LEN + 1];
    assert_eq!(WireRecord::read(&huge).unwrap_err().reason(), "oversized");
}

#[test]
fn skips_kinds_and_fields_of_a_later_version() {
    let later = WireRecord {
        id: "moon/1".into(),
        revision: Revision(1),
        kind: "moon".into(),
        deleted: false,
        body: vec![0xff],
    };
    assert!(matches!(later.decode().unwrap().body, Body::Unknown));
    #[derive(Serialize)]
    struct Later {
        name: &'static str,
        addresses: Vec<IpAddr>,
        colour: &'static str,
    }
    let pop = Later { name: "ams1", addresses: vec!["192.0.2.1".parse().unwrap()], colour: "red" };
    let pop = WireRecord {
        id: "pop/ams1".into(),
        revision: Revision(2),
        kind: "pop".into(),
        deleted: false,
        body: to_cbor(&pop),
    };
    assert!(matches!(pop.decode().unwrap().body, Body::Pop(_)));
}

#[test]
fn an_id_belongs_to_one_kind() {
    let reason = |id: &str, kind: &str, body: Vec<u8>| {
        let record = WireRecord {
            id: id.into(),
            revision: Revision(1),
            kind: kind.into(),
            deleted: false,
            body,
        };
        record.decode().unwrap_err().reason()
    };
    let pop = PopRecord { name: "ams1".into(), addresses: vec![] };
    assert_eq!(reason("hostname/a.example", "moon", vec![]), "id_mismatch");
    assert_eq!(reason("hostname/a.example", "pop", to_cbor(&pop)), "id_mismatch");
    assert_eq!(reason("pop/ams2", "pop", to_cbor(&pop)), "id_mismatch");
}

#[test]
fn a_validation_reads_back_and_says_what_is_wrong_with_another() {
    let record = ValidationRecord {
        name: "a.example".parse().unwrap(),
        thumbprint: "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs".parse().unwrap(),
        alpn: Some(AlpnDigest([7; 32])),
        until: 9,
    };
    let wire = WireRecord::validation(Revision(3), &record);
    let read = WireRecord::read(&to_cbor(&wire)).unwrap().decode().unwrap();
    assert!(matches!(read.body, Body::Validation(own) if own == record));
    let json = serde_json::to_value(&record).unwrap();
    assert_eq!(serde_json::from_value::<ValidationRecord>(json.clone()).unwrap(), record);
    for (field, bad) in [("alpn", "AAAA"), ("thumbprint", "short"), ("name", "a..b")] {
        let mut other = json.clone();
        other[field] = bad.into();
        assert!(serde_json::from_value::<ValidationRecord>(other).is_err(), "{field}");
    }
    let other_id = WireRecord { id: "validation/b.example".into(), ..wire };
    assert_eq!(other_id.decode().unwrap_err().reason(), "id_mismatch");
}
