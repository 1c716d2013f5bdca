//! How issuance stands, as the database and the limits of CAs have it.

use landfall_issuance::{hold::Hold, ledger::Level};
use landfall_model::AuthorityName;
use prometheus::{IntGauge, IntGaugeVec, Opts, Registry};
use time::OffsetDateTime;

use crate::store::{counts::Counts, readable::count_unreadable};

const LANES: [&str; 3] = ["renewal", "new", "failing"];

/// How issuance stands.
#[derive(Clone)]
pub(crate) struct StandingMetrics {
    queue: IntGaugeVec,
    oldest_due: IntGaugeVec,
    orders_left: IntGaugeVec,
    orders_limit: IntGaugeVec,
    running: IntGaugeVec,
    held: IntGaugeVec,
    outages: IntGaugeVec,
    agent_seen: IntGauge,
    stalled_pops: IntGauge,
    unreadable: IntGauge,
    certificates: CertificateMetrics,
}

/// How certificates stand.
#[derive(Clone)]
struct CertificateMetrics {
    by_source: IntGaugeVec,
    renewals_due: IntGauge,
    renewals_overdue: IntGauge,
    near_end: IntGauge,
    first_end: IntGauge,
    oldest_question: IntGauge,
}

impl StandingMetrics {
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let by = |name: &str, help: &str, labels: &[&str]| family(registry, name, help, labels);
        let standing = Self {
            queue: by(
                "landfall_issuance_queue",
                "Certificates that agents are to obtain, by lane.",
                &["lane"],
            )?,
            oldest_due: by(
                "landfall_issuance_oldest_due_seconds",
                "For how long the first job of agents has been due that nobody has, by lane.",
                &["lane"],
            )?,
            orders_left: by(
                "landfall_issuance_orders_left",
                "New orders that the CA's limit leaves now.",
                &["authority"],
            )?,
            orders_limit: by(
                "landfall_issuance_orders_limit",
                "New orders that the CA's limit leaves after a rest.",
                &["authority"],
            )?,
            running: by(
                "landfall_issuance_running",
                "Jobs that agents have, by CA.",
                &["authority"],
            )?,
            held: by(
                "landfall_issuance_held",
                "1: the CA is asked for nothing for a while, by the class of what it answered.",
                &["authority", "class"],
            )?,
            outages: by(
                "landfall_issuance_outages",
                "How many times in a row the CA failed whatever it was asked for.",
                &["authority"],
            )?,
            agent_seen: gauge(
                registry,
                "landfall_issuance_agent_seen_timestamp_seconds",
                "When an agent last asked for work here; at first when the control plane started.",
            )?,
            stalled_pops: gauge(
                registry,
                "landfall_issuance_stalled_pops",
                "Active PoPs that have not applied what issuance waited for in two minutes.",
            )?,
            unreadable: gauge(
                registry,
                "landfall_control_unreadable_rows",
                "Rows of the database that lists had to leave out since the start; the log names them.",
            )?,
            certificates: CertificateMetrics::register(registry)?,
        };
        standing.agent_seen(OffsetDateTime::now_utc());
        Ok(standing)
    }

    /// Notes that an agent asked for work.
    pub(crate) fn agent_seen(&self, now: OffsetDateTime) {
        self.agent_seen.set(now.unix_timestamp());
    }

    /// Sets how many active PoPs have stalled.
    pub(crate) fn show_stalled(&self, pops: usize) {
        self.stalled_pops.set(i64::try_from(pops).unwrap_or(i64::MAX));
    }

    /// Sets what the database says.
    pub(crate) fn show(&self, counts: &Counts, now: OffsetDateTime) {
        for (lane, count) in LANES.iter().zip(&counts.lanes) {
            self.queue.with_label_values(&[*lane]).set(count.open);
            self.oldest_due.with_label_values(&[*lane]).set(age(count.first_due, now));
        }
        self.unreadable.set(i64::try_from(count_unreadable()).unwrap_or(i64::MAX));
        self.certificates.show(counts, now);
    }

    /// Sets how a CA stands: what its limit of orders leaves, if it has one, how many jobs agents have for
    /// it, and how often it failed in a row.
    pub(crate) fn show_authority(
        &self,
        name: &AuthorityName,
        orders: Option<Level>,
        (running, outages): (u32, u32),
    ) {
        let label = [name.as_str()];
        if let Some(level) = orders {
            self.orders_left.with_label_values(&label).set(i64::from(level.left));
            self.orders_limit.with_label_values(&label).set(i64::from(level.of));
        }
        self.running.with_label_values(&label).set(i64::from(running));
        self.outages.with_label_values(&label).set(i64::from(outages));
    }

    /// Sets which CAs are asked for nothing for a while.
    pub(crate) fn show_holds(&self, holds: &[Hold], now: OffsetDateTime) {
        self.held.reset();
        for hold in holds.iter().filter(|hold| hold.is_in_force(now)) {
            let labels = [hold.authority.as_str(), hold.class.name()];
            self.held.with_label_values(&labels).set(1);
        }
    }
}

impl CertificateMetrics {
    fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| gauge(registry, name, help);
        Ok(Self {
            by_source: family(
                registry,
                "landfall_certificates",
                "Certificates, by source.",
                &["source"],
            )?,
            renewals_due: gauge(
                "landfall_renewals_due",
                "Certificates whose time for renewal has come; at most 10,000 are counted.",
            )?,
            renewals_overdue: gauge(
                "landfall_renewals_overdue",
                "Certificates whose time for renewal came a day ago; at most 10,000 are counted.",
            )?,
            near_end: gauge(
                "landfall_certificates_near_end",
                "Certificates that should be renewed by themselves and end within a day; at most \
                 10,000 are looked at.",
            )?,
            first_end: gauge(
                "landfall_certificate_first_end_timestamp_seconds",
                "When the first certificate ends of those that have not ended; 0: there is none.",
            )?,
            oldest_question: gauge(
                "landfall_renewal_questions_oldest_due_seconds",
                "For how long the first question has been due when a CA wants a certificate renewed.",
            )?,
        })
    }

    fn show(&self, counts: &Counts, now: OffsetDateTime) {
        for (issuer, source) in (0..).zip(["internal", "uploaded", "inherited", "authority"]) {
            let count = counts.certificates.get(&issuer).copied().unwrap_or(0);
            self.by_source.with_label_values(&[source]).set(count);
        }
        self.renewals_due.set(counts.renewals_due);
        self.renewals_overdue.set(counts.renewals_overdue);
        self.near_end.set(counts.near_end);
        self.first_end.set(counts.first_end.map_or(0, OffsetDateTime::unix_timestamp));
        self.oldest_question.set(age(counts.first_question, now));
    }
}

fn age(first: Option<OffsetDateTime>, now: OffsetDateTime) -> i64 {
    first.map_or(0, |first| (now - first).whole_seconds().max(0))
}

fn family(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntGaugeVec, prometheus::Error> {
    let family = IntGaugeVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    let gauge = IntGauge::new(name, help)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}
