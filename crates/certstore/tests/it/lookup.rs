use std::{
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use landfall_certstore::{
    CertificateRef, EntrySpec, KeyKind, Offer, SelectError, StoredCertificate,
};
use landfall_model::{HostnameState, TlsPolicy, TlsVersion};

use crate::support::{Fleet, name, replace, spec};

#[test]
fn prefers_the_exact_name_over_the_wildcard_and_covers_one_label() {
    let (mut publisher, resolver) = Fleet::new().channel(1 << 20);
    publisher.insert(&spec("*.example.com", vec![])).unwrap();
    publisher.insert(&spec("www.example.com", vec![])).unwrap();
    let found = |text| resolver.find(&name(text)).map(|entry| entry.name().to_string());
    assert_eq!(found("WWW.example.com.").as_deref(), Some("www.example.com"));
    assert_eq!(found("shop.example.com").as_deref(), Some("*.example.com"));
    assert_eq!(found("a.shop.example.com"), None);
    assert_eq!(found("example.com"), None);
    publisher.remove(&"www.example.com".parse().unwrap());
    assert_eq!(found("www.example.com").as_deref(), Some("*.example.com"));
    publisher.remove(&"*.example.com".parse().unwrap());
    assert_eq!(found("www.example.com"), None);
    assert_eq!(resolver.stats().hostnames, 0);
}

#[tokio::test]
async fn a_verified_name_without_a_certificate_is_served_with_that_of_the_wildcard_above_it() {
    let fleet = Fleet::new();
    let (mut publisher, resolver) = fleet.channel(1 << 20);
    let wildcard = fleet.spec("*.example.com");
    // While the index fills they are read; then they are in it.
    fleet.source.add_entry(wildcard.clone());
    fleet.source.add_entry(spec("www.example.com", vec![]));
    let select = async |text: &str| resolver.select(&name(text), Offer::default()).await;
    let cold = select("www.example.com").await.unwrap();
    assert_eq!(cold.entry.name().to_string(), "www.example.com");

    let pending =
        |name| EntrySpec { state: HostnameState::PendingValidation, ..spec(name, vec![]) };
    let specs = [wildcard.clone(), spec("www.example.com", vec![]), pending("new.example.com")];
    replace(&mut publisher, specs.into_iter());

    let selected = select("www.example.com").await.unwrap();
    assert_eq!(selected.entry.name().to_string(), "www.example.com");
    let other = select("other.example.com").await.unwrap();
    assert!(Arc::ptr_eq(&selected.key, &other.key));
    // What is not verified hides no wildcard.
    assert_eq!(select("new.example.com").await.unwrap().entry.name(), other.entry.name());
    let found = resolver.find(&name("new.example.com")).unwrap();
    assert_eq!(found.name(), other.entry.name());
    let uploaded = fleet.spec("new.example.com");
    let state = HostnameState::PendingValidation;
    publisher.insert(&EntrySpec { state, ..uploaded }).unwrap();
    assert_eq!(select("new.example.com").await.unwrap().entry.name(), other.entry.name());
    // And lends nothing.
    let state = HostnameState::PendingValidation;
    publisher.insert(&EntrySpec { state, ..wildcard }).unwrap();
    let refused = select("www.example.com").await;
    assert!(matches!(refused, Err(SelectError::NoCertificate { .. })));
}

#[tokio::test]
async fn the_busiest_are_those_whose_certificates_were_given_to_most_handshakes_since_it_was_asked()
{
    let fleet = Fleet::new();
    let (mut publisher, resolver) = fleet.channel(1 << 20);
    let names = ["a.test", "b.test", "c.test", "*.example.com"];
    let without = spec("www.example.com", vec![]);
    let specs: Vec<EntrySpec> =
        names.iter().map(|name| fleet.spec(name)).chain([without]).collect();
    replace(&mut publisher, specs.into_iter());
    for (text, times) in [("a.test", 1), ("b.test", 3), ("www.example.com", 2), ("no.test", 9)] {
        for _ in 0..times {
            let _ = resolver.select(&name(text), Offer::default()).await;
            // Requests look up without a handshake.
            let _ = resolver.find(&name("c.test"));
        }
    }
    let busiest = |most| -> Vec<(String, u32)> {
        let found = resolver.busiest(most).into_iter();
        found.map(|one| (one.name.to_string(), one.handshakes)).collect()
    };
    let expected = [("b.test".to_owned(), 3), ("*.example.com".to_owned(), 2)];
    assert_eq!(busiest(2), expected, "who lends its certificate is who is used");
    assert_eq!(busiest(2), [], "all were asked about");
    resolver.select(&name("a.test"), Offer::default()).await.unwrap();
    assert_eq!(busiest(9), [("a.test".to_owned(), 1)]);
}

/// A certificate of the internal CA, for times without a wildcard's.
fn on_standby(fleet: &Fleet, name: &str) -> EntrySpec {
    let own = fleet.store(name, KeyKind::P256);
    spec(name, vec![CertificateRef { standby: true, ..own }])
}

#[tokio::test]
async fn a_standby_certificate_is_for_those_times_in_which_the_wildcard_has_none_that_is_valid() {
    let fleet = Fleet::new();
    let (mut publisher, resolver) = fleet.channel(1 << 20);
    let wildcard = fleet.spec("*.example.com");
    let own = on_standby(&fleet, "www.example.com");
    // While the index fills: the wildcard is read, although the name is known.
    fleet.source.add_entry(wildcard.clone());
    fleet.source.add_entry(own.clone());
    publisher.insert(&own).unwrap();
    // The leaf says whose certificate it is.
    let shown = async || {
        let selected = resolver.select(&name("www.example.com"), Offer::default()).await.unwrap();
        assert_eq!(selected.entry.name().to_string(), "www.example.com");
        selected.key.cert[0].clone()
    };
    let lent = shown().await;
    replace(&mut publisher, [wildcard.clone(), own.clone()].into_iter());
    assert_eq!(shown().await, lent);
    let other = resolver.select(&name("other.example.com"), Offer::default()).await.unwrap();
    assert_eq!(other.key.cert[0], lent);

    publisher.remove(&wildcard.name);
    let standby = shown().await;
    assert_ne!(standby, lent);
    let with = |change: &dyn Fn(CertificateRef) -> CertificateRef| EntrySpec {
        certificates: wildcard.certificates.iter().map(|own| change(*own)).collect(),
        ..wildcard.clone()
    };
    let expired = with(&|own| CertificateRef { not_after: 1, ..own });
    let pending = EntrySpec { state: HostnameState::PendingValidation, ..wildcard.clone() };
    let itself_on_standby = with(&|own| CertificateRef { standby: true, ..own });
    let unusable = {
        let hostname = "other.example".parse().unwrap();
        let stored = fleet.certificate("*.example.com", KeyKind::P256);
        let id = fleet.source.add(StoredCertificate { hostname, ..stored });
        with(&|own| CertificateRef { id, ..own })
    };
    let none = EntrySpec { certificates: vec![], ..wildcard.clone() };
    for useless in [expired, pending, itself_on_standby, unusable, none] {
        publisher.insert(&useless).unwrap();
        assert_eq!(shown().await, standby, "{useless:?}");
    }
    publisher.insert(&wildcard).unwrap();
    assert_eq!(shown().await, lent);
    // A certificate that is not for standby gives way to none.
    let uploaded = fleet.spec("www.example.com");
    publisher.insert(&uploaded).unwrap();
    assert!(![lent, standby].contains(&shown().await));
}

#[test]
fn a_snapshot_swaps_everything_at_once() {
    let (mut publisher, resolver) = Fleet::new().channel(1 << 20);
    publisher.insert(&spec("old.example", vec![])).unwrap();
    let specs = (0..10_000).map(|n| spec(&format!("h{n}.example"), vec![]));
    replace(&mut publisher, specs);
    assert!(resolver.find(&name("old.example")).is_none());
    assert!((0..10_000).all(|n| resolver.find(&name(&format!("h{n}.example"))).is_some()));
    assert_eq!(resolver.stats().hostnames, 10_000);
}

#[test]
fn readers_never_miss_a_name_that_is_replaced_over_and_over() {
    let (mut publisher, resolver) = Fleet::new().channel(1 << 20);
    publisher.insert(&spec("www.example.com", vec![])).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let reader = std::thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            let wanted = name("www.example.com");
            let mut misses = 0;
            while !stop.load(Ordering::Relaxed) {
                misses += usize::from(resolver.find(&wanted).is_none());
            }
            misses
        }
    });
    for n in 0..5_000 {
        publisher.insert(&spec("www.example.com", vec![])).unwrap();
        publisher.insert(&spec(&format!("h{n}.example"), vec![])).unwrap();
    }
    replace(&mut publisher, std::iter::once(spec("www.example.com", vec![])));
    stop.store(true, Ordering::Relaxed);
    assert_eq!(reader.join().unwrap(), 0);
}

