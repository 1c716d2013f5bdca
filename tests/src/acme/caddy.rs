use std::{net::SocketAddr, process::Command};

use landfall_model::issuance::Authority;

use super::server::{Server, install};
use crate::free_ports;

/// Caddy as a CA. DNS-01 alone is of use: the other methods are looked for at ports 80 and 443.
pub struct Caddy {
    server: Server,
}

impl Caddy {
    /// With a resolver that it asks for TXT records.
    ///
    /// # Panics
    /// Where it can't be installed or does not come up.
    pub async fn start(resolver: SocketAddr) -> Self {
        let program = format!("{}/bin/caddy", install("ca").await);
        let [listen, http] = free_ports();
        let mut server = Server::new(format!("https://localhost:{listen}/acme/lab/directory"));
        server.root.write_identity(server.path());
        let config = format!(
            "{{\n admin off\n auto_https disable_redirects\n storage file_system data\n \
             default_bind 127.0.0.1\n skip_install_trust\n http_port {http}\n https_port {listen}\n \
             pki {{\n  ca lab {{\n   name \"Lab\"\n  }}\n }}\n}}\n\
             https://localhost:{listen} {{\n tls server.pem server.key\n acme_server {{\n  ca lab\n  \
             lifetime 24h\n  resolvers udp/{resolver}\n  challenges http-01 tls-alpn-01 dns-01\n  \
             allow_wildcard_names\n }}\n}}\n"
        );
        std::fs::write(server.path().join("Caddyfile"), config).unwrap();
        let mut command = Command::new(program);
        command.args(["run", "--config", "Caddyfile", "--adapter", "caddyfile"]);
        // What it keeps goes into the folder, not into a home.
        command.env("HOME", server.path()).env("XDG_DATA_HOME", server.path().join("share"));
        server.start(&mut command).await;
        Self { server }
    }

    /// The CA as an agent is told of it.
    pub fn authority(&self) -> Authority {
        self.server.authority("caddy")
    }
}
