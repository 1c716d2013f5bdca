//! The hand-over of an edge's listeners to a new process: nobody notices it, and one that fails
//! changes nothing.

mod failing;
mod lasting;
mod load;
mod told;

use std::{fs, process::Output, time::Duration};

use landfall_tests::{DEADLINE, Lab, LabBuilder, Origin, run_landfall, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use toml::{Table, Value};

const SHOP: &str = "shop.lab.localhost";

/// A lab whose edge hands over. The new processes are nobody's children, and end with this.
struct Succession {
    lab: Lab,
    /// Kept for as long as it is asked.
    origin: Option<Origin>,
    pids: Vec<Pid>,
}

impl Succession {
    /// An edge that serves [`SHOP`].
    async fn start(lab: LabBuilder) -> Self {
        let origin = Origin::start("shop").await;
        let address = origin.address();
        let mut succession = Self::before(lab, address).await;
        succession.origin = Some(origin);
        succession.lab.wait_until_served(0, SHOP, "shop").await;
        succession
    }

    /// The same with an origin of the caller's.
    async fn before(lab: LabBuilder, origin: std::net::SocketAddr) -> Self {
        let mut lab = lab.start().await;
        lab.api().create_property("shop", origin).await;
        let pids = vec![lab.edge(0).pid()];
        Self { lab, origin: None, pids }
    }

    /// The process that serves.
    fn pid(&self) -> Pid {
        *self.pids.last().unwrap()
    }

    async fn try_reload(&self) -> Output {
        let config = self.lab.edge_config(0);
        run_landfall(&["reload", "--config", config.to_str().unwrap()]).await
    }

    /// Hands over, and says from whom.
    async fn reload(&mut self) -> Pid {
        let output = self.try_reload().await;
        let text = format!("{output:?}");
        assert!(output.status.success(), "{text}");
        let words = String::from_utf8(output.stdout).unwrap();
        let pid = words.split_whitespace().nth(1).and_then(|pid| pid.parse().ok());
        let pid = pid.and_then(Pid::from_raw).unwrap_or_else(|| panic!("{text}"));
        let old = self.pid();
        assert_ne!(pid, old);
        self.pids.push(pid);
        old
    }

    /// Waits for the process that was started because of a signal to the first one.
    async fn note_successor(&mut self) {
        let pid = wait_until("the new process is named", DEADLINE, async || {
            let log = self.lab.edge(0).log();
            let (_, rest) = log.split_once("\"pid\":")?;
            let id: String = rest.chars().take_while(char::is_ascii_digit).collect();
            id.parse().ok().and_then(Pid::from_raw)
        });
        let pid = pid.await;
        self.pids.push(pid);
    }

    /// Fails to hand over: says the exit code and what is written to standard error.
    async fn refused(&self) -> (i32, String) {
        let output = self.try_reload().await;
        let text = String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), text)
    }

    /// Changes a key of the edge's config.
    fn set(&self, section: &str, key: &str, value: impl Into<Value>) {
        let path = self.lab.edge_config(0);
        let mut config: Table = fs::read_to_string(&path).unwrap().parse().unwrap();
        let section = config.entry(section).or_insert_with(|| Table::new().into());
        section.as_table_mut().unwrap().insert(key.to_owned(), value.into());
        fs::write(&path, config.to_string()).unwrap();
    }

    async fn gone(&self, pid: Pid) {
        let what = format!("process {pid:?} ends");
        wait_until(&what, DEADLINE, async || (!is_running(pid)).then_some(())).await;
    }

    /// The edge serves, and follows the feed: a new hostname is served soon.
    async fn serves_and_follows(&self, name: &str, origin: std::net::SocketAddr) {
        self.lab.api().create_property(name, origin).await;
        let hostname = format!("{name}.lab.localhost");
        self.lab.wait_until_served(0, &hostname, name).await;
    }
}

impl Drop for Succession {
    fn drop(&mut self) {
        for pid in &self.pids {
            if is_running(*pid) {
                let _ = kill_process(*pid, Signal::KILL);
            }
        }
    }
}

/// Whether it runs: one that has ended may wait for whoever asks how.
fn is_running(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    stat.is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().starts_with(" Z"))
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
