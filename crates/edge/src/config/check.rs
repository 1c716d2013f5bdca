//! From the file to what is meant: every problem is found before any is reported.

mod issuance;
mod limits;
mod traces;
mod upstream;

use std::{
    net::SocketAddr,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use bytesize::ByteSize;
use http::Uri;
use landfall_dns::server_address;
use landfall_feed::sign::VerifyingKey;
use landfall_model::{Hostname, Network, config::Problem};

use crate::handover::SOCKET;

use super::{
    EdgeConfig, Feed, Listen, RawEdgeConfig, RawFeed, RawListen, RawServer, ServerSettings,
};

/// The longest time that any timeout may have.
const MAX_TIMEOUT: Duration = Duration::from_secs(3600);
/// The longest path of a Unix socket, in bytes (unix(7)).
const MAX_SOCKET_PATH: usize = 107;
/// The control plane holds a request no longer than this.
const MAX_WAIT: Duration = Duration::from_secs(landfall_feed::protocol::MAX_WAIT_SECONDS);

impl RawEdgeConfig {
    /// Checks the whole file. Relative paths are taken from `base`, the file's own directory.
    ///
    /// # Errors
    /// Every problem there is, in the order of the file's sections.
    pub fn check(self, base: &Path) -> Result<EdgeConfig, Vec<Problem>> {
        let mut checker = Checker { base, problems: Vec::new() };
        let listen = checker.listen(self.listen);
        let feed = checker.feed(self.feed);
        let group_key_files = checker.paths("keys.group_key_files", self.keys.group_key_files);
        let state_directory = checker.required_path("state.directory", self.state.directory);
        let key_cache = checker.size("store.key_cache", self.store.key_cache, 1 << 20, 1 << 40);
        let limits = checker.limits(&self.limits);
        let keys = feed.as_ref().map(|feed| feed.signing_keys.as_slice());
        let http = self.http.check(keys.unwrap_or_default(), &mut checker.problems);
        let default_hostname =
            self.tls.default_hostname.and_then(|name| checker.default_hostname(&name));
        let access_log = self.access_log.check(base, &mut checker.problems);
        let upstream = checker.upstream(self.upstream);
        let tracing = checker.tracing(self.tracing);
        let issuance = checker.issuance(self.issuance);
        let server = checker.server(self.server, state_directory.as_deref());
        let found = (listen, feed, state_directory, http, server);
        match (checker.problems.is_empty(), found) {
            (true, (Some(listen), Some(feed), Some(state_directory), Some(http), Some(server))) => {
                Ok(EdgeConfig {
                    listen,
                    feed,
                    group_key_files,
                    state_directory,
                    key_cache: key_cache as u64,
                    limits,
                    http,
                    default_hostname,
                    access_log,
                    upstream,
                    tracing,
                    issuance,
                    server,
                })
            }
            _ => Err(checker.problems),
        }
    }
}

/// Collects what is wrong. What it returns for a wrong value is never used.
struct Checker<'a> {
    base: &'a Path,
    problems: Vec<Problem>,
}

