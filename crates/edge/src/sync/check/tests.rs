use std::time::{SystemTime, UNIX_EPOCH};

use landfall_feed::{
    record::HostnameState,
    seal::{GroupKeyFiles, GroupPublicKey},
};
use landfall_model::{Der, HostnameId, PropertyId, Route, SealContext, TlsPolicy};
use rcgen::{
    CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm,
};

use super::*;

struct Fleet {
    keys: GroupKeys,
    public: GroupPublicKey,
}

impl Fleet {
    fn new() -> Self {
        let files = GroupKeyFiles::generate().unwrap();
        Self {
            keys: GroupKeys::parse([files.private.as_str()]).unwrap(),
            public: GroupPublicKey::parse(&files.public).unwrap(),
        }
    }

    fn certificate(
        &self,
        hostname: &str,
        name: &str,
        algorithm: &'static SignatureAlgorithm,
    ) -> CertificateRecord {
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        self.certificate_of(hostname, params, algorithm)
    }

    fn certificate_of(
        &self,
        hostname: &str,
        params: CertificateParams,
        algorithm: &'static SignatureAlgorithm,
    ) -> CertificateRecord {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let leaf = params.self_signed(&key).unwrap().der().to_vec();
        let spki = sha256(&key.subject_public_key_info());
        let hostname = hostname.parse().unwrap();
        CertificateRecord {
            chain: vec![Der(leaf)],
            spki_sha256: spki.to_vec(),
            key: self
                .public
                .seal(
                    SealContext::PrivateKey { hostname: &hostname, spki_sha256: &spki },
                    key.serialized_der(),
                )
                .unwrap(),
            standby: false,
        }
    }

    fn check(&self, record: HostnameRecord) -> Result<NewHostname, Rejection> {
        let usable = self.usable(record)?;
        assert!(usable.set_aside.is_none(), "{:?}", usable.set_aside);
        Ok(usable.hostname)
    }

    fn usable(&self, record: HostnameRecord) -> Result<Usable, Rejection> {
        hostname(record, Revision(1), now(), (&self.keys, KeyCheck::Open))
    }

    fn reason(&self, record: HostnameRecord) -> &'static str {
        self.check(record).unwrap_err().reason()
    }
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

fn record(name: &str, certificates: Vec<CertificateRecord>) -> HostnameRecord {
    HostnameRecord {
        name: name.parse().unwrap(),
        hostname_id: HostnameId(1),
        state: HostnameState::Active,
        route: Route::to(PropertyId(1)),
        tls: TlsPolicy::default(),
        certificates,
        predecessors: vec![],
    }
}

#[test]
fn accepts_certificates_that_cover_the_hostname() {
    let fleet = Fleet::new();
    let ecdsa = &PKCS_ECDSA_P256_SHA256;
    let table = [
        ("a.example.com", "a.example.com"),
        ("a.example.com", "*.example.com"),
        ("*.example.com", "*.example.com"),
    ];
    for (hostname, name) in table {
        let new = fleet.check(record(hostname, vec![fleet.certificate(hostname, name, ecdsa)]));
        let certificate = &new.unwrap().certificates[0];
        assert_eq!(certificate.key, KeyDescription { key_type: KeyType::Ecdsa, bits: 256 });
    }
    let both = vec![
        fleet.certificate("a.example.com", "a.example.com", ecdsa),
        fleet.certificate("a.example.com", "a.example.com", &rcgen::PKCS_RSA_SHA256),
    ];
    assert_eq!(fleet.check(record("a.example.com", both)).unwrap().certificates.len(), 2);
}

#[test]
fn rejects_each_fault_with_its_reason() {
    let fleet = Fleet::new();
    let make = |hostname, name| fleet.certificate(hostname, name, &PKCS_ECDSA_P256_SHA256);
    let good = || make("a.example.com", "a.example.com");
    let reason = |own| fleet.reason(record("a.example.com", vec![own]));
    assert_eq!(reason(make("a.example.com", "b.example.com")), "certificate_name");
    assert_eq!(reason(make("b.example.com", "a.example.com")), "unseal");
    let p521 = fleet.certificate("a.example.com", "a.example.com", &rcgen::PKCS_ECDSA_P521_SHA512);
    assert_eq!(reason(p521), "key_kind");
    assert_eq!(reason(CertificateRecord { chain: vec![], ..good() }), "chain_length");
    assert_eq!(
        reason(CertificateRecord { chain: vec![Der(vec![1, 2])], ..good() }),
        "certificate_unparsable"
    );
    assert_eq!(reason(CertificateRecord { spki_sha256: vec![0; 32], ..good() }), "public_key");
    assert_eq!(reason(CertificateRecord { key: good().key, ..good() }), "unseal");
    assert_eq!(Fleet::new().reason(record("a.example.com", vec![good()])), "unknown_group_key");
    let wildcard = record("*.example.com", vec![make("*.example.com", "a.example.com")]);
    assert_eq!(fleet.reason(wildcard), "certificate_name");
}

#[test]
fn rejects_an_expired_certificate_by_the_given_time() {
    let fleet = Fleet::new();
    let good = record(
        "a.example.com",
        vec![fleet.certificate("a.example.com", "a.example.com", &PKCS_ECDSA_P256_SHA256)],
    );
    let late = hostname(good, Revision(1), i64::MAX / 2, (&fleet.keys, KeyCheck::Open));
    assert_eq!(late.unwrap_err().reason(), "certificate_expired");
}

