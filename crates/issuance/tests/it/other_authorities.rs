//! CAs that differ from Let's Encrypt's.

use landfall_issuance::acme::{AccountKey, Binding, Connector, NewOrder, Registration};
use landfall_model::{ChallengeMethod, KeyType};
use landfall_tests::{
    Authority, RecursiveResolver,
    acme::{Acme2certifier, Caddy},
};

use crate::support::{Customer, challenges, finish, names};

#[tokio::test]
async fn caddy_issues_for_a_wildcard_and_its_name() {
    let mut dns = Authority::start(&[("shop.test", "")]).await;
    let settings = "  cache-max-ttl: 0\n  cache-max-negative-ttl: 0";
    let resolver = RecursiveResolver::start(&dns, settings).await;
    let caddy = Caddy::start(resolver.address()).await;
    let customer = Customer::of(&caddy.authority()).await;
    let names = names(&["shop.test", "*.shop.test"]);
    let mut order = customer.order(&names).await;
    let values = challenges(&mut order, ChallengeMethod::Dns01).await;
    let record = |value: String| format!("_acme-challenge 0 TXT \"{value}\"");
    let records: Vec<_> = values.iter().map(|challenge| record(challenge.txt_value())).collect();
    dns.set("shop.test", &records.join("\n")).await;
    let issued = finish(&mut order, &names, ChallengeMethod::Dns01, KeyType::Ecdsa).await.unwrap();
    assert_eq!(customer.connection.renewal_advice(&issued.id()).await.unwrap(), None);
}

#[tokio::test]
async fn acme2certifier_issues_and_replaces_without_saying_so() {
    let secret = "b3VyIHNlY3JldCBvZiB0aGlydHktdHdvIGJ5dGVzISEh";
    let ca = Acme2certifier::start(&[("customer-1", secret)]).await;
    let connection = Connector::new().connect(&ca.authority()).await.unwrap();
    let key = std::sync::Arc::new(AccountKey::generate().unwrap());
    let secret = data_encoding::BASE64URL_NOPAD.decode(secret.as_bytes()).unwrap();
    let binding = Binding::new("customer-1", &secret).unwrap();
    let contact = ["mailto:ops@shop.test".to_owned()];
    connection.register(&key, Registration { contact: &contact, binding: None }).await.unwrap_err();
    let registration = Registration { contact: &contact, binding: Some(&binding) };
    let url = connection.register(&key, registration).await.unwrap();
    let customer = Customer::with(connection, key, &url).await;

    let names = names(&["www.shop.test"]);
    let mut order = customer.order(&names).await;
    let first = finish(&mut order, &names, ChallengeMethod::Http01, KeyType::Rsa).await.unwrap();
    let advice = customer.connection.renewal_advice(&first.id()).await.unwrap().unwrap();
    assert!(advice.start < advice.end);
    let id = first.id();
    let new = NewOrder { names: &names, profile: Some("classic"), replaces: Some(&id) };
    let mut order = customer.session.order(new).await.unwrap();
    let second = finish(&mut order, &names, ChallengeMethod::Http01, KeyType::Ecdsa).await.unwrap();
    assert_ne!(second.id(), first.id());
}
