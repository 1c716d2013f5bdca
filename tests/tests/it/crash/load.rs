//! Many clients that change everything at once, without any order.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{Router, extract::Request};
use landfall_tests::{Api, Issued};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Names that properties quarrel over.
const NAMES: [&str; 6] = [
    "a.customer.test",
    "b.customer.test",
    "*.customer.test",
    "c.d.customer.test",
    "*.d.customer.test",
    "e.customer.test",
];
const PROPERTIES: [&str; 3] = ["one", "two", "three"];

/// What clients share: where things are that they made, over all restarts.
pub(crate) struct World {
    hostnames: Mutex<Vec<String>>,
    tokens: Arc<Mutex<HashMap<String, String>>>,
    uploads: Vec<(String, Value)>,
    /// Where hostnames' ownership tokens are fetched from: no address of a PoP.
    pub(crate) hosts: SocketAddr,
}

/// Numbers that are the same in each run.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// Below `sides`.
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        let sides = u64::try_from(from.len()).unwrap().max(1);
        from.get(usize::try_from(self.roll(sides)).unwrap()).cloned()
    }
}

impl World {
    /// Starts the hosts.
    pub(crate) async fn start() -> Arc<Self> {
        let tokens: Arc<Mutex<HashMap<String, String>>> = Arc::default();
        let known = Arc::clone(&tokens);
        let answer = async move |request: Request| {
            known.lock().unwrap().get(request.uri().path()).cloned().unwrap_or_default()
        };
        let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
        let hosts = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer);
        tokio::spawn(async move { axum::serve(listener, router).await });
        let upload = |name: &&str| {
            let issued = Issued::new(name);
            let pair =
                json!({"certificate": issued.certificate_pem(), "privateKey": issued.key_pem()});
            ((*name).to_owned(), pair)
        };
        let uploads = NAMES.iter().map(upload).collect();
        Arc::new(Self { hostnames: Mutex::default(), tokens, uploads, hosts })
    }

    /// Changes this and that until nobody answers any more.
    pub(crate) async fn change(self: Arc<Self>, api: Api, mut dice: Dice) {
        while self.change_once(&api, &mut dice).await.is_some() {}
    }

    async fn change_once(&self, api: &Api, dice: &mut Dice) -> Option<()> {
        let known = self.hostnames.lock().unwrap().clone();
        let hostname = dice.pick(&known).unwrap_or_else(|| "/api/Property/1/hostname/0".to_owned());
        match dice.roll(16) {
            0 => {
                let name = dice.pick(&PROPERTIES)?;
                let origins = json!([{"url": "http://127.0.0.1:9"}]);
                let body = json!({"name": name, "origins": origins});
                send(api, Method::POST, "/api/Property", &body).await?;
            }
            1 | 2 => {
                // One of its own: what is left of another may have got hostnames, and stays.
                let name = format!("spare{}", dice.roll(1_000_000_000));
                let body = json!({"name": name, "origins": [{"url": "http://127.0.0.1:9"}]});
                let made = send(api, Method::POST, "/api/Property", &body).await?;
                let path = format!("/api/Property/{}", made["id"].as_i64().unwrap_or(1));
                send(api, Method::DELETE, &path, &Value::Null).await?;
            }
            3..=6 => self.add(api, dice).await?,
            7 => {
                let body = json!({"managedCertificate": {"wildcard": dice.roll(2) == 0}});
                send(api, Method::PATCH, &hostname, &body).await?;
            }
            8 => {
                let body = json!({"metadata": {"n": dice.roll(1_000).to_string()}});
                send(api, Method::PATCH, &hostname, &body).await?;
            }
            9 | 10 => self.upload(api, dice, &hostname).await?,
            11 => {
                send(api, Method::DELETE, &format!("{hostname}/certificate"), &Value::Null).await?;
            }
            12 => {
                send(api, Method::DELETE, &hostname, &Value::Null).await?;
            }
            _ => {
                let path = format!("{hostname}/request-certificate");
                send(api, Method::POST, &path, &json!({})).await?;
            }
        }
        Some(())
    }

    async fn add(&self, api: &Api, dice: &mut Dice) -> Option<()> {
        let listed = send(api, Method::GET, "/api/Property", &Value::Null).await?;
        let ids: Vec<i64> =
            listed["items"].as_array()?.iter().flat_map(|own| own["id"].as_i64()).collect();
        let Some(property) = dice.pick(&ids) else { return Some(()) };
        let path = format!("/api/Property/{property}/hostname");
        let wildcard = dice.roll(4) == 0;
        let body =
            json!({"name": dice.pick(&NAMES)?, "managedCertificate": {"wildcard": wildcard}});
        let added = send(api, Method::POST, &path, &body).await?;
        let http = &added["ownership"]["http"];
        if let (Some(url), Some(token)) = (http["url"].as_str(), http["body"].as_str()) {
            let (_, path) = url.split_at(url.find("/.well-known").unwrap());
            self.tokens.lock().unwrap().insert(path.to_owned(), token.to_owned());
        }
        if let Some(id) = added["id"].as_i64() {
            self.hostnames.lock().unwrap().push(format!("{path}/{id}"));
        }
        Some(())
    }

    async fn upload(&self, api: &Api, dice: &mut Dice, hostname: &str) -> Option<()> {
        let own = send(api, Method::GET, hostname, &Value::Null).await?;
        let name = own["name"].as_str().unwrap_or_default();
        let fits = self.uploads.iter().find(|(covered, _)| covered == name);
        let (_, pair) = fits.cloned().or_else(|| dice.pick(&self.uploads))?;
        send(api, Method::POST, &format!("{hostname}/certificate"), &pair).await.map(drop)
    }
}

/// The answer's JSON; nothing once nobody answers. What clients do at once is never our error.
async fn send(api: &Api, method: Method, path: &str, body: &Value) -> Option<Value> {
    let answer = api.try_send(method.clone(), path, body).await.ok()?;
    let expected = [200, 201, 204, 400, 404, 409, 412, 422, 503];
    assert!(expected.contains(&answer.status), "{method} {path}: {answer:?}");
    Some(answer.json())
}
