//! Log lines to standard error, never waiting for whoever reads them.

use std::io::{self, IsTerminal};

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{EnvFilter, Registry, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::cli::LogFormat;

/// The most lines that wait to be written; what comes on top is dropped.
const MAX_WAITING_LINES: usize = 16 * 1024;
/// What is logged unless `RUST_LOG` says otherwise. pingora tells of each step of its start at
/// `info`, and below that of whole requests: paths, cookies and authorizations of visitors. So a
/// level for everything is none for it; who wants its lines names it, as in
/// `RUST_LOG=debug,pingora_proxy=debug`. hickory warns of each stray packet, with all of its text: a
/// server that floods us with them would fill the disk.
const DEFAULT_FILTER: &str = "info,pingora_core=warn,pingora_core::apps=off,pingora_proxy=off,\
                              pingora_pool=warn,hickory_net=error,hickory_proto=error";

/// Starts logging and bridges the `log` crate's records. `RUST_LOG` changes what is logged.
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
    let chosen = std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or_default();
    let layer = fmt::layer().with_writer(writer);
    let registry = Registry::default().with(filter(&chosen));
    // A second call, as in a test, keeps the first one's subscriber.
    let _ = match format {
        LogFormat::Text => registry.with(layer.with_ansi(io::stderr().is_terminal())).try_init(),
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
    };
    guard
}

/// `chosen` is what `RUST_LOG` says.
fn filter(chosen: &str) -> EnvFilter {
    // Of two directives for one target, the later counts.
    EnvFilter::builder().parse_lossy(format!("{DEFAULT_FILTER},{chosen}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_for_everything_is_none_for_what_logs_whole_requests() {
        let table = [
            ("", "info", "pingora_proxy=off"),
            ("=, nonsense", "info", "pingora_proxy=off"),
            ("trace", "trace", "pingora_proxy=off"),
            ("debug,pingora_proxy=trace", "debug", "pingora_proxy=trace"),
        ];
        for (chosen, everything, proxy) in table {
            let filter = filter(chosen).to_string();
            let directives: Vec<&str> = filter.split(',').collect();
            assert!(directives.contains(&everything), "{chosen}: {filter}");
            assert!(directives.contains(&proxy), "{chosen}: {filter}");
        }
    }
}
