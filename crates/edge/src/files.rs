//! The files that a config names, read as a start reads them.

use std::error::Error;

use crate::{
    config::{EdgeConfig, Problem},
    sync::{self, SyncError, describe},
    traces::{self, TracesError},
    upstream::roots,
};

/// Reads every file that the config names, and says what is wrong with each. Neither writes nor connects.
pub fn check_files(config: &EdgeConfig) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut add = |key: &str, error: &dyn Error| problems.push(Problem::new(key, describe(error)));
    for file in &config.group_key_files {
        if let Err(error) = sync::group_keys(std::slice::from_ref(file)) {
            add("keys.group_key_files", &error);
        }
    }
    match sync::client(config) {
        Err(error @ SyncError::Secret(_)) => add("feed.token_file", &error),
        Err(error) => add("feed.ca_file", &error),
        Ok(_) => {}
    }
    if let Some(Err(error)) = config.upstream.ca_file.as_deref().map(roots::read_usable) {
        add("upstream.ca_file", &error);
    }
    if let Some(Err(error)) = config.tracing.as_ref().map(traces::check_files) {
        let key = match &error {
            TracesError::Secret(_) | TracesError::Header { .. } => "tracing.headers_file",
            TracesError::Roots { .. } | TracesError::Client(_) | TracesError::Metrics(_) => {
                "tracing.ca_file"
            }
        };
        add(key, &error);
    }
    problems
}
