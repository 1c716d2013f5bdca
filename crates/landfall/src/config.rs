//! Reads an operator's TOML file and says everything that is wrong with it at once.
//!
//! A value that does not parse is set aside with its line, and the rest is read without it, until
//! what is left parses; then the crate that owns the config checks the whole. So one run names
//! every key that needs mending, each with file, line, key and what was expected.

mod document;
mod message;

use std::{
    fmt, fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use landfall_edge::config::Problem;
use serde::de::DeserializeOwned;

use self::document::Document;

/// The largest config file, in bytes.
const MAX_LEN: u64 = 1024 * 1024;
/// The most values that are set aside before the rest is given up.
const MAX_ROUNDS: usize = 100;

/// Why a config could not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The system refused.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The file is over [`MAX_LEN`].
    #[error("{} is longer than {MAX_LEN} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// The file was read, and some of it has to be mended.
    #[error("{}", lines(findings))]
    Invalid {
        /// In the order of the file.
        findings: Vec<Finding>,
    },
}

/// One thing to mend, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The file.
    pub(crate) file: PathBuf,
    /// The line, from 1; `None` where nothing in the file stands for it.
    pub(crate) line: Option<usize>,
    /// The dotted path of the key; empty where the text is no TOML.
    pub(crate) key: String,
    /// What is wrong and what was expected.
    pub(crate) message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        if !self.key.is_empty() {
            write!(f, " {}:", self.key)?;
        }
        write!(f, " {}", self.message)
    }
}

fn lines(findings: &[Finding]) -> String {
    findings.iter().map(Finding::to_string).collect::<Vec<_>>().join("\n")
}

/// Which process a config file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConfigKind {
    /// `landfall control`
    Control,
    /// `landfall edge`
    Edge,
}

/// A config file's text.
pub(crate) struct ConfigFile {
    path: PathBuf,
    text: String,
}

impl ConfigFile {
    /// Reads the file.
    ///
    /// # Errors
    /// [`ConfigError::Read`] and [`ConfigError::TooLong`].
    pub(crate) fn read(path: &Path) -> Result<Self, ConfigError> {
        let failed = |source| ConfigError::Read { path: path.to_owned(), source };
        let file = fs::File::open(path).map_err(failed)?;
        let mut text = String::new();
        let len = file.take(MAX_LEN + 1).read_to_string(&mut text).map_err(failed)?;
        if len as u64 > MAX_LEN {
            return Err(ConfigError::TooLong { path: path.to_owned() });
        }
        Ok(Self { path: path.to_owned(), text })
    }

    /// Tells a control plane's file from an edge's by what only the former has.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] where the text is no TOML.
    pub(crate) fn kind(&self) -> Result<ConfigKind, ConfigError> {
        let document = self.document()?;
        let is_control = document.has("api") || document.has("system_domain");
        Ok(if is_control { ConfigKind::Control } else { ConfigKind::Edge })
    }

    /// Parses and checks the file; `check` gets the folder that relative paths start from.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with everything that is wrong.
    pub(crate) fn load<Raw, Checked>(
        &self,
        check: impl FnOnce(Raw, &Path) -> Result<Checked, Vec<Problem>>,
    ) -> Result<Checked, ConfigError>
    where
        Raw: DeserializeOwned,
    {
        let original = self.document()?;
        let (raw, mut findings) = self.parse::<Raw>(original.clone())?;
        let base = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        match check(raw, base) {
            Ok(checked) if findings.is_empty() => return Ok(checked),
            Ok(_) => {}
            Err(problems) => self.add(&mut findings, problems, &original),
        }
        Err(invalid(findings))
    }

    /// Says what is wrong beyond the file itself, with the lines of the keys.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] where there are problems.
    pub(crate) fn refuse(&self, problems: Vec<Problem>) -> Result<(), ConfigError> {
        let mut findings = Vec::new();
        self.add(&mut findings, problems, &self.document()?);
        if findings.is_empty() { Ok(()) } else { Err(invalid(findings)) }
    }

    fn document(&self) -> Result<Document<'_>, ConfigError> {
        Document::parse(&self.text).map_err(|error| {
            let line = error.span().map(|span| document::line_at(&self.text, span.start));
            let message = message::of_syntax(error.message());
            invalid(vec![self.finding(line, String::new(), message)])
        })
    }

    /// Deserializes what can be, and a finding for each value that could not.
    fn parse<Raw: DeserializeOwned>(
        &self,
        mut document: Document<'_>,
    ) -> Result<(Raw, Vec<Finding>), ConfigError> {
        let mut findings = Vec::new();
        for _ in 0..MAX_ROUNDS {
            let error = match document.deserialize::<Raw>() {
                Ok(raw) => return Ok((raw, findings)),
                Err(error) => error,
            };
            let span = error.span().unwrap_or_default();
            let line = error.span().map(|span| document::line_at(&self.text, span.start));
            let removed = document.remove_at(&span);
            let given = self.text.get(span).unwrap_or_default();
            let message = message::of_value(error.message(), given);
            let key = removed.clone().unwrap_or_default();
            findings.push(self.finding(line, key, message));
            if removed.is_none() {
                break;
            }
        }
        Err(invalid(findings))
    }

    /// Adds what the check found, except for keys that are there and were set aside.
    fn add(&self, findings: &mut Vec<Finding>, problems: Vec<Problem>, original: &Document<'_>) {
        let set_aside: Vec<String> = findings.iter().map(|finding| finding.key.clone()).collect();
        for Problem { key, message } in problems {
            let is_known = set_aside.iter().any(|aside| document::is_within(&key, aside));
            if !is_known {
                let line = original.offset_of(&key).map(|at| document::line_at(&self.text, at));
                findings.push(self.finding(line, key, message));
            }
        }
    }

    fn finding(&self, line: Option<usize>, key: String, message: String) -> Finding {
        Finding { file: self.path.clone(), line, key, message }
    }
}

fn invalid(mut findings: Vec<Finding>) -> ConfigError {
    findings.sort_by_key(|finding| finding.line.unwrap_or(usize::MAX));
    ConfigError::Invalid { findings }
}

#[cfg(test)]
mod tests;
