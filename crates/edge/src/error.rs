//! Why the edge does not start, or stopped.

use std::{io, net::SocketAddr, path::PathBuf};

use crate::{AccessLogError, sync::SyncError, traces::TracesError, upstream::RootsError};

/// Why the edge does not start, or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EdgeError {
    /// A listener's address can't be had.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address as configured.
        address: SocketAddr,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A directory can't be made.
    #[error("cannot create the directory {}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The run directory is not this process's own.
    #[error(
        "`server.run_directory`: expected a folder of the edge's user that nobody else can write, and {} {fault}",
        path.display()
    )]
    RunDirectory {
        /// The directory.
        path: PathBuf,
        /// What it has or is.
        fault: String,
    },
    /// The roots that origins are verified with can't be had.
    #[error("cannot set up the roots of origins' certificates")]
    Roots(#[source] RootsError),
    /// The state that is to be served can't be set up.
    #[error("cannot set up the state to serve")]
    Sync(#[source] SyncError),
    /// Traces can't be sent.
    #[error("cannot set up the traces")]
    Traces(#[source] TracesError),
    /// A metric was not registered or encoded.
    #[error("cannot register or encode a metric")]
    Metrics(#[source] prometheus::Error),
    /// The access log can't be written.
    #[error("cannot open the access log")]
    AccessLog(#[source] AccessLogError),
    /// The socket that hand-overs are asked for at can't be had.
    #[error("cannot listen at {}", path.display())]
    Control {
        /// The socket.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// This process can't be told how to start its successor.
    #[error("cannot find this program's own file")]
    Program(#[source] io::Error),
    /// The old process did not hand its listeners over.
    #[error("the listeners were not taken over from the old process, which goes on")]
    NotTakenOver,
    /// A part of the edge ended while it was needed.
    #[error("the service `{service}` stopped by itself")]
    ServiceStopped {
        /// Its name.
        service: String,
    },
}
