//! The old process's half.

use std::{
    env,
    ffi::OsString,
    io,
    os::fd::{AsFd, OwnedFd},
    path::{self, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use super::{
    Handed, LAUNCHER, ROLE, ToPredecessor, ToSuccessor,
    channel::{Channel, Watched},
};

/// How long the successor may take until it serves: it loads what is on disk.
const UNTIL_SERVING: Duration = Duration::from_secs(120);
/// How long it may take to begin once it is told to.
const UNTIL_GOING: Duration = Duration::from_secs(10);

/// The most group keys that a successor is told of: a message is of bounded size.
const MAX_GROUP_KEYS: usize = 64;

/// How this process was started, and how its successor will be. To be read at the start: a package
/// manager replaces the file.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(super) path: PathBuf,
    pub(super) arguments: Vec<OsString>,
}

/// Why there is no successor.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttemptError {
    #[error("a channel to a new process can't be made")]
    Channel(#[source] io::Error),
    #[error("the new process can't be started")]
    Start(#[source] io::Error),
    #[error("the listeners can't be given to the new process")]
    Give(#[source] io::Error),
    #[error("the new process ended before it served; its log says why")]
    Ended,
    #[error("the new process says what it should not")]
    Unexpected,
    #[error("the new process did not serve within {} s", UNTIL_SERVING.as_secs())]
    Slow,
    #[error("{0}")]
    Refused(String),
}

/// What a successor is given.
pub(crate) struct Estate<'a> {
    pub(crate) listeners: &'a [Handed],
    pub(crate) control: (&'a str, OwnedFd),
    /// The oldest first.
    pub(crate) draining: &'a [Channel],
    /// The ids of those that are held.
    pub(crate) group_keys: &'a [&'a str],
}

/// A successor that has not taken over. Dropped, it is killed.
pub(crate) struct Attempt {
    channel: Option<Watched>,
    /// Ends once it has started the successor.
    _launcher: Child,
    successor: Option<(u32, OwnedFd)>,
}

impl Program {
    /// This process's own.
    pub(crate) fn own() -> io::Result<Self> {
        let mut arguments = env::args_os();
        let called = arguments.next().map(PathBuf::from);
        // By the path that it was called by, so that a link leads to what it leads to then; a name without
        // a slash was looked up, and says nothing.
        let called = called.filter(|path| path.components().nth(1).is_some());
        let path = match called.map(path::absolute).transpose()? {
            Some(path) if path.is_file() => path,
            _ => env::current_exe()?,
        };
        Ok(Self { path, arguments: arguments.collect() })
    }
}

impl Attempt {
    /// Starts a successor and gives it everything.
    pub(crate) fn start(program: &Program, estate: &Estate<'_>) -> Result<Self, AttemptError> {
        let (own, other) = Channel::pair().map_err(AttemptError::Channel)?;
        let launcher = Command::new(&program.path)
            .args(&program.arguments)
            .env(ROLE, LAUNCHER)
            // It names this process; the successor is to be watched as well.
            .env_remove("WATCHDOG_PID")
            .stdin(Stdio::from(other.into_descriptor()))
            .kill_on_drop(true)
            .spawn()
            .map_err(AttemptError::Start)?;
        let give = |own: &Channel| {
            for handed in estate.listeners {
                let Handed { kind, configured, socket } = handed;
                let message = ToSuccessor::Listener { kind: *kind, configured: *configured };
                own.send(&message, Some(socket.as_fd()))?;
            }
            let (path, control) = &estate.control;
            let message = ToSuccessor::Control { path: (*path).to_owned() };
            own.send(&message, Some(control.as_fd()))?;
            for draining in estate.draining {
                own.send(&ToSuccessor::Draining, Some(draining.as_fd()))?;
            }
            let group_keys =
                estate.group_keys.iter().take(MAX_GROUP_KEYS).map(ToString::to_string).collect();
            own.send(&ToSuccessor::Start { group_keys }, None)
        };
        give(&own).map_err(AttemptError::Give)?;
        let channel = own.watched().map_err(AttemptError::Channel)?;
        Ok(Self { channel: Some(channel), _launcher: launcher, successor: None })
    }

    /// Waits until the successor serves, and says its process id.
    pub(crate) async fn serving(&mut self) -> Result<u32, AttemptError> {
        let until = async {
            let mut is_serving = false;
            // The launcher says the one, the successor the other.
            while !is_serving || self.successor.is_none() {
                match self.next().await? {
                    ToPredecessor::Hello { pid } => self.successor = Some((pid, handle(pid)?)),
                    ToPredecessor::Serving => is_serving = true,
                    ToPredecessor::Refused { reason } => return Err(AttemptError::Refused(reason)),
                    ToPredecessor::Going | ToPredecessor::End => {
                        return Err(AttemptError::Unexpected);
                    }
                }
            }
            let (pid, _) = self.successor.as_ref().ok_or(AttemptError::Unexpected)?;
            Ok(*pid)
        };
        timeout(UNTIL_SERVING, until).await.unwrap_or(Err(AttemptError::Slow))
    }

    /// Has the successor take over. From here on it is on its own.
    pub(crate) async fn go(mut self) -> Result<Watched, AttemptError> {
        let channel = self.channel.as_ref().ok_or(AttemptError::Ended)?;
        channel.send(&ToSuccessor::Go).map_err(|_| AttemptError::Ended)?;
        match timeout(UNTIL_GOING, self.next()).await.unwrap_or(Err(AttemptError::Slow))? {
            ToPredecessor::Going => {}
            ToPredecessor::Refused { reason } => return Err(AttemptError::Refused(reason)),
            ToPredecessor::Hello { .. } | ToPredecessor::Serving | ToPredecessor::End => {
                return Err(AttemptError::Unexpected);
            }
        }
        self.successor = None;
        self.channel.take().ok_or(AttemptError::Ended)
    }

    async fn next(&self) -> Result<ToPredecessor, AttemptError> {
        let channel = self.channel.as_ref().ok_or(AttemptError::Ended)?;
        let message = channel.receive().await.map_err(|_| AttemptError::Ended)?;
        message.ok_or(AttemptError::Ended)
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some((_, successor)) = &self.successor {
            // It may have ended by itself.
            let _ = pidfd_send_signal(successor, Signal::KILL);
        }
    }
}

/// What names the process for as long as it is held, whoever gets its number afterwards.
fn handle(pid: u32) -> Result<OwnedFd, AttemptError> {
    // Neither this process nor the first one, whatever is said.
    let other = Some(pid).filter(|pid| *pid > 1 && *pid != std::process::id());
    let pid = other.and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    let pid = pid.ok_or(AttemptError::Unexpected)?;
    pidfd_open(pid, PidfdFlags::empty()).map_err(|_| AttemptError::Ended)
}
