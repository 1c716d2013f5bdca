use std::process::Command;

use landfall_model::issuance::Authority;

use super::server::{Server, install};
use crate::free_ports;

/// Serves its application over TLS on loopback; its own `main` would bind every address.
const SERVE: &str = r#"
import socketserver, ssl, sys
from wsgiref.simple_server import WSGIServer, make_server
from acme2certifier.share.acme2certifier_wsgi import application, get_handler_cls

class Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True

server = make_server("127.0.0.1", int(sys.argv[1]), application, server_class=Server, handler_class=get_handler_cls())
server.base_environ["HTTPS"] = "on"
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("server.pem", "server.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"#;

/// acme2certifier, a CA in Python that differs from others in many details: no order says again what
/// it replaces. It takes every challenge for answered, since it would look for them at ports 53, 80
/// and 443.
pub struct Acme2certifier {
    server: Server,
}

impl Acme2certifier {
    /// Starts it. Each of `external_accounts` is an id and a key in base64url; with none, anybody may
    /// register.
    ///
    /// # Panics
    /// Where it can't be installed or does not come up.
    pub async fn start(external_accounts: &[(&str, &str)]) -> Self {
        let installed = install("ca").await;
        let [listen] = free_ports();
        let mut server = Server::new(format!("https://localhost:{listen}/directory"));
        let folder = server.path().to_owned();
        server.root.write_identity(&folder);
        server.root.write_authority(&folder.join("ca.pem"), &folder.join("ca.key"));
        std::fs::create_dir(folder.join("certificates")).unwrap();
        let mut config = format!(
            "[DEFAULT]\ndebug: False\n[CAhandler]\n\
             handler_module: acme2certifier.cahandlers.openssl_ca_handler\n\
             issuing_ca_key: ca.key\nissuing_ca_cert: ca.pem\nca_cert_chain_list: [\"ca.pem\"]\n\
             cert_validity_days: 30\ncert_save_path: certificates\nissuing_ca_crl: crl.pem\n\
             [DBhandler]\nhandler: wsgi\ndbfile: {}\n[Challenge]\n\
             challenge_validation_disable: True\n[Order]\n\
             profiles: {{\"classic\": \"http://localhost/classic\"}}\n[Directory]\n\
             tos_url: http://localhost/terms\n",
            folder.join("acme.db").display()
        );
        if !external_accounts.is_empty() {
            let keys = folder.join("external.json");
            let map: serde_json::Map<_, _> = external_accounts
                .iter()
                .map(|(id, key)| ((*id).to_owned(), (*key).into()))
                .collect();
            std::fs::write(&keys, serde_json::Value::from(map).to_string()).unwrap();
            config += &format!(
                "[EABhandler]\neab_handler_module: acme2certifier.eabhandlers.json_handler\n\
                 key_file: {}\n",
                keys.display()
            );
        }
        std::fs::write(folder.join("acme_srv.cfg"), config).unwrap();
        std::fs::write(folder.join("serve.py"), SERVE).unwrap();
        let mut command = Command::new(format!("{installed}/bin/python3"));
        command.args(["serve.py", &listen.to_string()]);
        // Without it, it looks for challenges all the same.
        command.env("ACME2CERTIFIER_I_KNOW_THE_RISK", "1");
        command.env("ACME_SRV_CONFIGFILE", folder.join("acme_srv.cfg"));
        server.start(&mut command).await;
        Self { server }
    }

    /// The CA as an agent is told of it.
    pub fn authority(&self) -> Authority {
        self.server.authority("acme2certifier")
    }
}
