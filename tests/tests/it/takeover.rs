//! A hostname that moves from one property to another while clients are served.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use landfall_tests::{Authority, DEADLINE, Lab, Origin, wait_until};
use reqwest::{Client, Method};
use serde_json::{Value, json};

const NAME: &str = "www.customer.test";
const RECORDS: &str = "www A 127.0.0.1\n";

/// Asks again and again until told to stop. Every answer is a success, and once the new owner's
/// origin has answered, the former one's never does again.
async fn load(client: impl Fn() -> Client, url: &str, stop: &AtomicBool, answered: &AtomicU64) {
    let mut has_moved = false;
    while !stop.load(Ordering::Relaxed) {
        let answer = client().get(url).send().await.expect("a connection");
        assert_eq!(answer.status(), 200);
        match answer.text().await.expect("a body").as_str() {
            "claimant" => has_moved = true,
            "former" => assert!(!has_moved),
            other => panic!("{other}"),
        }
        answered.fetch_add(1, Ordering::Relaxed);
    }
}

async fn request(lab: &Lab, path: &str) -> landfall_tests::Answer {
    lab.api().send(Method::POST, &format!("{path}/request-certificate"), &json!({})).await
}

#[tokio::test]
async fn no_request_fails_while_a_hostname_moves_to_who_proves_it() {
    let mut dns = Authority::start(&[("customer.test", RECORDS)]).await;
    let (former, claimant) = (Origin::start("former").await, Origin::start("claimant").await);
    let lab = Lab::builder()
        .control_setting("internal_ca.external_hostnames", "verified")
        .control_setting("dns.resolvers", vec![dns.address().to_string()])
        .control_setting("dns.zone_port", i64::from(dns.address().port()))
        .control_setting("verification.allow_networks", vec!["127.0.0.0/8"])
        .start()
        .await;
    let api = lab.api();
    let former = api.create_property("former", former.address()).await;
    let hostname = api.add_hostname(former, NAME).await;
    let before = format!("/api/Property/{former}/hostname/{hostname}");
    wait_until("the former owner's hostname is verified", DEADLINE, async || {
        (request(&lab, &before).await.status == 200).then_some(())
    })
    .await;
    lab.wait_until_served(0, NAME, "former").await;
    let claimant = api.create_property("claimant", claimant.address()).await;
    let hostname = api.add_hostname(claimant, NAME).await;
    let after = format!("/api/Property/{claimant}/hostname/{hostname}");
    assert!(request(&lab, &after).await.status >= 400);

    let (stop, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    let url = format!("https://{NAME}:{}/", lab.https(0).port());
    let kept = lab.client(NAME);
    let moving = async {
        let busy = async |count| {
            let enough = async || (answered.load(Ordering::Relaxed) >= count).then_some(());
            wait_until("clients are busy", DEADLINE, enough).await;
        };
        busy(50).await;
        let ownership = api.read(&after).await["ownership"].clone();
        assert_eq!(ownership["txt"]["name"], "_cf-custom-hostname.www.customer.test");
        let token = ownership["txt"]["value"].as_str().unwrap();
        let records = format!("{RECORDS}_cf-custom-hostname.www TXT \"{token}\"\n");
        dns.set("customer.test", &records).await;
        wait_until("the claim is proven", DEADLINE, async || {
            (request(&lab, &after).await.status == 200).then_some(())
        })
        .await;
        lab.wait_until_served(0, NAME, "claimant").await;
        busy(answered.load(Ordering::Relaxed) + 50).await;
        stop.store(true, Ordering::Relaxed);
    };

    tokio::join!(
        load(|| lab.client(NAME), &url, &stop, &answered),
        load(|| lab.client(NAME), &url, &stop, &answered),
        load(|| kept.clone(), &url, &stop, &answered),
        moving,
    );

    assert_eq!(api.read(&after).await["status"], "Active");
    let lost = api.read(&before).await;
    assert_eq!((&lost["status"], &lost["statusCode"]), (&json!("Error"), &json!(2)));
    let gone = api.send(Method::DELETE, &before, &Value::Null).await;
    assert_eq!(gone.status, 204);
    lab.wait_until_served(0, NAME, "claimant").await;
}
