//! Why the demo could not start or go on.

use std::{io, net::SocketAddr, path::PathBuf, process::ExitStatus};

use hickory_server::proto::serialize::txt::ParseError;

use crate::config::ConfigError;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    /// A port of the command line can't be bound.
    #[error("cannot listen on port {port}; choose another one with {flag}, 0 for any")]
    Port {
        /// The option.
        flag: &'static str,
        /// Its value.
        port: u16,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The system has no port left.
    #[error("no port is free")]
    NoFreePort {
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// Another demo runs in the folder.
    #[error("{} is in use by another demo; choose another one with --dir", folder.display())]
    FolderInUse {
        /// The folder.
        folder: PathBuf,
    },
    /// A file or folder of the demo could not be used.
    #[error("cannot {operation} {}", path.display())]
    File {
        /// `read`, `write`, `create` or `lock`.
        operation: &'static str,
        /// Which.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A config that the demo wrote is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The control plane's database or keys could not be prepared.
    #[error("cannot {step}")]
    Control {
        /// What was being done.
        step: &'static str,
        /// The control plane's reason.
        #[source]
        source: Box<landfall_control::ControlError>,
    },
    /// The handlers of SIGINT and SIGTERM could not be set.
    #[error("cannot wait for signals")]
    Signals {
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A process could not be started.
    #[error("cannot start the demo's `{name}`")]
    Start {
        /// The subcommand, or the program.
        name: &'static str,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A process ended by itself.
    #[error("the demo's `{name}` ended ({status}); the end of {}:\n{tail}", log.display())]
    ChildEnded {
        /// The subcommand, or the program.
        name: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// Its log.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// An origin could not listen.
    #[error(
        "the origin of `{property}` cannot listen on {address}, where the control plane knows it; \
         free that port or choose another --dir"
    )]
    Origin {
        /// The property.
        property: String,
        /// Where.
        address: SocketAddr,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// An origin ended by itself.
    #[error("an origin ended")]
    OriginEnded,
    /// The DNS server could not be started or go on.
    #[error("cannot run the demo's DNS server")]
    Dns {
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The DNS server's zone can't be read.
    #[error("cannot read the demo's DNS zone")]
    Zone {
        /// The parser's reason.
        #[source]
        source: Box<ParseError>,
    },
    /// The DNS server ended by itself.
    #[error("the demo's DNS server ended")]
    DnsEnded,
    /// A request to the API got no answer.
    #[error("no answer from the API to {request}")]
    Request {
        /// Method and path.
        request: String,
        /// The client's reason.
        #[source]
        source: reqwest::Error,
    },
    /// The API answered with something else than was expected.
    #[error("the API answered {request} with {status}: {body}")]
    Answer {
        /// Method and path.
        request: String,
        /// The status.
        status: reqwest::StatusCode,
        /// The beginning of the body.
        body: String,
    },
    /// The CA's own certificate could not be made.
    #[error("cannot make a certificate for the demo's pebble")]
    Identity {
        /// The reason.
        #[source]
        source: rcgen::Error,
    },
    /// The HTTP client could not be made.
    #[error("cannot make an HTTP client")]
    Client {
        /// The client's reason.
        #[source]
        source: reqwest::Error,
    },
    /// Something did not come about in time.
    #[error("{what} within {seconds} s: {last}")]
    Deadline {
        /// What did not happen.
        what: String,
        /// How long it was waited for.
        seconds: u64,
        /// What was seen at the last attempt.
        last: String,
    },
}
