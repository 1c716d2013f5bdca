//! The demo's CA, where pebble is installed: the small ACME server (RFC 8555) that Let's Encrypt tests
//! clients with. It follows the demo's DNS and looks for challenges at the edge's own ports.

use std::{
    env,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use reqwest::{Certificate, Client};
use serde_json::json;
use tokio::{
    process::Command,
    time::{Instant, sleep, timeout},
};

use super::{DemoError, LOOPBACK, files::Files, ports::Ports, probe};

/// What the executable is called.
const PROGRAM: &str = "pebble";
/// The folder of what it needs.
const FOLDER: &str = "pebble";
/// The root that its own certificate is verified with.
const SERVER_ROOT: &str = "pebble/server-root.pem";
/// The roots of what it has issued at this start and earlier ones: it makes a new one at each.
const ROOTS: &str = "pebble/roots.pem";
/// The most roots that are kept.
const MAX_ROOTS: usize = 100;
/// How long it may take to say what it is.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it may take to start.
const START_DEADLINE: Duration = Duration::from_secs(30);
/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// Pebble as it is installed here.
pub(super) struct Pebble {
    program: PathBuf,
}

impl Pebble {
    /// Looks for it in `PATH`. Another program of that name is none.
    pub(super) async fn find() -> Option<Self> {
        let path = env::var_os("PATH")?;
        for folder in env::split_paths(&path) {
            let program = folder.join(PROGRAM);
            if program.is_file() && is_acme_server(&program).await {
                return Some(Self { program });
            }
        }
        None
    }

    /// Where it is installed.
    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    /// Writes what it is started with.
    ///
    /// # Errors
    /// [`DemoError::File`] and [`DemoError::Identity`].
    pub(super) fn prepare(files: &Files, ports: &Ports) -> Result<(), DemoError> {
        files.create_folder(FOLDER)?;
        let identity = Identity::make().map_err(|source| DemoError::Identity { source })?;
        files.write(SERVER_ROOT, &identity.root)?;
        files.write("pebble/server.pem", &identity.certificate)?;
        files.write("pebble/server.key", &identity.key)?;
        let config = json!({"pebble": {
            "listenAddress": format!("{LOOPBACK}:{}", ports.ca),
            "managementListenAddress": format!("{LOOPBACK}:{}", ports.ca_management),
            "certificate": "server.pem",
            "privateKey": "server.key",
            "httpPort": ports.http,
            "tlsPort": ports.https,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
            "retryAfter": {"authz": 1, "order": 1},
        }});
        files.write("pebble/pebble.json", &format!("{config:#}\n"))
    }

    /// The command that runs it. `setpriv` has the system end it when the demo is killed.
    pub(super) fn command(&self, files: &Files, ports: &Ports) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(&self.program).args(["-config", "pebble.json"]);
        command.args(["-dnsserver", &format!("{LOOPBACK}:{}", ports.dns)]);
        // It would wait for up to 15 seconds before each validation.
        command.env("PEBBLE_VA_NOSLEEP", "1").current_dir(files.folder().join(FOLDER));
        command
    }

    /// Waits until it answers, and adds its root to those of earlier starts.
    ///
    /// # Errors
    /// [`DemoError::Deadline`], [`DemoError::Client`] and [`DemoError::File`].
    pub(super) async fn keep_root(files: &Files, ports: &Ports) -> Result<(), DemoError> {
        let known = files.read(ROOTS)?.unwrap_or_default();
        let server_root = files.read(SERVER_ROOT)?.unwrap_or_default();
        let client = client(&server_root).map_err(|source| DemoError::Client { source })?;
        let url = format!("https://localhost:{}/roots/0", ports.ca_management);
        let start = Instant::now();
        let root = loop {
            let last = match ask(&client, &url).await {
                Ok(root) => break root,
                Err(error) => probe::words(&error),
            };
            if start.elapsed() > START_DEADLINE {
                let what = "pebble does not answer".to_owned();
                let seconds = START_DEADLINE.as_secs();
                return Err(DemoError::Deadline { what, seconds, last });
            }
            sleep(PAUSE).await;
        };
        files.write(ROOTS, &with_root(&known, &root))
    }

    /// The roots of what it has issued, as PEM; empty where it never ran.
    ///
    /// # Errors
    /// [`DemoError::File`].
    pub(super) fn roots(files: &Files) -> Result<String, DemoError> {
        Ok(files.read(ROOTS)?.unwrap_or_default())
    }
}

