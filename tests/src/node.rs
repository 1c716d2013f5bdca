use std::{
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
    process::{ExitStatus, Output, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command},
    time::timeout,
};

use crate::wait::{DEADLINE, wait_until};

/// How much of a log is printed when a test fails, in lines.
const TAIL: usize = 40;

/// The `landfall` executable of this build.
///
/// # Panics
/// Where it was not built.
pub fn landfall() -> PathBuf {
    let test = std::env::current_exe().expect("a test has an executable");
    let folder = test.ancestors().nth(2).expect("a test stands in target/PROFILE/deps");
    let path = folder.join("landfall");
    assert!(
        path.is_file(),
        "{} is missing: run `cargo build --workspace --bins`, as `make test` does",
        path.display()
    );
    path
}

/// Runs a `landfall` command that ends by itself.
///
/// # Panics
/// When it doesn't within [`DEADLINE`].
pub async fn run_landfall(args: &[&str]) -> Output {
    let mut command = Command::new(landfall());
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(DEADLINE, command.output()).await;
    output.unwrap_or_else(|_| panic!("landfall {args:?} does not end")).expect("landfall starts")
}

/// A long-running `landfall` process: it can be stopped, killed and started again, and is killed
/// when this is dropped. Its output is appended to one file over all of its starts.
pub struct Node {
    name: String,
    args: Vec<String>,
    environment: Vec<(String, String)>,
    log: PathBuf,
    disk: Option<Disk>,
    descriptors: Option<u32>,
    process: Option<Child>,
}

/// A file system of a fixed size over a folder.
struct Disk {
    folder: PathBuf,
    size: String,
}

/// Mounts the disk, starts who fills and frees it as told on standard input, and becomes the
/// process. What is told is confirmed in a file beside the disk's folder.
const ON_DISK: &str = r#"
mkdir -p "$1" && mount -t tmpfs -o "size=$2,mode=700" tmpfs "$1" || exit 1
exec 3<&0
(
    while read -r word; do
        case $word in
            fill) head -c 1G /dev/zero >"$1/ballast" 2>/dev/null ;;
            free) rm -f "$1/ballast" ;;
        esac
        echo "$word" >"$1.done"
    done
) <&3 >/dev/null 2>&1 &
shift 2
exec "$@" </dev/null 3<&-
"#;

impl Node {
    /// Describes `landfall ARGS` and starts nothing. The log goes to `folder`.
    pub fn new(name: &str, args: &[&str], folder: &Path) -> Self {
        Self {
            name: name.to_owned(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            environment: Vec::new(),
            log: folder.join(format!("{name}.log")),
            disk: None,
            descriptors: None,
            process: None,
        }
    }

    /// Sets an environment variable of the process.
    #[must_use]
    pub fn environment(mut self, key: &str, value: &str) -> Self {
        self.environment.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Gives the process a hard limit of open files.
    #[must_use]
    pub fn descriptors(mut self, most: u32) -> Self {
        self.descriptors = Some(most);
        self
    }

    /// Gives the process a disk of its own at `folder`, of `size` bytes, as in `"6m"`. Nobody else
    /// sees it, and it is gone with the process.
    #[must_use]
    pub fn on_disk(mut self, folder: &Path, size: &str) -> Self {
        self.disk = Some(Disk { folder: folder.to_owned(), size: size.to_owned() });
        self
    }

    /// Fills the disk of [`Self::on_disk`] to its last byte.
    ///
    /// # Panics
    /// Where it has none or the process does not run.
    pub async fn fill_disk(&mut self) {
        self.tell_disk("fill").await;
    }

    /// Frees the disk again.
    ///
    /// # Panics
    /// As [`Self::fill_disk`].
    pub async fn free_disk(&mut self) {
        self.tell_disk("free").await;
    }

    async fn tell_disk(&mut self, word: &str) {
        let disk = self.disk.as_ref().expect("the process has a disk of its own");
        let done = disk.folder.with_extension("done");
        let stdin = self.process.as_mut().and_then(|process| process.stdin.as_mut());
        let stdin = stdin.expect("the process runs");
        stdin.write_all(format!("{word}\n").as_bytes()).await.unwrap();
        wait_until(&format!("the disk is told to {word}"), DEADLINE, async || {
            let told = fs::read_to_string(&done).unwrap_or_default();
            (told.trim() == word).then_some(())
        })
        .await;
    }

    fn command(&self) -> Command {
        let Some(disk) = &self.disk else {
            let mut command = match self.descriptors {
                None => Command::new(landfall()),
                Some(most) => {
                    // It becomes what it runs.
                    let mut command = Command::new("prlimit");
                    command.arg(format!("--nofile={most}:{most}")).arg(landfall());
                    command
                }
            };
            command.stdin(Stdio::null());
            return command;
        };
        let mut command = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["--mount", "sh", "-c", ON_DISK, "sh"]);
        command.arg(&disk.folder).arg(&disk.size).arg(landfall()).stdin(Stdio::piped());
        command
    }

    /// Starts the process and waits for nothing.
    ///
    /// # Panics
    /// When it runs already.
    pub fn start(&mut self) {
        assert!(!self.is_running(), "{} runs already", self.name);
        let log = OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        let process = self
            .command()
            .args(&self.args)
            .envs(self.environment.iter().cloned())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn();
        self.process = Some(process.expect("landfall starts"));
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Panics
    /// When the process does not end within [`DEADLINE`].
    pub async fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended(DEADLINE).await
    }

    /// Sends SIGKILL and waits for the end.
    pub async fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.ended(DEADLINE).await;
    }

    /// Sends a signal, such as [`Signal::STOP`] to freeze the process.
    ///
    /// # Panics
    /// When the process does not run.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the process runs");
    }

    /// Waits until the process ends by itself.
    ///
    /// # Panics
    /// When it does not within `deadline`, or was not started.
    pub async fn ended(&mut self, deadline: Duration) -> ExitStatus {
        let process = self.process.as_mut().expect("the process was started");
        let status = timeout(deadline, process.wait()).await;
        let status = status.unwrap_or_else(|_| panic!("{} goes on", self.name)).unwrap();
        self.process = None;
        status
    }

    /// Whether the process was started and has not ended.
    pub fn is_running(&mut self) -> bool {
        match &mut self.process {
            Some(process) => process.try_wait().unwrap().is_none(),
            None => false,
        }
    }

    /// The process id, for what stands under /proc.
    ///
    /// # Panics
    /// When the process does not run.
    pub fn pid(&self) -> Pid {
        let id = self.process.as_ref().and_then(Child::id).expect("the process runs");
        Pid::from_raw(i32::try_from(id).unwrap()).unwrap()
    }

    /// Everything that was logged so far, over all starts.
    pub fn log(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until `text` stands in the log.
    ///
    /// # Panics
    /// After [`DEADLINE`], and when the process ends without it.
    pub async fn wait_for_log(&mut self, text: &str) {
        let what = format!("{} logs {text:?}", self.name);
        wait_until(&what, DEADLINE, async || {
            let is_running = self.is_running();
            let found = self.log().contains(text);
            assert!(found || is_running, "{} ended before it logged {text:?}", self.name);
            found.then_some(())
        })
        .await;
    }

    /// Empties the log, so that [`Self::wait_for_log`] sees what comes.
    pub fn clear_log(&self) {
        File::create(&self.log).unwrap();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(TAIL)..];
            eprintln!("--- the end of {}'s log\n{}\n---", self.name, tail.join("\n"));
        }
    }
}
