//! `[access_log]`: which requests are written down, and where.

use std::path::{Path, PathBuf};

use bytesize::ByteSize;
use landfall_model::config::Problem;
use serde::{Deserialize, Serialize};

/// `[access_log]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawAccessLog {
    /// Where requests are written down as lines of JSON, their fields named as OpenTelemetry names
    /// them: a file, which is opened anew once it was moved away, or `-` for the standard output.
    /// Neither queries nor cookies nor credentials are written. Default: nowhere.
    pub path: Option<PathBuf>,
    /// Lines in a second; more are dropped, and counted.
    pub max_per_second: u32,
    /// Lines that may wait to be written; more are dropped, and counted.
    pub queue_lines: usize,
    /// Bytes that may wait to be written; more are dropped, and counted.
    pub queue_size: ByteSize,
    /// `[access_log.sample]`: the share of requests that is written, by the class of their status.
    pub sample: RawSample,
}

/// `[access_log.sample]`
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawSample {
    /// The share of those that were answered 1xx, of which 101 (a WebSocket) is the one there is.
    #[serde(rename = "1xx")]
    pub informational: f64,
    /// The share of those that were answered 2xx.
    #[serde(rename = "2xx")]
    pub success: f64,
    /// The share of those that were answered 3xx.
    #[serde(rename = "3xx")]
    pub redirection: f64,
    /// The share of those that were answered 4xx.
    #[serde(rename = "4xx")]
    pub client_error: f64,
    /// The share of those that were answered 5xx.
    #[serde(rename = "5xx")]
    pub server_error: f64,
    /// The share of those whose client went away before an answer.
    pub none: f64,
}

impl Default for RawAccessLog {
    fn default() -> Self {
        Self {
            path: None,
            max_per_second: 1000,
            queue_lines: 8192,
            queue_size: ByteSize::mib(8),
            sample: RawSample::default(),
        }
    }
}

impl Default for RawSample {
    fn default() -> Self {
        Self {
            informational: 1.0,
            success: 0.0,
            redirection: 1.0,
            client_error: 1.0,
            server_error: 1.0,
            none: 1.0,
        }
    }
}

/// Which requests are written down, and where.
#[derive(Clone, Debug)]
pub struct AccessLogSettings {
    /// Where to.
    pub sink: Sink,
    /// The most lines in a second; more are dropped.
    pub max_per_second: u32,
    /// The most lines that wait to be written.
    pub queue_lines: usize,
    /// The most bytes that wait to be written.
    pub queue_size: usize,
    /// The share of requests that is written, from 0 to 1, by the first digit of their status; 0
    /// stands for those without an answer.
    pub sample: [f64; 6],
}

/// Where lines are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sink {
    /// The standard output.
    Stdout,
    /// A file, which is appended to.
    File(PathBuf),
}

impl RawAccessLog {
    /// Checks the section. `None` where the log is off.
    pub(super) fn check(
        self,
        base: &Path,
        problems: &mut Vec<Problem>,
    ) -> Option<AccessLogSettings> {
        let sample = self.sample;
        let shares = [
            ("none", sample.none),
            ("1xx", sample.informational),
            ("2xx", sample.success),
            ("3xx", sample.redirection),
            ("4xx", sample.client_error),
            ("5xx", sample.server_error),
        ];
        for (class, share) in shares {
            if !(0.0..=1.0).contains(&share) {
                let key = format!("access_log.sample.{class}");
                problems.push(Problem::new(key, format!("expected from 0 to 1, got {share}")));
            }
        }
        if !(1..=1 << 20).contains(&self.queue_lines) {
            problems.push(Problem::new("access_log.queue_lines", "expected from 1 to 1048576"));
        }
        let queue_size = self.queue_size.as_u64();
        if !(64 << 10..=1 << 30).contains(&queue_size) {
            problems.push(Problem::new("access_log.queue_size", "expected from 64KiB to 1GiB"));
        }
        if self.max_per_second == 0 {
            problems.push(Problem::new("access_log.max_per_second", "expected at least 1"));
        }
        let sink = match self.path? {
            path if path == Path::new("-") => Sink::Stdout,
            path => Sink::File(base.join(path)),
        };
        Some(AccessLogSettings {
            sink,
            max_per_second: self.max_per_second,
            queue_lines: self.queue_lines,
            queue_size: usize::try_from(queue_size).unwrap_or(usize::MAX),
            sample: shares.map(|(_, share)| share),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> (Option<AccessLogSettings>, Vec<String>) {
        let raw: RawAccessLog = toml::from_str(text).unwrap();
        let mut problems = Vec::new();
        let settings = raw.check(Path::new("/etc/landfall"), &mut problems);
        (settings, problems.into_iter().map(|problem| problem.key).collect())
    }

    #[test]
    fn nothing_is_written_unless_it_is_said_where() {
        assert!(check("").0.is_none());
        assert_eq!(check("path = \"-\"").0.unwrap().sink, Sink::Stdout);
        let settings = check("path = \"access.log\"").0.unwrap();
        assert_eq!(settings.sink, Sink::File("/etc/landfall/access.log".into()));
        assert!(settings.sample.map(|share| share > 0.5) == [true, true, false, true, true, true]);
    }

    #[test]
    fn every_problem_is_said_with_its_key() {
        let text = "max_per_second = 0\nqueue_lines = 0\nqueue_size = \"1KiB\"\nsample.2xx = 1.5";
        let expected = [
            "access_log.sample.2xx",
            "access_log.queue_lines",
            "access_log.queue_size",
            "access_log.max_per_second",
        ];
        assert_eq!(check(text).1, expected);
    }
}
