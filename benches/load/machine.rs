//! Where a comparison was made, and of which versions.

use std::{collections::BTreeMap, fs, thread, time::Duration};

use serde::Serialize;

use super::process;

/// For a program to say its version.
const LIMIT: Duration = Duration::from_secs(10);

/// The machine and what is installed.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Machine {
    pub(super) cpu: String,
    pub(super) cores: usize,
    pub(super) kernel: String,
    pub(super) versions: BTreeMap<&'static str, String>,
}

impl Machine {
    /// This one.
    pub(super) async fn this() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
        let model = model.and_then(|rest| rest.split_once(':')).map(|(_, name)| name.trim());
        let mut versions = BTreeMap::from([("landfall", env!("CARGO_PKG_VERSION").to_owned())]);
        for package in ["nginx", "haproxy", "caddy", "wrk", "nghttp2-client"] {
            let args = ["-W", "-f", "${Version}", package];
            let version = process::run("dpkg-query", &args, LIMIT).await;
            versions.insert(package, version.unwrap_or_else(|_| "unknown".into()));
        }
        Self {
            cpu: model.unwrap_or("unknown").to_owned(),
            cores: thread::available_parallelism().map_or(0, usize::from),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            versions,
        }
    }

    /// In one sentence.
    pub(super) fn sentence(&self) -> String {
        let version = |name: &str| self.versions.get(name).map_or("unknown", String::as_str);
        format!(
            "{}, {} cores, Linux {}; nginx {}, HAProxy {}, Caddy {}",
            self.cpu,
            self.cores,
            self.kernel,
            version("nginx"),
            version("haproxy"),
            version("caddy")
        )
    }
}
