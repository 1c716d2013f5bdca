//! Which sessions resume where, with real handshakes.

use std::sync::{Arc, Mutex};

use landfall_certstore::{CertificateRef, EntrySpec, KeyKind, Publisher, Resolver, TicketSecret};
use landfall_model::{ClientAuth, ClientAuthMode, Der, Route, TlsPolicy};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ClientConfig, HandshakeKind, NamedGroup, RootCertStore, SupportedProtocolVersion,
    client::{ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue},
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
    version::{TLS12, TLS13},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    handshake::handshake,
    support::{Fleet, spec},
};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// Offers the last session at whatever name it connects to, as no client should.
#[derive(Debug, Default)]
struct AnyName {
    tls12: Mutex<Option<Tls12ClientSessionValue>>,
    tls13: Mutex<Vec<Tls13ClientSessionValue>>,
    group: Mutex<Option<NamedGroup>>,
}

impl AnyName {
    fn holds_a_session(&self) -> bool {
        self.tls12.lock().unwrap().is_some() || !self.tls13.lock().unwrap().is_empty()
    }
}

impl ClientSessionStore for AnyName {
    fn set_kx_hint(&self, _name: ServerName<'static>, group: NamedGroup) {
        *self.group.lock().unwrap() = Some(group);
    }

    fn kx_hint(&self, _name: &ServerName<'_>) -> Option<NamedGroup> {
        *self.group.lock().unwrap()
    }

    fn set_tls12_session(&self, _name: ServerName<'static>, value: Tls12ClientSessionValue) {
        *self.tls12.lock().unwrap() = Some(value);
    }

    fn tls12_session(&self, _name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.tls12.lock().unwrap().clone()
    }

    fn remove_tls12_session(&self, _name: &ServerName<'static>) {
        *self.tls12.lock().unwrap() = None;
    }

    fn insert_tls13_ticket(&self, _name: ServerName<'static>, value: Tls13ClientSessionValue) {
        *self.tls13.lock().unwrap() = vec![value];
    }

    fn take_tls13_ticket(&self, _name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.tls13.lock().unwrap().pop()
    }
}

/// Two edges of a fleet, and the certificates that their clients trust.
struct Edges {
    fleet: Fleet,
    edges: [(Publisher<Route>, Resolver<Route>); 2],
    roots: RootCertStore,
}

#[derive(Clone, Copy)]
enum At {
    Same,
    Other,
}

impl Edges {
    fn new() -> Self {
        let fleet = Fleet::new();
        let mut edges = [fleet.channel(1 << 20), fleet.channel(1 << 20)];
        for (publisher, _) in &mut edges {
            publisher.ticket_secrets().insert(secret(7));
        }
        Self { fleet, edges, roots: RootCertStore::empty() }
    }

    fn serve(&mut self, name: &str, policy: &TlsPolicy) {
        let stored = self.fleet.certificate(name, KeyKind::P256);
        self.roots.add(CertificateDer::from(stored.chain[0].clone())).unwrap();
        let id = self.fleet.source.add(stored);
        let certificate =
            CertificateRef { id, key_kind: KeyKind::P256, not_after: u32::MAX, standby: false };
        for (publisher, _) in &mut self.edges {
            let spec = spec(name, vec![certificate]);
            publisher.insert(&EntrySpec { policy: policy.clone(), ..spec }).unwrap();
        }
    }

    fn client(
        &self,
        version: &'static SupportedProtocolVersion,
        identity: Option<(Vec<u8>, Vec<u8>)>,
    ) -> (ClientConfig, Arc<AnyName>) {
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(self.roots.clone());
        let mut config = match identity {
            Some((leaf, key)) => builder
                .with_client_auth_cert(
                    vec![CertificateDer::from(leaf)],
                    PrivateKeyDer::try_from(key).unwrap(),
                )
                .unwrap(),
            None => builder.with_no_client_auth(),
        };
        let sessions = Arc::<AnyName>::default();
        config.resumption = Resumption::store(Arc::clone(&sessions) as _);
        (config, sessions)
    }

