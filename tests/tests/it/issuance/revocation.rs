//! Certificates are revoked, and hostnames deleted.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use landfall_tests::{CUSTOMER_ZONE, DEADLINE, Fleet, Origin, Searcher, Secret, wait_until};
use reqwest::Method;
use rusqlite::Connection;
use serde_json::{Value, json};

use super::load;

const NAME: &str = "www.customer.test";

/// Two edges that serve a hostname under a certificate of pebble.
struct Scene {
    fleet: Fleet,
    _origin: Origin,
    property: i64,
    hostname: i64,
}

impl Scene {
    async fn start() -> Self {
        let origin = Origin::start("shop").await;
        let mut fleet = Fleet::start(2).await;
        fleet.set_zone(CUSTOMER_ZONE, "www CNAME shop.edge.test.").await;
        let api = fleet.lab.api();
        let property = api.create_property("shop", origin.address()).await;
        let hostname = api.add_hostname(property, NAME).await;
        fleet.wait_until_served_everywhere(NAME, "shop").await;
        Self { fleet, _origin: origin, property, hostname }
    }

    fn path(&self) -> String {
        format!("/api/Property/{}/hostname/{}", self.property, self.hostname)
    }

    /// Its certificate, as the API shows it.
    async fn certificate(&self) -> Value {
        self.fleet.lab.api().read(&self.path()).await["certificates"][0].clone()
    }

    /// Asks for a revocation by the API.
    async fn revoke(&self, reason: &str) -> Value {
        let path = format!("{}/certificate/revoke", self.path());
        self.fleet.lab.api().must(Method::POST, &path, &json!({"reason": reason})).await
    }

    /// What each edge shows, once pebble says that the certificate with this serial number is revoked, and
    /// why.
    async fn shown_when_revoked(&self, serial: &Value) -> (Vec<Option<String>>, Value) {
        let serial = serial.as_str().unwrap();
        let status = wait_until("pebble says that it is revoked", DEADLINE * 2, async || {
            let status = self.fleet.pebble.status(serial).await;
            (status["Status"] == "Revoked").then_some(status)
        })
        .await;
        let mut shown = Vec::new();
        for edge in 0..self.fleet.edges() {
            shown.push(self.fleet.certificate(edge, NAME, &[]).await);
        }
        (shown, status["Reason"].clone())
    }
}

/// Whether a file in the folder has it.
fn is_in(folder: &Path, searched: &Searcher) -> bool {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    files
        .filter(|file| file.is_file())
        .any(|file| !searched.find(&fs::read(file).unwrap()).is_empty())
}

