//! Looks at PoPs: a certificate is active once a handshake has shown it.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex},
};

use landfall_feed::protocol::Ack;
use landfall_model::{Epoch, Revision};
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use reqwest::StatusCode;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::default_provider,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::support::{Plane, Pop, database, eventually};

const NAME: &str = "www.shop.edge.test";
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// An address where nobody answers.
const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 99, 99, 99));

/// What PoPs show, whatever name they are asked for: it can be changed.
struct Front {
    port: u16,
    shown: Arc<Mutex<Arc<ServerConfig>>>,
}

impl Front {
    async fn start(shown: &CertifiedKey<KeyPair>) -> Self {
        let listener = TcpListener::bind((HERE, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shown = Arc::new(Mutex::new(config(shown)));
        let own = Arc::clone(&shown);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let config = Arc::clone(&own.lock().unwrap());
                let _ = TlsAcceptor::from(config).accept(stream).await;
            }
        });
        Self { port, shown }
    }

    fn show(&self, pair: &CertifiedKey<KeyPair>) {
        *self.shown.lock().unwrap() = config(pair);
    }
}

fn config(pair: &CertifiedKey<KeyPair>) -> Arc<ServerConfig> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![pair.cert.der().clone()], key)
        .unwrap();
    Arc::new(config)
}

fn pair() -> CertifiedKey<KeyPair> {
    generate_simple_self_signed([NAME.to_owned()]).unwrap()
}

async fn plane(port: u16) -> Plane {
    Plane::start_with(json!({"watch": {"port": port, "timeout": "5s"}})).await
}

async fn acknowledge(pop: &Pop) {
    let epoch = pop.epoch().await;
    let applied = Revision(pop.head(epoch).await);
    pop.ack(&Ack {
        epoch: Epoch(epoch),
        applied,
        digest: Default::default(),
        rejected: vec![],
        busiest: Vec::new(),
    })
    .await;
}

/// A hostname with this certificate.
async fn hostname(plane: &Plane, pair: &CertifiedKey<KeyPair>) -> String {
    let property = plane.property("shop").await;
    let hostname = plane.hostname(&property, NAME).await;
    upload(plane, &hostname, pair).await;
    hostname
}

async fn upload(plane: &Plane, hostname: &str, pair: &CertifiedKey<KeyPair>) {
    let body = json!({
        "certificate": pair.cert.pem(), "privateKey": pair.signing_key.serialize_pem(),
    });
    let (status, body) = plane.post(&format!("{hostname}/certificate"), &body).await;
    assert_eq!(status, StatusCode::OK, "{body}");
}

async fn explain(plane: &Plane, hostname: &str) -> Value {
    plane.get(&format!("{hostname}/explain")).await.1
}

/// What is said of the PoP of this name.
fn standing<'a>(explanation: &'a Value, pop: &str) -> &'a Value {
    let pops = explanation["pops"].as_array().unwrap();
    pops.iter().find(|own| own["name"] == pop).unwrap()
}

async fn metric(plane: &Plane, name: &str) -> f64 {
    let response = plane.client.get(plane.url("/metrics")).send().await.unwrap();
    let text = response.text().await.unwrap();
    let line = text.lines().find(|line| line.split(' ').next() == Some(name));
    line.and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or_else(|| panic!("{name}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_active_once_a_pop_has_shown_it_and_each_pop_is_counted() {
    let (own, other) = (pair(), pair());
    let front = Front::start(&other).await;
    let plane = plane(front.port).await;
    let path = hostname(&plane, &own).await;
    // Both are the same server: nobody answers at the second one's address.
    let one = plane.pop_at("fra1", HERE).await;
    let far = plane.pop_at("iad1", NOBODY).await;
    acknowledge(&one).await;

    let body = eventually(async || {
        let body = explain(&plane, &path).await;
        (standing(&body, "fra1")["handshake"] == "other_certificate").then_some(body)
    })
    .await;
    assert_eq!(body["hostname"]["certificateState"], "pending_deployment");
    assert_eq!(standing(&body, "fra1")["state"], "live");
    front.show(&own);
    let body = eventually(async || {
        let body = explain(&plane, &path).await;
        (body["hostname"]["certificateState"] == "active").then_some(body)
    })
    .await;
    assert_eq!(standing(&body, "fra1")["handshake"], "shown");
    assert_eq!(body["hostname"]["pops"]["shown"], 1);
    assert!(body["hostname"]["certificates"][0]["servedSince"].is_string(), "{body}");
    let (_, events) = plane.get(&format!("{path}/events")).await;
    let served = &events["items"].as_array().unwrap()[0];
    assert_eq!(
        (&served["kind"], &served["detail"]["pop"]),
        (&json!("certificate_served"), &json!("fra1"))
    );

    acknowledge(&far).await;
    upload(&plane, &path, &own).await;
    acknowledge(&one).await;
    acknowledge(&far).await;
    let body = eventually(async || {
        let body = explain(&plane, &path).await;
        let is_seen = standing(&body, "iad1")["handshake"] == "unreachable";
        (is_seen && body["hostname"]["pops"]["shown"] == 1).then_some(body)
    })
    .await;
    assert_eq!(body["hostname"]["certificateState"], "active", "{body}");
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn how_long_a_hostname_took_is_measured_once_whatever_is_restarted_and_renewed() {
    let own = pair();
    let front = Front::start(&own).await;
    let plane = plane(front.port).await;
    let path = hostname(&plane, &own).await;
    let one = plane.pop_at("fra1", HERE).await;
    let count = "landfall_hostname_served_seconds_count";
    let plane = plane.restart(async |_| {}).await;
    let one = one.at(&plane);
    acknowledge(&one).await;
    // The property's system hostname has a certificate that this PoP never shows.
    eventually(async || (metric(&plane, count).await == 1.0).then_some(())).await;
    let sum = metric(&plane, "landfall_hostname_served_seconds_sum").await;
    assert!(sum > 0.0 && sum < 20.0, "{sum}");

    let next = pair();
    front.show(&next);
    upload(&plane, &path, &next).await;
    acknowledge(&one).await;
    eventually(async || {
        let (_, events) = plane.get(&format!("{path}/events")).await;
        let events = events["items"].as_array().unwrap();
        let served = events.iter().filter(|event| event["kind"] == "certificate_served");
        (served.count() == 2).then_some(())
    })
    .await;
    assert_eq!(metric(&plane, count).await, 1.0);
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_pop_can_be_reached_the_deployment_times_out_and_says_so() {
    let own = pair();
    let listener = TcpListener::bind((HERE, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let plane = plane(port).await;
    let path = hostname(&plane, &own).await;
    let far = plane.pop_at("iad1", NOBODY).await;
    acknowledge(&far).await;
    eventually(async || {
        let body = explain(&plane, &path).await;
        (standing(&body, "iad1")["handshake"] == "unreachable").then_some(())
    })
    .await;
    let age = "UPDATE certificate SET created_at = created_at - 1000";
    sqlx::query(age).execute(&mut database(plane.dir.path()).await).await.unwrap();
    let body = explain(&plane, &path).await;
    assert_eq!(body["hostname"]["certificateState"], "deployment_timed_out");
    assert!(body["summary"].as_str().unwrap().contains("(iad1: unreachable)"), "{body}");
    eventually(async || {
        let silent = metric(&plane, "landfall_watch_pop_unreachable{pop=\"iad1\"}").await;
        (silent == 1.0).then_some(())
    })
    .await;
    plane.stop().await;
}