#[test]
fn an_expired_certificate_keeps_no_good_one_away() {
    let fleet = Fleet::new();
    let name = "a.example.com";
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let expired = fleet.certificate_of(name, params, &rcgen::PKCS_RSA_SHA256);
    let good = fleet.certificate(name, name, &PKCS_ECDSA_P256_SHA256);
    let new = fleet.check(record(name, vec![good, expired.clone()])).unwrap();
    let kinds: Vec<_> = new.certificates.iter().map(|own| own.key.key_type).collect();
    assert_eq!(kinds, [KeyType::Ecdsa]);
    assert_eq!(fleet.reason(record(name, vec![expired])), "certificate_expired");
}

#[test]
fn a_key_of_another_certificate_is_found_even_if_it_is_sealed_right() {
    let fleet = Fleet::new();
    let hostname: HostPattern = "a.example.com".parse().unwrap();
    let mut own = fleet.certificate("a.example.com", "a.example.com", &PKCS_ECDSA_P256_SHA256);
    let other = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let spki: [u8; 32] = own.spki_sha256.clone().try_into().unwrap();
    own.key = fleet
        .public
        .seal(
            SealContext::PrivateKey { hostname: &hostname, spki_sha256: &spki },
            other.serialized_der(),
        )
        .unwrap();
    let deferred = record("a.example.com", vec![own.clone()]);
    assert_eq!(fleet.reason(record("a.example.com", vec![own])), "key_mismatch");
    let keys = (&fleet.keys, KeyCheck::Defer);
    assert!(super::hostname(deferred, Revision(1), now(), keys).is_ok());
}

#[test]
fn a_certificate_that_cant_be_used_keeps_no_good_one_away() {
    let fleet = Fleet::new();
    let name = "a.example.com";
    let ecdsa = || fleet.certificate(name, name, &PKCS_ECDSA_P256_SHA256);
    let rsa = fleet.certificate(name, name, &rcgen::PKCS_RSA_SHA256);
    let others = Fleet::new().certificate(name, name, &PKCS_ECDSA_P256_SHA256);
    let unparsable = CertificateRecord { chain: vec![Der(vec![1, 2])], ..ecdsa() };
    let mismatched = CertificateRecord { key: ecdsa().key, ..ecdsa() };
    let table = [
        (others, "unknown_group_key"),
        (unparsable, "certificate_unparsable"),
        (mismatched, "unseal"),
    ];
    for (bad, reason) in table {
        let usable = fleet.usable(record(name, vec![bad.clone(), rsa.clone()])).unwrap();
        let kinds: Vec<_> =
            usable.hostname.certificates.iter().map(|own| own.key.key_type).collect();
        assert_eq!(kinds, [KeyType::Rsa]);
        assert_eq!(usable.set_aside.unwrap().reason(), reason);
        assert_eq!(fleet.reason(record(name, vec![bad])), reason);
    }
    let (first, second) = (ecdsa(), ecdsa());
    let newest = Fingerprint(sha256(&first.chain[0].0));
    let usable = fleet.usable(record(name, vec![first, second])).unwrap();
    assert_eq!(usable.hostname.certificates.len(), 1);
    assert_eq!(usable.hostname.certificates[0].fingerprint, newest);
    assert_eq!(usable.set_aside.unwrap().reason(), "same_key_type");
}

#[test]
fn what_a_bad_certificate_replaced_is_served_again_and_never_in_a_good_ones_place() {
    let fleet = Fleet::new();
    let name = "a.example.com";
    let ecdsa = || fleet.certificate(name, name, &PKCS_ECDSA_P256_SHA256);
    let fingerprint = |own: &CertificateRecord| Fingerprint(sha256(&own.chain[0].0));
    let shown = |certificates, predecessors| {
        let record = HostnameRecord { predecessors, ..record(name, certificates) };
        let deferred = hostname(record, Revision(1), now(), (&fleet.keys, KeyCheck::Defer));
        let usable = deferred.unwrap();
        let served = usable.hostname.certificates.iter().map(|own| own.fingerprint);
        (served.collect::<Vec<_>>(), usable.set_aside.map(|rejection| rejection.reason()))
    };
    let (good, before) = (ecdsa(), ecdsa());
    let rsa = fleet.certificate(name, name, &rcgen::PKCS_RSA_SHA256);
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let expired = fleet.certificate_of(name, params, &PKCS_ECDSA_P256_SHA256);
    let bad = CertificateRecord { key: ecdsa().key, ..ecdsa() };
    let both = || vec![before.clone(), rsa.clone()];
    let (own, replaced, other) = (fingerprint(&good), fingerprint(&before), fingerprint(&rsa));
    assert_eq!(shown(vec![good.clone()], both()), (vec![own], None));
    assert_eq!(shown(vec![bad.clone()], both()), (vec![replaced, other], Some("unseal")));
    assert_eq!(shown(vec![good, bad.clone()], both()), (vec![own, other], Some("unseal")));
    let aside = Some("certificate_expired");
    assert_eq!(shown(vec![expired.clone()], vec![before.clone()]), (vec![replaced], aside));
    let left = HostnameRecord { predecessors: vec![expired], ..record(name, vec![bad]) };
    assert_eq!(fleet.reason(left), "unseal");
}
