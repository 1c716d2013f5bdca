//! What can go wrong in a comparison.

use std::{io, path::PathBuf, time::Duration};

/// Why a cell is not valid, or a comparison can't go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    /// The command line.
    #[error("{word:?} is not understood: expected {expected}")]
    Option { word: String, expected: &'static str },
    /// A file or a folder.
    #[error("{} can't be used", path.display())]
    File { path: PathBuf, source: io::Error },
    /// A process that can't be started.
    #[error("{program} can't be started")]
    Start { program: String, source: io::Error },
    /// A process that ended or does not listen.
    #[error("{program} is not ready: see {}", log.display())]
    NotReady { program: String, log: PathBuf },
    /// A program that said that it failed.
    #[error("{program} failed: {said}")]
    Failed { program: String, said: String },
    /// What a program wrote is not what is expected of it.
    #[error("{program} wrote no {expected}: {text}")]
    Unreadable { program: &'static str, expected: &'static str, text: String },
    /// Keys and certificates for the comparison.
    #[error("no certificate can be made")]
    Certificate(#[from] rcgen::Error),
    /// A TLS configuration that is made here.
    #[error("the TLS configuration is refused")]
    Tls(#[from] rustls::Error),
    /// The roots that the client has.
    #[error("the client's roots are refused")]
    Roots(#[from] rustls::client::VerifierBuilderError),
    /// A client's connection, handshake or request.
    #[error("a client failed to {what}")]
    Client { what: &'static str, source: io::Error },
    /// A response that is not whole, or not a 200.
    #[error("a response is not as expected: {0}")]
    Response(String),
    /// Requests or handshakes that did not succeed.
    #[error("{failed} of {requests} requests failed")]
    Failures { failed: u64, requests: u64 },
    /// A handshake that is not what is measured.
    #[error("a handshake was {was}, where {expected} is measured")]
    Handshake { was: String, expected: &'static str },
    /// A peer's own log, or the edge's metrics, tell another story than the client.
    #[error("{who} tells of {was}, the client of {expected}")]
    Resumption { who: &'static str, was: String, expected: String },
    /// What was negotiated is not the same for all.
    #[error("{who} negotiates {was:?}, not {expected:?}")]
    Negotiated { who: &'static str, was: String, expected: &'static str },
    /// What takes longer than it may.
    #[error("{what} took longer than {limit:?}")]
    Timeout { what: String, limit: Duration },
    /// A task of the client's that panicked.
    #[error("a client's task ended")]
    Task(#[from] tokio::task::JoinError),
    /// The figures can't be encoded.
    #[error("the report can't be encoded")]
    Encode(#[from] serde_json::Error),
    /// The time can't be written.
    #[error("the time can't be written")]
    Time(#[from] time::error::Format),
    /// The document has no place for the table.
    #[error("{} has no lines {marker:?} in their order", path.display())]
    NoMarker { path: PathBuf, marker: &'static str },
    /// Somebody wants it to end.
    #[error("interrupted")]
    Interrupted,
}

impl LoadError {
    /// The error of a file or folder, with its path.
    pub(super) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }

    /// The error of a client, with what it was about to do.
    pub(super) fn client(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Client { what, source }
    }

    /// This error and what it came from, on one line.
    pub(super) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            text.push_str(": ");
            text.push_str(&error.to_string());
            source = error.source();
        }
        text
    }
}
