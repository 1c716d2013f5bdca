//! What a proof of ownership is good for, and what it is not.

use std::{net::SocketAddr, sync::Arc};

use axum::{Router, routing::get};
use landfall_model::HostnameState;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Semaphore, task::JoinHandle};

use crate::support::{
    Plane, Pop, answer, eventually, hostname_record,
    responder::{Reply, Responder},
};

/// Of the PoP that [`Plane::pop`] adds.
const POP: &str = "192.0.2.1";

/// Two properties, a DNS server, and a host with the file of a token.
struct Scene {
    dns: Responder,
    plane: Plane,
    pop: Pop,
    former: String,
    claimant: String,
    file: TokenHost,
}

/// A host that answers every path with the last one's token, as each permit allows.
struct TokenHost {
    address: SocketAddr,
    token: Arc<std::sync::Mutex<String>>,
    asked: Arc<Semaphore>,
    may_answer: Arc<Semaphore>,
    task: JoinHandle<()>,
}

impl TokenHost {
    async fn start() -> Self {
        let token = Arc::<std::sync::Mutex<String>>::default();
        let (asked, may_answer) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let seen = (Arc::clone(&token), Arc::clone(&asked), Arc::clone(&may_answer));
        let file = move || {
            let (token, asked, may_answer) = seen.clone();
            async move {
                asked.add_permits(1);
                may_answer.acquire().await.unwrap().forget();
                token.lock().unwrap().clone()
            }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().route("/{*path}", get(file));
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, token, asked, may_answer, task }
    }
}

impl Drop for TokenHost {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Scene {
    /// `one.test` leads to the host with the file, and what is below it here.
    async fn start() -> Self {
        let (dns, file) = (Responder::start().await, TokenHost::start().await);
        dns.point("one.test", "127.0.0.1");
        dns.point(".one.test", POP);
        let plane = Plane::start_with(json!({
            "dns": {"resolvers": [dns.address.to_string()], "zone_servers": false, "timeout": "2s"},
            "verification": {
                "http_port": file.address.port(),
                "allow_networks": ["127.0.0.0/8"],
                "token_files_burst": 100,
            },
        }))
        .await;
        let pop = plane.pop("pop-1").await;
        pop.epoch().await;
        let (former, claimant) = (plane.property("former").await, plane.property("claimant").await);
        Self { dns, plane, pop, former, claimant, file }
    }

    async fn claim(&self, settings: &Value) -> String {
        let (status, claim) =
            self.plane.post(&format!("{}/hostname", self.claimant), settings).await;
        assert_eq!(
            (status, &claim["ownership"]["state"]),
            (StatusCode::CREATED, &json!("claimed"))
        );
        let token = claim["ownership"]["txt"]["value"].as_str().unwrap().to_owned();
        *self.file.token.lock().unwrap() = token;
        format!("{}/hostname/{}", self.claimant, claim["id"])
    }

    async fn request(&self, path: &str) -> (StatusCode, Value) {
        answer(self.plane.request(Method::POST, &format!("{path}/request-certificate"))).await
    }

    /// Asks for the claim to be looked at until it holds its name. Its DNS does not lead here.
    async fn held(&self, path: &str) {
        eventually(async || {
            self.request(path).await;
            let hostname = self.plane.get(path).await.1;
            (hostname["ownership"]["state"] == "held").then_some(())
        })
        .await;
    }

    async fn state(&self, name: &str) -> HostnameState {
        let records = self.pop.records(self.pop.epoch().await, 0).await;
        hostname_record(&records, name).state
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_gives_no_wildcard_that_is_asked_for_while_it_is_fetched() {
    let scene = Scene::start().await;
    scene.plane.hostname(&scene.former, "one.test").await;
    let claim = scene.claim(&json!({"name": "one.test"})).await;
    let (asked, may_answer) = (&scene.file.asked, &scene.file.may_answer);
    let request = scene.request(&claim);
    let widen = async {
        asked.acquire().await.unwrap().forget();
        let wider = json!({"managedCertificate": {"wildcard": true}});
        assert_eq!(scene.plane.patch(&claim, &wider).await.0, StatusCode::OK);
        may_answer.add_permits(100);
    };
    tokio::join!(request, widen);
    let hostname = scene.plane.get(&claim).await.1;
    assert_eq!(hostname["ownership"]["state"], "claimed", "{hostname}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wildcard_that_is_added_to_a_name_proven_by_a_file_is_not_verified() {
    let scene = Scene::start().await;
    scene.plane.hostname(&scene.former, "one.test").await;
    let claim = scene.claim(&json!({"name": "one.test"})).await;
    scene.file.may_answer.add_permits(100);
    scene.held(&claim).await;
    assert_eq!(scene.state("one.test").await, HostnameState::Active);
    let wider = json!({"managedCertificate": {"wildcard": true}});
    assert_eq!(scene.plane.patch(&claim, &wider).await.0, StatusCode::OK);
    assert_eq!(scene.state("one.test").await, HostnameState::Active);
    assert_eq!(scene.state("*.one.test").await, HostnameState::PendingValidation);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_adds_a_name_under_a_wildcard_that_is_proven_and_not_verified_yet() {
    let scene = Scene::start().await;
    scene.plane.hostname(&scene.former, "one.test").await;
    let both = json!({"name": "one.test", "managedCertificate": {"wildcard": true}});
    let claim = scene.claim(&both).await;
    let token = scene.file.token.lock().unwrap().clone();
    scene.dns.set("_cf-custom-hostname.one.test", Reply::Text(token));
    scene.held(&claim).await;
    assert_eq!(scene.state("*.one.test").await, HostnameState::Active);
    let below = scene.plane.hostname(&scene.former, "pay.one.test").await;
    let hostname = scene.plane.get(&below).await.1;
    assert_eq!(hostname["ownership"]["state"], "claimed", "{hostname}");
}
