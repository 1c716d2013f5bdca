//! Names that are proven by DNS: records of ours where the owner has left them to us, and the owner's own.

use data_encoding::BASE64URL_NOPAD;
use landfall_feed::seal::sha256;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    agents::{THUMBPRINT, TXT, execute, explain, failed, lease, lease_one, register, report},
    challenge_zone::kdig,
    support::{
        Plane, Pop, answer, eventually,
        responder::{Reply, Responder},
        with_json,
    },
};

const NAME: &str = "shop.test";
const ZONE: &str = "dcv.edge.test";

struct Scene {
    plane: Plane,
    pop: Pop,
    property: String,
    dns: Responder,
}

/// A control plane with a CA, and with a zone of challenges if `zone` says so.
async fn scene(zone: Value, issuance: Value) -> Scene {
    let dns = Responder::start().await;
    let mut settings = json!({
        "certificate_authorities": ["own"],
        "authority": {"own": {"directory": "https://ca.test/directory"}},
    });
    for (key, value) in issuance.as_object().unwrap() {
        settings[key] = value.clone();
    }
    let plane = Plane::start_with(json!({
        "dns": {"resolvers": [dns.address.to_string()], "zone_servers": false, "timeout": "2s"},
        "issuance": settings,
        "challenge_zone": zone,
    }))
    .await;
    let pop = plane.pop("pop-1").await;
    pop.epoch().await;
    dns.point(NAME, "192.0.2.1");
    dns.point(&format!("*.{NAME}"), "192.0.2.1");
    let property = plane.property("shop").await;
    Scene { plane, pop, property, dns }
}

fn served() -> Value {
    json!({"zone": ZONE, "listen": ["127.0.0.1:0"], "nameservers": ["ns1.edge.test"]})
}

impl Scene {
    /// Adds the hostname with its wildcard, and waits until it is active.
    async fn wildcard(&self, method: &str) -> String {
        let body =
            json!({"name": NAME, "managedCertificate": {"method": method, "wildcard": true}});
        let (status, added) = self.plane.post(&format!("{}/hostname", self.property), &body).await;
        assert_eq!(status, StatusCode::CREATED, "{added}");
        let path = format!("{}/hostname/{}", self.property, added["id"]);
        let active = async || (self.plane.get(&path).await.1["status"] == "Active").then_some(());
        eventually(active).await;
        path
    }

    /// The owner leaves challenges to us, as the hostname says.
    async fn delegate(&self, hostname: &str) -> String {
        let (_, body) = self.plane.get(hostname).await;
        let record = &body["challengeRecord"];
        let (name, target) = (record["name"].as_str().unwrap(), record["target"].as_str().unwrap());
        assert_eq!((&record["type"], name), (&json!("CNAME"), "_acme-challenge.shop.test"));
        assert!(target.ends_with(&format!(".{ZONE}")), "{record}");
        self.dns.set(name, Reply::Alias(target.to_owned()));
        let (status, body) =
            self.plane.post(&format!("{hostname}/request-certificate"), &json!({})).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        assert_eq!(body["challengeRecord"]["seen"], "present", "{body}");
        target.to_owned()
    }

    async fn txt(&self, name: &str) -> Vec<String> {
        let [server] = self.plane.dns[..] else { panic!() };
        let text = kdig(server, &["+short", name, "TXT"]).await;
        let values = text.lines().map(|line| line.trim_matches('"').to_owned());
        let mut values: Vec<String> = values.filter(|value| !value.is_empty()).collect();
        values.sort();
        values
    }
}

