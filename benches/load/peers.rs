//! nginx, HAProxy and Caddy: their configs, and how they are started.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    thread,
};

use landfall_tests::free_ports;

use super::{
    LoadError,
    identity::{Identity, NAME},
    process::Running,
    subject::Subject,
};

/// What a peer writes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Logging {
    /// Nothing, as it is measured.
    Off,
    /// Whether each request's connection began with a resumption.
    Sessions,
}

/// One of the three, as it is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    Nginx,
    Haproxy,
    Caddy,
}

/// Where a peer's config comes from.
pub(super) struct Place<'a> {
    pub(super) folder: &'a Path,
    pub(super) identity: &'a Identity,
    pub(super) origin: SocketAddr,
}

impl Peer {
    /// The peer that is compared as `subject`; none of what is ours.
    pub(super) fn of(subject: Subject) -> Option<Self> {
        match subject {
            Subject::Nginx => Some(Self::Nginx),
            Subject::Haproxy => Some(Self::Haproxy),
            Subject::Caddy => Some(Self::Caddy),
            Subject::Landfall | Subject::Memory | Subject::Pipe => None,
        }
    }

    /// Writes its config and starts it on a free port.
    pub(super) async fn start(
        self,
        place: &Place<'_>,
        logging: Logging,
    ) -> Result<(Running, SocketAddr), LoadError> {
        let [port] = free_ports();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let config = place.folder.join(self.template().0);
        let log = self.log(place.folder);
        // What an earlier one wrote says nothing of this one.
        for old in [&log, &self.output(place.folder)] {
            if old.exists() {
                fs::remove_file(old).map_err(LoadError::file(old))?;
            }
        }
        let text = self.config(place, port, logging);
        fs::write(&config, text).map_err(LoadError::file(&config))?;
        let (folder, config) = (place.folder.display().to_string(), config.display().to_string());
        let output = self.output(place.folder);
        let mut running = match self {
            Self::Nginx => {
                let args = ["-p", &folder, "-c", &config, "-g", "daemon off;"];
                Running::start("nginx", &args, &output)?
            }
            Self::Haproxy => Running::start("haproxy", &["-db", "-f", &config], &output)?,
            Self::Caddy => {
                // It keeps a copy of its config, which nobody else's is overwritten with.
                let home = format!("XDG_CONFIG_HOME={folder}");
                let args = [&home, "caddy", "run", "--config", &config, "--adapter", "caddyfile"];
                Running::start("env", &args, &output)?
            }
        };
        running.wait_for(address).await?;
        Ok((running, address))
    }

    /// The file that its log of sessions goes to.
    pub(super) fn log(self, folder: &Path) -> PathBuf {
        match self {
            Self::Nginx => folder.join("nginx-sessions.log"),
            // They write where they say everything else.
            Self::Haproxy | Self::Caddy => self.output(folder),
        }
    }

    fn output(self, folder: &Path) -> PathBuf {
        folder.join(match self {
            Self::Nginx => "nginx.log",
            Self::Haproxy => "haproxy.log",
            Self::Caddy => "caddy.log",
        })
    }

    fn template(self) -> (&'static str, &'static str) {
        match self {
            Self::Nginx => ("nginx.conf", include_str!("peers/nginx.conf")),
            Self::Haproxy => ("haproxy.cfg", include_str!("peers/haproxy.cfg")),
            Self::Caddy => ("Caddyfile", include_str!("peers/Caddyfile")),
        }
    }

    fn config(self, place: &Place<'_>, port: u16, logging: Logging) -> String {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let log = self.log(place.folder).display().to_string();
        let (on, format) = self.logging(&log, logging);
        let words = [
            ("@LOG_FORMAT@", format),
            ("@LOG@", on),
            ("@PORT@", port.to_string()),
            ("@ORIGIN@", place.origin.to_string()),
            ("@NAME@", NAME.to_owned()),
            ("@CORES@", cores.to_string()),
            ("@FOLDER@", place.folder.display().to_string()),
            ("@CHAIN@", place.identity.chain.display().to_string()),
            ("@KEY@", place.identity.key.display().to_string()),
            ("@PEM@", place.identity.both.display().to_string()),
        ];
        let template = self.template().1.to_owned();
        words.iter().fold(template, |text, (word, value)| text.replace(word, value))
    }

    /// The directive that turns the log on or off, and HAProxy's format of it.
    fn logging(self, log: &str, logging: Logging) -> (String, String) {
        let none = String::new();
        match (self, logging) {
            (Self::Nginx, Logging::Off) => ("access_log off;".into(), none),
            (Self::Nginx, Logging::Sessions) => (format!("access_log {log} sessions;"), none),
            (Self::Haproxy, Logging::Sessions) => (
                "log stdout format raw local0".into(),
                "log global\n    log-format \"%sslv %[ssl_fc_is_resumed]\"".into(),
            ),
            (Self::Caddy, Logging::Sessions) => ("log".into(), none),
            (Self::Haproxy | Self::Caddy, Logging::Off) => (none.clone(), none),
        }
    }
}
