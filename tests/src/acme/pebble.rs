use std::{net::SocketAddr, process::Command};

use landfall_model::issuance::Authority;
use reqwest::Client;
use serde_json::{Map, Value, json};

use super::server::{Server, install};
use crate::free_ports;

/// Which of Debian's versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PebbleVersion {
    /// The newest: ARI, `replaces`, profiles.
    Newest,
    /// 2.4, Debian 12's own: none of these.
    V2_4,
}

impl PebbleVersion {
    /// Its executable.
    ///
    /// # Panics
    /// Where it can't be installed.
    pub async fn program(self) -> String {
        let name = match self {
            Self::Newest => "pebble",
            Self::V2_4 => "pebble-2.4",
        };
        format!("{}/root/usr/bin/pebble", install(name).await)
    }
}

/// What a pebble is started with.
pub struct PebbleBuilder {
    version: PebbleVersion,
    dns: Option<SocketAddr>,
    ports: [u16; 2],
    external_accounts: Map<String, Value>,
    bad_nonces: u8,
    alternate_roots: u8,
}

/// Pebble, the small CA that Let's Encrypt tests clients with. It validates at once, keeps no
/// authorization for another order, and refuses one nonce in twenty.
pub struct Pebble {
    server: Server,
    command: Command,
    ports: [u16; 2],
    management: String,
}

impl Pebble {
    /// The newest version, without DNS.
    pub fn builder() -> PebbleBuilder {
        PebbleBuilder {
            version: PebbleVersion::Newest,
            dns: None,
            ports: free_ports(),
            external_accounts: Map::new(),
            bad_nonces: 5,
            alternate_roots: 0,
        }
    }

    /// The CA as an agent is told of it.
    pub fn authority(&self) -> Authority {
        self.server.authority("pebble")
    }

    /// A client that trusts its own certificate.
    pub fn client(&self) -> Client {
        self.server.client()
    }

    /// Where HTTP-01 challenges are looked for, in place of port 80.
    pub fn http_port(&self) -> u16 {
        self.ports[0]
    }

    /// Where TLS-ALPN-01 challenges are looked for, in place of port 443.
    pub fn tls_port(&self) -> u16 {
        self.ports[1]
    }

    /// The root of what it issues, as PEM; `number` counts the alternates, 0 is the default.
    ///
    /// # Panics
    /// Where it does not answer.
    pub async fn root(&self, number: u8) -> String {
        let url = format!("{}/roots/{number}", self.management);
        let response = self.server.client().get(url).send().await.unwrap();
        response.error_for_status().unwrap().text().await.unwrap()
    }

    /// From now on it says this when asked when to renew a certificate (PEM; RFC 9773 section 4.2).
    ///
    /// # Panics
    /// Where it refuses, as 2.4 does.
    pub async fn set_renewal_info(&self, certificate: &str, answer: &Value) {
        let body = json!({"Certificate": certificate, "ARIResponse": answer.to_string()});
        let url = format!("{}/set-renewal-info/", self.management);
        let response = self.server.client().post(url).body(body.to_string()).send().await.unwrap();
        assert!(response.status().is_success(), "{}", response.text().await.unwrap());
    }

    /// What it says of the certificate with this serial number (hexadecimal): `Status` is `Valid` or `Revoked`,
    /// with the `Reason` that RFC 5280 section 5.3.1 numbers.
    ///
    /// # Panics
    /// Where it does not answer, or has issued no such certificate.
    pub async fn status(&self, serial: &str) -> Value {
        let url = format!("{}/cert-status-by-serial/{serial}", self.management);
        let response = self.server.client().get(url).send().await.unwrap();
        let text = response.error_for_status().unwrap().text().await.unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// Ends it: nobody listens any more.
    pub fn stop(&mut self) {
        self.server.stop();
    }

    /// Starts it again at the same place. It has forgotten all accounts and orders.
    ///
    /// # Panics
    /// Where it does not come up.
    pub async fn resume(&mut self) {
        self.server.stop();
        self.server.start(&mut self.command).await;
    }

    /// What it has said of itself so far.
    pub fn log(&self) -> String {
        self.server.log()
    }
}

impl PebbleBuilder {
    /// Another version.
    #[must_use]
    pub fn version(self, version: PebbleVersion) -> Self {
        Self { version, ..self }
    }

    /// Whom it asks for names: a server that knows them, or a resolver.
    #[must_use]
    pub fn dns(self, server: SocketAddr) -> Self {
        Self { dns: Some(server), ..self }
    }

    /// Where it looks for HTTP-01 and TLS-ALPN-01 challenges, in place of ports 80 and 443.
    #[must_use]
    pub fn validation_ports(self, http: u16, tls: u16) -> Self {
        Self { ports: [http, tls], ..self }
    }

    /// An external account that accounts must be bound to; `key` is base64url.
    #[must_use]
    pub fn external_account(mut self, id: &str, key: &str) -> Self {
        self.external_accounts.insert(id.to_owned(), key.into());
        self
    }

    /// How many nonces of a hundred it refuses.
    #[must_use]
    pub fn bad_nonces(self, percent: u8) -> Self {
        Self { bad_nonces: percent, ..self }
    }

    /// How many other chains it offers.
    #[must_use]
    pub fn alternate_roots(self, count: u8) -> Self {
        Self { alternate_roots: count, ..self }
    }

    /// Starts it.
    ///
    /// # Panics
    /// Where it can't be installed or does not come up.
    pub async fn start(self) -> Pebble {
        let program = self.version.program().await;
        let [listen, management] = free_ports();
        let mut server = Server::new(format!("https://localhost:{listen}/dir"));
        server.root.write_identity(server.path());
        let config = json!({"pebble": {
            "listenAddress": format!("127.0.0.1:{listen}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": "server.pem",
            "privateKey": "server.key",
            "httpPort": self.ports[0],
            "tlsPort": self.ports[1],
            "ocspResponderURL": "",
            "externalAccountBindingRequired": !self.external_accounts.is_empty(),
            "externalAccountMACKeys": self.external_accounts,
            "domainBlocklist": ["blocked.test"],
            "retryAfter": {"authz": 1, "order": 1},
            "keyAlgorithm": "ecdsa",
            "profiles": {
                "default": {"description": "90 days", "validityPeriod": 7_776_000},
                "shortlived": {"description": "6 days", "validityPeriod": 518_400},
            },
        }});
        std::fs::write(server.path().join("pebble.json"), config.to_string()).unwrap();
        let mut command = Command::new(program);
        command.args(["-config", "pebble.json"]);
        if let Some(dns) = self.dns {
            command.args(["-dnsserver", &dns.to_string()]);
        }
        command.envs([
            ("PEBBLE_VA_NOSLEEP", "1".to_owned()),
            ("PEBBLE_AUTHZREUSE", "0".to_owned()),
            ("PEBBLE_WFE_NONCEREJECT", self.bad_nonces.to_string()),
            ("PEBBLE_ALTERNATE_ROOTS", self.alternate_roots.to_string()),
        ]);
        server.start(&mut command).await;
        let management = format!("https://localhost:{management}");
        Pebble { server, command, ports: self.ports, management }
    }
}
