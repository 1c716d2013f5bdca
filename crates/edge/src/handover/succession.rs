//! The successor's half.

use std::{
    env,
    fs::File,
    io,
    net::TcpListener,
    os::{fd::AsFd, unix::net::UnixListener},
    process::{Command, Stdio},
    time::Duration,
};

use super::{
    Handed, LAUNCHER, ROLE, SUCCESSOR, ToPredecessor, ToSuccessor,
    attempt::Program,
    channel::{Channel, cut},
};

/// How long the old process may take for each message at the start. It sends them before anything else.
const LIMIT: Duration = Duration::from_secs(10);

/// Why there is nothing to be taken over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SuccessionError {
    /// Standard input is not what a process that hands over gives.
    #[error("standard input is no channel to a process that hands its listeners over")]
    Channel(#[source] io::Error),
    /// It has ended.
    #[error("the process that was to hand its listeners over has ended")]
    Ended,
    /// The new process can't be started.
    #[error("cannot start the new process")]
    Launch(#[source] io::Error),
}

/// What the old process hands over, and the channel to it.
#[derive(Debug)]
pub struct Succession {
    pub(crate) channel: Channel,
    pub(crate) handed: Vec<Handed>,
    pub(crate) control: Option<(String, UnixListener)>,
    /// To processes that drain, the oldest first.
    pub(crate) draining: Vec<Channel>,
    /// The ids of the group keys that the old process holds.
    pub(crate) group_keys: Vec<String>,
}

/// Whether this process is only to start the successor.
pub fn is_launcher() -> bool {
    env::var_os(ROLE).is_some_and(|role| role == LAUNCHER)
}

/// Starts the successor, with the same arguments and the same standard input, and says its process id
/// there: whatever becomes of it, the old process can end it.
///
/// # Errors
/// [`SuccessionError`].
pub fn launch() -> Result<(), SuccessionError> {
    let program = Program::own().map_err(SuccessionError::Launch)?;
    let mut command = Command::new(&program.path);
    command.args(&program.arguments).env(ROLE, SUCCESSOR).stdin(Stdio::inherit());
    let successor = command.spawn().map_err(SuccessionError::Launch)?;
    let channel = io::stdin().as_fd().try_clone_to_owned().map_err(SuccessionError::Channel)?;
    let hello = ToPredecessor::Hello { pid: successor.id() };
    Channel::of(channel).send(&hello, None).map_err(SuccessionError::Channel)
}

impl Succession {
    /// Takes the listeners from standard input; `None` where this process is nobody's successor.
    ///
    /// # Errors
    /// [`SuccessionError`].
    pub fn receive() -> Result<Option<Self>, SuccessionError> {
        if env::var_os(ROLE).is_none_or(|role| role != SUCCESSOR) {
            return Ok(None);
        }
        Self::from_stdin().map(Some)
    }

    fn from_stdin() -> Result<Self, SuccessionError> {
        let channel = io::stdin().as_fd().try_clone_to_owned().map_err(SuccessionError::Channel)?;
        let channel = Channel::of(channel);
        let nothing = File::open("/dev/null").map_err(SuccessionError::Channel)?;
        // The old process is to see this one's end, whoever has standard input then.
        rustix::stdio::dup2_stdin(nothing)
            .map_err(|error| SuccessionError::Channel(error.into()))?;
        Self::over(channel)
    }

    fn over(channel: Channel) -> Result<Self, SuccessionError> {
        channel.set_limit(LIMIT).map_err(SuccessionError::Channel)?;
        let (mut handed, mut draining, mut control) = (Vec::new(), Vec::new(), None);
        let group_keys = loop {
            let received = channel.receive().map_err(SuccessionError::Channel)?;
            let received = received.ok_or(SuccessionError::Ended)?;
            match (received.message, received.descriptor) {
                (ToSuccessor::Listener { kind, configured }, Some(socket)) => {
                    handed.push(Handed { kind, configured, socket: TcpListener::from(socket) });
                }
                (ToSuccessor::Control { path }, Some(socket)) => {
                    control = Some((path, UnixListener::from(socket)));
                }
                (ToSuccessor::Draining, Some(other)) => draining.push(Channel::of(other)),
                (ToSuccessor::Start { group_keys }, _) => break group_keys,
                (ToSuccessor::Go, _) => break Vec::new(),
                // Without its descriptor it is of no use.
                (
                    ToSuccessor::Listener { .. }
                    | ToSuccessor::Control { .. }
                    | ToSuccessor::Draining,
                    None,
                ) => {}
            }
        };
        Ok(Self { channel, handed, control, draining, group_keys })
    }

    /// Tells the old process that this one will not serve, and why.
    pub fn refuse(self, reason: &str) {
        // It may have ended.
        let _ = self.channel.send(&ToPredecessor::Refused { reason: cut(reason) }, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handover::Kind;

    #[test]
    fn takes_what_comes_before_the_start() {
        let (old, new) = Channel::pair().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let configured = "127.0.0.1:443".parse().unwrap();
        let message = ToSuccessor::Listener { kind: Kind::Https, configured };
        old.send(&message, Some(listener.as_fd())).unwrap();
        let (_draining, end) = Channel::pair().unwrap();
        old.send(&ToSuccessor::Draining, Some(end.as_fd())).unwrap();
        let group_keys = vec!["ab12".to_owned()];
        old.send(&ToSuccessor::Start { group_keys: group_keys.clone() }, None).unwrap();
        let taken = Succession::over(new).unwrap();
        assert_eq!((taken.handed.len(), taken.draining.len()), (1, 1));
        assert_eq!(taken.group_keys, group_keys);
        taken.refuse("no");
        let refused = old.receive::<ToPredecessor>().unwrap().unwrap().message;
        assert_eq!(refused, ToPredecessor::Refused { reason: "no".to_owned() });
    }

    #[test]
    fn an_old_process_that_ends_first_is_an_error() {
        let (old, new) = Channel::pair().unwrap();
        old.send(&ToSuccessor::Draining, None).unwrap();
        drop(old);
        assert!(Succession::over(new).is_err());
    }
}