/// The control plane's `[issuance]` where pebble is the CA. Its directory is at another port at each
/// start, and so another account is made: it remembers none.
pub(super) fn control_section(ports: &Ports) -> String {
    format!(
        "
# Pebble is the CA of customers' hostnames.
[issuance]
certificate_authorities = [\"pebble\"]

[issuance.authority.pebble]
directory = \"https://localhost:{}/dir\"
roots_file = \"{SERVER_ROOT}\"
",
        ports.ca
    )
}

/// The edge's `[issuance]` where pebble is the CA.
pub(super) fn edge_section(ports: &Ports) -> String {
    format!(
        "
# Challenges are looked for at this edge's own ports, by the demo's own DNS.
[issuance]
resolvers = [\"{LOOPBACK}:{}\"]
zone_servers = false
http_port = {}
tls_port = {}
",
        ports.dns, ports.http, ports.https
    )
}

/// Whether the program has pebble's options; another one of that name manages services.
async fn is_acme_server(program: &Path) -> bool {
    let mut command = Command::new(program);
    command.arg("-help").stdin(Stdio::null()).kill_on_drop(true);
    let Ok(Ok(output)) = timeout(ASK_TIMEOUT, command.output()).await else { return false };
    let words = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&words).contains("-dnsserver")
}

fn client(root: &str) -> Result<Client, reqwest::Error> {
    let root = Certificate::from_pem(root.as_bytes())?;
    let client = Client::builder().tls_certs_only([root]).timeout(REQUEST_TIMEOUT);
    client.no_proxy().build()
}

async fn ask(client: &Client, url: &str) -> Result<String, reqwest::Error> {
    client.get(url).send().await?.error_for_status()?.text().await
}

/// The newest of these roots and this one.
fn with_root(known: &str, root: &str) -> String {
    const BEGIN: &str = "-----BEGIN";
    let old: Vec<&str> = known.split(BEGIN).filter(|part| !part.trim().is_empty()).collect();
    let kept = old.iter().skip((old.len() + 1).saturating_sub(MAX_ROOTS));
    let mut text: String = kept.flat_map(|part| [BEGIN, part]).collect();
    text.push_str(root.trim_end());
    text.push('\n');
    text
}

/// What it shows of itself: it has no certificate of its own.
struct Identity {
    root: String,
    certificate: String,
    key: String,
}

impl Identity {
    fn make() -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Root of the demo's pebble");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate()?;
        let root = params.self_signed(&key)?.pem();
        let issuer = Issuer::new(params, key);
        let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
        params.subject_alt_names.push(SanType::IpAddress(LOOPBACK));
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &issuer)?.pem();
        Ok(Self { root, certificate, key: key.serialize_pem() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(number: usize) -> String {
        format!("-----BEGIN CERTIFICATE-----\n{number}\n-----END CERTIFICATE-----\n")
    }

    #[test]
    fn keeps_the_newest_roots() {
        let mut all = String::new();
        for number in 0..MAX_ROOTS + 2 {
            all = with_root(&all, &root(number));
        }
        let expected: String = (2..MAX_ROOTS + 2).map(root).collect();
        assert_eq!(all, expected);
    }

    #[tokio::test]
    async fn takes_no_other_program_for_it() {
        assert!(!is_acme_server(Path::new("/bin/true")).await);
        assert!(!is_acme_server(Path::new("/nowhere")).await);
    }
}
