//! The agent with a real CA, real DNS, PoPs on this machine and a control plane that is scripted.

use std::{collections::BTreeMap, num::NonZeroUsize, sync::Arc, time::Duration};

use landfall_dns::{DnsConfig, Verifier, ZoneServers};
use landfall_issuance::{
    acme::CertificateId,
    agent::{Agent, AgentMetrics, AgentSettings, Orders, Vault},
    chain::{self, Ordered},
    failure::{Precheck, Trouble},
    protocol::{AccountErrand, News, RenewalQuestion, Revocation, Task},
};
use landfall_model::{
    ChallengeMethod::{self, Http01, TlsAlpn01},
    Fence, HostnameId, JobId, KeyType, SealContext,
    issuance::{Account, Assignment, IssuedCertificate, PopTarget, TxtRecords},
};
use landfall_tests::{Authority, DEADLINE, acme::Pebble, wait_until};
use prometheus::Registry;
use time::OffsetDateTime;
use tokio::{sync::watch, task::JoinHandle};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::{
    pops::Pops,
    script::{OpenVault, Script},
    support::names,
};

pub(crate) const AT_POPS: &str = "www A 127.0.0.2\nwww A 127.0.0.3";

/// A CA, DNS, PoPs and a control plane.
pub(crate) struct Shop {
    pub(crate) dns: Authority,
    pub(crate) pebble: Pebble,
    pub(crate) script: Script,
    settings: AgentSettings,
}

impl Shop {
    pub(crate) async fn open(records: &str) -> Self {
        let dns = Authority::start(&[("shop.test", records)]).await;
        let pebble = Pebble::builder().dns(dns.address()).start().await;
        let ports = (pebble.http_port(), pebble.tls_port());
        let pops = Pops::start(&[[127, 0, 0, 2], [127, 0, 0, 3]], ports).await;
        let settings = AgentSettings {
            jobs: NonZeroUsize::new(2).unwrap(),
            http_port: pebble.http_port(),
            tls_port: pebble.tls_port(),
            propagation: Duration::from_secs(5),
            probe: Duration::from_secs(2),
            ..AgentSettings::default()
        };
        Self { dns, pebble, script: Script::new(pops), settings }
    }

    pub(crate) fn agent(&self) -> Running {
        self.agent_with(OpenVault)
    }

    fn agent_with(&self, vault: impl Vault) -> Running {
        let config = DnsConfig {
            resolvers: vec![self.dns.address()],
            zone_servers: ZoneServers::NotAsked,
            ..DnsConfig::default()
        };
        let verifier = Verifier::new(&config).unwrap();
        let metrics = Arc::new(AgentMetrics::new(&Registry::new()).unwrap());
        let settings = self.settings.clone();
        let agent = Agent::new(self.script.clone(), vault, verifier, settings, metrics);
        let orders = watch::Sender::new(Orders::Work);
        let given = orders.subscribe();
        let task = tokio::spawn(async move { agent.run(given).await });
        Running { task, orders }
    }

    pub(crate) fn job(&self, method: ChallengeMethod, names: &[&str]) -> Assignment {
        Assignment {
            job: JobId(7),
            fence: Fence(3),
            lease_seconds: 30,
            hostname: HostnameId(1),
            names: crate::support::names(names),
            key_types: vec![KeyType::Ecdsa],
            authority: self.pebble.authority(),
            methods: vec![method],
            records: TxtRecords::ByOwner,
            replaces: BTreeMap::new(),
            order: None,
            wanted: Vec::new(),
            lasting: None,
            target: "my-site.edge.test".parse().unwrap(),
            system_domain: "edge.test".parse().unwrap(),
            pops: Vec::new(),
            stalled_pops: Vec::new(),
            inactive_pops: Vec::new(),
        }
    }

    pub(crate) async fn issued(&self) -> Vec<IssuedCertificate> {
        let is_it = |news: &News| matches!(news, News::Issued { .. });
        let News::Issued { certificates, .. } = self.script.hear("a certificate", is_it).await
        else {
            unreachable!()
        };
        certificates
    }

    pub(crate) async fn failed(&self) -> Trouble {
        let is_it = |news: &News| matches!(news, News::Failed { .. });
        let News::Failed { trouble } = self.script.hear("a failure", is_it).await else {
            unreachable!()
        };
        trouble
    }

    pub(crate) fn orders(&self) -> usize {
        self.script.count(|news| matches!(news, News::Ordered(_)))
    }
}

/// An agent that is killed when this is dropped.
pub(crate) struct Running {
    task: JoinHandle<()>,
    pub(crate) orders: watch::Sender<Orders>,
}

