use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    PublicKeyData as _, SanType, date_time_ymd,
};

use super::*;

const NAMES: [&str; 2] = ["a.test", "*.a.test"];

/// A root, an intermediate CA below it, and their certificates.
struct Authority {
    root: Der,
    intermediate: Der,
    issuer: Issuer<'static, KeyPair>,
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2030, 1, 1));
    params
}

fn authority() -> Authority {
    let root_key = KeyPair::generate().unwrap();
    let root = ca_params("root").self_signed(&root_key).unwrap();
    let root_issuer = Issuer::new(ca_params("root"), root_key);
    let key = KeyPair::generate().unwrap();
    let intermediate = ca_params("intermediate").signed_by(&key, &root_issuer).unwrap();
    Authority {
        root: Der(root.der().to_vec()),
        intermediate: Der(intermediate.der().to_vec()),
        issuer: Issuer::new(ca_params("intermediate"), key),
    }
}

fn leaf_params(names: &[&str]) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(2026, 3, 1), date_time_ymd(2026, 6, 1));
    params
}

fn leaf(authority: &Authority, key: &KeyPair, params: &CertificateParams) -> Der {
    Der(params.signed_by(key, &authority.issuer).unwrap().der().to_vec())
}

fn now() -> OffsetDateTime {
    date_time_ymd(2026, 4, 1)
}

fn names() -> Vec<HostPattern> {
    NAMES.iter().map(|name| name.parse().unwrap()).collect()
}

fn checked(chain: &[Der], key: &KeyPair) -> Result<Validity, ChainError> {
    checked_at(chain, key, now())
}

fn checked_at(chain: &[Der], key: &KeyPair, now: OffsetDateTime) -> Result<Validity, ChainError> {
    let (names, public_key) = (names(), key.subject_public_key_info());
    let ordered = Ordered { names: &names, key_type: KeyType::Ecdsa, public_key: &public_key };
    check(chain, ordered, now)
}

fn pem(chain: &[Der]) -> String {
    let encode = |der: &Der| {
        let text = data_encoding::BASE64.encode(&der.0);
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    };
    chain.iter().map(encode).collect::<Vec<_>>().join("\n")
}

#[test]
fn takes_what_was_ordered() {
    let (authority, key) = (authority(), KeyPair::generate().unwrap());
    // The order of names is the CA's.
    let leaf = leaf(&authority, &key, &leaf_params(&["*.a.test", "a.test"]));
    let full = [leaf, authority.intermediate, authority.root];
    for length in 1..=3 {
        let validity = checked(&full[..length], &key).unwrap();
        assert_eq!(validity.not_after, date_time_ymd(2026, 6, 1), "{length}");
    }
    assert_eq!(read_pem(pem(&full).as_bytes()).unwrap(), full);
    assert!(is_issued_by(&full[..2], "root"));
    assert!(is_issued_by(&full[..1], "intermediate"));
    assert!(!is_issued_by(&full[..1], "root"));
    assert!(!is_issued_by(&[], "root"));
}

#[test]
fn refuses_names_that_were_not_asked_for() {
    let (authority, key) = (authority(), KeyPair::generate().unwrap());
    let mut with_address = leaf_params(&NAMES);
    with_address.subject_alt_names.push(SanType::IpAddress("192.0.2.1".parse().unwrap()));
    for params in [
        leaf_params(&["a.test"]),
        leaf_params(&["a.test", "*.a.test", "b.test"]),
        leaf_params(&["a.test", "*.b.test"]),
        leaf_params(&[]),
        with_address,
    ] {
        let chain = [leaf(&authority, &key, &params), authority.intermediate.clone()];
        let error = checked(&chain, &key).unwrap_err();
        assert!(matches!(error, ChainError::OtherNames { .. }), "{error}");
    }
}

#[test]
fn refuses_another_key_and_another_kind_of_key() {
    let (authority, key) = (authority(), KeyPair::generate().unwrap());
    let leaf = leaf(&authority, &key, &leaf_params(&NAMES));
    let other = KeyPair::generate().unwrap();
    assert_eq!(checked(std::slice::from_ref(&leaf), &other), Err(ChainError::OtherKey));
    let (names, public_key) = (names(), key.subject_public_key_info());
    let ordered = Ordered { names: &names, key_type: KeyType::Rsa, public_key: &public_key };
    assert_eq!(check(&[leaf], ordered, now()), Err(ChainError::OtherKey));
}

