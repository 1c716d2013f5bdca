//! The demo's processes: the same executable, with other subcommands, and a CA.

use std::{future, path::PathBuf, process::ExitStatus, process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use super::{
    DemoError,
    files::{self, Files},
};

/// How long a process may take to end once it is asked to.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// Processes that end with this value at the latest.
#[derive(Default)]
pub(super) struct Children(Vec<Running>);

struct Running {
    name: &'static str,
    process: Child,
    log: PathBuf,
}

impl Children {
    /// Starts `landfall NAME` with its config and its log. In a process group of its own, so that a
    /// Ctrl-C at the terminal reaches the demo alone, which then stops it.
    ///
    /// # Errors
    /// [`DemoError::Start`] and [`DemoError::File`].
    pub(super) fn start(&mut self, name: &'static str, files: &Files) -> Result<(), DemoError> {
        let failed = |source| DemoError::Start { name, source };
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command
            .args(["--log-format", "text", "--exit-with-parent"])
            .arg(std::process::id().to_string())
            .args([name, "--config"])
            .arg(files.config(name));
        self.start_command(name, command, files)
    }

    /// Starts another program, which ends with the demo by itself where that is killed.
    ///
    /// # Errors
    /// [`DemoError::Start`] and [`DemoError::File`].
    pub(super) fn start_command(
        &mut self,
        name: &'static str,
        mut command: Command,
        files: &Files,
    ) -> Result<(), DemoError> {
        let process = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(files.create_log(name)?)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| DemoError::Start { name, source })?;
        self.0.push(Running { name, process, log: files.log(name) });
        Ok(())
    }

    /// Waits until any process ends, which none should, and says how.
    pub(super) async fn any_ended(&mut self) -> DemoError {
        let waits = self.0.iter_mut().map(|child| Box::pin(child.ended()));
        let mut waits: Vec<_> = waits.collect();
        future::poll_fn(|context| {
            let mut ended = waits.iter_mut().map(|wait| wait.as_mut().poll(context));
            ended.find(std::task::Poll::is_ready).unwrap_or(std::task::Poll::Pending)
        })
        .await
    }

    /// Asks every process to end, the last started first, and waits for it.
    pub(super) async fn stop(mut self) {
        while let Some(mut child) = self.0.pop() {
            child.stop().await;
        }
    }
}

impl Running {
    async fn ended(&mut self) -> DemoError {
        match self.process.wait().await {
            Ok(status) => self.error(status),
            Err(source) => DemoError::Start { name: self.name, source },
        }
    }

    fn error(&self, status: ExitStatus) -> DemoError {
        let (name, log, tail) = (self.name, self.log.clone(), files::tail(&self.log));
        DemoError::ChildEnded { name, status, log, tail }
    }

    async fn stop(&mut self) {
        let pid = self.process.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(pid) = pid {
            // It may have ended in this moment: then there is nobody to ask.
            let _ = kill_process(pid, Signal::TERM);
        }
        if timeout(STOP_TIMEOUT, self.process.wait()).await.is_err() {
            // Fails only for a process that has ended.
            let _ = self.process.kill().await;
        }
    }
}
