//! A CA that is down, slow, or answers anything but ACME. The calls to it are counted.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderValue, Response, StatusCode, header},
};
use landfall_issuance::{
    acme::{AccountKey, AcmeError, Connection, Connector, NewOrder, Order, Registration, Session},
    failure::{FailureClass, ProblemKind, Step, Trouble},
};
use landfall_model::issuance::Authority;
use landfall_tests::free_ports;
use serde_json::json;
use time::OffsetDateTime;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::support::{class, names, problem};

/// What is answered.
#[derive(Clone, Debug)]
struct Said {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Said {
    fn new(status: u16, body: &str) -> Self {
        Self { status, headers: Vec::new(), body: body.to_owned() }
    }

    fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

/// An HTTP server in the place of a CA. It has a directory and nonces, and says what it is told to for
/// anything else.
struct Impostor {
    address: SocketAddr,
    directory: Arc<Mutex<Said>>,
    said: Arc<Mutex<Said>>,
    /// What is said at paths of their own.
    placed: Arc<Mutex<HashMap<&'static str, Said>>>,
    calls: Arc<AtomicUsize>,
    server: JoinHandle<()>,
}

impl Impostor {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let url = |path: &str| format!("http://{address}/{path}");
        let document = json!({
            "newNonce": url("nonce"), "newAccount": url("account"), "newOrder": url("order"),
            "revokeCert": url("revoke"), "renewalInfo": url("renewal"),
        });
        let directory = Arc::new(Mutex::new(Said::new(200, &document.to_string())));
        let said = Arc::new(Mutex::new(Said::new(500, "")));
        let placed = Arc::new(Mutex::new(HashMap::new()));
        let calls = Arc::new(AtomicUsize::new(0));
        let (own_directory, own_said) = (Arc::clone(&directory), Arc::clone(&said));
        let (own_placed, own_calls) = (Arc::clone(&placed), Arc::clone(&calls));
        let answer = async move |request: Request| {
            own_calls.fetch_add(1, Ordering::SeqCst);
            let said = match request.uri().path() {
                "/directory" => own_directory.lock().unwrap().clone(),
                "/nonce" => Said::new(200, "").header("replay-nonce", "bm9uY2U"),
                path => {
                    let placed = own_placed.lock().unwrap().get(path).cloned();
                    placed.unwrap_or_else(|| own_said.lock().unwrap().clone())
                }
            };
            respond(said).await
        };
        let router = Router::new().fallback(answer);
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, directory, said, placed, calls, server }
    }

    fn authority(&self) -> Authority {
        authority(&format!("http://{}/directory", self.address))
    }

    fn say(&self, said: Said) {
        *self.said.lock().unwrap() = said;
    }

