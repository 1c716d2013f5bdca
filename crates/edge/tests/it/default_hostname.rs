//! Clients that name no hostname, or one that is not served.

use crate::support::{Edge, Origin, curl, run};

const DEFAULT: &str = "[tls]\ndefault_hostname = \"default.example\"";
const UNKNOWN_NAME: &str = "landfall_handshakes_total{result=\"unknown_name\",version=\"none\"}";

/// What openssl says of a handshake.
fn handshake(edge: &Edge, arguments: &[&str]) -> String {
    let address = edge.https().to_string();
    let said = run("openssl", &[&["s_client", "-connect", &address], arguments].concat());
    String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned()
}

/// The status for a request for `host` on a connection for `sni`.
fn ask(edge: &Edge, sni: &str, host: &str) -> u16 {
    curl(edge, sni, "/", &["--insecure", "--header", &format!("Host: {host}")]).status
}

#[test]
fn clients_without_a_known_name_get_the_default_hostname_and_nothing_else() {
    let mut edge = Edge::start(DEFAULT);
    let origin = Origin::start();
    edge.serve("default.example", origin.address());
    edge.serve("shop.example", origin.address());
    let presented = |arguments: &[&str]| {
        let said =
            handshake(&edge, &[arguments, &["-CAfile", edge.roots().to_str().unwrap()]].concat());
        ["default.example", "shop.example"].map(|name| {
            let options = [arguments, &["-verify_hostname", name]].concat();
            said.contains("BEGIN CERTIFICATE")
                && !handshake(&edge, &options).contains("hostname mismatch")
        })
    };
    assert_eq!(presented(&["-servername", "shop.example"]), [false, true]);
    assert_eq!(presented(&["-servername", "unknown.example"]), [true, false]);
    assert_eq!(presented(&["-noservername"]), [true, false]);
    let table = [
        ("unknown.example", "default.example", 200),
        ("unknown.example", "unknown.example", 421),
        ("unknown.example", "shop.example", 421),
        // To an address curl sends no SNI.
        ("192.0.2.1", "default.example", 200),
        ("192.0.2.1", "192.0.2.1", 421),
        ("192.0.2.1", "shop.example", 421),
        ("shop.example", "shop.example", 200),
        ("shop.example", "default.example", 421),
    ];
    for (sni, host, expected) in table {
        assert_eq!(ask(&edge, sni, host), expected, "{host} on a connection for {sni}");
    }
    assert!(edge.metric(UNKNOWN_NAME).abs() < f64::EPSILON);
}

#[test]
fn a_default_hostname_that_is_not_served_changes_nothing() {
    let mut edge = Edge::start(DEFAULT);
    edge.serve("shop.example", Origin::start().address());
    for arguments in [&["-noservername"][..], &["-servername", "unknown.example"]] {
        let said = handshake(&edge, arguments);
        assert!(said.contains("unrecognized name"), "{said}");
    }
    edge.wait_for_metric(UNKNOWN_NAME, 2.0);
    assert_eq!(curl(&edge, "shop.example", "/", &[]).status, 200);
}
