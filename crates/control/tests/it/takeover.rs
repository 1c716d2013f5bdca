//! Names that move to whoever proves them.

use landfall_feed::record::HostnameRecord;
use landfall_model::HostnameState;
use rcgen::KeyPair;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    support::{
        Plane, Pop, answer, eventually, hostname_record,
        responder::{Reply, Responder},
    },
    upload::{ca, leaf, signed},
};

/// Of the PoP that [`Plane::pop`] adds.
const POP: &str = "192.0.2.1";

/// Two properties, and a DNS server that says that every name leads here.
struct Scene {
    dns: Responder,
    plane: Plane,
    pop: Pop,
    former: String,
    claimant: String,
}

impl Scene {
    async fn start() -> Self {
        Self::with("none").await
    }

    /// With this rule for the internal CA's certificates.
    async fn with(external_hostnames: &str) -> Self {
        let dns = Responder::start().await;
        for parent in ["one.test", ".one.test"] {
            dns.point(parent, POP);
        }
        let plane = Plane::start_with(json!({
            "dns": {"resolvers": [dns.address.to_string()], "zone_servers": false, "timeout": "2s"},
            "internal_ca": {"external_hostnames": external_hostnames},
        }))
        .await;
        let pop = plane.pop("pop-1").await;
        pop.epoch().await;
        let (former, claimant) = (plane.property("former").await, plane.property("claimant").await);
        Self { dns, plane, pop, former, claimant }
    }

    /// Publishes the TXT token of the hostname at `path`.
    async fn publish_token(&self, path: &str) {
        let hostname = self.plane.get(path).await.1;
        let txt = &hostname["ownership"]["txt"];
        let value = txt["value"].as_str().unwrap().to_owned();
        self.dns.set(txt["name"].as_str().unwrap(), Reply::Text(value));
    }

    async fn request(&self, path: &str) -> (StatusCode, Value) {
        answer(self.plane.request(Method::POST, &format!("{path}/request-certificate"))).await
    }

    /// Publishes a hostname's token, and asks for it to be looked at until that is done: a check that
    /// began before may still be on its way. Answers what is told of the hostname then.
    async fn prove(&self, path: &str) -> Value {
        self.publish_token(path).await;
        self.granted(path).await
    }

    async fn granted(&self, path: &str) -> Value {
        eventually(async || {
            let (status, hostname) = self.request(path).await;
            (status == StatusCode::OK).then_some(hostname)
        })
        .await
    }

    async fn record(&self, name: &str) -> HostnameRecord {
        let records = self.pop.records(self.pop.epoch().await, 0).await;
        hostname_record(&records, name)
    }

    async fn upload(&self, path: &str, name: &str) {
        let pair = signed(&leaf(name), &KeyPair::generate().unwrap(), &ca("Customer CA"));
        let (status, problem) = self.plane.post(&format!("{path}/certificate"), &pair).await;
        assert_eq!(status, StatusCode::OK, "{problem}");
    }