    /// Says something at a path, and that it is at `location`.
    fn say_at(&self, path: &'static str, body: &serde_json::Value, location: &str) {
        let said = Said::new(201, &body.to_string()).header("location", location);
        self.placed.lock().unwrap().insert(path, said);
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What a call made of it, and how many requests it took.
    async fn counted<T>(&self, call: impl Future<Output = T>) -> (T, usize) {
        let before = self.calls.load(Ordering::SeqCst);
        let done = call.await;
        (done, self.calls.load(Ordering::SeqCst) - before)
    }

    async fn connection(&self) -> Connection {
        Connector::new().connect(&self.authority()).await.unwrap()
    }

    /// What becomes of an order, and how many requests it took.
    async fn order(&self) -> (AcmeError, usize) {
        let session = self.session().await;
        let (order, calls) = self.counted(order_www(&session)).await;
        (order.err().expect("there is no order"), calls)
    }

    async fn session(&self) -> Session {
        let key = Arc::new(AccountKey::generate().unwrap());
        Session::begin(&self.connection().await, key, &self.url("/account/1")).await.unwrap()
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn order_www(session: &Session) -> Result<Order, AcmeError> {
    let names = names(&["www.shop.test"]);
    session.order(NewOrder { names: &names, profile: None, replaces: None }).await
}

/// A status of 0 is silence.
async fn respond(said: Said) -> Response<Body> {
    if said.status == 0 {
        std::future::pending::<()>().await;
    }
    let mut response = Response::new(Body::from(said.body));
    *response.status_mut() = StatusCode::from_u16(said.status).unwrap();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
    for (name, value) in said.headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

fn authority(directory: &str) -> Authority {
    Authority {
        name: "impostor".parse().unwrap(),
        directory: directory.to_owned(),
        roots: None,
        contact: Vec::new(),
        profile: None,
        caa_identities: Vec::new(),
        preferred_chain: None,
        external_account: None,
        group_key: "k".to_owned(),
        account: None,
    }
}

async fn connected(directory: &str) -> AcmeError {
    Connector::new().connect(&authority(directory)).await.unwrap_err()
}

#[tokio::test]
async fn a_ca_that_is_down_is_no_connection() {
    let [port] = free_ports();
    let error = connected(&format!("https://127.0.0.1:{port}/directory")).await;
    let Trouble::NoConnection { step, detail } = error.trouble() else { panic!("{error:?}") };
    assert_eq!(step, Step::Directory);
    assert!(detail.as_str().to_lowercase().contains("refused"), "{detail}");
    assert_eq!(class(&error), FailureClass::AuthorityDown);
    // Something listens, but it speaks no TLS.
    let impostor = Impostor::start().await;
    let error = connected(&format!("https://{}/directory", impostor.address)).await;
    assert!(matches!(error.trouble(), Trouble::NoConnection { .. }), "{error:?}");
}

#[tokio::test]
async fn a_directory_that_is_none_is_told_as_such() {
    let impostor = Impostor::start().await;
    for body in ["<html>Welcome</html>", "{}", "[]", r#"{"newNonce": 1}"#] {
        *impostor.directory.lock().unwrap() = Said::new(200, body);
        let error = connected(&impostor.authority().directory).await;
        assert_eq!(class(&error), FailureClass::BadDirectory, "{body}: {error:?}");
    }
    let elsewhere = json!({
        "newNonce": "http://192.0.2.1/nonce", "newAccount": "https://ca.test/account",
        "newOrder": "https://ca.test/order",
    });
    *impostor.directory.lock().unwrap() = Said::new(200, &elsewhere.to_string());
    let error = connected(&impostor.authority().directory).await;
    assert!(error.to_string().contains("http://192.0.2.1/nonce"), "{error}");

    for url in ["ftp://ca.test/", "http://ca.test/directory", "not a URL"] {
        assert!(matches!(connected(url).await, AcmeError::BadDirectory { .. }), "{url}");
    }
    let roots = Some("not PEM".to_owned());
    let error = Connector::new().connect(&Authority { roots, ..impostor.authority() }).await;
    assert_eq!(class(&error.unwrap_err()), FailureClass::BadDirectory);
}

#[tokio::test]
async fn pages_in_place_of_a_directory_are_nonsense_or_busy() {
    let impostor = Impostor::start().await;
    let page = "<html><h1>Not here</h1></html>";
    *impostor.directory.lock().unwrap() = Said::new(404, page);
    let error = connected(&impostor.authority().directory).await;
    let Trouble::Nonsense { step, status, excerpt } = error.trouble() else { panic!("{error:?}") };
    assert_eq!((step, status, excerpt.as_str()), (Step::Directory, 404, "Not here"));
    assert_eq!(class(&error), FailureClass::BadDirectory);

    *impostor.directory.lock().unwrap() = Said::new(503, page).header("retry-after", "120");
    let (error, calls) = impostor.counted(connected(&impostor.authority().directory)).await;
    let problem = problem(&error);
    assert_eq!((problem.status, problem.kind), (Some(503), ProblemKind::ServerInternal));
    assert_eq!(class(&error), FailureClass::AuthorityBusy);
    let wait = problem.retry_after.unwrap() - OffsetDateTime::now_utc();
    assert!((110..=120).contains(&wait.whole_seconds()), "{wait}");
    assert_eq!(calls, 1);
    // Nobody is sent elsewhere.
    *impostor.directory.lock().unwrap() = Said::new(302, "").header("location", "/other");
    let (error, calls) = impostor.counted(connected(&impostor.authority().directory)).await;
    assert!(matches!(error, AcmeError::Nonsense { status: 302, .. }), "{error:?}");
    assert_eq!(calls, 1);
}

#[tokio::test]
async fn a_directory_is_read_once_and_belongs_to_its_roots() {
    let impostor = Impostor::start().await;
    let connector = Connector::new();
    let connect = async || connector.connect(&impostor.authority()).await.unwrap();
    assert_eq!(impostor.counted(connect()).await.1, 1);
    assert_eq!(impostor.counted(connect()).await.1, 0);
    let key = Arc::new(AccountKey::generate().unwrap());
    let connection = connect().await;
    let account = impostor.url("/account/1");
    assert_eq!(impostor.counted(Session::begin(&connection, key, &account)).await.1, 0);
    assert!(connection.clock_offset().unwrap().abs() < time::Duration::minutes(1));
}

#[tokio::test]
async fn what_a_ca_says_to_an_order_is_kept_and_costs_two_calls() {
    let impostor = Impostor::start().await;
    let limited = json!({
        "type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many certificates",
    });
    let date = "Fri, 31 Dec 2100 23:59:59 GMT";
    impostor.say(Said::new(429, &limited.to_string()).header("retry-after", date));
    let (error, calls) = impostor.order().await;
    let told = problem(&error);
    assert_eq!((told.status, told.kind), (Some(429), ProblemKind::RateLimited));
    assert_eq!(told.detail.as_str(), "too many certificates");
    assert!(told.retry_after.unwrap() > OffsetDateTime::now_utc());
    assert_eq!(class(&error), FailureClass::RateLimited);
    // A nonce, and the order.
    assert_eq!(calls, 2);

    impostor.say(Said::new(429, "<b>Slow</b> down").header("retry-after", "60"));
    let (error, calls) = impostor.order().await;
    assert_eq!(problem(&error).kind, ProblemKind::RateLimited);
    assert_eq!(problem(&error).detail.as_str(), "Slow down");
    assert_eq!(calls, 2);

    for (status, body, expected) in [
        (500, "", FailureClass::AuthorityBusy),
        (502, "<h1>Bad gateway</h1>", FailureClass::AuthorityBusy),
        (200, "<h1>Hello</h1>", FailureClass::AuthorityNonsense),
    ] {
        impostor.say(Said::new(status, body));
        let (error, calls) = impostor.order().await;
        let Trouble::Nonsense { step, status: own, .. } = error.trouble() else {
            panic!("{error:?}")
        };
        assert_eq!((step, own, calls), (Step::Order, status, 2), "{body}");
        assert_eq!(class(&error), expected, "{body}");
    }
}

#[tokio::test]
async fn nonces_that_are_always_refused_end_in_a_bounded_number_of_calls() {
    let impostor = Impostor::start().await;
    let refused = json!({"type": "urn:ietf:params:acme:error:badNonce", "detail": "old"});
    impostor.say(Said::new(400, &refused.to_string()));
    let (error, calls) = impostor.order().await;
    assert_eq!(problem(&error).kind, ProblemKind::BadNonce);
    assert_eq!(class(&error), FailureClass::NonceRefused);
    // Five orders, each with a nonce that was asked for.
    assert_eq!(calls, 10);
    let key = AccountKey::generate().unwrap();
    let connection = impostor.connection().await;
    let (registered, calls) =
        impostor.counted(connection.register(&key, Registration::default())).await;
    assert_eq!(problem(&registered.unwrap_err()).kind, ProblemKind::BadNonce);
    assert_eq!(calls, 10);
}

#[tokio::test]
async fn nobody_is_sent_to_a_url_where_the_ca_may_not_be() {
    let impostor = Impostor::start().await;
    let order = |authorization: &str, finalize: &str| {
        json!({
            "status": "ready", "identifiers": [{"type": "dns", "value": "www.shop.test"}],
            "authorizations": [authorization], "finalize": finalize,
        })
    };
    let (own, elsewhere) = (impostor.url("/there"), "http://192.0.2.1/there");
    impostor.say_at("/order", &order(&own, &own), elsewhere);
    let (error, calls) = impostor.order().await;
    assert!(error.to_string().contains(elsewhere), "{error}");
    assert_eq!((class(&error), calls), (FailureClass::AuthorityNonsense, 2));

    impostor.say_at("/order", &order(elsewhere, elsewhere), &own);
    let session = impostor.session().await;
    let mut made = order_www(&session).await.unwrap();
    // A nonce.
    let (read, calls) = impostor.counted(made.authorizations()).await;
    assert_eq!((class(&read.unwrap_err()), calls), (FailureClass::AuthorityNonsense, 1));
    let error = made.finalize(b"request").await.unwrap_err();
    assert!(error.to_string().contains(elsewhere), "{error}");

    let key = Arc::new(AccountKey::generate().unwrap());
    impostor.say_at("/account", &json!({"status": "valid"}), elsewhere);
    let connection = impostor.connection().await;
    let error = connection.register(&key, Registration::default()).await.unwrap_err();
    assert!(matches!(error, AcmeError::Untrusted { step: Step::Account, .. }), "{error:?}");
    let begun = Session::begin(&connection, key, elsewhere).await.err().unwrap();
    assert!(matches!(begun, AcmeError::Untrusted { .. }), "{begun:?}");
    // What somebody has told the control plane is no better than what a CA says.
    let names = names(&["www.shop.test"]);
    let (resumed, calls) = impostor.counted(session.resume(elsewhere, &names)).await;
    assert!(matches!(resumed.err(), Some(AcmeError::Untrusted { .. })) && calls <= 1, "{calls}");
}

#[tokio::test]
async fn what_was_not_ordered_is_not_proven() {
    let impostor = Impostor::start().await;
    let authorization = |name: &str| {
        json!({
            "status": "pending", "identifier": {"type": "dns", "value": name},
            "challenges": [{"type": "http-01", "url": impostor.url("/c"), "token": "t",
                "status": "pending"}],
        })
    };
    let order = |authorizations: &[String]| {
        json!({
            "status": "pending", "identifiers": [{"type": "dns", "value": "www.shop.test"}],
            "authorizations": authorizations, "finalize": impostor.url("/finalize"),
        })
    };
    impostor.say_at("/a", &authorization("www.shop.test"), "/");
    impostor.say_at("/b", &authorization("other.test"), "/");
    let session = impostor.session().await;
    for (paths, good, calls) in [
        (&["/a"][..], true, 2),
        (&["/b"], false, 2),
        (&["/a", "/a"], false, 0),
        (&["/a"; 5_000], false, 0),
    ] {
        let urls: Vec<String> = paths.iter().map(|path| impostor.url(path)).collect();
        impostor.say_at("/order", &order(&urls), &impostor.url("/order/1"));
        let mut order = order_www(&session).await.unwrap();
        let (read, made) = impostor.counted(order.authorizations()).await;
        assert_eq!((read.is_ok(), made), (good, calls), "{} {read:?}", paths.len());
        if let Err(error) = read {
            assert_eq!(class(&error), FailureClass::AuthorityNonsense, "{error}");
        }
    }
}

#[tokio::test]
async fn an_answer_without_an_end_is_cut() {
    let impostor = Impostor::start().await;
    impostor.say(Said::new(200, &"x".repeat(2 * 1024 * 1024)));
    let (error, _) = impostor.order().await;
    let Trouble::Nonsense { excerpt, .. } = error.trouble() else { panic!("{error:?}") };
    assert!(excerpt.as_str().contains("larger than"), "{excerpt}");
}

#[tokio::test]
async fn a_ca_that_keeps_silent_is_left_after_twenty_seconds() {
    let impostor = Impostor::start().await;
    impostor.say(Said::new(0, ""));
    let (error, calls) = impostor.order().await;
    let Trouble::Slow { step, waited } = error.trouble() else { panic!("{error:?}") };
    assert_eq!((step, waited, calls), (Step::Order, 20, 2));
    assert_eq!(class(&error), FailureClass::AuthoritySlow);
}
