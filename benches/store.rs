//! The index at a million hostnames: look-ups, a one-record delta, building, memory.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "a benchmark")]

use std::{hint::black_box, sync::Arc, time::Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use landfall_benches::{HOSTNAMES, empty_source, entry, hostname, resident_bytes};
use landfall_certstore::{GroupKeys, Publisher, Resolver, StoreConfig, channel};
use landfall_model::{LookupName, Route};

fn filled() -> (Publisher<Route>, Resolver<Route>) {
    let keys = Arc::new(GroupKeys::parse([]).unwrap());
    let (mut publisher, resolver) =
        channel(StoreConfig { key_cache_bytes: 1 << 20 }, empty_source(), keys, Route::clone);
    let (before, start) = (resident_bytes(), Instant::now());
    let mut replacement = publisher.replacement();
    for n in 0..HOSTNAMES {
        replacement.insert(&entry(n).unwrap()).unwrap();
    }
    replacement.finish();
    let bytes = resident_bytes().saturating_sub(before);
    println!(
        "{HOSTNAMES} hostnames: built in {:.2} s, {} bytes of resident memory each",
        start.elapsed().as_secs_f64(),
        bytes / HOSTNAMES,
    );
    (publisher, resolver)
}

/// Every `n`th of a sequence that visits all hostnames in no order that a cache could guess.
fn scattered(n: u64) -> u64 {
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % HOSTNAMES
}

fn names(text: impl Fn(u64) -> String) -> Vec<LookupName> {
    (0..65_536).map(|n| LookupName::from_sni(&text(scattered(n))).unwrap()).collect()
}

fn store(criterion: &mut Criterion) {
    let (mut publisher, resolver) = filled();
    let mut look_up = |name: &str, names: Vec<LookupName>| {
        let mut next = names.iter().cycle();
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| black_box(resolver.find(next.next().unwrap())));
        });
    };
    look_up("look-up, hit", names(|n| hostname(n).unwrap().to_string()));
    look_up("look-up, miss", names(|n| format!("{n}.unknown.example")));
    look_up(
        "look-up, one hot name",
        vec![LookupName::from_sni(&hostname(7).unwrap().to_string()).unwrap()],
    );
    let mut n = 0;
    criterion.bench_function("one-record delta", |bencher| {
        bencher.iter(|| {
            n += 1;
            publisher.insert(&entry(scattered(n)).unwrap()).unwrap();
        });
    });
}

criterion_group!(benches, store);
criterion_main!(benches);
