//! Private keys, tokens and API keys are in the files that are theirs, and nowhere else.

use std::{
    collections::BTreeSet,
    fs::{self, Permissions},
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
};

use landfall_feed::{
    page::{PageKind, VerifiedPage},
    protocol::{CHANGES_PATH, NDJSON_MEDIA_TYPE, PAGE_MEDIA_TYPE, SNAPSHOT_PATH},
    sign::{SigningKey, VerifyingKey},
};
use landfall_tests::{
    Answer, DEADLINE, Issued, Lab, Origin, Searcher, Secret, run_landfall, tools, wait_until,
};
use reqwest::{Client, Method};
use serde_json::{Value, json};

/// What only one file may hold, by the name of the secret. Paths are of the lab's folder.
const HOMES: [(&str, &str); 4] = [
    ("keys/group.key", "the group's private key"),
    ("edge0.token", "the PoP's token"),
    ("control/feed-signing.key", "the feed's signing key"),
    ("control/internal-ca.key", "the internal CA's key"),
];
const ECDSA: &str = "ecdsa.lab.localhost";
const RSA: &str = "rsa.lab.localhost";
/// Credentials that nobody gave out, as of another installation.
const REFUSED_API_KEY: &str = "lf_1_Zm9yZWlnbi1hcGkta2V5LXNlY3JldC0xMjM0";
const REFUSED_TOKEN: &str = "lfp_1_YW5vdGhlci1mbGVldHMtcG9wLXRva2VuLTU2";
/// What a visitor of a hostname is known by.
const VISITOR: &str = "c2Vzc2lvbi1vZi1hLXZpc2l0b3ItMTIz";

/// A lab, and everything that was heard from it.
struct Watched {
    lab: Lab,
    property: i64,
    searcher: Searcher,
    heard: Vec<(String, Vec<u8>)>,
}

/// What is uploaded.
struct Uploaded {
    ecdsa: Issued,
    rsa: Issued,
    /// Of no certificate that is uploaded with it.
    stray: Issued,
}

impl Uploaded {
    fn new() -> Self {
        let (ecdsa, rsa) = (Issued::new(ECDSA), Issued::rsa(RSA));
        Self { ecdsa, rsa, stray: Issued::new("stray.lab.localhost") }
    }

    fn secrets(&self) -> Vec<Secret> {
        let all = [("P-256", &self.ecdsa), ("RSA", &self.rsa), ("stray", &self.stray)];
        let secret = |(name, issued): (&str, &Issued)| {
            let name = format!("the uploaded {name} key");
            let numbers = issued.secret_numbers();
            numbers.into_iter().map(move |bytes| Secret::new(&name, &bytes)).collect::<Vec<_>>()
        };
        all.into_iter().flat_map(secret).collect()
    }

    /// The ends of the certificates: signatures, which are no secret and look like one.
    fn witnesses(&self) -> [Secret; 2] {
        [("P-256", &self.ecdsa), ("RSA", &self.rsa)]
            .map(|(name, issued)| Secret::new(name, &issued.leaf[issued.leaf.len() - 60..]))
    }
}

/// The secrets of the lab itself.
fn own_secrets(lab: &Lab) -> Vec<Secret> {
    let read = |file: &str| fs::read_to_string(lab.folder().join(file)).unwrap();
    let word = |file: &str, number| read(file).split_whitespace().nth(number).unwrap().to_owned();
    let after_id = |token: &str| token.splitn(3, '_').nth(2).unwrap().to_owned();
    let texts = [
        (HOMES[0].1, word(HOMES[0].0, 2)),
        (HOMES[1].1, after_id(read(HOMES[1].0).trim())),
        (HOMES[2].1, word(HOMES[2].0, 1)),
        ("the API key", after_id(lab.api_key())),
        ("a refused API key", after_id(REFUSED_API_KEY)),
        ("a refused token", after_id(REFUSED_TOKEN)),
        ("a visitor's session", VISITOR.to_owned()),
    ];
    let mut secrets = Vec::new();
    for (name, text) in texts {
        let decoded = data_encoding::BASE64URL_NOPAD.decode(text.as_bytes()).unwrap();
        secrets.extend([Secret::new(name, text.as_bytes()), Secret::new(name, &decoded)]);
    }
    let ca = Issued::with_key_pem("ca.lab.localhost", &read(HOMES[3].0));
    secrets.extend(ca.secret_numbers().iter().map(|bytes| Secret::new(HOMES[3].1, bytes)));
    secrets.push(any_p256_key());
    secrets
}

