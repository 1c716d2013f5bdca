//! Certificates that customers upload, and what becomes of their keys.

use std::path::Path;

use data_encoding::BASE64URL_NOPAD;
use landfall_feed::record::CertificateRecord;
use landfall_model::{HostPattern, SealContext, Sealed, seal::INFO};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384,
    PKCS_RSA_SHA256, SignatureAlgorithm,
};
use reqwest::StatusCode;
use rustls::crypto::{
    aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_256,
    hpke::{EncapsulatedSecret, Hpke, HpkePrivateKey},
};
use serde_json::{Value, json};

use crate::support::{Plane, hostname_record};

/// A CA that customers might use.
pub(crate) fn ca(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// What a certificate for `name` usually says.
pub(crate) fn leaf(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

/// The body of an upload: a leaf signed by `issuer`, followed by that.
pub(crate) fn signed(
    params: &CertificateParams,
    key: &KeyPair,
    issuer: &CertifiedIssuer<'static, KeyPair>,
) -> Value {
    let leaf = params.signed_by(key, issuer).unwrap().pem();
    json!({"certificate": format!("{leaf}{}", issuer.pem()), "privateKey": key.serialize_pem()})
}

fn upload(name: &str, algorithm: &'static SignatureAlgorithm) -> (Value, KeyPair) {
    let key = KeyPair::generate_for(algorithm).unwrap();
    (signed(&leaf(name), &key, &ca("Customer CA")), key)
}

/// A valid chain of ten certificates that fills most of a record.
pub(crate) fn long_chain(name: &str) -> Value {
    padded_chain(name, 5_000)
}

pub(crate) fn padded_chain(name: &str, padding: usize) -> Value {
    let mut issuer = ca("Root");
    let mut chain = issuer.pem();
    for depth in 1..9 {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, format!("Intermediate {depth}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let oid = [1, 3, 6, 1, 4, 1, 55555, 1];
        let extension = CustomExtension::from_oid_content(&oid, vec![0x5a; padding]);
        params.custom_extensions.push(extension);
        let key = KeyPair::generate().unwrap();
        issuer = CertifiedIssuer::signed_by(params, key, &issuer).unwrap();
        chain.insert_str(0, &issuer.pem());
    }
    let key = KeyPair::generate().unwrap();
    chain.insert_str(0, &leaf(name).signed_by(&key, &issuer).unwrap().pem());
    json!({"certificate": chain, "privateKey": key.serialize_pem()})
}

/// Opens a sealed key as an edge does.
fn open(dir: &Path, name: &str, certificate: &CertificateRecord) -> Vec<u8> {
    let hostname: HostPattern = name.parse().unwrap();
    let spki_sha256 = certificate.spki_sha256.as_slice().try_into().unwrap();
    let context = SealContext::PrivateKey { hostname: &hostname, spki_sha256 };
    open_sealed(dir, context, &certificate.key)
}

/// Opens what was sealed for `context` with the group's private key.
pub(crate) fn open_sealed(dir: &Path, context: SealContext<'_>, sealed: &Sealed) -> Vec<u8> {
    let text = std::fs::read_to_string(dir.join("group.key")).unwrap();
    let words: Vec<&str> = text.split_whitespace().collect();
    let private = HpkePrivateKey::from(BASE64URL_NOPAD.decode(words[2].as_bytes()).unwrap());
    let enc = EncapsulatedSecret(sealed.enc.clone());
    DH_KEM_X25519_HKDF_SHA256_AES_256
        .open(&enc, INFO, &context.associated_data(words[1]), &sealed.ciphertext, &private)
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ecdsa_and_an_rsa_pair_live_side_by_side_and_replace_their_own_kind() {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    let path = plane.hostname(&property, "www.customer.test").await;
    let certificate = format!("{path}/certificate");
    let (p256, _) = upload("www.customer.test", &PKCS_ECDSA_P256_SHA256);
    let (p384, p384_key) = upload("*.customer.test", &PKCS_ECDSA_P384_SHA384);
    let (rsa, rsa_key) = upload("WWW.customer.test", &PKCS_RSA_SHA256);
    for body in [&p256, &rsa, &p384] {
        let (status, answer) = plane.post(&certificate, body).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }

    let (_, hostname) = plane.get(&path).await;

    let certificates = hostname["certificates"].as_array().unwrap();
    let kinds: Vec<_> = certificates.iter().map(|own| (&own["keyType"], &own["source"])).collect();
    assert_eq!(kinds, [(&json!("ecdsa"), &json!("uploaded")), (&json!("rsa"), &json!("uploaded"))]);
    assert_eq!(hostname["status"], "PendingValidation");
    let pop = plane.pop("pop-1").await;
    let records = pop.records(pop.epoch().await, 0).await;
    let record = hostname_record(&records, "www.customer.test");
    assert_eq!(record.certificates.len(), 2);
    let opened =
        |index: usize| open(plane.dir.path(), "www.customer.test", &record.certificates[index]);
    let same = |opened: Vec<u8>, key: &KeyPair| {
        let opened = KeyPair::try_from(opened).unwrap();
        assert_eq!(opened.public_key_raw(), key.public_key_raw());
    };
    same(opened(0), &p384_key);
    same(opened(1), &rsa_key);
    assert_eq!(record.certificates[0].chain.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_replaces_the_internal_certificate_and_its_removal_brings_it_back() {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    let path = plane.hostname(&property, "a.shop.edge.test").await;
    let certificate = format!("{path}/certificate");
    assert_eq!(plane.delete(&certificate).await.0, StatusCode::NOT_FOUND);
    let (rsa, _) = upload("a.shop.edge.test", &PKCS_RSA_SHA256);

    let (_, with) = plane.post(&certificate, &rsa).await;
    assert_eq!(with["certificates"].as_array().unwrap().len(), 1);
    assert_eq!(with["certificates"][0]["source"], "uploaded");
    let (status, without) = plane.delete(&certificate).await;

    assert_eq!(status, StatusCode::OK, "{without}");
    assert_eq!(without["certificates"].as_array().unwrap().len(), 1);
    assert_eq!(without["certificates"][0]["source"], "internal");
    let external = plane.hostname(&property, "www.customer.test").await;
    let (rsa, _) = upload("www.customer.test", &PKCS_RSA_SHA256);
    plane.post(&format!("{external}/certificate"), &rsa).await;
    let (_, without) = plane.delete(&format!("{external}/certificate")).await;
    assert_eq!(without["certificates"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_were_replaced_go_with_the_one_that_is_removed() {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    let path = plane.hostname(&property, "a.shop.edge.test").await;
    let certificate = format!("{path}/certificate");
    let pop = plane.pop("pop-1").await;
    let epoch = pop.epoch().await;
    let predecessors = async || {
        hostname_record(&pop.records(epoch, 0).await, "a.shop.edge.test").predecessors.len()
    };
    for expected in [1, 2] {
        let (rsa, _) = upload("a.shop.edge.test", &PKCS_RSA_SHA256);
        plane.post(&certificate, &rsa).await;
        assert_eq!(predecessors().await, expected);
    }

    let (status, _) = plane.delete(&certificate).await;

    assert_eq!((status, predecessors().await), (StatusCode::OK, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wildcard_hostname_needs_a_wildcard_certificate() {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    let path = plane.hostname(&property, "*.customer.test").await;
    let certificate = format!("{path}/certificate");
    let (exact, _) = upload("www.customer.test", &PKCS_ECDSA_P256_SHA256);
    let (wildcard, _) = upload("*.customer.test", &PKCS_ECDSA_P256_SHA256);
    let (status, problem) = plane.post(&certificate, &exact).await;
    assert_eq!((status.as_u16(), &problem["code"]), (422, &json!("name_not_covered")));
    assert_eq!(problem["field"], "/certificate");
    assert_eq!(plane.post(&certificate, &wildcard).await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_is_in_the_state_directory_in_the_clear() {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    let mut secrets = vec![plane.key().splitn(3, '_').nth(2).unwrap().as_bytes().to_vec()];
    let pop = plane.pop("pop-1").await;
    secrets.push(pop.enrolment.token.splitn(3, '_').nth(2).unwrap().as_bytes().to_vec());
    for (index, algorithm) in [&PKCS_ECDSA_P256_SHA256, &PKCS_RSA_SHA256].into_iter().enumerate() {
        let name = format!("n{index}.customer.test");
        let path = plane.hostname(&property, &name).await;
        let (body, key) = upload(&name, algorithm);
        assert_eq!(plane.post(&format!("{path}/certificate"), &body).await.0, StatusCode::OK);
        let der = key.serialized_der();
        secrets.extend(secret_parts(der));
        let pem = key.serialize_pem();
        secrets.extend(pem.lines().skip(1).take(2).map(|line| line.as_bytes().to_vec()));
    }
    pop.epoch().await;
    let dir = plane.stop().await;

    let mut searched = 0;
    for entry in walk(&dir.path().join("state")) {
        let bytes = std::fs::read(&entry).unwrap();
        searched += bytes.len();
        for secret in &secrets {
            let found = bytes.windows(secret.len()).any(|window| window == secret);
            assert!(!found, "{} holds a secret", entry.display());
        }
    }
    assert!(searched > 50_000, "{searched}");
}

/// Parts of a key that are not the public half: the scalar of an EC key, the primes of an RSA key.
fn secret_parts(der: &[u8]) -> Vec<Vec<u8>> {
    match der.len() < 300 {
        true => vec![der[36..68].to_vec()],
        false => vec![der[der.len() - 500..der.len() - 468].to_vec()],
    }
}

pub(crate) fn walk(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(walk(&path)),
            false => files.push(path),
        }
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_do_not_fit_a_record_are_refused_and_change_nothing() {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    let path = plane.hostname(&property, "www.big.test").await;
    let certificate = format!("{path}/certificate");
    let (status, problem) = plane.post(&certificate, &padded_chain("*.big.test", 9_000)).await;
    assert_eq!((status.as_u16(), &problem["code"]), (422, &json!("record_too_large")));
    assert_eq!(plane.get(&path).await.1["certificates"], json!([]));
    assert_eq!(plane.post(&certificate, &long_chain("*.big.test")).await.0, StatusCode::OK);
}
