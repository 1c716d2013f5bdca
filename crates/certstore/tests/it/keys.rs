use std::sync::atomic::Ordering;

use landfall_certstore::{CertificateError, GroupKeys, KeyKind, Offer, SelectError};

use crate::support::{Fleet, name, spec};

#[test]
fn opens_what_was_sealed_for_this_hostname_and_key_alone() {
    let fleet = Fleet::new();
    let stored = fleet.certificate("a.example", KeyKind::P256);
    fleet.keys.open(&stored).unwrap();
    let reason = |changed| fleet.keys.open(&changed).unwrap_err().reason();
    let mut other_name = stored.clone();
    other_name.hostname = "b.example".parse().unwrap();
    assert_eq!(reason(other_name), "unseal");
    let mut other_key = stored.clone();
    other_key.spki_sha256[0] ^= 1;
    assert_eq!(reason(other_key), "unseal");
    let mut damaged = stored.clone();
    damaged.key.ciphertext[3] ^= 1;
    assert_eq!(reason(damaged), "unseal");
    let mut unknown = stored.clone();
    unknown.key.key_id = "0000".into();
    assert_eq!(reason(unknown), "unknown_group_key");
    let mut mixed = stored.clone();
    mixed.chain = fleet.certificate("a.example", KeyKind::P256).chain;
    assert_eq!(reason(mixed), "key_mismatch");
    let mut empty = stored;
    empty.chain.clear();
    assert_eq!(reason(empty), "empty_chain");
}

#[test]
fn shows_no_key_in_debug_and_refuses_a_malformed_file() {
    let files = landfall_feed::seal::GroupKeyFiles::generate().unwrap();
    let keys = GroupKeys::parse([files.private.as_str()]).unwrap();
    let secret = files.private.split_whitespace().nth(2).unwrap();
    assert!(!format!("{keys:?}").contains(secret));
    assert_eq!(keys.ids(), [files.id.as_str()]);
    assert!(GroupKeys::parse([files.public.as_str()]).is_err());
    assert!(GroupKeys::parse(["landfall-group-key-v1 00 AAAA"]).is_err());
}

#[tokio::test]
async fn handshakes_at_the_same_time_load_a_cold_key_once() {
    let fleet = Fleet::new();
    let (mut publisher, resolver) = fleet.channel(1 << 20);
    publisher.insert(&fleet.spec("a.example")).unwrap();
    let wanted = name("a.example");
    let selections = (0..50).map(|_| {
        let resolver = resolver.clone();
        tokio::spawn(async move { resolver.select(&wanted, Offer::default()).await.map(|_| ()) })
    });
    for selection in selections.collect::<Vec<_>>() {
        selection.await.unwrap().unwrap();
    }
    assert_eq!(fleet.source.reads.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn the_cache_stays_within_its_bytes_and_evicted_keys_load_again() {
    let fleet = Fleet::new();
    let capacity = 100 * 1024;
    let (mut publisher, resolver) = fleet.channel(capacity);
    let stored = fleet.store("h.example", KeyKind::P256);
    for n in 0..200 {
        let again = fleet.certificate(&format!("h{n}.example"), KeyKind::P256);
        let id = fleet.source.add(again);
        let certificate = landfall_certstore::CertificateRef { id, ..stored };
        publisher.insert(&spec(&format!("h{n}.example"), vec![certificate])).unwrap();
    }
    for n in (0..200).chain(0..200) {
        resolver.select(&name(&format!("h{n}.example")), Offer::default()).await.unwrap();
        assert!(resolver.stats().cache_bytes <= capacity);
    }
    let stats = resolver.stats();
    assert!(stats.cache_entries > 10 && stats.cache_entries < 100, "{stats:?}");
    assert!(stats.cache_misses > 200, "{stats:?}");
}

#[tokio::test]
async fn says_why_there_is_no_certificate() {
    let fleet = Fleet::new();
    let (mut publisher, resolver) = fleet.channel(1 << 20);
    publisher.insert(&spec("pending.example", vec![])).unwrap();
    let gone = fleet.store("gone.example", KeyKind::P256);
    fleet.source.drop_certificate(gone.id);
    publisher.insert(&spec("gone.example", vec![gone])).unwrap();
    let select = async |text: &str| resolver.select(&name(text), Offer::default()).await;
    assert!(matches!(select("unknown.example").await, Err(SelectError::UnknownName)));
    assert!(matches!(select("pending.example").await, Err(SelectError::NoCertificate { .. })));
    assert!(matches!(
        select("gone.example").await,
        Err(SelectError::Unusable { source: CertificateError::Gone, .. })
    ));
}

#[tokio::test]
async fn a_certificate_replaced_in_the_source_alone_is_found_there() {
    let fleet = Fleet::new();
    let (mut publisher, resolver) = fleet.channel(1 << 20);
    publisher.replacement().finish();
    let old = fleet.spec("a.example");
    publisher.insert(&old).unwrap();
    fleet.source.drop_certificate(old.certificates[0].id);
    let new = fleet.spec("a.example");
    fleet.source.add_entry(new.clone());

    let selected = resolver.select(&name("a.example"), Offer::default()).await.unwrap();

    assert_eq!(selected.entry.certificates().next(), Some(new.certificates[0]));
}

#[tokio::test]
async fn a_certificate_replaced_under_a_handshake_is_looked_up_again() {
    let fleet = Fleet::new();
    let (mut publisher, resolver) = fleet.channel(1 << 20);
    let old = fleet.spec("a.example");
    publisher.insert(&old).unwrap();
    let (has_reached, go) = fleet.source.hold_next_read();
    let wanted = name("a.example");
    let handshake = tokio::spawn(async move { resolver.select(&wanted, Offer::default()).await });
    tokio::task::spawn_blocking(move || has_reached.recv()).await.unwrap().unwrap();

    let new = fleet.spec("a.example");
    publisher.insert(&new).unwrap();
    fleet.source.drop_certificate(old.certificates[0].id);
    go.send(()).unwrap();

    let selected = handshake.await.unwrap().unwrap();
    let chosen = selected.entry.certificates().next().unwrap();
    assert_eq!(chosen, new.certificates[0]);
}