    /// Connects to `name`. Answers with the kind of handshake and the client's certificate as the
    /// server knows it; `None` where it fails.
    async fn connect(
        &self,
        at: At,
        config: &ClientConfig,
        name: &str,
    ) -> Option<(HandshakeKind, Option<Vec<u8>>)> {
        let resolver = &self.edges[at as usize].1;
        let (mut client, mut server) = handshake(resolver, Arc::new(config.clone()), name).await?;
        // The tickets of TLS 1.3 come after the handshake, before the first byte.
        server.write_all(b"x").await.ok()?;
        server.flush().await.ok()?;
        client.read_exact(&mut [0]).await.ok()?;
        let connection = server.get_ref().1;
        assert_eq!(connection.handshake_kind(), client.get_ref().1.handshake_kind());
        let shown = connection.peer_certificates().map(|chain| chain[0].to_vec());
        Some((connection.handshake_kind()?, shown))
    }

    /// Begins a session at `first` and offers it at `second`: whether it resumes there.
    async fn resumes(
        &self,
        version: &'static SupportedProtocolVersion,
        first: &str,
        at: At,
        second: &str,
    ) -> bool {
        let (config, sessions) = self.client(version, None);
        let (kind, _) = self.connect(At::Same, &config, first).await.unwrap();
        assert_ne!(kind, HandshakeKind::Resumed);
        assert!(sessions.holds_a_session(), "{first} gave no ticket");
        let (kind, _) = self.connect(at, &config, second).await.unwrap();
        kind == HandshakeKind::Resumed
    }
}

/// A secret for now.
fn secret(byte: u8) -> TicketSecret {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    TicketSecret::new(now - 3_600, now + 3_600, &[byte; 32]).unwrap()
}

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    fn policy(&self, mode: ClientAuthMode) -> TlsPolicy {
        let ca = vec![Der(self.0.der().to_vec())];
        TlsPolicy { client_auth: Some(ClientAuth { mode, ca }), ..TlsPolicy::default() }
    }

    fn client(&self) -> (Vec<u8>, Vec<u8>) {
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(Vec::new()).unwrap().signed_by(&key, &self.0).unwrap();
        (leaf.der().to_vec(), key.serialize_der())
    }
}

#[tokio::test]
async fn a_session_resumes_at_every_edge_of_the_fleet() {
    let mut edges = Edges::new();
    edges.serve("a.example", &TlsPolicy::default());
    for version in VERSIONS {
        assert!(edges.resumes(version, "a.example", At::Same, "a.example").await);
        assert!(edges.resumes(version, "a.example", At::Other, "a.example").await);
        assert!(edges.resumes(version, "A.Example", At::Other, "a.example.").await);
    }
}

#[tokio::test]
async fn without_secrets_of_the_fleet_a_session_resumes_at_its_own_edge_alone() {
    let mut edges = Edges::new();
    edges.serve("a.example", &TlsPolicy::default());
    for (publisher, _) in &mut edges.edges {
        publisher.ticket_secrets().replace(Vec::new());
    }
    for version in VERSIONS {
        assert!(edges.resumes(version, "a.example", At::Same, "a.example").await);
        assert!(!edges.resumes(version, "a.example", At::Other, "a.example").await);
    }
}

#[tokio::test]
async fn a_session_does_not_resume_for_another_hostname_or_policy() {
    let mut edges = Edges::new();
    let policy = TlsPolicy::default();
    edges.serve("a.example", &policy);
    edges.serve("b.example", &policy);
    edges.serve("*.apps.example", &policy);
    edges.serve("http1.example", &TlsPolicy { http2: false, ..policy });
    for version in VERSIONS {
        for second in ["b.example", "one.apps.example", "http1.example"] {
            assert!(!edges.resumes(version, "a.example", At::Same, second).await, "{second}");
        }
        // Of one entry and policy: here it is rustls that compares the names.
        let apps = ["one.apps.example", "two.apps.example"];
        assert!(edges.resumes(version, apps[0], At::Same, apps[0]).await);
        assert!(!edges.resumes(version, apps[0], At::Same, apps[1]).await);
    }
}

#[tokio::test]
async fn a_session_does_not_outlive_a_change_of_its_policy() {
    let (one, two) = (Authority::new(), Authority::new());
    let policies = [
        TlsPolicy { http2: false, ..TlsPolicy::default() },
        one.policy(ClientAuthMode::Optional),
        two.policy(ClientAuthMode::Optional),
    ];
    for version in VERSIONS {
        for policy in &policies {
            let mut edges = Edges::new();
            edges.serve("a.example", &TlsPolicy::default());
            let (mut config, _) = edges.client(version, None);
            edges.connect(At::Same, &config, "a.example").await.unwrap();
            edges.serve("a.example", policy);
            let sessions = config.resumption.clone();
            (config, _) = edges.client(version, None);
            config.resumption = sessions;
            let (kind, _) = edges.connect(At::Same, &config, "a.example").await.unwrap();
            assert_ne!(kind, HandshakeKind::Resumed, "{policy:?}");
        }
    }
}

