//! The certificate store's figures, read at each scrape.

use std::collections::HashMap;

use crate::site::Site;
use landfall_certstore::{Resolver, Stats};
use prometheus::{
    core::{Collector, Desc},
    proto::{Counter, Gauge, Metric, MetricFamily, MetricType},
};

/// A figure's name, help, type and value.
type Figure = (&'static str, &'static str, MetricType, fn(&Stats) -> f64);

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
const FIGURES: [Figure; 7] = [
    (
        "landfall_store_hostnames",
        "Names and wildcards that are served.",
        MetricType::GAUGE,
        |stats| stats.hostnames as f64,
    ),
    ("landfall_store_policies", "Distinct TLS policies.", MetricType::GAUGE, |stats| {
        stats.policies as f64
    }),
    (
        "landfall_ticket_secrets",
        "Secrets for session tickets that came over the feed.",
        MetricType::GAUGE,
        |stats| stats.ticket_secrets as f64,
    ),
    (
        "landfall_store_cached_keys",
        "Parsed certificates in the cache.",
        MetricType::GAUGE,
        |stats| stats.cache_entries as f64,
    ),
    (
        "landfall_store_cache_bytes",
        "What the parsed certificates take, estimated.",
        MetricType::GAUGE,
        |stats| stats.cache_bytes as f64,
    ),
    (
        "landfall_store_cache_hits_total",
        "Handshakes whose certificate was in the cache.",
        MetricType::COUNTER,
        |stats| stats.cache_hits as f64,
    ),
    (
        "landfall_store_cache_misses_total",
        "Handshakes whose certificate had to be read and opened.",
        MetricType::COUNTER,
        |stats| stats.cache_misses as f64,
    ),
];

/// Reads [`Resolver::stats`] once for each scrape.
pub(super) struct StoreCollector {
    resolver: Resolver<Site>,
    descriptions: Vec<Desc>,
}

impl StoreCollector {
    pub(super) fn new(resolver: Resolver<Site>) -> prometheus::Result<Self> {
        let describe = |(name, help, ..): &Figure| {
            Desc::new((*name).to_owned(), (*help).to_owned(), Vec::new(), HashMap::new())
        };
        let descriptions = FIGURES.iter().map(describe).collect::<Result<_, _>>()?;
        Ok(Self { resolver, descriptions })
    }
}

impl Collector for StoreCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let stats = self.resolver.stats();
        FIGURES.iter().map(|figure| family(figure, &stats)).collect()
    }
}

fn family((name, help, kind, value): &Figure, stats: &Stats) -> MetricFamily {
    let mut metric = Metric::default();
    if *kind == MetricType::COUNTER {
        let mut counter = Counter::default();
        counter.set_value(value(stats));
        metric.set_counter(counter);
    } else {
        let mut gauge = Gauge::default();
        gauge.set_value(value(stats));
        metric.set_gauge(gauge);
    }
    let mut family = MetricFamily::default();
    family.set_name((*name).to_owned());
    family.set_help((*help).to_owned());
    family.set_field_type(*kind);
    family.set_metric(vec![metric]);
    family
}
