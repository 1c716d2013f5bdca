//! A customer of a CA, and the servers that prove its names.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, extract::Path, http::StatusCode, routing::get};
use landfall_issuance::{
    acme::{
        AccountKey, AcmeError, CertificateId, CertificateKey, Challenge, Connection, Connector,
        NewOrder, Order, Registration, Session,
    },
    chain::{self, Ordered},
    failure::{FailureClass, Problem, Setting, Trouble, classify},
};
use landfall_model::{ChallengeMethod, Der, HostPattern, KeyType, issuance::Authority};
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::{
    ServerConfig, crypto::aws_lc_rs, server::ClientHello, server::ResolvesServerCert,
    sign::CertifiedKey,
};
use time::OffsetDateTime;
use tokio::{net::TcpListener, task::JoinHandle, time::Instant};
use tokio_rustls::TlsAcceptor;

/// For what a CA on this machine does at once.
pub(crate) fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(40)
}

pub(crate) fn names(names: &[&str]) -> Vec<HostPattern> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

/// What a refusal says.
pub(crate) fn problem(error: &AcmeError) -> Problem {
    let Trouble::Problem(problem) = error.trouble() else { panic!("{error:?}") };
    problem
}

/// The class of a failure to prove `www.shop.test`, which is served at 127.0.0.1.
pub(crate) fn class(error: &AcmeError) -> FailureClass {
    let setting = Setting {
        now: OffsetDateTime::now_utc(),
        authority: &"pebble".parse().unwrap(),
        caa_identity: None,
        name: &"www.shop.test".parse().unwrap(),
        addresses: &[[127, 0, 0, 1].into()],
    };
    classify(&error.trouble(), &setting).class
}

/// An account at a CA.
pub(crate) struct Customer {
    pub(crate) connection: Connection,
    pub(crate) key: Arc<AccountKey>,
    pub(crate) session: Session,
}

impl Customer {
    pub(crate) async fn of(authority: &Authority) -> Self {
        let connection = Connector::new().connect(authority).await.unwrap();
        let key = Arc::new(AccountKey::generate().unwrap());
        let url = connection.register(&key, Registration::default()).await.unwrap();
        Self::with(connection, key, &url).await
    }

    pub(crate) async fn with(connection: Connection, key: Arc<AccountKey>, url: &str) -> Self {
        let session = Session::begin(&connection, Arc::clone(&key), url).await.unwrap();
        Self { connection, key, session }
    }

    pub(crate) async fn order(&self, names: &[HostPattern]) -> Order {
        self.try_order(names).await.unwrap()
    }

    pub(crate) async fn try_order(&self, names: &[HostPattern]) -> Result<Order, AcmeError> {
        self.session.order(NewOrder { names, profile: None, replaces: None }).await
    }
}

/// The challenges of an order by one method.
pub(crate) async fn challenges(order: &mut Order, method: ChallengeMethod) -> Vec<Challenge> {
    let authorizations = order.authorizations().await.unwrap();
    let own = authorizations.iter().map(|name| name.challenge(method).expect("it is offered"));
    own.cloned().collect()
}

/// What was issued, and the key it is for.
pub(crate) struct Issued {
    pub(crate) chain: Vec<Der>,
    pub(crate) key: CertificateKey,
}

impl Issued {
    pub(crate) fn leaf(&self) -> &Der {
        &self.chain[0]
    }

    pub(crate) fn id(&self) -> CertificateId {
        CertificateId::of(self.leaf()).unwrap()
    }

    /// For how long the leaf is valid.
    pub(crate) fn lifetime(&self, names: &[HostPattern]) -> time::Duration {
        let public_key = self.key.public_key();
        let ordered = Ordered { names, key_type: self.key.kind(), public_key: &public_key };
        let validity = chain::check(&self.chain, ordered, OffsetDateTime::now_utc()).unwrap();
        validity.not_after - validity.not_before
    }
}

