//! Real DNS servers: knot with zones, and unbound that asks it.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tempfile::TempDir;
use tokio::{net::UdpSocket, time::timeout};

use crate::{DEADLINE, free_ports, wait_until};

/// RFC 1035 section 3.2.2.
const A: u8 = 1;
const SOA: u8 = 6;
const TXT: u8 = 16;

/// A server that is authoritative for its zones and for the root: what is in none of them does not
/// exist.
///
/// Each zone has an SOA record by which "there is none" is remembered for an hour, the name servers
/// `ns1` and `ns2` at the server's own address, and a TTL of an hour where a record has none.
///
/// ```no_run
/// # use landfall_tests::{Authority, RecursiveResolver};
/// # async fn test() {
/// let mut authority = Authority::start(&[("shop.test", "www CNAME my-site.edge.test.")]).await;
/// let resolver = RecursiveResolver::start(&authority, "").await;
/// // … ask `resolver.address()`, or `authority.address()` for what no cache remembers
/// authority.set("shop.test", "www A 192.0.2.1").await;
/// # }
/// ```
pub struct Authority {
    address: SocketAddr,
    zones: Vec<(String, String)>,
    /// How often a zone was set.
    changes: u32,
    update_key: Option<UpdateKey>,
    folder: TempDir,
    process: Option<Child>,
}

/// Who may change TXT records of every zone by RFC 2136, signed by TSIG with HMAC-SHA256.
#[derive(Clone, Copy, Debug)]
pub struct UpdateKey {
    /// What the key is called.
    pub name: &'static str,
    /// Its base64.
    pub secret: &'static str,
}

impl UpdateKey {
    /// The sections of knot's configuration that come before its zones.
    fn sections(self) -> String {
        format!(
            "key:\n  - id: {name}\n    algorithm: hmac-sha256\n    secret: {}\nacl:\n  - id: update\n    \
             action: update\n    key: {name}\n    update-type: [TXT]\n",
            self.secret,
            name = self.name
        )
    }
}

impl Authority {
    /// With these zones: each one's name, without a trailing dot, and its records as lines of a zone
    /// file. A line `;signed` has the server sign the zone.
    ///
    /// # Panics
    /// Where knot is not installed, or refuses a zone.
    pub async fn start(zones: &[(&str, &str)]) -> Self {
        let [port] = free_ports();
        Self::start_at(port, zones, None).await
    }

    /// As [`Self::start`]; who has the key may change TXT records until the server is started again.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub async fn start_updatable(zones: &[(&str, &str)], key: UpdateKey) -> Self {
        let [port] = free_ports();
        Self::start_at(port, zones, Some(key)).await
    }

    pub(crate) async fn start_at(
        port: u16,
        zones: &[(&str, &str)],
        update_key: Option<UpdateKey>,
    ) -> Self {
        let owned = |(name, records): &(&str, &str)| (format!("{name}."), (*records).to_owned());
        let mut zones: Vec<_> = zones.iter().map(owned).collect();
        zones.push((".".to_owned(), String::new()));
        let folder = tempfile::tempdir().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut server = Self { address, zones, changes: 0, update_key, folder, process: None };
        server.resume().await;
        server
    }

    /// Where it answers.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A zone has these records from now on, in place of those it had.
    ///
    /// # Panics
    /// Where there is no such zone, and as [`Self::start`].
    pub async fn set(&mut self, zone: &str, records: &str) {
        let own = self.zones.iter_mut().find(|(name, _)| name.trim_end_matches('.') == zone);
        self.changes += 1;
        own.unwrap_or_else(|| panic!("no zone {zone}")).1 =
            format!("{records}\n_changes TXT \"{}\"", change(self.changes));
        self.resume().await;
    }

    /// Ends it; questions get no answer.
    pub fn stop(&mut self) {
        stop(&mut self.process);
    }

    /// Starts it again.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub async fn resume(&mut self) {
        self.stop();
        let folder = self.folder.path();
        let mut config = format!(
            "server:\n    listen: {}@{}\n    rundir: {folder}\ndatabase:\n    storage: {folder}/db\n\
             log:\n  - target: stderr\n    any: warning\n{}zone:\n",
            self.address.ip(),
            self.address.port(),
            self.update_key.map(UpdateKey::sections).unwrap_or_default(),
            folder = folder.display()
        );
        // Changes by RFC 2136 go to the journal.
        let (journal, acl) = match self.update_key {
            Some(_) => ("changes", "    acl: update\n"),
            None => ("none", ""),
        };
        for (place, (name, records)) in self.zones.iter().enumerate() {
            fs::write(folder.join(format!("{place}.zone")), zone_file(name, records)).unwrap();
            let signing = if records.contains(";signed") { "on" } else { "off" };
            config += &format!(
                "  - domain: {name}\n    storage: {}\n    file: {place}.zone\n    \
                 zonefile-sync: -1\n    journal-content: {journal}\n    dnssec-signing: {signing}\n{acl}",
                folder.display()
            );
        }
        // Where it keeps the keys that it signs with.
        fs::create_dir_all(folder.join("db")).unwrap();
        let file = folder.join("knot.conf");
        fs::write(&file, config).unwrap();
        self.process = Some(start("knotd", "--config", &file, folder));
        for (name, _) in &self.zones {
            wait_until_answered(self.address, name, folder).await;
        }
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A resolver that asks one server for everything, remembers what it heard, and validates what it
/// has a trust anchor for.
pub struct RecursiveResolver {
    address: SocketAddr,
    folder: TempDir,
    process: Option<Child>,
}