/// How every P-256 key starts as PKCS#8 DER (RFC 5208), for those that nobody outside knows: the
/// internal CA's certificates'.
fn any_p256_key() -> Secret {
    let curve_and_key = data_encoding::HEXLOWER.decode(b"2a8648ce3d030107046d306b0201010420");
    Secret::new("some P-256 key", &curve_and_key.unwrap())
}

impl Watched {
    async fn start(origin: &Origin, uploaded: &Uploaded) -> Self {
        let lab = Lab::builder()
            .environment("RUST_LOG", "trace")
            .control_setting("feed.snapshot_every", 1)
            .start()
            .await;
        let property = lab.api().create_property("shop", origin.address()).await;
        let searcher = Searcher::new(own_secrets(&lab).iter().chain(&uploaded.secrets()));
        Self { lab, property, searcher, heard: Vec::new() }
    }

    fn hear(&mut self, what: &str, answer: Answer) -> Answer {
        self.heard.push((what.to_owned(), answer.text.clone().into_bytes()));
        answer
    }

    async fn api(&mut self, method: Method, path: &str, body: &Value) -> Answer {
        let answer = self.lab.api().send(method.clone(), path, body).await;
        self.hear(&format!("{method} {path}"), answer)
    }

    /// Adds a hostname, uploads to it, and waits until the edge presents what was uploaded.
    async fn serve(&mut self, name: &str, issued: &Issued) -> String {
        let path = format!("/api/Property/{}/hostname", self.property);
        let added = self.api(Method::POST, &path, &json!({"name": name})).await;
        self.lab.wait_until_served(0, name, "shop").await;
        let path = format!("{path}/{}", added.json()["id"]);
        let body = json!({"certificate": issued.certificate_pem(), "privateKey": issued.key_pem()});
        let answer = self.api(Method::POST, &format!("{path}/certificate"), &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        wait_until("the uploaded certificate is served", DEADLINE, async || {
            let said = self.lab.handshake(0, name, &[]).await;
            said.stdout.contains(issued.certificate_pem().trim()).then_some(())
        })
        .await;
        path
    }

    /// Uploads what is refused, and says what is wrong in each answer.
    async fn upload_mistakes(&mut self, path: &str, uploaded: &Uploaded) {
        let (chain, key) = (uploaded.ecdsa.certificate_pem(), uploaded.ecdsa.key_pem());
        let stray = uploaded.stray.key_pem();
        let body = |chain: &str, key: &str| json!({"certificate": chain, "privateKey": key});
        let end = "-----END PRIVATE KEY-----";
        let longer = key.replace(end, &format!("Z2FyYmFnZQ==\n{end}"));
        let damaged = key.replace(end, &format!("%%%%\n{end}"));
        let cut = body(&chain, &key).to_string();
        let (cut, _) = cut.rsplit_once("-----END").unwrap();
        let json = "application/json";
        let table = [
            (json, body(&chain, &stray).to_string(), "private_key_mismatch"),
            (json, body(&chain, &longer).to_string(), "private_key_unreadable"),
            (json, body(&chain, &damaged).to_string(), "private_key_pem_invalid"),
            (json, body(&chain, &format!("{key}{stray}")).to_string(), "private_key_ambiguous"),
            (json, body(&key, &key).to_string(), "certificate_missing"),
            (json, body(&key, &chain).to_string(), "certificate_missing"),
            (json, json!({"certificate": chain, "privateKey": [key]}).to_string(), "invalid_field"),
            (json, json!({"certificate": [key], "privateKey": key}).to_string(), "invalid_field"),
            (json, json!({"certificate": chain, &key: key}).to_string(), "invalid_field"),
            (json, json!(key).to_string(), "invalid_field"),
            (json, cut.to_owned(), "invalid_json"),
            (json, key.clone(), "invalid_json"),
            ("application/x-pem-file", key.clone(), "unsupported_media_type"),
        ];
        let path = format!("{path}/certificate");
        for (content_type, body, code) in table {
            let api = self.lab.api();
            let answer = api.send_body(Method::POST, &path, content_type, body).await;
            let answer = self.hear(&format!("the answer {code}"), answer);
            assert_eq!(answer.json()["code"], code, "{}", answer.text);
        }
        // At the wrong door.
        let hostnames = format!("/api/Property/{}/hostname", self.property);
        let strayed = [
            (&hostnames, json!({"name": key})),
            (&hostnames, body(&chain, &key)),
            (&hostnames, json!({"name": "a.lab.localhost", "privateKey": key})),
        ];
        for (path, body) in strayed {
            let answer = self.api(Method::POST, path, &body).await;
            assert!((400..500).contains(&answer.status), "{}", answer.text);
        }
    }

    /// Asks a hostname for a page with a session in every place where one is carried.
    async fn visit(&self, name: &str) {
        let path = format!("/?session={VISITOR}");
        let cookie = format!("Cookie: session={VISITOR}");
        let bearer = format!("Authorization: Bearer {VISITOR}");
        for version in ["--http1.1", "--http2"] {
            let args = ["-k", version, "-H", &cookie, "-H", &bearer, "-d", VISITOR];
            assert_eq!(self.lab.curl(0, name, &path, &args).await.expect_success(), "shop");
        }
    }

    /// Asks for everything that the API and both nodes' health and metrics show.
    async fn read_everything(&mut self, hostname: &str) {
        let property = format!("/api/Property/{}", self.property);
        let hostnames = format!("{property}/hostname");
        for path in ["/api/Property", &property, &hostnames, hostname, "/metrics", "/readyz"] {
            let answer = self.api(Method::GET, path, &Value::Null).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        }
        for path in ["/metrics", "/readyz"] {
            let answer = self.lab.read_admin(0, path).await.unwrap();
            self.hear(&format!("the edge's {path}"), answer);
        }
        let api = landfall_tests::Api::new(self.lab.control_address(), REFUSED_API_KEY);
        let answer = api.send(Method::GET, "/api/Property", &Value::Null).await;
        assert_eq!(self.hear("a refused key's answer", answer).status, 401);
        let config = self.lab.control_config();
        for command in ["pop", "api-key"] {
            let output = run_landfall(&[command, "list", "--config", text(&config)]).await;
            assert!(output.status.success());
            self.heard.push((format!("{command} list"), [output.stdout, output.stderr].concat()));
        }
    }

    /// Reads the feed as a PoP does, and returns everything in it, decompressed.
    async fn read_feed(&mut self) -> Vec<(String, Vec<u8>)> {
        let folder = self.lab.folder();
        let token = fs::read_to_string(folder.join("edge0.token")).unwrap();
        let key = fs::read_to_string(folder.join("control/feed-signing.key")).unwrap();
        let key = SigningKey::parse(&key).unwrap().verifying_key();
        let base = format!("http://{}", self.lab.control_address());
        let get = async |path: &str, token: &str, media_type: &str| {
            let request = Client::new().get(format!("{base}{path}")).bearer_auth(token.trim());
            let answer = request.header("Accept", media_type).send().await.unwrap();
            (answer.status().as_u16(), answer.bytes().await.unwrap().to_vec())
        };
        let cbor = async |path: &str| {
            let (status, bytes) = get(path, &token, PAGE_MEDIA_TYPE).await;
            assert_eq!(status, 200, "{path}");
            bytes
        };
        let manifest = cbor(SNAPSHOT_PATH).await;
        let manifest_page = VerifiedPage::open(&manifest, &[key], PageKind::Manifest).unwrap();
        let changes = format!("{CHANGES_PATH}?epoch={}&after=0", manifest_page.header().epoch);
        let page = cbor(&changes).await;
        let (_, ndjson) = get(&changes, &token, NDJSON_MEDIA_TYPE).await;
        let (status, refused) = get(&changes, REFUSED_TOKEN, NDJSON_MEDIA_TYPE).await;
        assert_eq!(status, 401);
        let mut read = vec![
            ("the feed's records".to_owned(), records(&page, key, PageKind::Changes)),
            ("the feed as NDJSON".to_owned(), ndjson),
        ];
        for segment in manifest_page.manifest().unwrap().segments {
            let bytes = cbor(&format!("{SNAPSHOT_PATH}/{}", segment.name)).await;
            read.push((segment.name, records(&bytes, key, PageKind::Segment)));
        }
        let rest = [("the feed", page), ("the manifest", manifest), ("a refusal", refused)];
        self.heard.extend(rest.map(|(what, bytes)| (what.to_owned(), bytes)));
        self.heard.extend(read.clone());
        read
    }

    /// Reads every file but those that are a secret's own, and returns the paths.
    fn read_files(&mut self) -> BTreeSet<PathBuf> {
        let files = files(self.lab.folder());
        for file in &files {
            if HOMES.iter().all(|(home, _)| Path::new(home) != file) {
                let bytes = fs::read(self.lab.folder().join(file)).unwrap();
                self.heard.push((file.display().to_string(), bytes));
            }
        }
        files
    }

    /// Where in what was heard a secret is.
    fn leaks(&self) -> Vec<String> {
        let found = self.heard.iter().flat_map(|(what, bytes)| {
            let found = self.searcher.find(bytes).into_iter();
            found.map(move |secret| format!("{secret} is in {what}"))
        });
        found.collect()
    }

    /// Of what was last heard under this name.
    fn last(&self, what: &str) -> &[u8] {
        let mut heard = self.heard.iter().rev();
        &heard.find(|(own, _)| own == what).unwrap_or_else(|| panic!("no {what}")).1
    }
}

/// The records of a page, one after the other, as they are once nothing is compressed.
fn records(page: &[u8], key: VerifyingKey, kind: PageKind) -> Vec<u8> {
    VerifiedPage::open(page, &[key], kind).unwrap().records().unwrap().concat()
}

/// Every file in the folder and below, by its path from there. A socket holds nothing.
fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let (mut found, mut folders) = (BTreeSet::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let entry = entry.unwrap();
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            if kind.is_dir() {
                folders.push(path);
            } else if !kind.is_socket() {
                found.insert(path.strip_prefix(folder).unwrap().to_owned());
            }
        }
    }
    found
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn every_secret_stays_in_the_file_that_is_its_own() {
    let origin = Origin::start("shop").await;
    let uploaded = Uploaded::new();
    let mut watched = Watched::start(&origin, &uploaded).await;
    let hostname = watched.serve(ECDSA, &uploaded.ecdsa).await;
    watched.upload_mistakes(&hostname, &uploaded).await;
    watched.serve(RSA, &uploaded.rsa).await;
    watched.visit(ECDSA).await;
    watched.read_everything(&hostname).await;
    let feed = watched.read_feed().await;
    watched.read_files();
    let databases = ["control/control.db", "edge0/last-known-good.db"];
    let witnesses = uploaded.witnesses();
    let witnesses = Searcher::new(&witnesses);
    let both = BTreeSet::from(["P-256", "RSA"]);

    // What was searched is where the secrets would be, and the searcher knows each of them.
    for (what, bytes) in &feed {
        assert_eq!(witnesses.find(bytes), both, "{what}");
    }
    for database in databases {
        let wal = format!("{database}-wal");
        // The edge empties its log from time to time: what was in it is in the database then.
        let found =
            [database, &wal].into_iter().flat_map(|file| witnesses.find(watched.last(file)));
        assert_eq!(found.collect::<BTreeSet<_>>(), both, "{wal}");
    }
    watched.lab.edge(0).stop().await;
    watched.lab.control().stop().await;
    for database in databases {
        let path = watched.lab.folder().join(database);
        let args = [text(&path), "PRAGMA wal_checkpoint(TRUNCATE)"];
        assert_eq!(tools::run("sqlite3", &args).await.expect_success(), "0|0|0\n", "{database}");
    }
    let left = watched.read_files();
    for database in databases {
        assert!(!left.contains(Path::new(&format!("{database}-wal"))), "{database}");
        assert_eq!(witnesses.find(watched.last(database)), both, "{database}");
    }
    // Nothing that the control plane is made of logs at `trace`.
    for (log, level) in [("control.log", "DEBUG"), ("edge0.log", "TRACE")] {
        let level = format!("\"level\":\"{level}\"");
        assert!(String::from_utf8_lossy(watched.last(log)).contains(&level), "{log}");
    }
    for (home, secret) in HOMES {
        let bytes = fs::read(watched.lab.folder().join(home)).unwrap();
        assert!(watched.searcher.find(&bytes).contains(secret), "{home}");
    }
    for (issued, secret) in [
        (&uploaded.ecdsa, "the uploaded P-256 key"),
        (&uploaded.rsa, "the uploaded RSA key"),
        (&uploaded.stray, "the uploaded stray key"),
    ] {
        for bytes in [issued.key_der(), issued.key_pem().as_bytes()] {
            assert!(watched.searcher.find(bytes).contains(secret), "{secret}");
        }
    }
    assert!(watched.searcher.find(uploaded.ecdsa.key_der()).contains("some P-256 key"));
    assert_eq!(watched.leaks(), Vec::<String>::new());
    let scalar = uploaded.stray.secret_numbers().concat();
    let planted = data_encoding::HEXLOWER.encode(&scalar);
    fs::write(watched.lab.folder().join("edge0/planted"), planted).unwrap();
    watched.read_files();
    assert_eq!(watched.leaks(), ["the uploaded stray key is in edge0/planted"]);
}

