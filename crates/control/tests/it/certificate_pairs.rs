//! Uploading an ECDSA and an RSA certificate at once, and what is told of certificates.

use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, SignatureAlgorithm,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    support::{Plane, answer, hostname_record},
    upload::{ca, leaf, signed},
};

const NAME: &str = "www.customer.test";

fn pair(name: &str, algorithm: &'static SignatureAlgorithm) -> Value {
    let key = KeyPair::generate_for(algorithm).unwrap();
    signed(&leaf(name), &key, &ca("Customer CA"))
}

#[tokio::test(flavor = "multi_thread")]
async fn both_types_of_key_are_uploaded_at_once_and_told_of_without_their_keys() {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    let path = format!("{}/certificate", plane.hostname(&property, NAME).await);
    let pairs = [pair(NAME, &PKCS_RSA_SHA256), pair(NAME, &PKCS_ECDSA_P384_SHA384)];

    let (status, hostname) = plane.post(&path, &json!({ "certificates": pairs })).await;

    assert_eq!(status, StatusCode::OK, "{hostname}");
    let (_, told) = plane.get(&path).await;
    assert_eq!(told["certificates"], hostname["certificates"]);
    let [ecdsa, rsa] = [0, 1].map(|number| &told["certificates"][number]);
    assert_eq!((&ecdsa["keyType"], &ecdsa["keyBits"]), (&json!("ecdsa"), &json!(384)));
    assert_eq!((&rsa["keyType"], &rsa["keyBits"]), (&json!("rsa"), &json!(2048)));
    for certificate in [ecdsa, rsa] {
        assert_eq!(certificate["source"], "uploaded");
        assert_eq!(certificate["issuer"], "CN=Customer CA");
        assert_eq!(certificate["names"], json!([NAME]));
        assert_eq!(certificate["serves"], json!([NAME]));
        assert_eq!(certificate["signatureAlgorithm"], "ECDSAWithSHA256");
        for field in ["serialNumber", "fingerprint", "notBefore", "notAfter", "addedAt"] {
            assert!(certificate[field].is_string(), "{field} of {certificate}");
        }
    }
    assert!(!told.to_string().contains("KEY"), "{told}");
    let pop = plane.pop("pop-1").await;
    let records = pop.records(pop.epoch().await, 0).await;
    assert_eq!(hostname_record(&records, NAME).certificates.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_pairs_both_are_kept_or_none() {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    let path = format!("{}/certificate", plane.hostname(&property, NAME).await);
    let ecdsa = || pair(NAME, &PKCS_ECDSA_P256_SHA256);
    let rsa = || pair(NAME, &PKCS_RSA_SHA256);
    let other = || pair("other.test", &PKCS_RSA_SHA256);
    let table = [
        (
            json!({"certificates": [ecdsa(), ecdsa()]}),
            "certificates_of_one_key_type",
            "/certificates",
        ),
        (json!({"certificates": [ecdsa(), rsa(), rsa()]}), "certificate_count", "/certificates"),
        (json!({"certificates": []}), "certificate_count", "/certificates"),
        (
            json!({"certificates": [ecdsa(), other()]}),
            "name_not_covered",
            "/certificates/1/certificate",
        ),
        (json!({"certificates": [ecdsa()], "certificate": "x"}), "invalid_field", ""),
        (json!({"certificate": ecdsa()["certificate"]}), "invalid_field", ""),
    ];

    for (body, code, field) in table {
        let (status, problem) = plane.post(&path, &body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
        assert_eq!(problem["code"], code);
        assert_eq!(problem["field"].as_str().unwrap_or_default(), field, "{problem}");
    }

    assert_eq!(plane.get(&path).await.1, json!({"certificates": []}));
    let missing = answer(plane.request(Method::GET, "/api/Property/1/hostname/99/certificate"));
    assert_eq!(missing.await.0, StatusCode::NOT_FOUND);
}