/// What an agent says that it has to show, and the values of the TXT records.
fn validating() -> (Value, Vec<String>) {
    let digests = [sha256(b"one"), sha256(b"two")];
    let mut values: Vec<String> =
        digests.iter().map(|digest| BASE64URL_NOPAD.encode(digest)).collect();
    values.sort();
    let challenges = [(NAME.to_owned(), digests[0]), (format!("*.{NAME}"), digests[1])];
    let challenges = challenges.map(|(name, digest)| {
        let digest = data_encoding::BASE64.encode(&digest);
        json!({"name": name, "method": "dns-01", "digest": digest})
    });
    let news = json!({"news": "validating", "thumbprint": THUMBPRINT, "challenges": challenges});
    (news, values)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_is_told_the_record_for_a_wildcard_and_the_job_goes_on_once_it_is_there() {
    let scene = scene(served(), json!({})).await;
    let hostname = scene.wildcard("http").await;
    let told = eventually(async || {
        assert!(lease(&scene.pop, "agent-1", 0).await.is_empty());
        let body = explain(&scene.plane, &hostname).await;
        (body["attempts"][0]["class"] == "no_method").then_some(body)
    })
    .await;
    let record = &told["hostname"]["challengeRecord"];
    let sentence = format!(
        "Create the CNAME record _acme-challenge.shop.test that points at {}: a wildcard is proven by \
         DNS alone.",
        record["target"].as_str().unwrap()
    );
    assert!(told["attempts"][0]["advice"].as_str().unwrap().starts_with(&sentence), "{told}");
    assert!(told["summary"].as_str().unwrap().contains(&sentence), "{told}");

    let target = scene.delegate(&hostname).await;
    let task = lease_one(&scene.pop).await;
    assert_eq!(task["names"], json!([NAME, format!("*.{NAME}")]));
    assert_eq!(task["methods"], json!(["dns-01"]));
    assert_eq!(task["records"], json!({"by_us": {"target": target}}));
    scene.plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_published_for_a_lease_and_gone_with_it() {
    let scene = scene(served(), json!({"lease": "3s"})).await;
    let hostname = scene.wildcard("http").await;
    let target = scene.delegate(&hostname).await;
    let ends: [Option<Value>; 2] = [Some(failed("serverInternal", "busy", "order")), None];
    for (round, end) in ends.into_iter().enumerate() {
        execute(&scene.plane, "UPDATE job SET next_at = 0").await;
        execute(&scene.plane, "DELETE FROM hold").await;
        let task = lease_one(&scene.pop).await;
        if round == 0 {
            register(&scene.plane, &scene.pop, &task).await;
        }
        let (news, values) = validating();
        let reply = report(&scene.pop, &task, news.clone()).await;
        assert_eq!(reply["waiting_for"], json!(["the zone of challenges"]), "{reply}");
        let published = async || {
            let reply = report(&scene.pop, &task, news.clone()).await;
            reply["waiting_for"].is_null().then_some(())
        };
        eventually(published).await;
        assert_eq!(scene.txt(&target).await, values);
        if let Some(end) = end {
            assert_eq!(report(&scene.pop, &task, end).await["lease"], "ended");
        }
        eventually(async || scene.txt(&target).await.is_empty().then_some(())).await;
    }
    let body = explain(&scene.plane, &hostname).await;
    assert_eq!(body["attempts"][0]["class"], "lease_lost", "{body}");
    scene.plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_gone_with_their_hostname() {
    let scene = scene(served(), json!({})).await;
    let hostname = scene.wildcard("txt").await;
    let target = scene.delegate(&hostname).await;
    let task = lease_one(&scene.pop).await;
    register(&scene.plane, &scene.pop, &task).await;
    let (news, values) = validating();
    report(&scene.pop, &task, news).await;
    eventually(async || (scene.txt(&target).await == values).then_some(())).await;
    scene.plane.delete(&hostname).await;
    eventually(async || scene.txt(&target).await.is_empty().then_some(())).await;
    scene.plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_compatible_api_shows_what_is_to_be_made() {
    let scene = scene(served(), json!({})).await;
    let hostname = scene.wildcard("txt").await;
    let (_, property) = scene.plane.get(&scene.property).await;
    let path =
        format!("/client/v4/zones/{}/custom_hostnames", property["zoneId"].as_str().unwrap());
    let ssl = async || {
        let (status, body) = answer(scene.plane.request(Method::GET, &path)).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        body["result"][0]["ssl"].clone()
    };
    let task = lease_one(&scene.pop).await;
    assert_eq!(task["records"], "by_owner");
    register(&scene.plane, &scene.pop, &task).await;
    let records = json!([{"name": "_acme-challenge.shop.test", "value": TXT}]);
    let order = json!({"url": "https://ca.test/order/1", "key_type": "ecdsa", "expires": 9});
    let lasting = json!({"name": "_validation-persist.shop.test", "value": "ca.test; accounturi=https://ca.test/account/1"});
    let wanted =
        json!({"news": "txt_wanted", "records": records, "lasting": lasting, "order": order});
    assert_eq!(report(&scene.pop, &task, wanted).await["lease"], "ended");
    let shown = ssl().await;
    let expected = json!([
        {"status": "pending", "txt_name": "_acme-challenge.shop.test", "txt_value": TXT},
    ]);
    assert_eq!(shown["validation_records"], expected);
    assert_eq!(shown["dcv_delegation_records"][0]["cname"], "_acme-challenge.shop.test");
    assert_eq!(shown["dcv_delegation_records"][0]["status"], "pending");
    execute(&scene.plane, "UPDATE job SET next_at = 0").await;
    let task = lease_one(&scene.pop).await;
    assert_eq!((&task["order"], &task["wanted"]), (&order, &records));
    assert_eq!(task["lasting"], lasting);
    let body = explain(&scene.plane, &hostname).await;
    assert_eq!(body["jobs"][0]["lastingTxtRecord"], lasting, "{body}");
    assert!(
        body["summary"].as_str().unwrap().contains("ca.test; accounturi=https://ca.test/account/1"),
        "{body}"
    );

    let target = scene.delegate(&hostname).await;
    let shown = ssl().await;
    assert_eq!(shown["dcv_delegation_records"][0]["cname_target"], target);
    assert_eq!(shown["dcv_delegation_records"][0]["status"], "active");
    scene.plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_zone_a_wildcards_owner_makes_the_records() {
    let scene = scene(json!({}), json!({})).await;
    let hostname = scene.wildcard("http").await;
    assert!(scene.plane.get(&hostname).await.1["challengeRecord"].is_null());
    let task = lease_one(&scene.pop).await;
    assert_eq!((&task["methods"], &task["records"]), (&json!(["dns-01"]), &json!("by_owner")));
    scene.plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_that_failed_comes_last_also_for_the_next_certificate() {
    let scene = scene(json!({}), json!({})).await;
    let (_, hostname) =
        scene.plane.post(&format!("{}/hostname", scene.property), &json!({"name": NAME})).await;
    let hostname = format!("{}/hostname/{}", scene.property, hostname["id"]);
    let task = lease_one(&scene.pop).await;
    assert_eq!(task["methods"], json!(["http-01", "tls-alpn-01"]));
    let trouble = json!({"trouble": "precheck", "precheck": "challenge", "method": "http-01",
        "failed": ["pop-1"], "asked": 1, "detail": "refused"});
    let news = json!({"news": "failed", "trouble": trouble});
    assert_eq!(report(&scene.pop, &task, news).await["lease"], "ended");
    // As if it had been done, and another one were asked for.
    execute(&scene.plane, "UPDATE job SET state = 1, failed_methods = '[]'").await;
    let request = scene.plane.request(Method::POST, &format!("{hostname}/request-certificate"));
    let (status, body) = answer(with_json(request, &json!({}))).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let task = lease_one(&scene.pop).await;
    assert_eq!(task["methods"], json!(["tls-alpn-01", "http-01"]));
    scene.plane.stop().await;
}
