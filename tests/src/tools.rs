//! Runs the clients that people use: curl, openssl, h2load and others.

use std::{
    fs::OpenOptions,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    process::{ExitStatus, Output, Stdio},
    time::Duration,
};

use tokio::{io::AsyncWriteExt, process::Command, time::timeout};

/// How long a tool may take.
const TIMEOUT: Duration = Duration::from_secs(120);

/// How a tool ended, and what it wrote.
#[derive(Clone, Debug)]
pub struct Ran {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ran {
    /// Both outputs, one after the other.
    pub fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// Standard output of a run that must have succeeded.
    ///
    /// # Panics
    /// Where it has not.
    pub fn expect_success(self) -> String {
        assert!(self.status.success(), "{}: {}", self.status, self.all());
        self.stdout
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Runs a tool with an empty standard input, as in
/// `run("h2load", &["-n100", "-c10", &url])`.
///
/// # Panics
/// Where the tool is not installed, and where it does not end within two minutes.
pub async fn run(tool: &str, args: &[&str]) -> Ran {
    run_with_input(tool, args, "").await
}

/// Runs a tool with `input` on its standard input.
///
/// # Panics
/// As [`run`].
pub async fn run_with_input(tool: &str, args: &[&str], input: &str) -> Ran {
    let mut command = Command::new(tool);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let running = command.kill_on_drop(true).spawn();
    let mut running =
        running.unwrap_or_else(|error| panic!("{tool}: {error}; `make test` installs it"));
    let mut stdin = running.stdin.take().expect("it is piped");
    let ended = async {
        // A tool that ends without reading has its reasons; its outputs say which.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        running.wait_with_output().await
    };
    let output = timeout(TIMEOUT, ended).await;
    output.unwrap_or_else(|_| panic!("{tool} {args:?} does not end")).unwrap().into()
}

/// Writes a new file of mode 0600.
///
/// # Panics
/// Where it exists.
pub fn write_private(path: &Path, text: &str) {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
