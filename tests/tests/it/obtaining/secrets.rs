//! The keys of accounts and of certificates, and what ties an account to a customer of a CA, are nowhere in
//! the clear.

use std::{collections::BTreeSet, fs, path::Path};

use landfall_tests::{Fleet, Issued, Searcher, Secret, landfall, tools};
use reqwest::Method;
use serde_json::Value;

use super::Scene;

const NAME: &str = "www.customer.test";
const KEY_ID: &str = "customer-1";
/// What the CA has given its customer.
const HMAC_KEY: [u8; 32] = *b"\x8a\x17\xe3\x5cQ\x9f\x02\xd4\xb6k\xf1\x3e\x77\xc8\x0d\xa9\
                              \x64\xfe\x21\x90\xbb\x4c\xd7\x1a\xe8\x35\x9b\x06\xc2\x5f\xed\x73";

fn secrets() -> Vec<Secret> {
    let encoded = data_encoding::BASE64URL_NOPAD.encode(&HMAC_KEY);
    // How every P-256 key starts as PKCS#8 DER (RFC 5208): accounts' and certificates' keys are made where
    // nobody else sees them.
    let start = data_encoding::HEXLOWER.decode(b"2a8648ce3d030107046d306b0201010420").unwrap();
    vec![
        Secret::new("the HMAC key", &HMAC_KEY),
        Secret::new("the HMAC key's text", encoded.as_bytes()),
        Secret::new("some P-256 key", &start),
    ]
}

/// Has the CA ask for an external account, and the fleet know it.
async fn scene() -> Scene {
    let key = data_encoding::BASE64URL_NOPAD.encode(&HMAC_KEY);
    let of_pebble = |field| format!("issuance.authority.pebble.external_account.{field}");
    let mut builder = Fleet::builder(2)
        .environment("RUST_LOG", "trace")
        .pebble(|pebble| pebble.external_account(KEY_ID, &key))
        .control_setting(&of_pebble("key_id"), KEY_ID)
        .control_setting(&of_pebble("hmac_key_file"), "hmac.json")
        .control_setting("feed.snapshot_every", 1);
    builder = builder.control_setting("issuance.authority.pebble.contact", vec!["mailto:o@a.test"]);
    let seal = async |fleet: &Fleet| {
        let folder = fleet.lab.folder();
        let public = folder.join("keys/group.pub");
        let arguments = format!(
            "printf %s '{key}' | '{}' keys seal-external-account --authority pebble --key-id {KEY_ID} \
             --group-public-key '{}' > '{}'",
            landfall().display(),
            public.display(),
            folder.join("hmac.json").display()
        );
        tools::run("sh", &["-c", &arguments]).await.expect_success();
    };
    Scene::prepared(builder, seal).await
}

/// Every file in the folder and below that is no key's own.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let own = path.strip_prefix(folder).unwrap().display().to_string();
            match path.is_dir() {
                true => folders.push(path),
                false if own.starts_with("keys/") || own == "control/internal-ca.key" => {}
                // It may be gone since it was listed.
                false => found.push((own, fs::read(&path).unwrap_or_default())),
            }
        }
    }
    found
}

impl Scene {
    /// Everything that can be heard and read of the fleet.
    async fn everything(&self, hostname: &str) -> Vec<(String, Vec<u8>)> {
        let lab = &self.fleet.lab;
        let mut all = files(lab.folder());
        for (who, checkpoint) in [("CA", &self.ca), ("control plane", &self.control)] {
            let said =
                |(call, body): (String, _)| (format!("{call} of the {who}"), Vec::from(body));
            all.extend(checkpoint.heard().into_iter().map(said));
        }
        for path in ["", "/explain", "/events"] {
            let path = format!("{hostname}{path}");
            let answer = lab.api().send(Method::GET, &path, &Value::Null).await;
            assert_eq!(answer.status, 200, "{path}");
            all.push((path, answer.text.into_bytes()));
        }
        let metrics = lab.api().send(Method::GET, "/metrics", &Value::Null).await;
        all.push(("the control plane's metrics".to_owned(), metrics.text.into_bytes()));
        for number in 0..self.fleet.edges() {
            let metrics = lab.read_admin(number, "/metrics").await.unwrap();
            all.push((format!("edge {number}'s metrics"), metrics.text.into_bytes()));
        }
        all
    }
}

#[tokio::test]
async fn keys_and_what_binds_an_account_are_nowhere_in_the_clear() {
    let scene = scene().await;
    let path = scene.serve(NAME).await;
    // One that fails, so that errors are written too.
    let failing = scene.add("gone.nowhere.test").await;
    let secrets = secrets();
    let searcher = Searcher::new(&secrets);

    let mut all = scene.everything(&path).await;
    all.extend(scene.everything(&failing).await);

    let names: BTreeSet<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
    for name in [
        "control/control.db-wal",
        "edge0/last-known-good.db-wal",
        "edge1.log",
        "control.log",
        "hmac.json",
        "newAccount of the CA",
        "issued of the control plane",
        "account_made of the control plane",
        "feed of the control plane",
    ] {
        assert!(names.contains(name), "{name} is not among {names:?}");
    }
    let bound = all.iter().filter(|(name, _)| name == "newAccount of the CA");
    assert!(bound.count() >= 2, "nobody has registered");
    let leaks = all.iter().flat_map(|(name, bytes)| {
        let found = searcher.find(bytes).into_iter();
        found.map(move |secret| format!("{secret} is in {name}"))
    });
    assert_eq!(leaks.collect::<Vec<_>>(), Vec::<String>::new());
    // The searcher finds what it is to find.
    let key = Issued::new(NAME);
    assert_eq!(searcher.find(key.key_der()), BTreeSet::from(["some P-256 key"]));
    assert!(searcher.find(key.key_pem().as_bytes()).contains("some P-256 key"));
    for text in [data_encoding::BASE64.encode(&HMAC_KEY), data_encoding::HEXLOWER.encode(&HMAC_KEY)]
    {
        assert!(searcher.find(text.as_bytes()).contains("the HMAC key"), "{text}");
    }
}