impl Running {
    /// Waits until the agent ends by itself.
    pub(crate) async fn ended(&mut self) {
        tokio::time::timeout(DEADLINE, &mut self.task).await.unwrap().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Checks a certificate and that its keys are sealed for what they are.
pub(crate) fn check(certificate: &IssuedCertificate, wanted: &[&str], key_type: KeyType) {
    let IssuedCertificate { chain, keys, renewal } = certificate;
    let (_, leaf) = X509Certificate::from_der(&chain[0].0).unwrap();
    let public_key = leaf.public_key().raw;
    let names = names(wanted);
    let ordered = Ordered { names: &names, key_type, public_key };
    chain::check(chain, ordered, OffsetDateTime::now_utc()).unwrap();
    assert!(renewal.is_some(), "pebble says when to renew");
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, public_key);
    let spki_sha256 = digest.as_ref().try_into().unwrap();
    assert_eq!(
        keys.iter().map(|key| &key.name).collect::<Vec<_>>(),
        names.iter().collect::<Vec<_>>()
    );
    for sealed in keys {
        let context = SealContext::PrivateKey { hostname: &sealed.name, spki_sha256 };
        let secret = OpenVault.open(&sealed.key, context).unwrap();
        let pair = rcgen::KeyPair::try_from(secret.as_slice()).unwrap();
        assert_eq!(rcgen::PublicKeyData::subject_public_key_info(&pair), public_key);
    }
}

#[tokio::test]
async fn issues_by_http_with_keys_of_both_kinds_and_keeps_the_account() {
    let shop = Shop::open(AT_POPS).await;
    let _agent = shop.agent();
    shop.script.be_late(2);
    let key_types = vec![KeyType::Ecdsa, KeyType::Rsa];
    shop.script.give(Assignment { key_types, ..shop.job(Http01, &["www.shop.test"]) });
    let certificates = shop.issued().await;
    check(&certificates[0], &["www.shop.test"], KeyType::Ecdsa);
    check(&certificates[1], &["www.shop.test"], KeyType::Rsa);
    assert!(shop.script.account().unwrap().url.is_some());
    let said: Vec<&str> = shop.script.news().iter().map(word).collect();
    let expected = [
        "made",
        "registered",
        "validating",
        "validating",
        "validating",
        "ordered",
        "ordered",
        "issued",
    ];
    assert_eq!(said, expected, "everything is in place before an order is made");

    shop.script.forget();
    let account = shop.script.account();
    shop.script.give(shop.job(Http01, &["www.shop.test"]));
    shop.issued().await;
    assert_eq!(shop.script.account(), account);
    assert_eq!(shop.script.count(|news| matches!(news, News::AccountMade { .. })), 0);
}

fn word(news: &News) -> &'static str {
    match news {
        News::Alive => "alive",
        News::AccountMade { .. } => "made",
        News::AccountRegistered { .. } => "registered",
        News::AccountResealed { .. } => "resealed",
        News::Validating { .. } => "validating",
        News::Ordered(_) => "ordered",
        News::TxtWanted { .. } => "txt",
        News::Issued { .. } => "issued",
        News::Revoked => "revoked",
        News::SuccessorMade { .. } => "successor",
        News::KeyReplaced { .. } => "replaced",
        News::AccountUpdated { .. } => "updated",
        News::Failed { .. } => "failed",
    }
}

#[tokio::test]
async fn shows_a_tls_alpn_certificate_at_every_pop_before_the_ca_looks() {
    let shop = Shop::open(AT_POPS).await;
    let _agent = shop.agent();
    shop.script.be_late(1);
    shop.script.give(shop.job(TlsAlpn01, &["www.shop.test"]));
    check(&shop.issued().await[0], &["www.shop.test"], KeyType::Ecdsa);
}

