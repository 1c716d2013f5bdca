//! Processes that end with the value that stands for them.

use std::{
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

use super::{LoadError, usage::Tree};

/// For a process to listen.
const READY: Duration = Duration::from_secs(20);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// A process in a group of its own, which is killed as a whole: nginx' workers outlive their master.
pub(super) struct Running {
    child: Child,
    program: String,
    log: PathBuf,
}

impl Running {
    /// Starts a program whose output goes to `log`.
    pub(super) fn start(program: &str, args: &[&str], log: &Path) -> Result<Self, LoadError> {
        Self::spawn(program, args, log, Output::ToLog)
    }

    fn spawn(program: &str, args: &[&str], log: &Path, output: Output) -> Result<Self, LoadError> {
        let file = File::create(log).map_err(LoadError::file(log))?;
        let copy = file.try_clone().map_err(LoadError::file(log))?;
        let stdout = match output {
            Output::ToLog => Stdio::from(copy),
            Output::ToUs => Stdio::piped(),
        };
        let child = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(file)
            .process_group(0)
            .kill_on_drop(true)
            .spawn();
        let child =
            child.map_err(|source| LoadError::Start { program: program.to_owned(), source })?;
        Ok(Self { child, program: program.to_owned(), log: log.to_owned() })
    }

    /// Starts a server whose first line on standard output is the address that it listens at.
    pub(super) async fn listening(
        program: &str,
        args: &[&str],
        log: &Path,
    ) -> Result<(Self, SocketAddr), LoadError> {
        let mut running = Self::spawn(program, args, log, Output::ToUs)?;
        let not_ready = || LoadError::NotReady { program: program.to_owned(), log: log.into() };
        let stdout = running.child.stdout.take().ok_or_else(not_ready)?;
        let mut lines = BufReader::new(stdout).lines();
        let line = timeout(READY, lines.next_line()).await.map_err(|_| not_ready())?;
        let address = line.ok().flatten().and_then(|line| line.parse().ok());
        Ok((running, address.ok_or_else(not_ready)?))
    }

    /// Waits until it takes connections.
    pub(super) async fn wait_for(&mut self, address: SocketAddr) -> Result<(), LoadError> {
        let deadline = Instant::now() + READY;
        while TcpStream::connect(address).await.is_err() {
            let ended = !matches!(self.child.try_wait(), Ok(None));
            if ended || Instant::now() > deadline {
                let (program, log) = (self.program.clone(), self.log.clone());
                return Err(LoadError::NotReady { program, log });
            }
            sleep(PAUSE).await;
        }
        Ok(())
    }

    /// It and what it has started.
    pub(super) fn tree(&self) -> Tree {
        Tree::of(self.child.id().unwrap_or(0))
    }

    /// Ends it and all that it has started, and waits until it is gone.
    pub(super) async fn end(mut self) {
        self.kill();
        // It is killed: this is quick, and what is left of it is the system's.
        let _ = timeout(READY, self.child.wait()).await;
    }

    fn kill(&self) {
        let id = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(group) = id {
            // It may have ended by itself.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Where a process's standard output goes.
enum Output {
    ToLog,
    ToUs,
}

/// Runs a program to its end and returns its standard output.
pub(super) async fn run(
    program: &'static str,
    args: &[&str],
    limit: Duration,
) -> Result<String, LoadError> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(limit, command.output()).await;
    let output = output.map_err(|_| LoadError::Timeout { what: program.to_owned(), limit })?;
    let output =
        output.map_err(|source| LoadError::Start { program: program.to_owned(), source })?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let said = format!("{stdout}{}", String::from_utf8_lossy(&output.stderr));
    Err(LoadError::Failed { program: program.to_owned(), said })
}
