//! A start from the last-known-good database: the first look-up, and the filling of the index.
//!
//! `LANDFALL_BENCH_HOSTNAMES` sets how many hostnames the database has; the default keeps the
//! benchmark short.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "a benchmark")]

use std::{hint::black_box, path::Path, time::Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use landfall_benches::hostname;
use landfall_feed::{
    lkg::{self, Change, KeyDescription, NewCertificate, NewHostname},
    record::{HostnameRecord, HostnameState},
};
use landfall_model::{
    Epoch, Fingerprint, HostnameId, KeyType, LookupName, PropertyId, Revision, Route, Sealed,
    TlsPolicy,
};

const DEFAULT_HOSTNAMES: u64 = 100_000;
const BATCH: u64 = 10_000;

fn change(n: u64) -> Change {
    let mut fingerprint = [0; 32];
    fingerprint[..8].copy_from_slice(&n.to_be_bytes());
    let leaf = fingerprint.iter().copied().cycle().take(700).collect();
    Change::Hostname(Box::new(NewHostname {
        revision: Revision(n + 1),
        record: HostnameRecord {
            name: hostname(n).unwrap(),
            hostname_id: HostnameId(1),
            state: HostnameState::Active,
            route: Route::to(PropertyId(1)),
            tls: TlsPolicy::default(),
            certificates: vec![],
            predecessors: vec![],
        },
        certificates: vec![NewCertificate {
            key: KeyDescription { key_type: KeyType::Ecdsa, bits: 256 },
            fingerprint: Fingerprint(fingerprint),
            not_after: 2_000_000_000,
            chain: vec![leaf, vec![0xca; 1_000]],
            spki_sha256: vec![1; 32],
            sealed: Sealed { key_id: "k".into(), enc: vec![2; 32], ciphertext: vec![3; 154] },
            standby: false,
        }],
    }))
}

fn fill(folder: &Path, hostnames: u64) {
    let mut writer = lkg::open(folder).unwrap().writer;
    let mut snapshot = writer.snapshot(Epoch(1)).unwrap();
    for first in (0..hostnames).step_by(usize::try_from(BATCH).unwrap()) {
        let batch: Vec<_> = (first..(first + BATCH).min(hostnames)).map(change).collect();
        snapshot.add(&batch).unwrap();
    }
    snapshot.finish(Revision(hostnames), 0).unwrap();
}

fn cold_start(criterion: &mut Criterion) {
    let asked = std::env::var("LANDFALL_BENCH_HOSTNAMES").ok();
    let hostnames = asked.and_then(|text| text.parse().ok()).unwrap_or(DEFAULT_HOSTNAMES);
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), hostnames);
    let name = LookupName::from_sni(&hostname(hostnames / 2).unwrap().to_string()).unwrap();
    criterion.bench_function("open the database and look one hostname up", |bencher| {
        bencher.iter(|| {
            let reader = lkg::open(folder.path()).unwrap().reader;
            let (_, stored) = reader.hostname(&name).unwrap().unwrap();
            black_box(reader.certificate(stored.certificates.first().unwrap().id).unwrap())
        });
    });
    let reader = lkg::open(folder.path()).unwrap().reader;
    let start = Instant::now();
    let mut read = 0u64;
    reader.for_each_hostname(|row| read += u64::from(row.is_ok())).unwrap();
    assert_eq!(read, hostnames);
    println!("{hostnames} hostnames: read for the index in {:.2} s", start.elapsed().as_secs_f64());
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = cold_start
}
criterion_main!(benches);
