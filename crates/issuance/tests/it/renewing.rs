//! Renewal advice, replacement and revocation.

use landfall_issuance::acme::{NewOrder, RevocationReason};
use landfall_model::{ChallengeMethod, KeyType};
use landfall_tests::{
    Authority,
    acme::{Pebble, PebbleVersion},
};
use serde_json::json;
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

use crate::support::{Customer, Issued, Prover, challenges, finish, names};

struct Lab {
    pebble: Pebble,
    prover: Prover,
    customer: Customer,
    _dns: Authority,
}

async fn lab(version: PebbleVersion) -> Lab {
    let dns = Authority::start(&[("shop.test", "www A 127.0.0.1")]).await;
    let pebble = Pebble::builder().version(version).dns(dns.address()).start().await;
    let prover = Prover::start(pebble.http_port(), pebble.tls_port()).await;
    let customer = Customer::of(&pebble.authority()).await;
    Lab { pebble, prover, customer, _dns: dns }
}

impl Lab {
    async fn issue(&self, replaced: Option<&Issued>) -> Issued {
        let names = names(&["www.shop.test"]);
        let id = replaced.map(Issued::id);
        let new = NewOrder { names: &names, profile: None, replaces: id.as_ref() };
        let mut order = self.customer.session.order(new).await.unwrap();
        self.prover.prove(&challenges(&mut order, ChallengeMethod::Http01).await);
        finish(&mut order, &names, ChallengeMethod::Http01, KeyType::Ecdsa).await.unwrap()
    }
}

fn pem(issued: &Issued) -> String {
    let text = data_encoding::BASE64.encode(&issued.leaf().0);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

#[tokio::test]
async fn hears_when_to_renew_and_that_it_is_to_be_now() {
    let lab = lab(PebbleVersion::Newest).await;
    let issued = lab.issue(None).await;
    let connection = &lab.customer.connection;
    assert!(connection.advises_renewal());
    let now = OffsetDateTime::now_utc();
    let advice = connection.renewal_advice(&issued.id()).await.unwrap().unwrap();
    assert!(advice.start > now && advice.end > advice.start);
    assert!(advice.ask_again_at > now && advice.ask_again_at <= now + Duration::days(2));

    let ago = |days| (now - Duration::days(days)).format(&Rfc3339).unwrap();
    let early = json!({
        "suggestedWindow": {"start": ago(2), "end": ago(1)},
        "explanationURL": "https://ca.test/incident",
    });
    lab.pebble.set_renewal_info(&pem(&issued), &early).await;
    let advice = connection.renewal_advice(&issued.id()).await.unwrap().unwrap();
    assert!(advice.end < now);
    assert_eq!(advice.explanation.as_deref(), Some("https://ca.test/incident"));

    let renewed = lab.issue(Some(&issued)).await;
    assert_ne!(renewed.id(), issued.id());
    // It was replaced before: the order is made without saying so.
    lab.issue(Some(&issued)).await;
}

#[tokio::test]
async fn a_ca_without_renewal_info_gives_no_advice_and_replaces_nothing() {
    let lab = lab(PebbleVersion::V2_4).await;
    let issued = lab.issue(None).await;
    assert!(!lab.customer.connection.advises_renewal());
    assert_eq!(lab.customer.connection.renewal_advice(&issued.id()).await.unwrap(), None);
    lab.issue(Some(&issued)).await;
}

#[tokio::test]
async fn a_certificate_is_revoked_once_and_for_all() {
    let lab = lab(PebbleVersion::Newest).await;
    let issued = lab.issue(None).await;
    let session = &lab.customer.session;
    session.revoke(issued.leaf(), RevocationReason::Superseded).await.unwrap();
    session.revoke(issued.leaf(), RevocationReason::Superseded).await.unwrap();
    let other = Customer::of(&lab.pebble.authority()).await;
    let issued = lab.issue(None).await;
    let revoked = other.session.revoke(issued.leaf(), RevocationReason::Unspecified).await;
    revoked.expect_err("it is another account's");
}