/// Finishes an order whose challenges can be looked at.
pub(crate) async fn finish(
    order: &mut Order,
    names: &[HostPattern],
    method: ChallengeMethod,
    key_type: KeyType,
) -> Result<Issued, AcmeError> {
    for name in names {
        order.answer(name, method).await?;
    }
    order.wait_until_ready(deadline()).await?;
    collect(order, names, key_type, None).await
}

/// Fetches what is ready.
pub(crate) async fn collect(
    order: &mut Order,
    names: &[HostPattern],
    key_type: KeyType,
    preferred: Option<&str>,
) -> Result<Issued, AcmeError> {
    let key = CertificateKey::generate(key_type).await?;
    order.finalize(&key.signing_request(names)?).await?;
    let chain = order.wait_until_issued(deadline(), preferred).await?;
    let issued = Issued { chain, key };
    // It is what was ordered.
    issued.lifetime(names);
    Ok(issued)
}

/// Answers HTTP-01 and TLS-ALPN-01 challenges until it is dropped.
pub(crate) struct Prover {
    tokens: Arc<Mutex<HashMap<String, String>>>,
    certificates: Arc<Certificates>,
    servers: [JoinHandle<()>; 2],
}

impl Prover {
    pub(crate) async fn start(http_port: u16, tls_port: u16) -> Self {
        let tokens = Arc::new(Mutex::new(HashMap::<String, String>::new()));
        let known = Arc::clone(&tokens);
        let answer = async move |Path(token): Path<String>| {
            known.lock().unwrap().get(&token).cloned().ok_or(StatusCode::NOT_FOUND)
        };
        let router = Router::new().route("/.well-known/acme-challenge/{token}", get(answer));
        let listener = listen(http_port).await;
        let http = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let certificates = Arc::new(Certificates::default());
        let tls = tokio::spawn(show(listen(tls_port).await, Arc::clone(&certificates)));
        Self { tokens, certificates, servers: [http, tls] }
    }

    /// Answers these challenges from now on.
    pub(crate) fn prove(&self, challenges: &[Challenge]) {
        for challenge in challenges {
            let Challenge { token, key_authorization, .. } = challenge.clone();
            self.tokens.lock().unwrap().insert(token, key_authorization);
            let name = challenge.name.base().to_string();
            let certificate = acme_certificate(&name, &challenge.digest());
            self.certificates.0.lock().unwrap().insert(name, certificate);
        }
    }
}

impl Drop for Prover {
    fn drop(&mut self) {
        self.servers.iter().for_each(JoinHandle::abort);
    }
}

async fn listen(port: u16) -> TcpListener {
    listen_at([127, 0, 0, 1].into(), port).await
}

pub(crate) async fn listen_at(address: IpAddr, port: u16) -> TcpListener {
    TcpListener::bind(SocketAddr::from((address, port))).await.unwrap()
}

#[derive(Debug, Default)]
pub(crate) struct Certificates(pub(crate) Mutex<HashMap<String, Arc<CertifiedKey>>>);

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.lock().unwrap().get(hello.server_name()?).cloned()
    }
}

/// RFC 8737 section 3.
pub(crate) fn acme_certificate(name: &str, digest: &[u8]) -> Arc<CertifiedKey> {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap().der().clone();
    let key = key.serialized_der().to_vec().try_into().unwrap();
    let key = aws_lc_rs::default_provider().key_provider.load_private_key(key).unwrap();
    // What checks that the key matches refuses the extension, which is critical.
    Arc::new(CertifiedKey::new(vec![certificate], key))
}

pub(crate) async fn show(listener: TcpListener, certificates: Arc<Certificates>) {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = config.unwrap().with_no_client_auth().with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    while let Ok((stream, _)) = listener.accept().await {
        // The CA sees what it wants in the handshake, or gives up by itself.
        tokio::spawn(acceptor.accept(stream));
    }
}
