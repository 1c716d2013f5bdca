//! The hand-over of the listeners from a process to its successor, without a moment at which nobody
//! accepts.
//!
//! Both hold the same sockets from the time at which the successor gets them. It says so once it
//! serves; only then the old process stops accepting. Whatever fails before that leaves the old
//! one as it was. [`attempt`] is the old process's half, [`succession`] the successor's, [`control`]
//! how an operator asks for it. They talk over a [`channel`].

pub(crate) mod attempt;
pub(crate) mod channel;
pub(crate) mod control;
mod metrics;
pub(crate) mod succession;

use std::net::{SocketAddr, TcpListener};

use serde::{Deserialize, Serialize};

pub use control::{AskError, Outcome, SOCKET, ask};
pub(crate) use metrics::HandoverMetrics;
pub use succession::{Succession, SuccessionError, is_launcher, launch};

/// The environment variable that tells a process that it is to be a successor.
const ROLE: &str = "LANDFALL_HANDOVER";
/// Its value for the process that starts the successor and ends: the successor is then nobody's
/// child, and the service manager's to watch.
const LAUNCHER: &str = "launcher";
/// Its value for the successor.
const SUCCESSOR: &str = "successor";

/// What a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// TLS.
    Https,
    /// Plain HTTP.
    Http,
    /// The operators' listener.
    Admin,
}

/// A listening socket as it goes from process to process.
#[derive(Debug)]
pub(crate) struct Handed {
    pub(crate) kind: Kind,
    /// As configured: with port 0 where the system chose.
    pub(crate) configured: SocketAddr,
    pub(crate) socket: TcpListener,
}

/// Takes the socket of this address out of `handed`. One that was for something else will do,
/// unless the system chose its port.
pub(crate) fn claim(
    handed: &mut Vec<Handed>,
    kind: Kind,
    configured: SocketAddr,
) -> Option<TcpListener> {
    let fits =
        |own: &Handed| own.configured == configured && (own.kind == kind || configured.port() != 0);
    let found = handed.iter().position(fits)?;
    Some(handed.remove(found).socket)
}

/// From the old process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ToSuccessor {
    /// With a listening socket.
    Listener {
        /// What it was for.
        kind: Kind,
        /// Where it was configured to listen.
        configured: SocketAddr,
    },
    /// With the socket that hand-overs are asked for at.
    Control {
        /// Its path.
        path: String,
    },
    /// With the channel to a process that was handed over from before, and drains. The oldest first.
    Draining,
    /// That was all: start.
    Start {
        /// The ids of the group keys that the old process holds.
        group_keys: Vec<String>,
    },
    /// Take over.
    Go,
}

/// From the successor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ToPredecessor {
    /// It was started: the launcher says so.
    Hello {
        /// The successor's process id.
        pid: u32,
    },
    /// It accepts connections and has the state.
    Serving,
    /// It has taken over.
    Going,
    /// It will not serve.
    Refused {
        /// Why.
        reason: String,
    },
    /// End the drain: too many processes drain.
    End,
}

#[cfg(test)]
mod tests;
