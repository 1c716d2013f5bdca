//! What was measured, as JSON and as tables.

use std::{collections::BTreeMap, fmt::Write};

use serde::Serialize;

use super::{
    machine::Machine,
    metric::{Better, Metric},
    options::Plan,
    statistics::{Spread, paired},
    subject::Subject,
};

/// One figure of one round.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Sample {
    pub(super) round: usize,
    pub(super) subject: Subject,
    pub(super) metric: Metric,
    pub(super) value: f64,
}

/// A cell of one round that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Invalid {
    pub(super) round: usize,
    pub(super) subject: Subject,
    /// What was measured.
    pub(super) load: &'static str,
    pub(super) reason: String,
}

/// All of it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    /// When it was begun (RFC 3339).
    pub(super) at: String,
    pub(super) took_s: u64,
    pub(super) machine: Machine,
    pub(super) plan: Plan,
    /// Requests a second of the rows of latency.
    pub(super) fixed_rate: u32,
    pub(super) rows: Vec<Row>,
    pub(super) invalid: Vec<Invalid>,
    pub(super) samples: Vec<Sample>,
}

/// A row of the tables.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Row {
    pub(super) metric: Metric,
    pub(super) label: &'static str,
    pub(super) unit: &'static str,
    pub(super) better: Better,
    pub(super) figures: BTreeMap<Subject, Spread>,
    /// Landfall's figure by another's, of the same round.
    pub(super) ratios: BTreeMap<Subject, Spread>,
}

/// Makes rows of samples. What nobody has a sample of has no row.
pub(super) fn rows(samples: &[Sample]) -> Vec<Row> {
    let rows = Metric::ALL.into_iter().map(|metric| {
        let of = |subject: Subject| -> Vec<(usize, f64)> {
            let own = samples.iter();
            let own = own.filter(|sample| sample.metric == metric && sample.subject == subject);
            own.map(|sample| (sample.round, sample.value)).collect()
        };
        let values = |pairs: &[(usize, f64)]| -> Vec<f64> {
            pairs.iter().map(|(_, value)| *value).collect()
        };
        let ours = of(Subject::Landfall);
        let figures = Subject::ALL.into_iter();
        let figures =
            figures.filter_map(|subject| Some((subject, Spread::of(&values(&of(subject)))?)));
        let ratios = Subject::OTHERS.into_iter();
        let ratios =
            ratios.filter_map(|subject| Some((subject, Spread::of(&paired(&ours, &of(subject)))?)));
        let (label, unit) = metric.label();
        let (figures, ratios) = (figures.collect(), ratios.collect());
        Row { metric, label, unit, better: metric.better(), figures, ratios }
    });
    rows.filter(|row| !row.figures.is_empty()).collect()
}

impl Report {
    /// As Markdown: the ratios, the figures, and what is not valid.
    pub(super) fn markdown(&self) -> String {
        let mut text = String::new();
        let Plan { rounds, idle_connections, .. } = self.plan;
        // Writing to a String does not fail, here and below.
        let _ = write!(
            text,
            "{}: {}. {rounds} rounds in {} minutes; the fixed rate is {} requests/s, idle connections \
             are {idle_connections}.\n\n",
            self.at,
            self.machine.sentence(),
            self.took_s.div_ceil(60),
            self.fixed_rate,
        );
        text.push_str(&self.ratios());
        text.push_str(&self.figures());
        if !self.invalid.is_empty() {
            text.push_str("\nNot valid, and left out:\n\n");
        }
        for invalid in &self.invalid {
            let Invalid { round, subject, load, reason } = invalid;
            let reason = reason.lines().next().unwrap_or_default();
            let _ = writeln!(text, "* {}, {load}, round {}: {reason}", subject.name(), round + 1);
        }
        text
    }

    fn ratios(&self) -> String {
        let rows = self.rows.iter().filter(|row| row.better != Better::Neither);
        let rows = rows.map(|row| {
            let better = match row.better {
                Better::Higher => "↑",
                Better::Lower | Better::Neither => "↓",
            };
            let cells = Subject::OTHERS.map(|other| ratio(row, other));
            line(&format!("{} {better}", row.label), &cells)
        });
        let head = Subject::OTHERS.map(|other| format!("/ {}", other.name()));
        table("Landfall / other", &head, rows)
    }

    fn figures(&self) -> String {
        let rows = self.rows.iter().map(|row| {
            let cells = Subject::ALL.map(|subject| {
                row.figures.get(&subject).map_or_else(absent, |spread| figure(spread.median))
            });
            line(&format!("{}, {}", row.label, row.unit), &cells)
        });
        let head = Subject::ALL.map(|subject| subject.name().to_owned());
        format!("\n{}", table("median", &head, rows))
    }
}

