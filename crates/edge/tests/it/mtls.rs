//! Client certificates, as curl and openssl show them.

use std::{fs, path::PathBuf};

use landfall_model::{ClientAuth, ClientAuthMode, Der, TlsPolicy};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, date_time_ymd,
};

use crate::support::{Edge, Origin, curl, run};

struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer, folder: tempfile::tempdir().unwrap() }
    }

    fn policy(&self, mode: ClientAuthMode) -> TlsPolicy {
        let ca = vec![Der(self.issuer.der().to_vec())];
        TlsPolicy { client_auth: Some(ClientAuth { mode, ca }), ..TlsPolicy::default() }
    }

    /// A client's certificate and key in one PEM file.
    fn client(&self, name: &str, years: (i32, i32)) -> PathBuf {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        (params.not_before, params.not_after) =
            (date_time_ymd(years.0, 1, 1), date_time_ymd(years.1, 1, 1));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let path = self.folder.path().join(format!("{name}.pem"));
        fs::write(&path, certificate.pem() + &key.serialize_pem()).unwrap();
        path
    }

    fn valid_client(&self) -> PathBuf {
        self.client("device", (2020, 4000))
    }
}

/// curl's exit code and the status of the answer.
fn ask(edge: &Edge, name: &str, certificate: Option<&PathBuf>, options: &[&str]) -> (i32, u16) {
    let shown = certificate.map(|path| ["--cert", path.to_str().unwrap()]);
    let options = [shown.as_ref().map_or(&[][..], |shown| &shown[..]), options].concat();
    let answer = curl(edge, name, "/", &options);
    (answer.exit, answer.status)
}

#[test]
fn a_hostname_decides_which_client_certificates_it_takes() {
    let mut edge = Edge::start("");
    let origin = Origin::start();
    let (own, other) = (Authority::new("own"), Authority::new("other"));
    edge.serve_with("must.example", origin.address(), own.policy(ClientAuthMode::Required));
    edge.serve_with("may.example", origin.address(), own.policy(ClientAuthMode::Optional));
    edge.serve("open.example", origin.address());
    let (valid, foreign) = (own.valid_client(), other.valid_client());
    let expired = own.client("expired", (2020, 2021));
    for version in [["--tlsv1.3"].as_slice(), &["--tls-max", "1.2"]] {
        let served = [
            ("must.example", Some(&valid)),
            ("may.example", Some(&valid)),
            ("may.example", None),
            ("open.example", None),
            ("open.example", Some(&foreign)),
        ];
        for (name, certificate) in served {
            let got = ask(&edge, name, certificate, version);
            assert_eq!(got, (0, 200), "{name} {certificate:?} {version:?}");
        }
        let refused = [
            ("must.example", None),
            ("must.example", Some(&foreign)),
            ("must.example", Some(&expired)),
            ("may.example", Some(&foreign)),
            ("may.example", Some(&expired)),
        ];
        for (name, certificate) in refused {
            let (exit, status) = ask(&edge, name, certificate, version);
            // Where curl notices depends on the version and on what it has sent already.
            let is_refused = exit != 0 && status == 0;
            assert!(is_refused, "{name} {certificate:?} {version:?}: {exit} {status}");
        }
    }
    let refused = "landfall_handshakes_total{result=\"refused\",version=\"none\"}";
    edge.wait_for_metric(refused, 10.0);
}

#[test]
fn a_refused_client_is_told_why_by_an_alert() {
    let mut edge = Edge::start("");
    let origin = Origin::start();
    let (own, other) = (Authority::new("own"), Authority::new("other"));
    edge.serve_with("must.example", origin.address(), own.policy(ClientAuthMode::Required));
    let (foreign, expired) = (other.valid_client(), own.client("expired", (2020, 2021)));
    let table = [
        ("-tls1_3", None, "alert certificate required"),
        ("-tls1_2", None, "alert certificate required"),
        ("-tls1_3", Some(&foreign), "alert unknown ca"),
        ("-tls1_2", Some(&foreign), "alert unknown ca"),
        ("-tls1_3", Some(&expired), "alert certificate expired"),
        ("-tls1_2", Some(&expired), "alert certificate expired"),
    ];
    for (version, certificate, alert) in table {
        let address = edge.https().to_string();
        let mut arguments =
            vec!["s_client", "-connect", &address, "-servername", "must.example", version];
        // TLS 1.3 tells the client after the client's part is over.
        arguments.push("-ign_eof");
        if let Some(path) = certificate {
            let path = path.to_str().unwrap();
            arguments.extend(["-cert", path, "-key", path]);
        }
        let said = run("openssl", &arguments);
        let said = [said.stdout, said.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(said.contains(alert), "{version} {certificate:?}: {said}");
    }
}