#[tokio::test]
async fn nothing_is_ordered_that_can_not_succeed() {
    let caa = "caa CAA 0 issue \"pebble.letsencrypt.org; accounturi=https://elsewhere.test/1\"\ncaa A 127.0.0.2";
    let zone = format!(
        "{AT_POPS}\ngone A 192.0.2.1\nbroken CAA 128 unheardof \"x\"\nbroken A 127.0.0.2\n{caa}"
    );
    let shop = Shop::open(&zone).await;
    let _agent = shop.agent();
    shop.script.give(shop.job(Http01, &["gone.shop.test"]));
    let trouble = shop.failed().await;
    assert!(matches!(trouble, Trouble::Precheck(Precheck::Dns { .. })), "{trouble:?}");

    for name in ["broken.shop.test", "caa.shop.test"] {
        shop.script.forget();
        shop.script.give(shop.job(Http01, &[name]));
        let trouble = shop.failed().await;
        assert!(matches!(trouble, Trouble::Precheck(Precheck::Caa { .. })), "{name}: {trouble:?}");
    }

    shop.script.forget();
    let mut job = shop.job(Http01, &["www.shop.test"]);
    job.pops = vec![
        PopTarget { name: "near".into(), addresses: vec![[127, 0, 0, 2].into()] },
        PopTarget {
            name: "dead".into(),
            addresses: vec![[127, 0, 0, 3].into(), [127, 0, 0, 9].into()],
        },
    ];
    shop.script.give_as_it_is(job);
    let trouble = shop.failed().await;
    let Trouble::Precheck(Precheck::Challenge { failed, asked, detail, .. }) = trouble else {
        panic!("{trouble:?}")
    };
    assert_eq!((failed, asked), (vec!["dead".into()], 2));
    assert!(detail.as_str().contains("127.0.0.9"), "{detail}");
    assert_eq!(shop.orders(), 0);

    shop.script.forget();
    shop.script.be_late(u32::MAX);
    shop.script.give(shop.job(Http01, &["www.shop.test"]));
    let trouble = shop.failed().await;
    assert!(matches!(trouble, Trouble::Precheck(Precheck::Challenge { .. })), "{trouble:?}");
    assert_eq!(shop.orders(), 0);
}

#[tokio::test]
async fn who_has_lost_a_job_says_nothing_more_of_it_and_takes_the_next() {
    let shop = Shop::open(AT_POPS).await;
    let _agent = shop.agent();
    shop.script.lose_at(|news| matches!(news, News::Ordered(_)));
    shop.script.give(shop.job(Http01, &["www.shop.test"]));
    let is_it = |news: &News| matches!(news, News::Validating { .. });
    shop.script.hear("a validation", is_it).await;
    let revoke = Task::AskRenewal(Box::new(RenewalQuestion {
        hostname: HostnameId(1),
        certificate: "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE".to_owned(),
        authority: shop.pebble.authority(),
    }));
    shop.script.give_task(revoke);
    shop.script.renewal().await;
    shop.script.lose_at(|_| false);
    shop.script.forget();
    shop.script.give(shop.job(Http01, &["www.shop.test"]));
    shop.issued().await;
    assert_eq!(shop.script.count(|news| matches!(news, News::Failed { .. })), 0);
    assert_eq!(shop.orders(), 1);
}

#[tokio::test]
async fn another_agent_goes_on_where_one_died() {
    let steps: [fn(&News) -> bool; 4] = [
        |news| matches!(news, News::AccountMade { .. }),
        |news| matches!(news, News::Validating { .. }),
        |news| matches!(news, News::Ordered(_)),
        |news| matches!(news, News::Issued { .. }),
    ];
    for step in steps {
        let shop = Shop::open(AT_POPS).await;
        shop.script.be_deaf_to(Some(step));
        let first = shop.agent();
        shop.script.give(shop.job(Http01, &["www.shop.test"]));
        let dies = async || (shop.script.unheard() > 0).then_some(());
        wait_until("an agent has come so far", DEADLINE, dies).await;
        drop(first);
        shop.script.be_deaf_to(None);
        let order = shop
            .script
            .news()
            .into_iter()
            .find_map(|news| if let News::Ordered(order) = news { Some(order) } else { None });
        let _second = shop.agent();
        let again = Assignment { fence: Fence(4), order, ..shop.job(Http01, &["www.shop.test"]) };
        shop.script.give(again);
        check(&shop.issued().await[0], &["www.shop.test"], KeyType::Ecdsa);
        assert!(shop.orders() <= 2, "{:?}", shop.script.news());
        assert_eq!(shop.script.count(|news| matches!(news, News::Issued { .. })), 1);
    }
}

#[tokio::test]
async fn an_agent_that_is_to_finish_does_the_job_it_has_and_leases_no_other() {
    let shop = Shop::open(AT_POPS).await;
    let mut agent = shop.agent();
    shop.script.give(shop.job(Http01, &["www.shop.test"]));
    let is_it = |news: &News| matches!(news, News::Ordered(_));
    shop.script.hear("an order", is_it).await;

    agent.orders.send_replace(Orders::Rest);
    shop.script.give(shop.job(Http01, &["www.shop.test"]));
    agent.orders.send_replace(Orders::Finish);
    agent.ended().await;

    check(&shop.issued().await[0], &["www.shop.test"], KeyType::Ecdsa);
    assert_eq!(shop.orders(), 1);
}

