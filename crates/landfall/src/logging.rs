//! Log lines to standard error, never waiting for whoever reads them.

use std::io::{self, IsTerminal};

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    EnvFilter, Registry, filter::LevelFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt,
};

use crate::cli::LogFormat;

/// The most lines that wait to be written; what comes on top is dropped.
const MAX_WAITING_LINES: usize = 16 * 1024;
/// pingora tells of each step of its start at `info`.
const DEFAULT_FILTER: &str =
    "info,pingora_core=warn,pingora_core::apps=off,pingora_proxy=off,pingora_pool=warn";

/// Starts logging and bridges the `log` crate's records. `RUST_LOG` chooses what is logged.
/// Lines are flushed when the guard is dropped.
pub(crate) fn start(format: Option<LogFormat>) -> WorkerGuard {
    let format = format.unwrap_or(match io::stderr().is_terminal() {
        true => LogFormat::Text,
        false => LogFormat::Json,
    });
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(MAX_WAITING_LINES)
        .thread_name("log")
        .finish(io::stderr());
    let layer = fmt::layer().with_writer(writer);
    let registry = Registry::default().with(filter());
    // A second call, as in a test, keeps the first one's subscriber.
    let _ = match format {
        LogFormat::Text => registry.with(layer.with_ansi(io::stderr().is_terminal())).try_init(),
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
    };
    guard
}

fn filter() -> EnvFilter {
    let builder = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into());
    match std::env::var(EnvFilter::DEFAULT_ENV) {
        Ok(directives) if !directives.is_empty() => builder.parse_lossy(directives),
        _ => builder.parse_lossy(DEFAULT_FILTER),
    }
}
