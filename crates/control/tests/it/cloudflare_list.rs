//! Lists of custom hostnames: each as it is shown alone, however many there are.

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SignatureAlgorithm};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    support::{Plane, answer, with_json},
    upload::{ca, leaf, signed},
};

const COUNT: usize = 200;

async fn import(plane: &Plane, property: &str, count: usize) {
    let lines: String =
        (0..count).map(|index| format!("{{\"name\": \"h{index}.customer.test\"}}\n")).collect();
    let request = plane.request(Method::POST, &format!("{property}/hostname/import"));
    let request = request.header("content-type", "application/x-ndjson").body(lines);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    response.text().await.unwrap();
}

async fn zone(plane: &Plane, property: &str) -> String {
    let (_, found) = plane.get(property).await;
    format!("/client/v4/zones/{}/custom_hostnames", found["zoneId"].as_str().unwrap())
}

fn pair(name: &str, algorithm: &'static SignatureAlgorithm) -> Value {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let body = signed(&leaf(name), &key, &ca("Customer CA"));
    json!({"custom_certificate": body["certificate"], "custom_key": body["privateKey"]})
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_many_is_listed_as_it_is_shown_alone() {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    let path = zone(&plane, &property).await;
    import(&plane, &property, COUNT).await;
    for (name, bundle) in [
        ("rsa.customer.test", vec![&PKCS_RSA_SHA256]),
        ("both.customer.test", vec![&PKCS_RSA_SHA256, &PKCS_ECDSA_P256_SHA256]),
    ] {
        let bundle: Vec<Value> = bundle.into_iter().map(|kind| pair(name, kind)).collect();
        let body = json!({"hostname": name, "ssl": {"custom_cert_bundle": bundle}});
        let (status, made) = answer(with_json(plane.request(Method::POST, &path), &body)).await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
    }
    let (_, listed) = plane.get(&format!("{path}?per_page=1000&order=ssl&direction=desc")).await;
    let listed = listed["result"].as_array().unwrap();
    assert_eq!(listed.len(), COUNT + 2);
    let states: Vec<&str> =
        listed.iter().map(|own| own["ssl"]["status"].as_str().unwrap()).collect();
    assert!(states.is_sorted_by(|one, other| one >= other), "{states:?}");
    let uploaded = |own: &&Value| own["ssl"]["custom_certificate"].is_string();
    assert_eq!(listed.iter().filter(uploaded).count(), 2);
    let some = listed.iter().filter(uploaded).chain(listed.iter().step_by(COUNT / 5));
    for own in some {
        let (_, alone) = plane.get(&format!("{path}/{}", own["id"].as_str().unwrap())).await;
        assert_eq!(&alone["result"], own);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_list_many_are_all_answered() {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    let path = format!("{}?per_page=1000&order=ssl", zone(&plane, &property).await);
    import(&plane, &property, 1_000).await;
    let ask = || async { plane.get(&path).await.0 };
    let asked = futures_util::future::join_all((0..20).map(|_| ask())).await;
    assert!(asked.iter().all(|status| *status == StatusCode::OK), "{asked:?}");
}