#[tokio::test]
async fn hands_a_certificate_over_once_the_control_plane_is_back() {
    let shop = Shop::open(AT_POPS).await;
    shop.script.be_deaf_to(Some(|news| matches!(news, News::Issued { .. } | News::Alive)));
    let _agent = shop.agent();
    let job = shop.job(Http01, &["www.shop.test"]);
    shop.script.give(Assignment { lease_seconds: 20, ..job });
    let tried = async || (shop.script.unheard() > 3).then_some(());
    wait_until("the control plane was not heard", DEADLINE * 2, tried).await;
    shop.script.be_deaf_to(None);
    check(&shop.issued().await[0], &["www.shop.test"], KeyType::Ecdsa);
    assert_eq!(shop.orders(), 1);
}

#[tokio::test]
async fn an_edge_whose_disk_is_full_says_so_where_pops_take_nothing_up() {
    const WORDS: &str = "the database or disk is full";
    let mut shop = Shop::open(AT_POPS).await;
    shop.settings.propagation = Duration::from_millis(300);
    let _agent = shop.agent();
    for is_full in [false, true] {
        if is_full {
            shop.script.fill_disk(WORDS);
        }
        shop.script.forget();
        shop.script.be_late(u32::MAX);
        shop.script.give(shop.job(Http01, &["www.shop.test"]));
        let trouble = shop.failed().await;
        let is_of_disk = matches!(&trouble, Trouble::Disk { detail } if detail.as_str() == WORDS);
        assert_eq!(is_of_disk, is_full, "{trouble:?}");
    }
    assert_eq!(shop.orders(), 0);
}

#[tokio::test]
async fn revokes_and_asks_when_to_renew() {
    let shop = Shop::open(AT_POPS).await;
    let _agent = shop.agent();
    shop.script.give(shop.job(Http01, &["www.shop.test"]));
    let certificate = shop.issued().await[0].chain[0].clone();
    let mut authority = shop.pebble.authority();
    authority.account = shop.script.account();
    shop.script.give_task(Task::AskRenewal(Box::new(RenewalQuestion {
        hostname: HostnameId(1),
        certificate: CertificateId::of(&certificate).unwrap().to_string(),
        authority: authority.clone(),
    })));
    let report = shop.script.renewal().await;
    assert!(report.trouble.is_none() && report.advice.is_some(), "{report:?}");
    shop.script.give_task(Task::Revoke(Box::new(Revocation {
        job: JobId(8),
        fence: Fence(1),
        lease_seconds: 30,
        authority,
        certificate: certificate.0,
        reason: 4,
        key: None,
    })));
    shop.script.hear("a revocation", |news| matches!(news, News::Revoked)).await;
}

#[tokio::test]
async fn revokes_by_the_certificates_own_key_where_the_account_is_lost_or_refused() {
    let shop = Shop::open(AT_POPS).await;
    let _agent = shop.agent();
    let mut job = shop.job(Http01, &["www.shop.test"]);
    job.key_types = vec![KeyType::Ecdsa, KeyType::Rsa];
    shop.script.give(job);
    let issued = shop.issued().await;
    let known = shop.script.account().unwrap();
    let url = known.url.as_ref().map(|url| format!("{url}0"));
    let unknown = Account { url, ..known };
    for (number, (account, issued)) in [None, Some(unknown)].into_iter().zip(&issued).enumerate() {
        let mut authority = shop.pebble.authority();
        authority.account = account;
        let revocation = |key| Revocation {
            job: JobId(8 + number as i64),
            fence: Fence(1),
            lease_seconds: 30,
            authority: authority.clone(),
            certificate: issued.chain[0].0.clone(),
            reason: 1,
            key,
        };
        shop.script.forget();
        shop.script.give_task(Task::Revoke(Box::new(revocation(None))));
        shop.failed().await;
        shop.script.forget();
        let key = issued.keys.first().cloned();
        shop.script.give_task(Task::Revoke(Box::new(revocation(key))));
        shop.script.hear("a revocation", |news| matches!(news, News::Revoked)).await;
    }
}

