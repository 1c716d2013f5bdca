//! What fails on the way to a certificate: each failure has its class, the words of whom it comes from and
//! the time of the next attempt, nobody is asked in a loop, and what is served stays served.

use landfall_tests::{
    CUSTOMER_ZONE, DEADLINE, FLEET_DOMAIN, Fleet, Instead, Moment, Origin, wait_until,
};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

use super::{HERE, Scene};

const NAME: &str = "www.customer.test";
/// Of a hostname that has its certificate before anything fails.
const SERVED: &str = "before.customer.test";
/// Attempts that may be made soon are no nearer to each other: 15 seconds, less a quarter.
const APART: Duration = Duration::seconds(10);
/// What an agent asks of a CA in an attempt that fails at its order, with nonces that are refused.
const CALLS: usize = 12;

impl Scene {
    /// Waits until attempts at the hostname's certificate came to this, and says what is told of the
    /// last one.
    async fn attempt(&self, path: &str, class: &str, least: usize) -> Value {
        let what = format!("{least} attempts fail by {class}");
        let attempts = wait_until(&what, DEADLINE * 3, async || {
            let explanation = self.explain(path).await;
            let attempts = explanation["attempts"].as_array().unwrap().clone();
            (attempts.len() >= least).then_some(attempts)
        })
        .await;
        assert!(attempts.iter().all(|own| own["class"] == class), "{attempts:#?}");
        attempts.first().unwrap().clone()
    }

    async fn explain(&self, path: &str) -> Value {
        self.fleet.lab.api().read(&format!("{path}/explain")).await
    }

    /// Expects two attempts to fail alike, some time apart, with few calls to the CA, while what is served
    /// stays served. Says what is told of the last one.
    async fn fails(&self, path: &str, class: &str) -> Value {
        let before = self.ca.all_calls();
        let first = self.attempt(path, class, 1).await;
        assert!(at(&first["nextAttemptAt"]) >= at(&first["at"]) + APART, "{first}");
        let explanation = self.explain(path).await;
        assert!(
            at(&explanation["nextAttemptAt"]) >= at(&first["nextAttemptAt"]),
            "{explanation:#}"
        );
        self.serves_on().await;
        let second = self.attempt(path, class, 2).await;
        assert!(at(&second["at"]) >= at(&first["at"]) + APART, "{first} {second}");
        let calls = self.ca.all_calls() - before;
        assert!(calls <= 2 * CALLS, "{:?}", self.ca.counts());
        second
    }

    /// What had its certificate before is served with it by every edge that runs.
    async fn serves_on(&self) {
        for number in 0..self.fleet.edges() {
            let shown = self.fleet.certificate(number, SERVED, &[]).await;
            assert!(shown.is_some(), "edge {number} shows nothing for {SERVED}");
        }
    }
}

fn at(text: &Value) -> OffsetDateTime {
    let text = text.as_str().unwrap_or_else(|| panic!("no time: {text}"));
    OffsetDateTime::parse(text, &Rfc3339).unwrap()
}

fn problem(kind: &str, detail: &str) -> String {
    json!({"type": format!("urn:ietf:params:acme:error:{kind}"), "detail": detail}).to_string()
}

/// A CA that says this instead of taking orders.
async fn fails_while_the_ca_says(instead: Instead, class: &str) -> (Scene, String, Value) {
    let scene = Scene::start(2, &[]).await;
    scene.serve(SERVED).await;
    scene.ca.say(&["newOrder"], instead);
    let path = scene.add(NAME).await;
    let failed = scene.fails(&path, class).await;
    scene.ca.pass();
    (scene, path, failed)
}

#[tokio::test]
async fn a_ca_that_is_down_is_asked_again_soon() {
    let mut scene = Scene::start(2, &[]).await;
    scene.serve(SERVED).await;
    scene.ca.close().await;

    let path = scene.add(NAME).await;
    let failed = scene.fails(&path, "authority_down").await;

    assert!(failed["error"].as_str().unwrap().contains("onnection refused"), "{failed}");
    assert!(failed["advice"].as_str().unwrap().contains("temporarily unavailable"), "{failed}");
    scene.ca.open().await;
    scene.fleet.wait_until_served_everywhere(NAME, "shop").await;
}

