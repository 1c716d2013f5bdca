//! Every endpoint of the API against every kind of key that may not call it.

use http::Method;
use landfall_model::PropertyId;
use reqwest::Client;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};
use tokio::sync::oneshot;

use super::*;
use crate::{
    admin, api,
    api_key::Grant,
    cloudflare,
    config::{ControlConfig, RawControlConfig},
    server::Control,
};

const WRONG: &str = "lf_1_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

struct Keys {
    admin: String,
    write: String,
    read: String,
    revoked: String,
    expired: String,
    of_another_property: String,
}

async fn make_keys(config: &ControlConfig) -> Keys {
    let add = async |name: &str, grant: Grant| {
        admin::add_api_key(config, name, grant).await.unwrap().to_string()
    };
    let all = |scope| Grant { scope, property: None, expires_at: None };
    let past = Some(OffsetDateTime::now_utc() - Duration::seconds(1));
    let keys = Keys {
        admin: add("admin", all(Scope::Admin)).await,
        write: add("write", all(Scope::Write)).await,
        read: add("read", all(Scope::Read)).await,
        revoked: add("revoked", all(Scope::Admin)).await,
        expired: add("expired", Grant { expires_at: past, ..all(Scope::Admin) }).await,
        of_another_property: String::new(),
    };
    admin::revoke_api_key(config, "revoked", None).await.unwrap();
    keys
}

struct Asker {
    client: Client,
    base: String,
}

impl Asker {
    async fn status(&self, method: &Method, path: &str, key: &str) -> u16 {
        let request = self.client.request(method.clone(), format!("{}{path}", self.base));
        let request = match key {
            "" => request,
            key => request.bearer_auth(key),
        };
        request.send().await.unwrap().status().as_u16()
    }

    async fn made(&self, path: &str, key: &str, body: Value) -> Value {
        let request = self.client.post(format!("{}{path}", self.base)).bearer_auth(key);
        let request = request.header("content-type", "application/json").body(body.to_string());
        let answer = request.send().await.unwrap().text().await.unwrap();
        serde_json::from_str(&answer).unwrap()
    }

    async fn create(&self, path: &str, key: &str, body: Value) -> i64 {
        let made = self.made(path, key, body).await;
        made["id"].as_i64().unwrap_or_else(|| panic!("{made}"))
    }
}

pub(in crate::api) fn config(folder: &std::path::Path) -> ControlConfig {
    admin::init_group_keys(folder).unwrap();
    let raw: RawControlConfig = serde_json::from_value(json!({
        "system_domain": "edge.test",
        "api": {"listen": "127.0.0.1:0", "failed_auth_limit": 1000},
        "state": {"directory": "state"},
        "keys": {"group_public_key_file": "group.pub"},
    }))
    .unwrap();
    raw.check(folder).unwrap()
}

/// What each key gets that may not call the endpoint.
fn refusals<'a>(keys: &'a Keys, path: &str, need: Need) -> Vec<(&'a str, u16)> {
    let mut expected =
        vec![("", 401), (WRONG, 401), (keys.revoked.as_str(), 401), (keys.expired.as_str(), 401)];
    if need.scope > Scope::Read {
        expected.push((&keys.read, 403));
    }
    if need.scope > Scope::Write {
        expected.push((&keys.write, 403));
    }
    let names_property = path.contains("{property}") || path.contains("{zone}");
    match (names_property, need.reach) {
        (true, _) => expected.push((&keys.of_another_property, 404)),
        (false, Reach::Everything) => expected.push((&keys.of_another_property, 403)),
        // Key 1 is for all properties, so a key for one does not see it.
        (false, Reach::Property) if path.contains("{key}") => {
            expected.push((&keys.of_another_property, 404));
        }
        (false, Reach::Property) => expected.push((&keys.of_another_property, 200)),
    }
    expected
}

