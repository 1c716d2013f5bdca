//! What a CA refuses, in its own words.

use landfall_issuance::{
    acme::{AcmeError, NewOrder},
    failure::{FailureClass, ProblemKind, Step},
};
use landfall_model::{ChallengeMethod, KeyType};
use landfall_tests::{Authority, acme::Pebble};

use crate::support::{Customer, Prover, challenges, class, finish, names, problem};

/// A CA that looks for names under `shop.test` here, where nothing answers challenges unless asked to.
async fn lab(records: &str) -> (Pebble, Customer, Authority) {
    let dns = Authority::start(&[("shop.test", records)]).await;
    let pebble = Pebble::builder().dns(dns.address()).start().await;
    let customer = Customer::of(&pebble.authority()).await;
    (pebble, customer, dns)
}

#[tokio::test]
async fn tells_why_a_challenge_failed_and_which() {
    let (pebble, customer, _dns) = lab("www A 127.0.0.1").await;
    let _prover = Prover::start(pebble.http_port(), pebble.tls_port()).await;
    for (method, kind, expected) in [
        // Somebody answers, but not for this token.
        (ChallengeMethod::Http01, ProblemKind::Unauthorized, FailureClass::WrongAnswer),
        // The handshake fails: there is no certificate for the name.
        (ChallengeMethod::TlsAlpn01, ProblemKind::Unauthorized, FailureClass::AlpnRefused),
        (ChallengeMethod::Dns01, ProblemKind::Unauthorized, FailureClass::WrongAnswer),
    ] {
        let names = names(&["www.shop.test"]);
        let mut order = customer.order(&names).await;
        let error = finish(&mut order, &names, method, KeyType::Ecdsa).await.err().unwrap();
        let problem = problem(&error);
        assert_eq!((problem.kind, problem.method), (kind, Some(method)), "{problem:?}");
        assert_eq!(class(&error), expected, "{problem:?}");
        assert_eq!((problem.step, problem.status), (Step::Validation, None));
        assert!(!problem.detail.is_empty());
        // Answered again, the CA still says why.
        let again = order.answer(&names[0], method).await;
        assert!(
            again.is_err() || order.wait_until_ready(crate::support::deadline()).await.is_err()
        );
    }
}

#[tokio::test]
async fn tells_of_each_name_that_failed() {
    let (_pebble, customer, _dns) = lab("www A 127.0.0.1").await;
    // Nobody listens for the one, and the other does not exist.
    let names = names(&["www.shop.test", "gone.shop.test"]);
    let mut order = customer.order(&names).await;
    let error = finish(&mut order, &names, ChallengeMethod::Http01, KeyType::Ecdsa).await;
    let problem = problem(&error.err().unwrap());
    assert_eq!(problem.method, Some(ChallengeMethod::Http01));
    assert!(!problem.detail.is_empty(), "{problem:?}");
    // The CA may give up at the first one.
    assert!(problem.subproblems.is_empty() || problem.subproblems.len() == 2, "{problem:?}");
}

#[tokio::test]
async fn an_unknown_profile_a_name_against_the_policy_and_an_early_finish_are_refused() {
    let (_pebble, customer, _dns) = lab("").await;
    let www = names(&["www.shop.test"]);
    let new = NewOrder { names: &www, profile: Some("eternal"), replaces: None };
    let error = customer.session.order(new).await.err().unwrap();
    assert_eq!(problem(&error).kind, ProblemKind::InvalidProfile, "{error}");
    assert_eq!(class(&error), FailureClass::ProfileRefused);

    let error = customer.try_order(&names(&["www.blocked.test"])).await.err().unwrap();
    assert_eq!(problem(&error).kind, ProblemKind::RejectedIdentifier, "{error}");
    assert_eq!(class(&error), FailureClass::NameRefused);
    assert_eq!(problem(&error).step, Step::Order);

    let mut order = customer.order(&www).await;
    let error = order.finalize(b"not a request").await.unwrap_err();
    assert!(problem(&error).status.is_some_and(|status| status < 500), "{error}");
}

#[tokio::test]
async fn a_method_that_is_not_offered_costs_no_call() {
    let (_pebble, customer, _dns) = lab("").await;
    let names = names(&["*.shop.test"]);
    let mut order = customer.order(&names).await;
    let offered: Vec<_> = challenges(&mut order, ChallengeMethod::Dns01).await;
    assert_eq!(offered[0].name, names[0]);
    let error = order.answer(&names[0], ChallengeMethod::Http01).await.unwrap_err();
    assert!(matches!(error, AcmeError::NotOffered { .. }), "{error}");
}

#[tokio::test]
async fn an_order_that_was_forgotten_is_refused() {
    let (mut pebble, customer, _dns) = lab("").await;
    let www = names(&["www.shop.test"]);
    let url = customer.order(&www).await.url().to_owned();
    pebble.resume().await;
    let customer = Customer::of(&pebble.authority()).await;
    let error = customer.session.resume(&url, &www).await.err().unwrap();
    assert_eq!(class(&error), FailureClass::OrderGone, "{error:?}");
}

#[tokio::test]
async fn nonces_that_are_refused_one_time_in_three_cost_no_order() {
    let dns = Authority::start(&[("shop.test", "www A 127.0.0.1")]).await;
    let pebble = Pebble::builder().bad_nonces(33).dns(dns.address()).start().await;
    let prover = Prover::start(pebble.http_port(), pebble.tls_port()).await;
    let names = names(&["www.shop.test"]);
    let customer = Customer::of(&pebble.authority()).await;
    let mut order = customer.order(&names).await;
    prover.prove(&challenges(&mut order, ChallengeMethod::Http01).await);
    finish(&mut order, &names, ChallengeMethod::Http01, KeyType::Ecdsa).await.unwrap();
}
