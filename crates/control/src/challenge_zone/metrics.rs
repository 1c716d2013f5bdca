//! What is counted of the zone of challenges.

use hickory_proto::op::ResponseCode;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// What is counted of the zone of challenges. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct ZoneMetrics {
    queries: IntCounterVec,
    updates: IntCounterVec,
    pub(super) names: IntGauge,
    pub(super) connections: IntGauge,
    pub(super) restarts: IntCounter,
}

/// What became of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It was answered.
    Answered(ResponseCode),
    /// Its client asks too much, and was told to ask over TCP.
    Limited,
    /// It was no query.
    Ignored,
}

impl ZoneMetrics {
    /// Shown by `registry`.
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters = |name: &str, help: &str, label: &str| {
            let family = IntCounterVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(family.clone()))?;
            Ok::<_, prometheus::Error>(family)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let restarts = IntCounter::new(
            "landfall_challenge_zone_restarts_total",
            "How often a task that answers for the zone of challenges failed and was started again.",
        )?;
        registry.register(Box::new(restarts.clone()))?;
        Ok(Self {
            queries: counters(
                "landfall_challenge_zone_queries_total",
                "DNS queries for the zone of challenges, by response code.",
                "rcode",
            )?,
            updates: counters(
                "landfall_challenge_zone_updates_total",
                "Updates of the operator's server (RFC 2136), by result.",
                "result",
            )?,
            names: gauge(
                "landfall_challenge_zone_names",
                "Names that have records in the zone of challenges.",
            )?,
            connections: gauge(
                "landfall_challenge_zone_connections",
                "TCP connections to the server of the zone of challenges.",
            )?,
            restarts,
        })
    }

    pub(super) fn query(&self, fate: Fate) {
        let label = match fate {
            Fate::Answered(code) => name(code),
            Fate::Limited => "limited",
            Fate::Ignored => "ignored",
        };
        self.queries.with_label_values(&[label]).inc();
    }

    pub(super) fn update(&self, result: &str) {
        self.updates.with_label_values(&[result]).inc();
    }
}

/// As the IANA has it, of those that we answer with.
fn name(code: ResponseCode) -> &'static str {
    let names = [
        (ResponseCode::NoError, "noerror"),
        (ResponseCode::NXDomain, "nxdomain"),
        (ResponseCode::FormErr, "formerr"),
        (ResponseCode::NotImp, "notimp"),
        (ResponseCode::Refused, "refused"),
        (ResponseCode::BADVERS, "badvers"),
    ];
    names.iter().find(|(own, _)| *own == code).map_or("other", |(_, name)| name)
}