fn table(first: &str, head: &[String], rows: impl Iterator<Item = String>) -> String {
    let rule = format!("|---|{}\n", "---|".repeat(head.len()));
    format!("{}{rule}{}", line(first, head), rows.collect::<String>())
}

fn line(first: &str, cells: &[String]) -> String {
    format!("| {first} | {} |\n", cells.join(" | "))
}

fn absent() -> String {
    "–".to_owned()
}

/// The ratio's median, bold where Landfall is ahead in every round, and its spread.
fn ratio(row: &Row, other: Subject) -> String {
    let Some(spread) = row.ratios.get(&other) else { return absent() };
    let Spread { median, min, max, .. } = *spread;
    let is_ahead = match row.better {
        Better::Higher => min > 1.0,
        Better::Lower | Better::Neither => max < 1.0,
    };
    let median = format!("{median:.2}");
    let median = match (spread.is_clear_of_one(), is_ahead) {
        (true, true) => format!("**{median}**"),
        (true, false) => median,
        (false, _) => format!("≈ {median}"),
    };
    format!("{median} ({min:.2}–{max:.2})")
}

/// Three digits that say something.
fn figure(value: f64) -> String {
    match value {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(samples: Vec<Sample>) -> Report {
        Report {
            at: "2026-01-02T03:04:05Z".into(),
            took_s: 601,
            machine: Machine {
                cpu: "A CPU".into(),
                cores: 2,
                kernel: "6.1".into(),
                versions: BTreeMap::from([("nginx", "1.22".to_owned())]),
            },
            plan: super::super::options::parse(std::iter::empty(), None).unwrap().plan,
            fixed_rate: 1_200,
            rows: rows(&samples),
            invalid: vec![Invalid {
                round: 1,
                subject: Subject::Caddy,
                load: "HTTP/2",
                reason: "3 of 9 requests failed\nmore".into(),
            }],
            samples,
        }
    }

    fn samples(metric: Metric, subject: Subject, values: &[f64]) -> Vec<Sample> {
        let values = values.iter().enumerate();
        values.map(|(round, value)| Sample { round, subject, metric, value: *value }).collect()
    }

    fn some() -> Vec<Sample> {
        [
            samples(Metric::H1Requests, Subject::Landfall, &[200.0, 210.0, 190.0]),
            samples(Metric::H1Requests, Subject::Nginx, &[100.0, 100.0, 100.0]),
            samples(Metric::H1Requests, Subject::Haproxy, &[400.0, 420.0, 380.0]),
            samples(Metric::H1Requests, Subject::Caddy, &[205.0, 200.0, 200.0]),
            samples(Metric::IdleMemory, Subject::Landfall, &[12.345]),
            samples(Metric::OriginCpu, Subject::Landfall, &[3.0]),
        ]
        .concat()
    }

    #[test]
    fn ratios_are_marked_as_ahead_behind_or_lost_in_noise() {
        let text = report(some()).markdown();
        let row = "| HTTP/1 keep-alive, 64 connections ↑ | **2.00** (1.90–2.10) | 0.50 (0.50–0.50) | \
                   ≈ 0.98 (0.95–1.05) | – | – |\n";
        assert!(text.contains(row), "{text}");
        assert!(text.contains("| memory of an idle HTTP/1 connection, KiB | 12.3 | – "), "{text}");
        assert!(!text.contains("own CPU, HTTP/1 keep-alive ↓"), "{text}");
        assert!(text.contains("* Caddy, HTTP/2, round 2: 3 of 9 requests failed\n"), "{text}");
        assert!(text.starts_with("2026-01-02T03:04:05Z: A CPU, 2 cores, Linux 6.1; nginx 1.22"));
    }

    #[test]
    fn the_json_has_every_sample_and_every_ratio() {
        let json = serde_json::to_value(report(some())).unwrap();
        assert_eq!(json["samples"].as_array().unwrap().len(), 14);
        assert_eq!(json["rows"][0]["metric"], "h1_requests");
        assert_eq!(json["rows"][0]["better"], "higher");
        assert_eq!(json["rows"][0]["ratios"]["nginx"]["median"], 2.0);
        assert_eq!(json["rows"][0]["figures"]["landfall"]["samples"], 3);
        assert_eq!(json["machine"]["cores"], 2);
        assert_eq!(json["plan"]["rounds"], 5);
        assert_eq!(json["invalid"][0]["load"], "HTTP/2");
    }
}