#[tokio::test]
async fn a_ca_that_answers_nothing_is_given_up_after_a_while() {
    let (scene, _, failed) = fails_while_the_ca_says(Instead::Silence, "authority_slow").await;
    let told = failed["operatorAdvice"].as_str().unwrap();
    assert!(told.contains("did not answer within 20 s"), "{failed}");
    scene.fleet.wait_until_served_everywhere(NAME, "shop").await;
}

#[tokio::test]
async fn a_ca_that_is_broken_is_quoted() {
    let body = problem("serverInternal", "the database is away");
    let instead =
        Instead::Answer(500, vec![("content-type", "application/problem+json".into())], body);
    let (scene, _, failed) = fails_while_the_ca_says(instead, "authority_busy").await;
    assert_eq!(failed["error"], "the database is away");
    scene.fleet.wait_until_served_everywhere(NAME, "shop").await;
}

#[tokio::test]
async fn a_page_for_people_in_place_of_an_answer_is_quoted_without_its_tags() {
    let page = "<html><body><h1>Maintenance</h1><p>back <b>soon</b></p></body></html>".to_owned();
    let instead = Instead::Answer(200, vec![("content-type", "text/html".into())], page);
    let (scene, _, failed) = fails_while_the_ca_says(instead, "authority_nonsense").await;
    assert_eq!(failed["error"], "Maintenance back soon");
    scene.fleet.wait_until_served_everywhere(NAME, "shop").await;
}

#[tokio::test]
async fn a_time_that_the_ca_asks_to_wait_for_is_kept_over_a_restart() {
    let mut scene = Scene::start(2, &[]).await;
    scene.serve(SERVED).await;
    let headers = vec![
        ("retry-after", "40".to_owned()),
        ("content-type", "application/problem+json".to_owned()),
    ];
    let body = problem("rateLimited", "too many certificates already issued for customer.test");
    scene.ca.say(&["newOrder"], Instead::Answer(429, headers, body));
    let before = scene.ca.calls("newOrder");

    let path = scene.add(NAME).await;
    let failed = scene.attempt(&path, "rate_limited", 1).await;
    let until = at(&failed["at"]) + Duration::seconds(38);
    assert!(at(&failed["nextAttemptAt"]) >= until, "{failed}");
    scene.ca.pass();
    scene.fleet.lab.control().kill().await;
    scene.fleet.lab.control().start();
    scene.fleet.lab.wait_until_control_is_ready().await;
    wait_until("the hostname waits for the CA", DEADLINE, async || {
        let explanation = scene.explain(&path).await;
        let waits = explanation["jobs"][0]["waitingFor"] == "hold";
        (waits && at(&explanation["nextAttemptAt"]) >= until).then_some(())
    })
    .await;
    assert_eq!(scene.ca.calls("newOrder"), before + 1);
    scene.serves_on().await;
    scene.fleet.wait_until_served_everywhere(NAME, "shop").await;

    assert!(OffsetDateTime::now_utc() >= until);
    let explanation = scene.explain(&path).await;
    assert_eq!(explanation["attempts"].as_array().unwrap().len(), 2, "{explanation:#}");
}

