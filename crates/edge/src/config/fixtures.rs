//! Configurations for tests.

use std::path::Path;

use super::{EdgeConfig, Limits, RawEdgeConfig};

/// A public key that verifies nothing.
pub(crate) const KEY: &str = "ed25519:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// The defaults, but for `limits`.
pub(crate) fn limits(limits: &str) -> Limits {
    config(&format!("[limits]\n{limits}")).limits
}

/// The least file with `more` at its end.
pub(crate) fn config(more: &str) -> EdgeConfig {
    let text = format!(
        r#"
        [listen]
        https = ["127.0.0.1:0"]
        [feed]
        url = "http://127.0.0.1:1"
        token_file = "token"
        signing_keys = ["{KEY}"]
        [keys]
        group_key_files = ["group.key"]
        [state]
        directory = "state"
        {more}
        "#
    );
    let raw: RawEdgeConfig = toml::from_str(&text).unwrap();
    raw.check(Path::new("/etc/landfall")).unwrap()
}