#[test]
fn equal_policies_share_one_configuration() {
    let (mut publisher, resolver) = Fleet::new().channel(1 << 20);
    for n in 0..1_000 {
        publisher.insert(&spec(&format!("h{n}.example"), vec![])).unwrap();
    }
    let mut strict = spec("strict.example", vec![]);
    strict.policy = TlsPolicy { min_version: TlsVersion::Tls13, ..TlsPolicy::default() };
    publisher.insert(&strict).unwrap();
    assert_eq!(resolver.stats().policies, 2);
    let config = |text| Arc::clone(resolver.find(&name(text)).unwrap().policy().server_config());
    assert!(Arc::ptr_eq(&config("h1.example"), &config("h2.example")));
    assert!(!Arc::ptr_eq(&config("h1.example"), &config("strict.example")));
}

#[tokio::test]
async fn asks_the_source_for_entries_only_until_the_index_is_filled() {
    let fleet = Fleet::new();
    let (mut publisher, resolver) = fleet.channel(1 << 20);
    fleet.source.add_entry(spec("early.example", vec![]));
    assert!(resolver.find_or_load(&name("early.example")).await.unwrap().is_some());
    assert!(resolver.find_or_load(&name("unknown.example")).await.unwrap().is_none());
    let asked = fleet.source.entry_reads.load(Ordering::Relaxed);
    replace(&mut publisher, std::iter::once(spec("early.example", vec![])));
    assert!(resolver.find_or_load(&name("early.example")).await.unwrap().is_some());
    assert!(resolver.find_or_load(&name("unknown.example")).await.unwrap().is_none());
    assert_eq!(fleet.source.entry_reads.load(Ordering::Relaxed), asked);
}