#[tokio::test]
async fn what_is_no_directory_waits_for_the_operator() {
    let mut scene = Scene::start(2, &[]).await;
    scene.ca.say(&["directory"], Instead::Answer(200, Vec::new(), r#"{"newNonce": "x"}"#.into()));

    let path = scene.add(NAME).await;
    let failed = scene.attempt(&path, "bad_directory", 1).await;

    assert!(failed["error"].as_str().unwrap().contains("missing field"), "{failed}");
    assert!(failed["operatorAdvice"].as_str().unwrap().contains("directory is wrong"), "{failed}");
    let later = at(&failed["at"]) + Duration::hours(4);
    assert!(at(&failed["nextAttemptAt"]) >= later, "{failed}");
    wait_until("the hostname waits for the operator", DEADLINE, async || {
        let explanation = scene.explain(&path).await;
        (at(&explanation["nextAttemptAt"]) >= later).then_some(())
    })
    .await;
    assert_eq!(scene.ca.all_calls(), 1);
    assert_eq!(scene.fleet.lab.get(0, "shop.edge.test", "/").await.unwrap().text, "shop");
    // The operator mends it.
    scene.ca.pass();
    scene.fleet.lab.control().stop().await;
    scene.fleet.lab.control().start();
    scene.fleet.wait_until_served_everywhere(NAME, "shop").await;
}

#[tokio::test]
async fn dns_that_is_gone_before_the_ca_looks_fails_by_the_owners_fault() {
    let mut scene = Scene::start(2, &[]).await;
    scene.serve(SERVED).await;
    scene.ca.hold("challenge", Moment::Before);
    let path = scene.add(NAME).await;
    scene.ca.wait_until_held().await;
    let stays = "before CNAME shop.edge.test.\n";
    scene.fleet.set_zone(CUSTOMER_ZONE, stays).await;
    scene.ca.release();

    let failed = scene.attempt(&path, "dns_not_here", 1).await;

    assert!(failed["advice"].as_str().unwrap().contains("its DNS record is gone"), "{failed}");
    assert!(at(&failed["nextAttemptAt"]) > at(&failed["at"]), "{failed}");
    let orders = scene.ca.granted("newOrder");
    scene.serves_on().await;
    // It leads here again, and is verified: the next attempt comes by itself.
    scene.fleet.set_zone(CUSTOMER_ZONE, HERE).await;
    wait_until("the hostname is served again", DEADLINE * 5, async || {
        let answer = scene.fleet.get(0, NAME, "/").await.ok()?;
        (answer.status == 200).then_some(())
    })
    .await;
    assert_eq!(scene.ca.granted("newOrder"), orders + 1);
}

#[tokio::test]
async fn another_server_that_answers_the_ca_is_told_to_the_owner() {
    let mut scene = Scene::start(2, &[]).await;
    scene.serve(SERVED).await;
    let http = scene.fleet.lab.http(0).port();
    let _other = Origin::at(([127, 0, 0, 9], http).into(), "not yours").await;
    scene.ca.hold("challenge", Moment::Before);
    let path = scene.add(NAME).await;
    scene.ca.wait_until_held().await;
    scene.fleet.set_zone(CUSTOMER_ZONE, &format!("{HERE}www A 127.0.0.9\n")).await;
    scene.fleet.resolver.wait_until_at(NAME, [127, 0, 0, 9].into()).await;
    scene.ca.release();

    let failed = scene.attempt(&path, "wrong_answer", 1).await;

    assert!(failed["error"].as_str().unwrap().contains("not yours"), "{failed}");
    assert!(failed["advice"].as_str().unwrap().contains("Another server answered"), "{failed}");
    assert!(at(&failed["nextAttemptAt"]) >= at(&failed["at"]) + Duration::seconds(40), "{failed}");
    scene.serves_on().await;
}

#[tokio::test]
async fn caa_records_that_forbid_the_ca_cost_no_order() {
    let identities: toml::Value = vec!["ca.test"].into();
    let settings = [("issuance.authority.pebble.caa_identities", identities)];
    let mut scene = Scene::start(2, &settings).await;
    scene.serve(SERVED).await;
    let before = scene.ca.calls("newOrder");
    let zone = format!("{HERE}@ CAA 0 issue \"other.test\"\n");
    scene.fleet.set_zone(CUSTOMER_ZONE, &zone).await;

    let path = scene.add(NAME).await;
    let failed = scene.attempt(&path, "caa_forbids", 1).await;

    let advice = failed["advice"].as_str().unwrap();
    assert!(advice.contains("CAA 0 issue \"ca.test\""), "{failed}");
    assert!(at(&failed["nextAttemptAt"]) >= at(&failed["at"]) + Duration::seconds(40), "{failed}");
    assert_eq!(scene.ca.calls("newOrder"), before);
    scene.serves_on().await;
}

#[tokio::test]
async fn a_pop_that_is_gone_keeps_certificates_from_nobody_for_long() {
    let builder = Fleet::builder(2)
        .control_setting("pops.unhealthy_after", "45s")
        .edge_setting("issuance.propagation_timeout", "5s");
    let mut scene = Scene::of(builder).await;
    scene.fleet.lab.edge(1).kill().await;

    let path = scene.add(NAME).await;
    let failed = scene.attempt(&path, "pop_unreachable", 1).await;

    assert!(failed["operatorAdvice"].as_str().unwrap().contains("edge1"), "{failed}");
    assert!(at(&failed["nextAttemptAt"]) >= at(&failed["at"]) + APART, "{failed}");
    assert_eq!(scene.ca.calls("newOrder"), 0);
    // As the operator would have it.
    scene.fleet.set_zone(FLEET_DOMAIN, "* A 127.0.0.2\n").await;
    wait_until("the other edge serves it", DEADLINE * 6, async || {
        let answer = scene.fleet.get(0, NAME, "/").await.ok()?;
        (answer.status == 200).then_some(())
    })
    .await;
    assert_eq!(scene.ca.granted("newOrder"), 1);
}

#[tokio::test]
async fn a_clock_that_is_off_costs_no_order_and_is_looked_at_again() {
    let scene = Scene::start(2, &[]).await;
    scene.ca.set_clock_ahead(std::time::Duration::from_secs(600));

    let path = scene.add(NAME).await;
    let failed = scene.attempt(&path, "clock_off", 1).await;

    let told = failed["operatorAdvice"].as_str().unwrap();
    assert!(told.contains("s ahead of the agent's"), "{failed}");
    assert!(at(&failed["nextAttemptAt"]) >= at(&failed["at"]) + APART, "{failed}");
    assert_eq!(scene.ca.calls("newOrder"), 0);
    scene.ca.set_clock_ahead(std::time::Duration::ZERO);
    scene.fleet.wait_until_served_everywhere(NAME, "shop").await;
}

#[tokio::test]
async fn an_account_that_the_ca_has_forgotten_is_told_to_the_operator() {
    let mut scene = Scene::start(2, &[]).await;
    scene.serve(SERVED).await;
    scene.fleet.pebble.resume().await;

    let path = scene.add(NAME).await;
    let failed = scene.attempt(&path, "account_gone", 1).await;

    assert!(failed["operatorAdvice"].as_str().unwrap().contains("our account"), "{failed}");
    assert!(!failed["error"].as_str().unwrap().is_empty());
    scene.serves_on().await;
}

#[tokio::test]
async fn a_node_whose_disk_is_full_is_named_and_everything_goes_on_once_it_is_free() {
    let builder =
        Fleet::builder(2).edge_disk("6m").edge_setting("issuance.propagation_timeout", "5s");
    let mut scene = Scene::of(builder).await;
    scene.serve(SERVED).await;
    scene.fleet.lab.edge(1).fill_disk().await;

    let path = scene.add(NAME).await;
    let (mut own, others) = (Vec::new(), "pop_unreachable");
    let failed = wait_until("an attempt fails for the full disk", DEADLINE * 3, async || {
        let explanation = scene.explain(&path).await;
        own = explanation["attempts"].as_array().unwrap().clone();
        own.extract_if(.., |own| own["class"] == others).next()
    })
    .await;

    assert!(failed["operatorAdvice"].as_str().unwrap().contains("edge1"), "{failed}");
    // Its own agent may have taken the job before the first write told it that its disk is full.
    assert!(own.iter().all(|own| own["class"] == "disk" && own["pop"] == "edge1"), "{own:#?}");
    scene.serves_on().await;
    scene.fleet.lab.edge(1).free_disk().await;
    // After a third failure the next attempt is over a minute later.
    wait_until("the hostname is served", DEADLINE * 6, async || {
        let answer = scene.fleet.get(0, NAME, "/").await.ok()?;
        (answer.status == 200).then_some(())
    })
    .await;
    scene.fleet.wait_until_served_everywhere(NAME, "shop").await;
}