#[tokio::test]
async fn a_session_keeps_its_clients_certificate_and_rule() {
    let (own, other) = (Authority::new(), Authority::new());
    let mut edges = Edges::new();
    edges.serve("must.example", &own.policy(ClientAuthMode::Required));
    edges.serve("may.example", &own.policy(ClientAuthMode::Optional));
    edges.serve("other.example", &other.policy(ClientAuthMode::Optional));
    edges.serve("open.example", &TlsPolicy::default());
    let identity = own.client();
    for version in VERSIONS {
        for (name, at) in [("must.example", At::Other), ("may.example", At::Same)] {
            let (config, _) = edges.client(version, Some(identity.clone()));
            let (kind, shown) = edges.connect(At::Same, &config, name).await.unwrap();
            assert_ne!(kind, HandshakeKind::Resumed);
            assert_eq!(shown.as_ref(), Some(&identity.0));
            let resumed = edges.connect(at, &config, name).await.unwrap();
            assert_eq!(resumed, (HandshakeKind::Resumed, Some(identity.0.clone())), "{name}");
        }
        // With a session of an open hostname there is no way around a certificate.
        let (config, sessions) = edges.client(version, None);
        for name in ["open.example", "may.example"] {
            edges.connect(At::Same, &config, name).await.unwrap();
            assert!(sessions.holds_a_session());
            assert!(edges.connect(At::Same, &config, "must.example").await.is_none(), "{name}");
        }
        // Nor does the identity of one rule become one under another.
        let (config, _) = edges.client(version, Some(identity.clone()));
        edges.connect(At::Same, &config, "must.example").await.unwrap();
        let (kind, shown) = edges.connect(At::Same, &config, "open.example").await.unwrap();
        assert_eq!((kind == HandshakeKind::Resumed, shown), (false, None));
        let (config, _) = edges.client(version, Some(identity.clone()));
        edges.connect(At::Same, &config, "may.example").await.unwrap();
        // Offered there, it is a certificate of an authority that is not the rule's.
        assert!(edges.connect(At::Same, &config, "other.example").await.is_none());
    }
}

#[tokio::test]
async fn a_ticket_of_a_dropped_secret_is_not_taken() {
    let mut edges = Edges::new();
    edges.serve("a.example", &TlsPolicy::default());
    for version in VERSIONS {
        let (config, sessions) = edges.client(version, None);
        edges.connect(At::Same, &config, "a.example").await.unwrap();
        assert!(sessions.holds_a_session());
        edges.edges[0].0.ticket_secrets().replace(vec![secret(8)]);
        let (kind, _) = edges.connect(At::Same, &config, "a.example").await.unwrap();
        assert_ne!(kind, HandshakeKind::Resumed);
        edges.edges[0].0.ticket_secrets().replace(vec![secret(7)]);
    }
}

#[tokio::test]
async fn a_client_with_post_quantum_groups_gets_one() {
    let mut edges = Edges::new();
    edges.serve("a.example", &TlsPolicy::default());
    let table: [(&[NamedGroup], NamedGroup); 4] = [
        (&[NamedGroup::X25519MLKEM768], NamedGroup::X25519MLKEM768),
        (&[NamedGroup::X25519MLKEM768, NamedGroup::X25519], NamedGroup::X25519MLKEM768),
        (&[NamedGroup::X25519, NamedGroup::secp256r1], NamedGroup::X25519),
        (&[NamedGroup::secp384r1], NamedGroup::secp384r1),
    ];
    for (offered, expected) in table {
        let mut provider = default_provider();
        let group = |name: &NamedGroup| {
            default_provider().kx_groups.into_iter().find(|own| own.name() == *name).unwrap()
        };
        provider.kx_groups = offered.iter().map(group).collect();
        let config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_root_certificates(edges.roots.clone())
            .with_no_client_auth();
        let (client, _) =
            handshake(&edges.edges[0].1, Arc::new(config), "a.example").await.unwrap();
        let chosen = client.get_ref().1.negotiated_key_exchange_group().unwrap().name();
        assert_eq!(chosen, expected, "{offered:?}");
    }
}
