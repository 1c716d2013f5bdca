use std::sync::Arc;

use landfall_certstore::{EntrySpec, KeyKind, Offer, Resolver, with_certificate};
use landfall_model::Route;
use landfall_model::{TlsPolicy, TlsVersion};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::{CryptoProvider, aws_lc_rs::default_provider},
    pki_types::{CertificateDer, ServerName},
    version::{TLS12, TLS13},
};
use tokio_rustls::{LazyConfigAcceptor, TlsConnector, client, server};

use crate::support::{Fleet, name};

pub(crate) type Streams =
    (client::TlsStream<tokio::io::DuplexStream>, server::TlsStream<tokio::io::DuplexStream>);

/// Shakes hands over a pipe, the server's side as the edge does it.
pub(crate) async fn handshake(
    resolver: &Resolver<Route>,
    config: Arc<ClientConfig>,
    sni: &str,
) -> Option<Streams> {
    let (client, server) = tokio::io::duplex(64 * 1024);
    let server_name = ServerName::try_from(sni.to_owned()).unwrap();
    let serve = async {
        let start = LazyConfigAcceptor::new(Default::default(), server).await.ok()?;
        let hello = start.client_hello();
        let wanted = name(hello.server_name()?);
        let selected = resolver.select(&wanted, Offer::of(&hello)).await.ok()?;
        let config = Arc::clone(selected.entry.policy().server_config());
        with_certificate(&selected, async { start.into_stream(config).await }).await.ok()
    };
    let connector = TlsConnector::from(config);
    let (client, server) = tokio::join!(connector.connect(server_name, client), serve);
    Some((client.ok()?, server?))
}

fn client(roots: &[Vec<u8>], provider: CryptoProvider) -> ClientConfig {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(CertificateDer::from(root.clone())).unwrap();
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS12, &TLS13])
        .unwrap()
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

struct Served {
    resolver: Resolver<Route>,
    roots: Vec<Vec<u8>>,
}

fn serve(kinds: &[KeyKind], policy: TlsPolicy) -> Served {
    let fleet = Fleet::new();
    let (mut publisher, resolver) = fleet.channel(1 << 20);
    let mut roots = Vec::new();
    let mut certificates = Vec::new();
    for kind in kinds {
        let reference = fleet.store("a.example", *kind);
        let source = &*fleet.source as &dyn landfall_certstore::CertificateSource;
        roots.push(source.certificate(reference.id).unwrap().unwrap().chain[0].clone());
        certificates.push(reference);
    }
    let spec = crate::support::spec("a.example", certificates);
    publisher.insert(&EntrySpec { policy, ..spec }).unwrap();
    Served { resolver, roots }
}

#[tokio::test]
async fn presents_the_chosen_certificate_and_negotiates_http2() {
    let served = serve(&[KeyKind::P256, KeyKind::Rsa], TlsPolicy::default());
    let config = Arc::new(client(&served.roots, default_provider()));
    let (client, _server) = handshake(&served.resolver, config, "a.example").await.unwrap();
    let connection = client.get_ref().1;
    assert_eq!(connection.peer_certificates().unwrap()[0].to_vec(), served.roots[0]);
    assert_eq!(connection.alpn_protocol(), Some(&b"h2"[..]));
}

#[tokio::test]
async fn an_rsa_only_client_gets_the_rsa_certificate() {
    let served = serve(&[KeyKind::P256, KeyKind::Rsa], TlsPolicy::default());
    let mut provider = default_provider();
    provider.cipher_suites.retain(|suite| {
        suite.tls13().is_none() && format!("{:?}", suite.suite()).contains("ECDHE_RSA")
    });
    let config = Arc::new(client(&served.roots, provider));
    let (client, _server) = handshake(&served.resolver, config, "a.example").await.unwrap();
    let connection = client.get_ref().1;
    assert_eq!(connection.peer_certificates().unwrap()[0].to_vec(), served.roots[1]);
}

#[tokio::test]
async fn the_policy_decides_versions_ciphers_and_http2() {
    let strict = TlsPolicy {
        min_version: TlsVersion::Tls13,
        http2: false,
        ciphers: vec!["TLS_CHACHA20_POLY1305_SHA256".parse().unwrap()],
        ..TlsPolicy::default()
    };
    let served = serve(&[KeyKind::P256], strict);
    let config = Arc::new(client(&served.roots, default_provider()));
    let (client_side, _server) = handshake(&served.resolver, config, "a.example").await.unwrap();
    let connection = client_side.get_ref().1;
    assert_eq!(connection.alpn_protocol(), Some(&b"http/1.1"[..]));
    let suite = connection.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(format!("{suite:?}"), "TLS13_CHACHA20_POLY1305_SHA256");
    let mut tls12 = default_provider();
    tls12.cipher_suites.retain(|suite| suite.tls13().is_none());
    let config = Arc::new(client(&served.roots, tls12));
    assert!(handshake(&served.resolver, config, "a.example").await.is_none());
}