impl RecursiveResolver {
    /// In front of `authority`. `settings` are more lines for the `server:` part of unbound's
    /// configuration, such as `local-data: "www.shop.test. A 192.0.2.66"` for one that lies.
    ///
    /// # Panics
    /// Where unbound is not installed, or refuses the settings.
    pub async fn start(authority: &Authority, settings: &str) -> Self {
        let [port] = free_ports();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display();
        let upstream = authority.address();
        let config = format!(
            "server:\n  interface: 127.0.0.1@{port}\n  do-daemonize: no\n  use-syslog: no\n  \
             logfile: \"\"\n  username: \"\"\n  chroot: \"\"\n  directory: \"{path}\"\n  \
             pidfile: \"{path}/unbound.pid\"\n  num-threads: 1\n  do-not-query-localhost: no\n  \
             module-config: \"validator iterator\"\n  local-zone: \"test.\" nodefault\n  \
             access-control: 127.0.0.0/8 allow\n{settings}\nforward-zone:\n  name: \".\"\n  \
             forward-addr: {}@{}\nremote-control:\n  control-enable: no\n",
            upstream.ip(),
            upstream.port()
        );
        let file = folder.path().join("unbound.conf");
        fs::write(&file, config).unwrap();
        let process = Some(start("unbound", "-dc", &file, folder.path()));
        wait_until_answered(address, ".", folder.path()).await;
        Self { address, folder, process }
    }

    /// Where it answers.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until it finds a name at an address.
    ///
    /// # Panics
    /// After two times [`DEADLINE`].
    pub async fn wait_until_at(&self, name: &str, address: Ipv4Addr) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let question = question(name, A);
        wait_until("the resolver finds the address", DEADLINE * 2, async || {
            let answer = ask(&socket, &question, self.address).await?;
            // An address record ends with it (RFC 1035 section 3.4.1).
            let octets = address.octets();
            answer.windows(octets.len()).any(|bytes| bytes == octets).then_some(())
        })
        .await;
    }

    /// Waits until it goes by what was last set: of a zone of the server that it asks, with a cache that
    /// keeps nothing for longer than a second.
    ///
    /// # Panics
    /// After two times [`DEADLINE`].
    pub async fn wait_until_set(&self, authority: &Authority, zone: &str) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let question = question(&format!("_changes.{zone}"), TXT);
        let change = change(authority.changes);
        // A cache counts whole seconds: what it heard in this one stands until it is over.
        let asked = unix_seconds();
        wait_until("the resolver has the zone's new records", DEADLINE * 2, async || {
            let answer = ask(&socket, &question, self.address).await?;
            let knows = answer.windows(change.len()).any(|bytes| bytes == change.as_bytes());
            (knows && unix_seconds() > asked).then_some(())
        })
        .await;
    }

    /// Ends it; questions get no answer.
    pub fn stop(&mut self) {
        stop(&mut self.process);
    }

    /// What it has to say of itself.
    ///
    /// # Panics
    /// Where its log can't be read.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

impl Drop for RecursiveResolver {
    fn drop(&mut self) {
        self.stop();
    }
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// How the records that were set at last are told from those before, in a record of their own.
fn change(number: u32) -> String {
    format!("change {number}.")
}

fn zone_file(name: &str, records: &str) -> String {
    format!(
        "$ORIGIN {name}\n$TTL 3600\n@ SOA ns1 hostmaster 1 3600 3600 3600 3600\n@ NS ns1\n@ NS ns2\n\
         ns1 A 127.0.0.1\nns2 A 127.0.0.1\n{records}\n"
    )
}

fn start(program: &str, option: &str, config: &Path, folder: &Path) -> Child {
    let path = std::env::var("PATH").unwrap_or_default();
    let log = fs::File::create(folder.join("log")).unwrap();
    let process = Command::new(program)
        // Where Debian has servers.
        .env("PATH", format!("{path}:/usr/sbin"))
        .arg(option)
        .arg(config)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn();
    process.unwrap_or_else(|error| panic!("{program}: {error}; `make test` installs it"))
}

fn stop(process: &mut Option<Child>) {
    if let Some(mut process) = process.take() {
        process.kill().unwrap();
        process.wait().unwrap();
    }
}

/// Waits until the server has an answer for the zone's SOA.
async fn wait_until_answered(server: SocketAddr, zone: &str, folder: &Path) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let question = question(zone, SOA);
    let started = Instant::now();
    let answered = async || {
        let log = folder.join("log");
        let patient = started.elapsed() < DEADLINE;
        assert!(patient, "no answer for {zone}: {}", fs::read_to_string(log).unwrap_or_default());
        ask(&socket, &question, server).await.map(drop)
    };
    wait_until("a DNS server answers", DEADLINE * 2, answered).await;
}

/// An answer that is no failure.
async fn ask(socket: &UdpSocket, question: &[u8], server: SocketAddr) -> Option<Vec<u8>> {
    // What is not received is asked for again.
    let _ = socket.send_to(question, server).await;
    let mut answer = vec![0; 512];
    let received = timeout(Duration::from_millis(300), socket.recv(&mut answer)).await;
    answer.truncate(received.ok()?.ok()?);
    // RFC 1035 section 4.1.1: it is an answer, and its code is none of failure.
    (answer.len() >= 12 && answer[2] & 0x80 != 0 && answer[3] & 0x0f == 0).then_some(answer)
}

/// RFC 1035 section 4.1: a question for records of a type.
fn question(zone: &str, kind: u8) -> Vec<u8> {
    let mut question = vec![0x4c, 0x46, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in zone.split('.').filter(|label| !label.is_empty()) {
        question.push(u8::try_from(label.len()).unwrap());
        question.extend(label.as_bytes());
    }
    question.extend([0, 0, kind, 0, 1]);
    question
}
