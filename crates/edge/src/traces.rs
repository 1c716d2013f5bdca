//! Traces of requests, for a collector that speaks OTLP over HTTP.
//!
//! A request is decided on once, by its trace's id ([`sampling`]). What is known of it is put into
//! spans where it passes ([`request`]); they go into a bounded queue when it ends, and a task of
//! its own sends them in batches ([`exporter`]). No request ever waits for a collector: a queue
//! that is full drops spans and counts them.
//!
//! Attributes are those of OpenTelemetry's semantic conventions for HTTP. A query is never among
//! them: it may hold secrets.

mod attributes;
mod collector;
mod context;
mod exporter;
mod metrics;
mod request;
mod sampling;
mod span;

use std::{path::PathBuf, sync::Arc};

use landfall_feed::secret_file::SecretFileError;
use prometheus::Registry;
use tokio::sync::mpsc;

use crate::config::Tracing;
use collector::Collector;
use exporter::Exporter;
use metrics::TraceMetrics;
pub(crate) use request::{RequestTrace, Tracer};
use sampling::Sampler;

/// Why traces can't be sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TracesError {
    /// The file of headers can't be read, or others can read it.
    #[error("the headers for the collector can't be read")]
    Secret(#[source] SecretFileError),
    /// A line that is no header.
    #[error("line {line} of {} is not `Name: value`", path.display())]
    Header {
        /// The file of headers.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
    /// The collector's roots can't be read.
    #[error("cannot read {}", path.display())]
    Roots {
        /// The file of roots.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The client refuses its configuration, or the roots are no certificates.
    #[error("the collector's client can't be set up")]
    Client(#[source] reqwest::Error),
    /// A metric was not registered.
    #[error("cannot register the metrics of traces")]
    Metrics(#[source] prometheus::Error),
}

/// Reads the files that the config names.
///
/// # Errors
/// [`TracesError`].
pub(crate) fn check_files(config: &Tracing) -> Result<(), TracesError> {
    Collector::new(config).map(drop)
}

/// What makes traces, and what sends them for as long as it runs. Connects to nothing yet.
///
/// # Errors
/// [`TracesError`]. That there is no collector is none.
pub(crate) fn start(
    config: &Tracing,
    registry: &Registry,
) -> Result<(Tracer, Exporter), TracesError> {
    let metrics = Arc::new(TraceMetrics::new(registry).map_err(TracesError::Metrics)?);
    let (sender, receiver) = mpsc::channel(config.queue.get());
    let tracer = Tracer::new(Sampler::new(config.sample), sender, Arc::clone(&metrics));
    let exporter = Exporter::new(config, Collector::new(config)?, receiver, metrics);
    Ok((tracer, exporter))
}
