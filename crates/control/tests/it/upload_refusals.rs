//! Every way in which an upload can be wrong, each told apart.

use std::{path::Path, process::Command};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use reqwest::StatusCode;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use crate::{
    support::Plane,
    upload::{ca, leaf, signed},
};

const NAME: &str = "www.customer.test";

/// Posts each body and compares the codes. Says nothing of the key, ever.
async fn assert_refused(bodies: Vec<(&str, Value)>) {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    let path = plane.hostname(&property, NAME).await;
    for (code, body) in bodies {
        let (status, problem) = plane.post(&format!("{path}/certificate"), &body).await;
        assert_eq!((status.as_u16(), problem["code"].as_str().unwrap()), (422, code), "{problem}");
        assert!(!problem.to_string().contains("MI"), "quotes base64: {problem}");
    }
    assert_eq!(plane.get(&path).await.1["certificates"], json!([]));
    let good = signed(&leaf(NAME), &KeyPair::generate().unwrap(), &ca("Customer CA"));
    let (status, answer) = plane.post(&format!("{path}/certificate"), &good).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
}

fn with(body: &Value, field: &str, value: impl Into<Value>) -> Value {
    let mut body = body.clone();
    body[field] = value.into();
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_a_certificate_and_a_key() {
    let good = signed(&leaf(NAME), &KeyPair::generate().unwrap(), &ca("Customer CA"));
    let text = |field: &str| good[field].as_str().unwrap().to_owned();
    let (certificate, key) = (text("certificate"), text("privateKey"));
    let cut = |pem: &str| pem[..pem.len() / 3].to_owned();
    let not_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let not_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let old_form =
        key.replacen("-----\n", "-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n", 1);
    let end = "-----END PRIVATE KEY-----";
    let with_more = key.replace(end, &format!("AAAA\n{end}"));
    let other = KeyPair::generate().unwrap().serialize_pem();
    assert_refused(vec![
        ("certificate_pem_invalid", with(&good, "certificate", cut(&certificate))),
        ("certificate_missing", with(&good, "certificate", "")),
        ("certificate_missing", with(&good, "certificate", key.clone())),
        ("certificate_unreadable", with(&good, "certificate", not_der)),
        ("private_key_pem_invalid", with(&good, "privateKey", cut(&key))),
        ("private_key_missing", with(&good, "privateKey", certificate)),
        ("private_key_ambiguous", with(&good, "privateKey", format!("{key}{other}"))),
        ("private_key_encrypted", with(&good, "privateKey", old_form)),
        ("private_key_unreadable", with(&good, "privateKey", not_key)),
        ("private_key_unreadable", with(&good, "privateKey", with_more)),
        ("private_key_mismatch", with(&good, "privateKey", other)),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_would_refuse() {
    let key = KeyPair::generate().unwrap();
    let issuer = ca("Customer CA");
    let edited = |edit: &dyn Fn(&mut CertificateParams)| {
        let mut params = leaf(NAME);
        edit(&mut params);
        signed(&params, &key, &issuer)
    };
    let now = OffsetDateTime::now_utc();
    let named = |name: &str| signed(&leaf(name), &key, &issuer);
    let mut nameless = CertificateParams::default();
    nameless.distinguished_name.push(DnType::CommonName, NAME);
    assert_refused(vec![
        ("certificate_expired", edited(&|p| p.not_after = now - Duration::hours(1))),
        ("certificate_not_yet_valid", edited(&|p| p.not_before = now + Duration::hours(1))),
        ("name_not_covered", named("other.test")),
        ("name_not_covered", named("customer.test")),
        ("name_not_covered", named("*.test")),
        ("name_not_covered", named("*.www.customer.test")),
        ("name_not_covered", signed(&nameless, &key, &issuer)),
        (
            "certificate_not_for_servers",
            edited(&|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]),
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chains_that_do_not_hang_together() {
    let key = KeyPair::generate().unwrap();
    let (root, other) = (ca("Root"), ca("Other"));
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Intermediate");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let intermediate =
        CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &root).unwrap();
    let own = leaf(NAME).signed_by(&key, &intermediate).unwrap().pem();
    let body =
        |parts: &[&str]| json!({"certificate": parts.concat(), "privateKey": key.serialize_pem()});
    let namesake = ca("Intermediate");
    let eleven: Vec<&str> = std::iter::repeat_n(own.as_str(), 11).collect();
    assert_refused(vec![
        ("chain_out_of_order", body(&[&own, &root.pem(), &intermediate.pem()])),
        ("chain_out_of_order", body(&[&own, &intermediate.pem(), &other.pem()])),
        ("chain_out_of_order", body(&[&own, &own])),
        ("chain_out_of_order", body(&[&root.pem(), &intermediate.pem(), &own])),
        ("chain_signature_invalid", body(&[&own, &namesake.pem()])),
        ("chain_too_long", body(&eleven)),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_signatures_that_are_too_weak_or_unknown() {
    let dir = tempfile::tempdir().unwrap();
    let made = |options: &[&str]| self_signed(dir.path(), options);
    let encrypted = {
        let good = made(&["-newkey", "rsa:2048"]);
        let key = openssl(dir.path(), &["pkey", "-in", "key.pem", "-aes128", "-passout", "pass:x"]);
        with(&good, "privateKey", key)
    };
    assert_refused(vec![
        ("key_size_unsupported", made(&["-newkey", "rsa:1024"])),
        ("key_type_unsupported", made(&["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-521"])),
        ("key_type_unsupported", made(&["-newkey", "ed25519"])),
        ("signature_too_weak", made(&["-newkey", "rsa:2048", "-sha1", "-addext", NOT_CA])),
        ("private_key_encrypted", encrypted),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn critical_extensions_that_no_tls_library_knows() {
    let dir = tempfile::tempdir().unwrap();
    let precertificate = "1.3.6.1.4.1.11129.2.4.3=critical,DER:0500";
    let body = self_signed(dir.path(), &["-newkey", "rsa:2048", "-addext", precertificate]);
    assert_refused(vec![("certificate_unloadable", body)]).await;
}

const NOT_CA: &str = "basicConstraints=CA:FALSE";

#[tokio::test(flavor = "multi_thread")]
async fn every_form_of_an_unencrypted_key_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    let path = plane.hostname(&property, NAME).await;
    let rsa = self_signed(dir.path(), &["-newkey", "rsa:2048"]);
    let pkcs1 = openssl(dir.path(), &["rsa", "-in", "key.pem", "-traditional"]);
    assert!(pkcs1.contains("BEGIN RSA PRIVATE KEY"));
    let options = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"];
    let ec = self_signed(dir.path(), &options);
    let parameters = openssl(dir.path(), &["ecparam", "-name", "secp384r1"]);
    let sec1 = openssl(dir.path(), &["ec", "-in", "key.pem"]);
    assert!(sec1.contains("BEGIN EC PRIVATE KEY"));
    let bodies = [
        with(&rsa, "privateKey", pkcs1),
        rsa.clone(),
        with(&ec, "privateKey", format!("{parameters}{sec1}")),
        ec.clone(),
    ];
    for body in bodies {
        let (status, answer) = plane.post(&format!("{path}/certificate"), &body).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
}

/// A certificate for [`NAME`] and its key, made by openssl.
fn self_signed(dir: &Path, options: &[&str]) -> Value {
    let alternative = format!("subjectAltName=DNS:{NAME}");
    let mut arguments = vec!["req", "-x509", "-nodes", "-days", "30", "-subj", "/CN=x"];
    arguments.extend(["-keyout", "key.pem", "-addext", &alternative]);
    arguments.extend(options);
    let certificate = openssl(dir, &arguments);
    let key = std::fs::read_to_string(dir.join("key.pem")).unwrap();
    json!({"certificate": certificate, "privateKey": key})
}

fn openssl(dir: &Path, arguments: &[&str]) -> String {
    let output = Command::new("openssl").args(arguments).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
