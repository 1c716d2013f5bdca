//! The process of a CA.

use std::{
    fs::{self, File},
    path::Path,
    process::{Child, Command, Stdio},
    time::Instant,
};

use landfall_model::issuance::Authority;
use reqwest::{Certificate, Client, Response};
use tempfile::TempDir;

use super::LocalRoot;
use crate::{DEADLINE, tools, wait_until};

/// A CA that runs until this is dropped.
pub(super) struct Server {
    pub(super) folder: TempDir,
    pub(super) root: LocalRoot,
    pub(super) directory: String,
    process: Option<Child>,
}

impl Server {
    /// A CA whose directory will be at this URL.
    pub(super) fn new(directory: String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder, root: LocalRoot::new(), directory, process: None }
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Starts it within its folder, and waits until its directory is there.
    pub(super) async fn start(&mut self, command: &mut Command) {
        let log = File::options().create(true).append(true).open(self.path().join("log")).unwrap();
        command.current_dir(self.path()).stdin(Stdio::null());
        let process = command.stdout(log.try_clone().unwrap()).stderr(log).spawn();
        self.process = Some(process.unwrap_or_else(|error| panic!("{command:?}: {error}")));
        let client = self.client();
        let started = Instant::now();
        wait_until("a CA answers", DEADLINE * 2, async || {
            let answer = client.get(&self.directory).send().await;
            let answer = answer.and_then(Response::error_for_status);
            let patient = answer.is_ok() || started.elapsed() < DEADLINE;
            assert!(patient, "no directory at {}: {answer:?}", self.directory);
            answer.ok().map(drop)
        })
        .await;
    }

    /// Ends it: nobody listens any more.
    pub(super) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// A client that trusts its certificate.
    pub(super) fn client(&self) -> Client {
        let root = Certificate::from_pem(self.root.pem().as_bytes()).unwrap();
        Client::builder()
            .user_agent("landfall-tests")
            .tls_certs_only([root])
            .timeout(DEADLINE)
            .no_proxy()
            .build()
            .unwrap()
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.path().join("log")).unwrap_or_default()
    }

    pub(super) fn authority(&self, name: &str) -> Authority {
        Authority {
            name: name.parse().unwrap(),
            directory: self.directory.clone(),
            roots: Some(self.root.pem().to_owned()),
            contact: Vec::new(),
            profile: None,
            caa_identities: Vec::new(),
            preferred_chain: None,
            external_account: None,
            group_key: "k".to_owned(),
            account: None,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            eprintln!("=== the CA at {} said:\n{}", self.directory, self.log());
        }
    }
}

/// The folder of what is installed from `tests/sdk/NAME`.
pub(super) async fn install(name: &str) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/sdk/install");
    tools::run(script, &[name]).await.expect_success().trim().to_owned()
}
