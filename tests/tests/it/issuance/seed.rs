//! What a platform does with curl: create a hostname, have its DNS fixed, ask for its certificate.

use landfall_tests::{CUSTOMER_ZONE, DEADLINE, Fleet, Origin, tools, wait_until};
use serde_json::Value;

const NAME: &str = "www.customer.test";

/// Calls the API by curl: the status and the body.
async fn call(fleet: &Fleet, method: &str, path: &str, body: Option<&str>) -> (u16, Value) {
    let url = format!("http://{}{path}", fleet.lab.control_address());
    let key = format!("X-API-Key: {}", fleet.lab.api_key());
    let mut args = vec!["-sS", "-w", "\n%{http_code}", "-X", method, "-H", &key];
    args.extend(body.iter().flat_map(|body| ["--json", body]));
    args.push(&url);
    let output = tools::run("curl", &args).await.expect_success();
    let (body, status) = output.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), serde_json::from_str(body).unwrap_or(Value::Null))
}

#[tokio::test]
async fn a_hostname_is_served_by_every_pop_under_the_cas_certificate_once_its_dns_is_fixed() {
    let origin = Origin::start("shop").await;
    let mut fleet = Fleet::start(3).await;
    fleet.set_zone(CUSTOMER_ZONE, "www A 192.0.2.10").await;
    let origins = format!("[{{\"url\":\"http://{}\"}}]", origin.address());
    let body = format!("{{\"name\":\"shop\",\"origins\":{origins}}}");
    let (status, property) = call(&fleet, "POST", "/api/Property", Some(&body)).await;
    assert_eq!(status, 201, "{property}");
    let hostnames = format!("/api/Property/{}/hostname", property["id"]);

    let body = format!("{{\"name\":\"{NAME}\"}}");
    let (status, hostname) = call(&fleet, "POST", &hostnames, Some(&body)).await;
    assert_eq!(status, 201, "{hostname}");
    assert_eq!(hostname["status"], "PendingValidation");
    assert_eq!(hostname["certificates"], serde_json::json!([]));
    assert_eq!(hostname["record"]["target"], "shop.edge.test");
    let own = format!("{hostnames}/{}", hostname["id"]);
    let request = format!("{own}/request-certificate");
    let (status, refused) = call(&fleet, "POST", &request, None).await;
    assert_eq!(status, 400, "{refused}");
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains("Resolved: 192.0.2.10. Expected: 127.0.0.2"), "{detail}");

    fleet.set_zone(CUSTOMER_ZONE, "www CNAME shop.edge.test.").await;
    let (status, granted) = call(&fleet, "POST", &request, None).await;

    assert_eq!(status, 200, "{granted}");
    assert_eq!(granted["status"], "Active");
    for edge in 0..3 {
        wait_until("curl is answered under the CA's certificate", DEADLINE, async || {
            (fleet.curl(edge, NAME, &["--fail"]).await.stdout == "shop").then_some(())
        })
        .await;
    }
    let shown = wait_until("the certificate is seen to be active", DEADLINE, async || {
        let (_, hostname) = call(&fleet, "GET", &own, None).await;
        (hostname["certificateState"] == "active").then_some(hostname)
    })
    .await;
    assert_eq!(shown["certificates"].as_array().unwrap().len(), 1, "{shown}");
    assert_eq!(fleet.pebble.log().matches("Issued certificate").count(), 1);
}