#[tokio::test]
async fn no_name_is_unknown_at_the_moment_at_which_the_index_is_filled() {
    let fleet = Fleet::new();
    fleet.source.add_entry(spec("early.example", vec![]));
    for _ in 0..300 {
        let (mut publisher, resolver) = fleet.channel(1 << 20);
        let both = Arc::new(Barrier::new(2));
        let ready = Arc::clone(&both);
        let filling = thread::spawn(move || {
            let mut replacement = publisher.replacement();
            replacement.insert(&spec("early.example", vec![])).unwrap();
            ready.wait();
            replacement.finish();
        });
        both.wait();
        while !filling.is_finished() {
            assert!(resolver.find_or_load(&name("early.example")).await.unwrap().is_some());
        }
        filling.join().unwrap();
    }
}

#[tokio::test]
async fn a_source_that_can_not_be_read_makes_no_name_unknown() {
    let fleet = Fleet::new();
    let (mut publisher, resolver) = fleet.channel(1 << 20);
    publisher.insert(&fleet.spec("published.example")).unwrap();
    fleet.source.break_entries();
    let selected = |text: &str| {
        let (resolver, name) = (resolver.clone(), name(text));
        async move { resolver.select(&name, Offer::default()).await.map(drop) }
    };
    assert!(matches!(selected("early.example").await, Err(SelectError::Unreadable(_))));
    assert!(resolver.find_or_load(&name("early.example")).await.is_err());
    selected("published.example").await.unwrap();
    replace(&mut publisher, std::iter::once(spec("published.example", vec![])));
    assert!(matches!(selected("early.example").await, Err(SelectError::UnknownName)));
}
