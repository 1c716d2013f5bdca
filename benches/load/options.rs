//! The command line and the plan that follows from it.

use std::time::Duration;

use serde::Serialize;

use super::{LoadError, subject::Subject};

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) plan: Plan,
    pub(super) docs: Docs,
}

/// What becomes of `docs/performance.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Docs {
    Keep,
    Write,
}

/// How much is measured. Times are in seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Plan {
    /// How often each cell is measured.
    pub(super) rounds: usize,
    /// Requests over HTTP/1 and over HTTP/2, each.
    pub(super) requests_s: u64,
    /// Requests at a fixed rate.
    pub(super) latency_s: u64,
    /// Full and resumed handshakes, each.
    pub(super) handshakes_s: u64,
    pub(super) downloads_s: u64,
    /// Connections that are opened and left idle.
    pub(super) idle_connections: usize,
}

impl Plan {
    /// At least five rounds, in less than fifteen minutes.
    const FULL: Self = Self {
        rounds: 5,
        requests_s: 4,
        latency_s: 4,
        handshakes_s: 3,
        downloads_s: 3,
        idle_connections: 2_000,
    };
    /// Whether everything works; its figures say little.
    const QUICK: Self = Self {
        rounds: 1,
        requests_s: 1,
        latency_s: 1,
        handshakes_s: 1,
        downloads_s: 1,
        idle_connections: 200,
    };
    /// To start a subject anew, fill it with connections and look at its memory, seconds.
    const MEMORY_S: u64 = 4;
    /// Between two cells, and around their load, seconds in ten.
    const BETWEEN_DS: u64 = 3;

    /// About how long all of it takes.
    pub(super) fn takes(&self) -> Duration {
        let round: u64 = Subject::ALL.iter().map(|subject| self.takes_of(*subject)).sum();
        Duration::from_secs(round * u64::try_from(self.rounds).unwrap_or(u64::MAX) + 40)
    }

    fn takes_of(&self, subject: Subject) -> u64 {
        let streams = if subject.speaks_h2() { self.requests_s } else { 0 };
        let loads = self.requests_s + streams + self.latency_s + 2 * self.handshakes_s;
        loads + self.downloads_s + Self::MEMORY_S + 6 * Self::BETWEEN_DS / 10
    }
}

/// Reads the words after the program's name. `rounds` is what the environment says.
pub(super) fn parse(
    words: impl Iterator<Item = String>,
    rounds: Option<String>,
) -> Result<Options, LoadError> {
    let mut options = Options { plan: Plan::FULL, docs: Docs::Keep };
    for word in words {
        match word.as_str() {
            "--quick" => options.plan = Plan::QUICK,
            "--write-docs" => options.docs = Docs::Write,
            // cargo says it to every benchmark.
            "--bench" => {}
            _ => return Err(LoadError::Option { word, expected: "--quick or --write-docs" }),
        }
    }
    if let Some(word) = rounds {
        let expected = "a number from 1 to 100 in LANDFALL_BENCH_ROUNDS";
        options.plan.rounds = match word.parse() {
            Ok(rounds @ 1..=100) => rounds,
            _ => return Err(LoadError::Option { word, expected }),
        };
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str], rounds: Option<&str>) -> Result<Options, LoadError> {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        parse(words.into_iter(), rounds.map(str::to_owned))
    }

    #[test]
    fn the_full_plan_fits_in_fifteen_minutes() {
        let options = words(&["--bench"], None).unwrap();
        assert!(options.plan.rounds >= 5);
        assert!(options.plan.takes() < Duration::from_secs(14 * 60), "{:?}", options.plan.takes());
    }

    #[test]
    fn rounds_of_the_environment_go_before_those_of_the_plan() {
        let options = words(&["--quick", "--write-docs"], Some("3")).unwrap();
        assert_eq!(options.plan, Plan { rounds: 3, ..Plan::QUICK });
        assert_eq!(options.docs, Docs::Write);
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (given, rounds, word) in
            [(&["--fast"][..], None, "--fast"), (&[], Some("0"), "\"0\""), (&[], Some("x"), "x")]
        {
            let error = words(given, rounds).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