#[tokio::test]
async fn an_agent_that_dies_while_an_account_gets_a_new_key_leaves_one_that_works() {
    let shop = Shop::open(&format!("{AT_POPS}\napi A 127.0.0.2")).await;
    let agent = shop.agent();
    shop.script.give(shop.job(Http01, &["www.shop.test"]));
    shop.issued().await;
    let before = shop.script.account().unwrap();
    let errand = |fence| {
        let mut authority = shop.pebble.authority();
        authority.account = shop.script.account();
        let (job, fence) = (JobId(8), Fence(fence));
        let successor = shop.script.successor();
        Box::new(AccountErrand { job, fence, lease_seconds: 30, authority, successor })
    };
    // The CA has the new key, and nobody else hears of it.
    shop.script.be_deaf_to(Some(|news| matches!(news, News::KeyReplaced { .. })));
    shop.script.give_task(Task::ReplaceKey(errand(1)));
    let tried = async || (shop.script.unheard() > 0).then_some(());
    wait_until("the account's new key", DEADLINE * 2, tried).await;
    drop(agent);
    shop.script.be_deaf_to(None);
    let _agent = shop.agent();
    shop.script.forget();
    shop.script.give_task(Task::ReplaceKey(errand(2)));
    shop.script.hear("the new key", |news| matches!(news, News::KeyReplaced { .. })).await;
    let after = shop.script.account().unwrap();
    assert_eq!(after.url, before.url);
    assert_ne!(after.thumbprint, before.thumbprint);
    assert_eq!(shop.script.count(|news| matches!(news, News::SuccessorMade { .. })), 0);

    let mut errand = errand(3);
    errand.authority.contact = vec!["mailto:new@shop.test".to_owned()];
    shop.script.give_task(Task::UpdateAccount(errand));
    shop.script.hear("a new contact", |news| matches!(news, News::AccountUpdated { .. })).await;
    shop.script.give(shop.job(Http01, &["api.shop.test"]));
    check(&shop.issued().await[0], &["api.shop.test"], KeyType::Ecdsa);
}

#[tokio::test]
async fn what_is_sealed_to_an_older_group_key_is_sealed_anew_and_nothing_is_ordered_without_the_key()
 {
    let shop = Shop::open(AT_POPS).await;
    let _agent = shop.agent();
    let job = |group_key: &str, fence| {
        let mut job = shop.job(Http01, &["www.shop.test"]);
        job.authority.group_key = group_key.to_owned();
        Assignment { fence: Fence(fence), ..job }
    };
    shop.script.give(job("lost", 1));
    let trouble = shop.failed().await;
    assert_eq!(trouble, Trouble::NoGroupKey { key_id: "lost".into() });
    shop.script.forget();
    shop.script.give(job("old", 2));
    assert_eq!(shop.issued().await[0].keys[0].key.key_id, "old");
    assert_eq!(shop.script.account().unwrap().key.key_id, "old");
    shop.script.forget();
    shop.script.give(job("new", 3));
    assert_eq!(shop.issued().await[0].keys[0].key.key_id, "new");
    assert_eq!(shop.script.account().unwrap().key.key_id, "new");
    assert_eq!(shop.script.count(|news| matches!(news, News::AccountResealed { .. })), 1);
}

#[tokio::test]
async fn nothing_is_ordered_while_the_control_planes_clock_is_far_off() {
    let shop = Shop::open(AT_POPS).await;
    let _agent = shop.agent();
    for ahead in [time::Duration::days(365), time::Duration::minutes(-6)] {
        shop.script.forget();
        shop.script.set_ahead(ahead);
        shop.script.give(shop.job(Http01, &["www.shop.test"]));
        let trouble = shop.failed().await;
        assert!(matches!(trouble, Trouble::ControlClockOff { .. }), "{trouble:?}");
    }
    assert_eq!(shop.orders(), 0);
}

/// Panics where a secret is to be sealed for one name.
struct Trap;

impl Vault for Trap {
    fn holds(&self, group_key: &str) -> bool {
        OpenVault.holds(group_key)
    }

    fn seal(
        &self,
        group_key: &str,
        context: SealContext<'_>,
        secret: &[u8],
    ) -> Result<landfall_model::Sealed, landfall_issuance::agent::VaultError> {
        if let SealContext::PrivateKey { hostname, .. } = context {
            assert_ne!(hostname.to_string(), "trap.shop.test", "a defect");
        }
        OpenVault.seal(group_key, context, secret)
    }

    fn open(
        &self,
        sealed: &landfall_model::Sealed,
        context: SealContext<'_>,
    ) -> Result<zeroize::Zeroizing<Vec<u8>>, landfall_issuance::agent::VaultError> {
        OpenVault.open(sealed, context)
    }
}

#[tokio::test]
async fn a_job_that_panics_ends_alone() {
    let shop = Shop::open(&format!("{AT_POPS}\ntrap A 127.0.0.2")).await;
    let _agent = shop.agent_with(Trap);
    shop.script.give(shop.job(Http01, &["trap.shop.test"]));
    shop.script.hear("an order", |news| matches!(news, News::Ordered(_))).await;
    shop.script.give(shop.job(Http01, &["www.shop.test"]));
    check(&shop.issued().await[0], &["www.shop.test"], KeyType::Ecdsa);
}