#[tokio::test(flavor = "multi_thread")]
async fn every_endpoint_refuses_each_key_that_may_not_call_it() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let mut keys = make_keys(&config).await;
    let control = Control::bind(config.clone()).await.unwrap();
    let mut inventory = api::native(&control.app()).inventory;
    let compatible = cloudflare::routes(&control.app()).inventory;
    assert!(inventory.len() > 10 && compatible.len() > 5);
    inventory.extend(compatible);
    let client = Asker {
        client: Client::builder().no_proxy().build().unwrap(),
        base: format!("http://{}", control.address()),
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(control.serve(async move {
        let _ = stopped.await;
    }));
    let property = |name| json!({"name": name, "origins": [{"url": "https://origin.test"}]});
    let made = client.made("/api/Property", &keys.admin, property("own")).await;
    let (own, zone) = (made["id"].as_i64().unwrap(), made["zoneId"].as_str().unwrap());
    let other = client.create("/api/Property", &keys.admin, property("other")).await;
    let hostnames = format!("/api/Property/{own}/hostname");
    let name = json!({"name": "www.own.edge.test"});
    let hostname = client.create(&hostnames, &keys.admin, name).await;
    let custom_hostnames = format!("/client/v4/zones/{zone}/custom_hostnames");
    let custom = json!({"hostname": "custom.own.edge.test"});
    let custom = client.made(&custom_hostnames, &keys.admin, custom).await;
    let custom = custom["result"]["id"].as_str().unwrap();
    let grant = Grant { scope: Scope::Admin, property: Some(PropertyId(other)), expires_at: None };
    keys.of_another_property =
        admin::add_api_key(&config, "other", grant).await.unwrap().to_string();

    for (verb, path, need) in inventory {
        let method: Method = format!("{verb:?}").to_uppercase().parse().unwrap();
        let url = path
            .replace("{property}", &own.to_string())
            .replace("{hostname}", &hostname.to_string())
            .replace("{zone}", zone)
            .replace("{custom_hostname}", custom)
            .replace("{key}", "1");
        assert!(!url.contains('{'), "{url}");
        let expected = refusals(&keys, path, need);
        for (key, status) in expected {
            // A creation without a body is refused for that alone.
            let status = if (verb, status) == (Verb::Post, 200) { 415 } else { status };
            assert_eq!(client.status(&method, &url, key).await, status, "{method} {url} {key}");
        }
        // What isn't there is not told from what may not be seen.
        if !path.starts_with("/api/Key") && path.contains('{') && need.scope > Scope::Read {
            let absent = path
                .replace("{property}", "999")
                .replace("{hostname}", &hostname.to_string())
                .replace("{zone}", "0123456789abcdef0123456789abcdef")
                .replace("{custom_hostname}", custom);
            assert_eq!(client.status(&method, &absent, &keys.read).await, 404, "{absent}");
        }
    }
    stop.send(()).unwrap();
    serving.await.unwrap().unwrap();
}

#[test]
fn a_key_meets_a_need_by_scope_and_reach() {
    let caller = |scope, property: Option<i64>| Caller {
        key: ApiKeyId(1),
        scope,
        property: property.map(PropertyId),
    };
    let table = [
        (Need::READ, caller(Scope::Read, None), true),
        (Need::READ, caller(Scope::Read, Some(1)), true),
        (Need::WRITE, caller(Scope::Read, None), false),
        (Need::WRITE, caller(Scope::Admin, Some(1)), true),
        (Need::WRITE_EVERYTHING, caller(Scope::Admin, Some(1)), false),
        (Need::WRITE_EVERYTHING, caller(Scope::Write, None), true),
        (Need::ADMIN, caller(Scope::Write, None), false),
        (Need::ADMIN, caller(Scope::Admin, Some(1)), true),
    ];
    for (need, caller, met) in table {
        assert_eq!(need.is_met_by(&caller), met, "{need:?} {caller:?}");
    }
    assert!(caller(Scope::Read, None).sees(PropertyId(2)));
    assert!(!caller(Scope::Admin, Some(1)).sees(PropertyId(2)));
}
