//! Accounts: made once, kept, replaced, ended.

use std::sync::Arc;

use landfall_issuance::{
    acme::{AccountKey, Binding, Connector, Registration},
    failure::{FailureClass, ProblemKind},
};
use landfall_tests::acme::Pebble;

use crate::support::{Customer, class, names, problem};

#[tokio::test]
async fn a_key_has_one_account_however_often_it_registers() {
    let pebble = Pebble::builder().start().await;
    let connection = Connector::new().connect(&pebble.authority()).await.unwrap();
    let key = AccountKey::generate().unwrap();
    let missing = connection.find_account(&key).await.unwrap_err();
    assert_eq!(problem(&missing).kind, ProblemKind::AccountDoesNotExist);

    let contact = ["mailto:ops@shop.test".to_owned()];
    let registration = Registration { contact: &contact, binding: None };
    let url = connection.register(&key, registration).await.unwrap();
    assert_eq!(connection.register(&key, registration).await.unwrap(), url);
    assert_eq!(connection.find_account(&key).await.unwrap(), url);
    let other = AccountKey::generate().unwrap();
    assert_ne!(connection.register(&other, registration).await.unwrap(), url);
}

#[tokio::test]
async fn an_account_is_bound_to_an_external_one_where_the_ca_needs_it() {
    let secret = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let pebble = Pebble::builder().external_account("customer-1", secret).start().await;
    let connection = Connector::new().connect(&pebble.authority()).await.unwrap();
    assert!(connection.needs_external_account());
    let key = AccountKey::generate().unwrap();
    let without = connection.register(&key, Registration::default()).await.unwrap_err();
    assert_eq!(problem(&without).kind, ProblemKind::ExternalAccountRequired);
    assert_eq!(class(&without), FailureClass::AccountRefused);

    let secret = data_encoding::BASE64URL_NOPAD.decode(secret.as_bytes()).unwrap();
    let wrong = Binding::new("customer-1", b"another secret, of enough bytes for the CA").unwrap();
    let registration = Registration { contact: &[], binding: Some(&wrong) };
    let refused = connection.register(&key, registration).await.unwrap_err();
    assert!(problem(&refused).status.unwrap() < 500, "{refused}");

    let binding = Binding::new("customer-1", &secret).unwrap();
    let registration = Registration { contact: &[], binding: Some(&binding) };
    let url = connection.register(&key, registration).await.unwrap();
    assert_eq!(connection.register(&key, registration).await.unwrap(), url);
}

#[tokio::test]
async fn a_key_is_replaced_by_one_that_was_kept_before() {
    let pebble = Pebble::builder().start().await;
    let customer = Customer::of(&pebble.authority()).await;
    let url = customer.session.account().to_owned();
    let new = Arc::new(AccountKey::generate().unwrap());
    let connection = &customer.connection;
    connection.replace_key(&url, &customer.key, &new).await.unwrap();
    // Whoever didn't hear that it came about may say it again.
    connection.replace_key(&url, &customer.key, &new).await.unwrap();
    assert_eq!(connection.find_account(&new).await.unwrap(), url);
    assert!(connection.find_account(&customer.key).await.is_err());
    let again = Customer::with(customer.connection.clone(), new, &url).await;
    again.order(&names(&["www.shop.test"])).await;
    customer.try_order(&names(&["www.shop.test"])).await.err().expect("the old key is refused");
}

#[tokio::test]
async fn an_account_that_the_ca_has_forgotten_is_refused_as_such() {
    let mut pebble = Pebble::builder().start().await;
    let customer = Customer::of(&pebble.authority()).await;
    pebble.resume().await;
    let error = customer.try_order(&names(&["www.shop.test"])).await.err().unwrap();
    assert_eq!(problem(&error).kind, ProblemKind::AccountDoesNotExist, "{error}");
    assert_eq!(class(&error), FailureClass::AccountGone);
}

#[tokio::test]
async fn an_account_that_was_ended_orders_nothing() {
    let pebble = Pebble::builder().start().await;
    let customer = Customer::of(&pebble.authority()).await;
    let url = customer.session.account();
    customer.connection.deactivate(url, &customer.key).await.unwrap();
    let error = customer.try_order(&names(&["www.shop.test"])).await.err().unwrap();
    assert!(matches!(problem(&error).status, Some(401 | 403)), "{error}");
    assert_eq!(class(&error), FailureClass::AccountGone, "{error}");
    customer.connection.find_account(&customer.key).await.unwrap_err();
}

#[tokio::test]
async fn a_client_may_be_used_by_tasks_of_any_thread() {
    let pebble = Pebble::builder().bad_nonces(0).start().await;
    let authority = pebble.authority();
    let task = tokio::spawn(async move {
        let customer = Customer::of(&authority).await;
        let names = names(&["www.shop.test"]);
        let mut order = customer.order(&names).await;
        let _ = order.answer(&names[0], landfall_model::ChallengeMethod::Http01).await;
        order.wait_until_ready(crate::support::deadline()).await
    });
    // There is no such name.
    task.await.unwrap().unwrap_err();
}