#[tokio::test]
async fn a_node_does_not_start_while_others_can_read_its_secrets() {
    let origin = Origin::start("shop").await;
    let mut lab = Lab::start().await;
    lab.api().create_property("shop", origin.address()).await;
    lab.wait_until_served(0, "shop.lab.localhost", "shop").await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let set_mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode));
    let databases = ["control/control.db", "control/control.db-wal", "edge0/last-known-good.db"];
    for file in databases.into_iter().chain(HOMES.map(|(home, _)| home)) {
        assert_eq!(mode(&lab.folder().join(file)), 0o600, "{file}");
    }
    for folder in ["keys", "control", "edge0"] {
        assert_eq!(mode(&lab.folder().join(folder)), 0o700, "{folder}");
    }
    lab.edge(0).stop().await;
    lab.control().stop().await;

    let table = [
        ("control/feed-signing.key", "control"),
        ("control/internal-ca.key", "control"),
        ("control/control.db", "control"),
        ("keys/group.key", "edge"),
        ("edge0.token", "edge"),
    ];
    for (file, who) in table {
        let path = lab.folder().join(file);
        set_mode(&path, 0o644).unwrap();
        let node = if who == "control" { lab.control() } else { lab.edge(0) };
        node.clear_log();
        node.start();
        let status = node.ended(DEADLINE).await;
        let log = node.log();
        assert_eq!(status.code(), Some(1), "{file}: {log}");
        for told in [text(&path), "chmod 600", "0644"] {
            assert!(log.contains(told), "{file}: {told} is not in {log}");
        }
        set_mode(&path, 0o600).unwrap();
    }
    lab.control().start();
    lab.wait_until_control_is_ready().await;
    lab.edge(0).start();
    lab.wait_until_served(0, "shop.lab.localhost", "shop").await;
}