#[test]
fn refuses_a_chain_whose_links_do_not_hold() {
    let (authority, other) = (authority(), authority());
    let key = KeyPair::generate().unwrap();
    let leaf = leaf(&authority, &key, &leaf_params(&NAMES));
    let (own, root) = (authority.intermediate, authority.root);
    let cases = [
        (vec![leaf.clone(), root.clone()], ChainError::OutOfOrder { position: 1 }),
        (vec![leaf.clone(), root, own.clone()], ChainError::OutOfOrder { position: 1 }),
        // Of the same name, with another key.
        (vec![leaf.clone(), other.intermediate], ChainError::Signature { position: 1 }),
        (vec![leaf.clone(), own.clone(), other.root], ChainError::Signature { position: 2 }),
        (vec![leaf.clone(), Der(vec![1, 2, 3])], ChainError::Unreadable { position: 2 }),
        (
            vec![Der([leaf.0.clone(), vec![0]].concat()), own],
            ChainError::Unreadable { position: 1 },
        ),
        (Vec::new(), ChainError::Empty),
        (vec![leaf; 11], ChainError::TooLong { length: 11 }),
        (vec![Der(vec![0; 25_000])], ChainError::TooLarge { size: 25_000 }),
    ];
    for (chain, expected) in cases {
        assert_eq!(checked(&chain, &key), Err(expected));
    }
}

#[test]
fn refuses_an_issuer_that_may_not_issue() {
    let key = KeyPair::generate().unwrap();
    let mut plain = ca_params("intermediate");
    plain.is_ca = IsCa::NoCa;
    let issuer_key = KeyPair::generate().unwrap();
    let intermediate = Der(plain.self_signed(&issuer_key).unwrap().der().to_vec());
    let issuer = Issuer::new(plain, issuer_key);
    let leaf = Der(leaf_params(&NAMES).signed_by(&key, &issuer).unwrap().der().to_vec());
    assert_eq!(checked(&[leaf, intermediate], &key), Err(ChainError::NotAuthority { position: 2 }));
}

#[test]
fn refuses_what_is_not_valid_now_but_for_a_clock_that_is_a_little_off() {
    let (authority, key) = (authority(), KeyPair::generate().unwrap());
    let chain = [leaf(&authority, &key, &leaf_params(&NAMES)), authority.intermediate];
    let (start, end) = (date_time_ymd(2026, 3, 1), date_time_ymd(2026, 6, 1));
    assert!(checked_at(&chain, &key, start - Duration::minutes(10)).is_ok());
    assert!(checked_at(&chain, &key, end - Duration::seconds(1)).is_ok());
    assert_eq!(
        checked_at(&chain, &key, start - Duration::minutes(16)),
        Err(ChainError::NotYetValid { position: 1, not_before: start })
    );
    assert_eq!(
        checked_at(&chain, &key, end),
        Err(ChainError::Expired { position: 1, not_after: end })
    );
}

#[test]
fn refuses_a_certificate_for_clients() {
    let (authority, key) = (authority(), KeyPair::generate().unwrap());
    let mut params = leaf_params(&NAMES);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let chain = [leaf(&authority, &key, &params)];
    assert_eq!(checked(&chain, &key), Err(ChainError::NotForServers));
}

#[test]
fn reads_certificates_and_nothing_else() {
    for text in ["", "<html></html>"] {
        assert_eq!(read_pem(text.as_bytes()), Err(ChainError::Empty), "{text}");
    }
    for text in [
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n",
    ] {
        assert_eq!(read_pem(text.as_bytes()), Err(ChainError::NotPem), "{text}");
    }
    let many = pem(&vec![Der(vec![0; 10]); 11]);
    assert_eq!(read_pem(many.as_bytes()), Err(ChainError::TooLong { length: 11 }));
}

#[test]
fn refuses_a_certificate_that_vouches_for_itself() {
    let key = KeyPair::generate().unwrap();
    let mut params = leaf_params(&NAMES);
    let own = Der(params.self_signed(&key).unwrap().der().to_vec());
    assert_eq!(checked(&[own], &key), Err(ChainError::SelfIssued));
    // Under another's name, and signed by its own key.
    params.distinguished_name.push(DnType::CommonName, "leaf");
    let signing = KeyPair::from_pem(&key.serialize_pem()).unwrap();
    let issuer = Issuer::new(ca_params("root"), signing);
    let named = Der(params.signed_by(&key, &issuer).unwrap().der().to_vec());
    assert_eq!(checked(&[named], &key), Err(ChainError::SelfIssued));
}