impl Checker<'_> {
    fn listen(&mut self, raw: RawListen) -> Option<Listen> {
        let https = self.addresses("listen.https", &raw.https);
        if raw.https.is_empty() {
            self.problem("listen.https", r#"required: at least one address such as "[::]:443""#);
        }
        let http = self.addresses("listen.http", &raw.http);
        let proxy_protocol_from =
            self.networks("listen.proxy_protocol_from", &raw.proxy_protocol_from);
        let admin = self.address("listen.admin", &raw.admin)?;
        self.clashes(&https, &http, admin);
        Some(Listen { https, http, admin, proxy_protocol_from })
    }

    fn clashes(&mut self, https: &[SocketAddr], http: &[SocketAddr], admin: SocketAddr) {
        let mut seen = vec![("listen.admin", admin)];
        let named = https.iter().map(|address| ("listen.https", *address));
        for (key, address) in named.chain(http.iter().map(|address| ("listen.http", *address))) {
            let taken = seen.iter().find(|(_, other)| *other == address && address.port() != 0);
            if let Some((by, _)) = taken {
                self.problem(key, format!("{address} is already taken by {by}"));
            }
            seen.push((key, address));
        }
    }

    fn feed(&mut self, raw: RawFeed) -> Option<Feed> {
        let url = raw.url.as_deref().map(|url| self.url("feed.url", url));
        if url.is_none() {
            self.problem("feed.url", r#"required: such as "https://control.example:8081""#);
        }
        let token_file = self.required_path("feed.token_file", raw.token_file);
        let signing_keys = self.signing_keys(&raw.signing_keys);
        self.duration("feed.wait", raw.wait, Duration::from_secs(1), MAX_WAIT);
        Some(Feed {
            url: url??,
            token_file: token_file?,
            signing_keys,
            ca_file: raw.ca_file.map(|path| self.base.join(path)),
            wait: raw.wait,
        })
    }

    fn url(&mut self, key: &str, text: &str) -> Option<String> {
        let uri = Uri::from_str(text).ok();
        let usable = uri.as_ref().is_some_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
                && uri.query().is_none()
        });
        match usable {
            true => Some(text.trim_end_matches('/').to_owned()),
            false => {
                // The value is not repeated: a URL may hold a password.
                let expected = "expected http:// or https:// and a host, without user or query";
                self.problem(key, expected);
                None
            }
        }
    }

    fn signing_keys(&mut self, texts: &[String]) -> Vec<VerifyingKey> {
        if texts.is_empty() {
            self.problem("feed.signing_keys", "required: at least one \"ed25519:…\"");
        }
        let mut keys = Vec::with_capacity(texts.len());
        for text in texts {
            match text.parse::<VerifyingKey>() {
                Ok(key) => keys.push(key),
                Err(error) => self.problem("feed.signing_keys", error.to_string()),
            }
        }
        keys
    }

    fn default_hostname(&mut self, text: &str) -> Option<Hostname> {
        let name = text.parse::<Hostname>();
        let problem = |error| format!(r#"expected a hostname such as "www.example.net": {error}"#);
        name.map_err(|error| self.problem("tls.default_hostname", problem(error))).ok()
    }

    fn server(&mut self, raw: RawServer, state: Option<&Path>) -> Option<ServerSettings> {
        let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let threads = raw.threads.map_or(Some(cores), NonZeroUsize::new);
        if threads.is_none() {
            self.problem("server.threads", "expected at least 1");
        }
        self.duration("server.drain", raw.drain, Duration::ZERO, MAX_TIMEOUT);
        let most = Duration::from_secs(24 * 3600);
        self.duration("server.handover_drain", raw.handover_drain, Duration::ZERO, most);
        let run_directory = raw.run_directory.map(|path| self.base.join(path));
        let run_directory = run_directory.or_else(|| state.map(Path::to_owned))?;
        let length = run_directory.join(SOCKET).as_os_str().len();
        if length > MAX_SOCKET_PATH {
            let most = MAX_SOCKET_PATH - SOCKET.len() - 1;
            self.problem(
                "server.run_directory",
                format!(
                    "expected a path of at most {most} bytes, for a socket's is of {MAX_SOCKET_PATH}"
                ),
            );
        }
        Some(ServerSettings {
            threads: threads?,
            drain: raw.drain,
            handover_drain: raw.handover_drain,
            run_directory,
        })
    }

    fn addresses(&mut self, key: &str, texts: &[String]) -> Vec<SocketAddr> {
        texts.iter().filter_map(|text| self.address(key, text)).collect()
    }

    /// Addresses of DNS servers, with or without a port.
    fn resolvers(&mut self, key: &str, texts: &[String]) -> Vec<SocketAddr> {
        let mut found = Vec::with_capacity(texts.len());
        for text in texts {
            match server_address(text) {
                Ok(address) => found.push(address),
                Err(error) => self.problem(key, error.to_string()),
            }
        }
        found
    }

    fn networks(&mut self, key: &str, texts: &[String]) -> Vec<Network> {
        let mut networks = Vec::with_capacity(texts.len());
        for text in texts {
            match text.parse::<Network>() {
                Ok(network) => networks.push(network),
                Err(error) => self.problem(key, error.to_string()),
            }
        }
        networks
    }

    fn address(&mut self, key: &str, text: &str) -> Option<SocketAddr> {
        let address = text.parse().ok();
        if address.is_none() {
            let message =
                format!(r#"expected an IP address and a port such as "[::]:443", got "{text}""#);
            self.problem(key, message);
        }
        address
    }

    fn paths(&mut self, key: &str, paths: Vec<PathBuf>) -> Vec<PathBuf> {
        if paths.is_empty() {
            self.problem(key, "required: at least one file");
        }
        paths.into_iter().map(|path| self.base.join(path)).collect()
    }

    fn required_path(&mut self, key: &str, path: Option<PathBuf>) -> Option<PathBuf> {
        let path = path.filter(|path| !path.as_os_str().is_empty());
        if path.is_none() {
            self.problem(key, "required: a path");
        }
        path.map(|path| self.base.join(path))
    }

    fn timeout(&mut self, key: &str, value: Duration) -> Duration {
        self.duration(key, value, Duration::from_millis(1), MAX_TIMEOUT)
    }

    fn duration(&mut self, key: &str, value: Duration, min: Duration, max: Duration) -> Duration {
        if !(min..=max).contains(&value) {
            self.problem(key, format!("expected from {min:?} to {max:?}, got {value:?}"));
        }
        value
    }

    fn size(&mut self, key: &str, value: ByteSize, min: u64, max: u64) -> usize {
        if !(min..=max).contains(&value.as_u64()) {
            let (min, max) = (ByteSize::b(min), ByteSize::b(max));
            self.problem(key, format!("expected from {min} to {max}, got {value}"));
        }
        usize::try_from(value.as_u64()).unwrap_or(usize::MAX)
    }

    fn problem(&mut self, key: &str, message: impl Into<String>) {
        self.problems.push(Problem::new(key, message));
    }
}