    async fn ownership(&self, path: &str) -> Value {
        self.plane.get(path).await.1["ownership"]["state"].clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proven_name_moves_with_what_serves_it_and_its_record_is_replaced() {
    let scene = Scene::start().await;
    let plane = &scene.plane;
    let before = plane.hostname(&scene.former, "www.one.test").await;
    scene.upload(&before, "www.one.test").await;
    assert_eq!(scene.request(&before).await.1["code"], "uploaded_certificate");
    let served = scene.record("www.one.test").await;
    let token = &plane.get(&before).await.1["ownership"]["txt"]["value"];
    let former_token = token.as_str().unwrap().to_owned();
    let after = plane.hostname(&scene.claimant, "www.one.test").await;
    let (status, problem) = scene.request(&after).await;
    assert!(status.is_client_error(), "{problem}");
    assert_eq!(scene.ownership(&after).await, "claimed");

    let hostname = scene.prove(&after).await;

    assert_eq!(
        (&hostname["status"], &hostname["ownership"]["state"]),
        (&json!("Active"), &json!("held"))
    );
    assert_eq!(hostname["certificates"][0]["source"], "inherited");
    let moved = scene.record("www.one.test").await;
    assert_ne!(moved.route.property, served.route.property);
    assert_eq!(moved.certificates, served.certificates);
    let (_, lost) = plane.get(&before).await;
    assert_eq!((&lost["status"], &lost["certificates"]), (&json!("Error"), &json!([])));
    assert!(lost["statusReason"].is_string(), "{lost}");
    // A token that the former owner had published gives nothing back.
    scene.dns.set("_cf-custom-hostname.www.one.test", Reply::Text(former_token));
    assert!(scene.request(&before).await.0.is_client_error());
    assert_eq!(scene.ownership(&before).await, "claimed");
    scene.upload(&after, "www.one.test").await;
    let (_, hostname) = plane.get(&after).await;
    assert_eq!(hostname["certificates"].as_array().unwrap().len(), 1);
    assert_eq!(hostname["certificates"][0]["source"], "uploaded");
    assert_eq!(plane.delete(&before).await.0, StatusCode::NO_CONTENT);
    assert_eq!(scene.record("www.one.test").await.hostname_id, moved.hostname_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proven_name_is_served_in_full_while_its_dns_is_still_looked_at() {
    let scene = Scene::start().await;
    let plane = &scene.plane;
    let before = plane.hostname(&scene.former, "www.one.test").await;
    scene.granted(&before).await;
    let after = plane.hostname(&scene.claimant, "www.one.test").await;
    scene.dns.set("www.one.test", Reply::Silence);
    scene.publish_token(&after).await;
    eventually(async || {
        scene.request(&after).await;
        (scene.ownership(&after).await == "held").then_some(())
    })
    .await;
    assert_eq!(plane.get(&after).await.1["status"], "PendingValidation");
    assert_eq!(scene.record("www.one.test").await.state, HostnameState::Active);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_managed_certificate_moves_for_good() {
    let scene = Scene::with("verified").await;
    let before = scene.plane.hostname(&scene.former, "www.one.test").await;
    scene.granted(&before).await;
    let served = eventually(async || {
        let record = scene.record("www.one.test").await;
        (!record.certificates.is_empty()).then_some(record)
    })
    .await;
    let after = scene.plane.hostname(&scene.claimant, "www.one.test").await;

    scene.prove(&after).await;

    let moved = scene.record("www.one.test").await;
    assert_ne!(moved.route.property, served.route.property);
    assert_eq!(scene.plane.get(&after).await.1["certificates"][0]["source"], "internal");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_under_a_wildcard_moves_and_the_wildcard_stays_and_the_other_way_round() {
    let scene = Scene::start().await;
    let wildcard = scene.plane.hostname(&scene.former, "*.one.test").await;
    scene.upload(&wildcard, "*.one.test").await;
    let exact = scene.plane.hostname(&scene.claimant, "www.one.test").await;
    let other = scene.plane.hostname(&scene.claimant, "*.one.test").await;
    assert_eq!(scene.ownership(&exact).await, "claimed");

    let hostname = scene.prove(&exact).await;
    assert_eq!(scene.ownership(&exact).await, "held");
    assert_eq!(scene.ownership(&wildcard).await, "held");
    // Edges know from then on whose it is, and have the wildcard's certificate for it until there is
    // one of its own.
    let published = scene.record("www.one.test").await;
    assert_eq!(json!(published.hostname_id.0), hostname["id"]);
    assert_eq!((published.state, published.certificates.len()), (HostnameState::Active, 0));
    scene.prove(&other).await;

    assert_eq!(scene.ownership(&other).await, "held");
    assert_eq!(scene.ownership(&exact).await, "held");
    assert_eq!(scene.plane.get(&wildcard).await.1["status"], "Error");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostname_that_loses_its_wildcard_keeps_its_name_and_one_that_loses_its_name_nothing() {
    let scene = Scene::start().await;
    let both = json!({"name": "one.test", "managedCertificate": {"wildcard": true}});
    let (_, hostname) = scene.plane.post(&format!("{}/hostname", scene.former), &both).await;
    let former = format!("{}/hostname/{}", scene.former, hostname["id"]);
    let wildcard = scene.plane.hostname(&scene.claimant, "*.one.test").await;
    scene.prove(&wildcard).await;
    let (_, hostname) = scene.plane.get(&former).await;
    assert_eq!(hostname["ownership"]["state"], "held");
    assert_eq!(hostname["managedCertificate"]["wildcard"], false);
    assert_eq!(scene.plane.delete(&wildcard).await.0, StatusCode::NO_CONTENT);
    let wanted = json!({"managedCertificate": {"wildcard": true}});
    assert_eq!(scene.plane.patch(&former, &wanted).await.0, StatusCode::OK);

    let (_, hostname) = scene.plane.post(&format!("{}/hostname", scene.claimant), &both).await;
    let base = format!("{}/hostname/{}", scene.claimant, hostname["id"]);
    scene.prove(&base).await;

    assert_eq!(scene.plane.get(&former).await.1["status"], "Error");
    for name in ["one.test", "*.one.test"] {
        assert_eq!(json!(scene.record(name).await.hostname_id.0), hostname["id"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostname_that_loses_its_name_goes_on_as_the_wildcard_that_it_keeps() {
    let scene = Scene::with("verified").await;
    let both = json!({"name": "one.test", "managedCertificate": {"wildcard": true}});
    let (_, hostname) = scene.plane.post(&format!("{}/hostname", scene.former), &both).await;
    let former = format!("{}/hostname/{}", scene.former, hostname["id"]);
    scene.granted(&former).await;
    let served = eventually(async || {
        let record = scene.record("*.one.test").await;
        (!record.certificates.is_empty()).then_some(record)
    })
    .await;

    let base = scene.plane.hostname(&scene.claimant, "one.test").await;
    scene.prove(&base).await;

    let kept = scene.record("*.one.test").await;
    assert_eq!((kept.hostname_id, kept.certificates.len()), (served.hostname_id, 1));
    assert_ne!(scene.record("one.test").await.hostname_id, served.hostname_id);
    let (_, hostname) = scene.plane.get(&former).await;
    assert_eq!((&hostname["name"], &hostname["status"]), (&json!("*.one.test"), &json!("Active")));
    assert_eq!(hostname["certificates"][0]["serves"], json!(["*.one.test"]));
    let events = scene.plane.get(&format!("{former}/events")).await.1;
    assert_eq!(events["items"][0]["kind"], "name_taken_over", "{events}");
    assert_eq!(events["items"][0]["detail"]["name"], "one.test");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_uploaded_for_a_lost_name_alone_stays_with_nobody_who_goes_on_as_the_wildcard() {
    let scene = Scene::start().await;
    let both = json!({"name": "one.test", "managedCertificate": {"wildcard": true}});
    let (_, hostname) = scene.plane.post(&format!("{}/hostname", scene.former), &both).await;
    let former = format!("{}/hostname/{}", scene.former, hostname["id"]);
    scene.granted(&former).await;
    scene.upload(&former, "one.test").await;

    let base = scene.plane.hostname(&scene.claimant, "one.test").await;
    scene.prove(&base).await;

    let (_, hostname) = scene.plane.get(&former).await;
    assert_eq!((&hostname["name"], &hostname["certificates"]), (&json!("*.one.test"), &json!([])));
    assert_eq!(scene.record("one.test").await.certificates.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wildcard_that_is_kept_goes_to_the_claim_that_its_property_has_for_it() {
    let scene = Scene::start().await;
    let third = scene.plane.property("third").await;
    let first = scene.plane.hostname(&third, "*.one.test").await;
    let claim = scene.plane.hostname(&scene.former, "*.one.test").await;
    assert_eq!(scene.ownership(&claim).await, "claimed");
    assert_eq!(scene.plane.delete(&first).await.0, StatusCode::NO_CONTENT);
    let both = json!({"name": "one.test", "managedCertificate": {"wildcard": true}});
    let (_, hostname) = scene.plane.post(&format!("{}/hostname", scene.former), &both).await;
    let former = format!("{}/hostname/{}", scene.former, hostname["id"]);

    let base = scene.plane.hostname(&scene.claimant, "one.test").await;
    scene.prove(&base).await;

    assert_eq!(scene.ownership(&claim).await, "held");
    assert_eq!(scene.plane.get(&former).await.1["status"], "Error");
    let id = scene.plane.get(&claim).await.1["id"].clone();
    assert_eq!(json!(scene.record("*.one.test").await.hostname_id.0), id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_whose_dns_leads_elsewhere_is_told_of_its_token_too() {
    let scene = Scene::start().await;
    scene.dns.point("www.one.test", "203.0.113.9");
    scene.plane.hostname(&scene.former, "www.one.test").await;
    let claim = scene.plane.hostname(&scene.claimant, "www.one.test").await;

    let (status, problem) = scene.request(&claim).await;

    assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
    assert_eq!(problem["code"], "dns_verification_failed");
    assert!(problem["detail"].as_str().unwrap().contains("publish its ownership token too"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_to_be_proven_though_its_holder_has_gone_or_let_go() {
    let scene = Scene::start().await;
    let both = json!({"name": "one.test", "managedCertificate": {"wildcard": true}});
    let (_, hostname) = scene.plane.post(&format!("{}/hostname", scene.former), &both).await;
    let holder = format!("{}/hostname/{}", scene.former, hostname["id"]);
    // Who may write files on one host need not speak for those below it.
    assert!(hostname["ownership"]["http"].is_null(), "{hostname}");
    let wildcard = scene.plane.hostname(&scene.claimant, "*.one.test").await;
    let base = scene.plane.hostname(&scene.claimant, "one.test").await;
    let narrower = json!({"managedCertificate": {"wildcard": false}});
    assert_eq!(scene.plane.patch(&holder, &narrower).await.0, StatusCode::OK);
    assert_eq!(scene.request(&wildcard).await.1["code"], "ownership_not_proven");
    assert_eq!(scene.plane.delete(&holder).await.0, StatusCode::NO_CONTENT);

    let (_, problem) = scene.request(&base).await;
    assert_eq!(problem["code"], "ownership_not_proven", "{problem}");
    let hostname = scene.prove(&base).await;

    assert_eq!(hostname["ownership"]["state"], "held");
    assert_eq!(scene.record("one.test").await.hostname_id.0, hostname["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_verified_stands_in_no_other_names_way() {
    let scene = Scene::start().await;
    // Nobody's DNS has such names.
    let squat = scene.plane.hostname(&scene.former, "nothing.two.test").await;
    let wild = scene.plane.hostname(&scene.former, "*.three.test").await;
    let path = scene.plane.hostname(&scene.claimant, "two.test").await;
    let wanted = json!({"managedCertificate": {"wildcard": true}});

    let (status, hostname) = scene.plane.patch(&path, &wanted).await;
    assert_eq!(status, StatusCode::OK, "{hostname}");
    scene.dns.point("two.test", POP);
    scene.granted(&path).await;
    let below = scene.plane.hostname(&scene.claimant, "www.three.test").await;
    assert_eq!(scene.ownership(&below).await, "held");
    scene.dns.point(".three.test", POP);
    scene.granted(&below).await;

    // What overlaps what others have verified meanwhile is a claim once its own DNS leads here.
    scene.dns.point(".two.test", POP);
    for late in [&squat, &wild] {
        assert_eq!(scene.ownership(late).await, "held");
        eventually(async || {
            let (_, problem) = scene.request(late).await;
            (problem["code"] == "ownership_not_proven").then_some(())
        })
        .await;
        assert_eq!(scene.ownership(late).await, "claimed");
    }
    let hostname = scene.prove(&squat).await;
    assert_eq!(hostname["ownership"]["state"], "held");
    assert_eq!(scene.ownership(&path).await, "held");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domains_files_are_fetched_now_and_then_however_many_claims_there_are() {
    let scene = Scene::start().await;
    scene.plane.hostname(&scene.former, "*.one.test").await;
    scene.plane.hostname(&scene.former, "one.test").await;
    let first = scene.plane.hostname(&scene.former, "a.one.test").await;
    scene.granted(&first).await;
    let wild = scene.plane.hostname(&scene.former, "b.one.test").await;
    scene.granted(&wild).await;
    let mut fetched = 0;
    for name in ["a.one.test", "b.one.test", "one.test"] {
        let claim = scene.plane.hostname(&scene.claimant, name).await;
        for _ in 0..2 {
            assert!(scene.request(&claim).await.0.is_client_error());
            let (_, told) = scene.plane.get(&format!("{claim}/explain")).await;
            let seen = &told["ownershipEvidence"];
            assert!(seen["txt"].is_object(), "{told}");
            fetched += usize::from(seen["http"].is_object());
            assert_eq!(seen["http"].is_object(), seen["httpNotBefore"].is_null(), "{told}");
        }
    }
    assert!((1..=3).contains(&fetched), "{fetched}");
}
