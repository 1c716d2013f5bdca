//! Where lines are written.

use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use super::AccessLogError;
use crate::config::Sink;

/// An open sink.
pub(super) enum Output {
    Stdout,
    File { path: std::path::PathBuf, file: File },
}

impl Output {
    pub(super) fn open(sink: Sink) -> Result<Self, AccessLogError> {
        match sink {
            Sink::Stdout => Ok(Self::Stdout),
            Sink::File(path) => match append_to(&path) {
                Ok(file) => Ok(Self::File { path, file }),
                Err(source) => Err(AccessLogError::Open { path, source }),
            },
        }
    }

    /// Writes whole lines. A file that was moved away or deleted, as log rotation does it, is
    /// opened anew before.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(lines)?;
                stdout.flush()
            }
            Self::File { path, file } => {
                if !is_at(file, path) {
                    *file = append_to(path)?;
                }
                file.write_all(lines)
            }
        }
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

fn is_at(file: &File, path: &Path) -> bool {
    let id = |metadata: Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), path.metadata()) {
        (Ok(open), Ok(there)) => id(open) == id(there),
        (Ok(_) | Err(_), Ok(_) | Err(_)) => false,
    }
}
