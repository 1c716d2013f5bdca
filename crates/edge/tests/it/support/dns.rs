//! A DNS server with one zone: knot, as a process.

use std::{
    fs,
    net::{SocketAddr, UdpSocket},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

/// Answers for `origins.test`, with a TTL of one second.
pub(crate) struct DnsServer {
    address: SocketAddr,
    folder: TempDir,
    process: Option<Child>,
}

impl DnsServer {
    /// With these records, as in `"shop A 192.0.2.1"`.
    pub(crate) fn start(records: &[&str]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        drop(socket);
        let folder = tempfile::tempdir().unwrap();
        let mut server = Self { address, folder, process: None };
        server.change(records);
        server
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Has these records from now on.
    pub(crate) fn change(&mut self, records: &[&str]) {
        self.stop();
        let folder = self.folder.path();
        let zone = format!(
            "$ORIGIN origins.test.\n$TTL 1\n@ SOA ns hostmaster 1 1 1 1 1\n@ NS ns\n\
             ns A 127.0.0.1\n{}\n",
            records.join("\n")
        );
        fs::write(folder.join("origins.test.zone"), zone).unwrap();
        let config = format!(
            "server:\n    listen: {}@{}\n    rundir: {folder}\ndatabase:\n    storage: {folder}/db\n\
             log:\n  - target: stderr\n    any: error\n\
             zone:\n  - domain: origins.test\n    storage: {folder}\n",
            self.address.ip(),
            self.address.port(),
            folder = folder.display(),
        );
        let file = folder.join("knot.conf");
        fs::write(&file, config).unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        let knot = Command::new("knotd")
            .env("PATH", format!("{path}:/usr/sbin"))
            .arg("--config")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.process = Some(knot.expect("knotd is installed, as `make test` does"));
    }

    pub(crate) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.stop();
    }
}
