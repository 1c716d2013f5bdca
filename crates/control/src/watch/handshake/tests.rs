use std::net::Ipv4Addr;

use rcgen::{CertificateParams, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

const TIME: Duration = Duration::from_secs(10);
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Serves one certificate for whatever name is asked for, and answers its port and fingerprint.
async fn serve() -> (u16, Fingerprint) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["www.customer.test".to_owned()]).unwrap();
    let leaf = params.self_signed(&key).unwrap().der().clone();
    let fingerprint = Fingerprint(sha256(&leaf));
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf], key)
        .unwrap();
    let listener = TcpListener::bind((HERE, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = acceptor.accept(stream).await;
        }
    });
    (port, fingerprint)
}

fn sought(key_type: KeyType, fingerprint: Fingerprint) -> Sought {
    Sought { name: "www.customer.test".parse().unwrap(), key_type, fingerprint, stand_in: None }
}

#[tokio::test]
async fn a_certificate_is_shown_by_who_has_it_with_its_type_of_key() {
    let (port, fingerprint) = serve().await;
    let other = Fingerprint([7; 32]);
    let table = [
        (sought(KeyType::Ecdsa, fingerprint), Finding::Shown),
        (sought(KeyType::Ecdsa, other), Finding::OtherCertificate),
        // It has none with an RSA key.
        (sought(KeyType::Rsa, fingerprint), Finding::Failed),
    ];
    for (sought, expected) in table {
        assert_eq!(look((&[HERE], port), &sought, TIME).await, expected, "{sought:?}");
    }
}

#[tokio::test]
async fn an_address_where_nobody_answers_leaves_the_others() {
    let (port, fingerprint) = serve().await;
    let sought = sought(KeyType::Ecdsa, fingerprint);
    let nobody = IpAddr::V4(Ipv4Addr::new(127, 99, 99, 99));
    assert_eq!(look((&[nobody, HERE], port), &sought, TIME).await, Finding::Shown);
    assert_eq!(look((&[nobody], port), &sought, TIME).await, Finding::Unreachable);
    assert_eq!(look((&[], port), &sought, TIME).await, Finding::Unreachable);
}

#[tokio::test]
async fn who_answers_and_shakes_no_hands_is_no_server() {
    let listener = TcpListener::bind((HERE, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let sought = sought(KeyType::Ecdsa, Fingerprint([0; 32]));
    let found = look((&[HERE], port), &sought, Duration::from_millis(200)).await;
    assert_eq!(found, Finding::Failed);
}