/// Writes a database's log into it, as happens every so often: until then the log has what was before.
fn empty_log(database: &Path) {
    let database = Connection::open(database).unwrap();
    let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
    assert_eq!(database.query_row(checkpoint, (), |row| row.get::<_, i64>(0)).unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_revoked_once_every_edge_serves_another_while_no_request_fails() {
    let scene = Scene::start().await;
    let fleet = &scene.fleet;
    let before = fleet.certificate(0, NAME, &[]).await.unwrap();
    let first = scene.certificate().await;
    let root = fleet.pebble.root(0).await;
    // New connections at one edge, and a kept one at the other.
    let client = |edge, idle| fleet.client(edge, &root).pool_max_idle_per_host(idle).build();
    let (anew, kept) = (client(0, 0).unwrap(), client(1, 1).unwrap());
    let url = fleet.url(0, NAME);
    let (stop, answered) = (AtomicBool::new(false), AtomicU64::new(0));

    let revoking = async {
        scene.revoke("superseded").await;
        let (shown, reason) = scene.shown_when_revoked(&first["serialNumber"]).await;
        for shown in shown {
            assert_ne!(shown.expect("it is served"), before);
        }
        assert_eq!(reason, 4);
        let revoked = wait_until("the API says so", DEADLINE, async || {
            let body = fleet.lab.api().read(&format!("{}/explain", scene.path())).await;
            let revocation = body["revocations"][0].clone();
            (revocation["state"] == "revoked").then_some(revocation)
        })
        .await;
        assert_eq!(revoked["fingerprint"], first["fingerprint"]);
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(
        load(&anew, &url, &stop, &answered),
        load(&kept, &url, &stop, &answered),
        revoking,
    );

    let second = scene.certificate().await;
    let status = fleet.pebble.status(second["serialNumber"].as_str().unwrap()).await;
    assert_eq!(status["Status"], "Valid");
    assert_eq!(fleet.pebble.log().matches("Issued certificate").count(), 2);
}

#[tokio::test]
async fn an_operator_revokes_by_the_command_line() {
    let scene = Scene::start().await;
    let first = scene.certificate().await;
    let revoke = ["certificate", "revoke", NAME, "--reason", "keyCompromise"];

    let ran = scene.fleet.operate(&revoke).await;

    assert!(ran.status.success(), "{}", ran.all());
    assert!(ran.stderr.contains("1 certificate of www.customer.test"), "{}", ran.stderr);
    assert!(ran.stderr.contains("within the hour"), "{}", ran.stderr);
    let (shown, reason) = scene.shown_when_revoked(&first["serialNumber"]).await;
    assert_eq!(reason, 1);
    assert!(shown.iter().all(Option::is_some), "it is served");

    let unknown = ["certificate", "revoke", "no.customer.test", "--reason", "superseded"];
    let ran = scene.fleet.operate(&unknown).await;
    assert_eq!(ran.status.code(), Some(1));
    assert!(ran.stderr.contains("no hostname named `no.customer.test`"), "{}", ran.stderr);
}

#[tokio::test]
async fn nothing_is_left_of_a_hostname_that_was_deleted() {
    let mut scene = Scene::start().await;
    let first = scene.certificate().await;
    let folder = scene.fleet.lab.folder().to_owned();
    let state = |edge| folder.join(format!("edge{edge}"));
    let sealed = |edge| {
        let database = Connection::open(state(edge).join("last-known-good.db")).unwrap();
        let of = "SELECT ciphertext FROM certificate WHERE hostname = ?";
        database.query_row(of, [NAME], |row| row.get::<_, Vec<u8>>(0)).unwrap()
    };
    let key = sealed(0);
    let key = Secret::new("the sealed key", &key);
    let name = Secret::new("the name", NAME.as_bytes());
    let (key, name) = (Searcher::new([&key]), Searcher::new([&name]));
    let control = folder.join("control");
    assert!(is_in(&control, &key) && is_in(&state(0), &key) && is_in(&state(1), &name));

    scene.revoke("cessationOfOperation").await;
    scene.fleet.lab.api().remove_hostname(scene.property, scene.hostname).await;

    for edge in 0..2 {
        scene.fleet.lab.wait_until_refused(edge, NAME).await;
    }
    let (_, reason) = scene.shown_when_revoked(&first["serialNumber"]).await;
    assert_eq!(reason, 5);
    // The certificate in its place was being issued.
    wait_until("no edge is told of a validation", DEADLINE, async || {
        let told = |edge| {
            let database = Connection::open(state(edge).join("last-known-good.db")).unwrap();
            let count = "SELECT count(*) FROM other WHERE id LIKE 'validation/%'";
            database.query_row(count, [], |row| row.get::<_, i64>(0)).unwrap()
        };
        (told(0) + told(1) == 0).then_some(())
    })
    .await;
    for edge in 0..2 {
        scene.fleet.lab.edge(edge).stop().await;
    }
    scene.fleet.lab.control().stop().await;
    assert!(!is_in(&control, &key), "the control plane has the key");
    for edge in 0..2 {
        empty_log(&state(edge).join("last-known-good.db"));
        assert!(!is_in(&state(edge), &key), "edge {edge} has the key");
        assert!(!is_in(&state(edge), &name), "edge {edge} has the name");
    }
    scene.fleet.lab.edge(0).start();
    scene.fleet.lab.wait_until_edge_is_ready(0).await;
    scene.fleet.lab.wait_until_refused(0, NAME).await;
}
