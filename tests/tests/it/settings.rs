//! What owners set by the API, as their clients and origins see it.

use landfall_tests::{DEADLINE, Lab, Origin, tools, wait_until};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reqwest::Method;
use serde_json::{Value, json};

async fn patch(lab: &Lab, path: &str, body: Value) {
    lab.api().must(Method::PATCH, path, &body).await;
}

#[tokio::test]
async fn a_change_of_origins_moves_every_hostname_of_a_property_but_those_with_their_own() {
    let (old, new, own) =
        (Origin::start("old").await, Origin::start("new").await, Origin::start("own").await);
    let lab = Lab::start().await;
    let property = lab.api().create_property("shop", old.address()).await;
    let path = format!("/api/Property/{property}");
    let names = ["shop.lab.localhost", "a.lab.localhost", "b.lab.localhost"];
    for name in &names[1..] {
        lab.api().add_hostname(property, name).await;
    }
    let custom = json!({
        "name": "own.lab.localhost", "customOriginServer": format!("http://{}", own.address()),
    });
    lab.api().must(Method::POST, &format!("{path}/hostname"), &custom).await;
    for name in names {
        lab.wait_until_served(0, name, "old").await;
    }

    let origins = json!([{"url": format!("http://{}", new.address())}]);
    patch(&lab, &path, json!({"origins": origins})).await;

    for name in names {
        lab.wait_until_served(0, name, "new").await;
    }
    lab.wait_until_served(0, "own.lab.localhost", "own").await;
}

#[tokio::test]
async fn clients_and_origins_see_what_is_set_of_a_hostname_until_it_is_reset() {
    let origin = Origin::start("shop").await;
    let lab = Lab::start().await;
    let property = lab.api().create_property("shop", origin.address()).await;
    let hostname = lab.api().add_hostname(property, "www.lab.localhost").await;
    let path = format!("/api/Property/{property}/hostname/{hostname}");
    lab.wait_until_served(0, "www.lab.localhost", "shop").await;
    let answer = async || lab.curl(0, "www.lab.localhost", "/", &["-i"]).await.stdout;

    let http = json!({
        "hsts": {"maxAge": 300},
        "requestHeaders": [{"name": "x-tenant", "value": "7"}, {"name": "user-agent"}],
        "responseHeaders": [{"name": "x-served", "value": "yes"}],
    });
    patch(&lab, &path, json!({"http": http})).await;

    wait_until("the header fields are set", DEADLINE, async || {
        let answer = answer().await.to_ascii_lowercase();
        let all = ["strict-transport-security: max-age=300", "x-served: yes"];
        all.iter().all(|line| answer.contains(line)).then_some(())
    })
    .await;
    let seen = origin.received().pop().unwrap();
    assert_eq!((seen.header("x-tenant"), seen.header("user-agent")), (Some("7"), None));
    patch(&lab, &path, json!({"http": null})).await;
    wait_until("the header fields are gone", DEADLINE, async || {
        (!answer().await.contains("x-served")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_client_without_a_certificate_of_the_hostnames_own_ca_is_refused() {
    let origin = Origin::start("shop").await;
    let lab = Lab::start().await;
    let property = lab.api().create_property("shop", origin.address()).await;
    let hostname = lab.api().add_hostname(property, "www.lab.localhost").await;
    lab.wait_until_served(0, "www.lab.localhost", "shop").await;
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["client.test".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &ca).unwrap().pem();
    let file = lab.folder().join("client.pem");
    tools::write_private(&file, &format!("{certificate}{}", key.serialize_pem()));

    let auth = json!({"clientAuth": {"mode": "required", "ca": ca.pem()}});
    let path = format!("/api/Property/{property}/hostname/{hostname}");
    patch(&lab, &path, json!({"tls": auth})).await;

    wait_until("a client without a certificate is refused", DEADLINE, async || {
        let ran = lab.curl(0, "www.lab.localhost", "/", &[]).await;
        (!ran.status.success()).then_some(())
    })
    .await;
    let file = file.to_str().unwrap();
    let ran = lab.curl(0, "www.lab.localhost", "/", &["--cert", file]).await;
    assert_eq!(ran.expect_success(), "shop");
    assert_eq!(lab.get(0, "shop.lab.localhost", "/").await.unwrap().text, "shop");
}

#[tokio::test]
async fn a_session_resumes_at_another_edge_with_the_control_planes_secrets() {
    let origin = Origin::start("shop").await;
    let lab = Lab::builder().edges(2).start().await;
    lab.api().create_property("shop", origin.address()).await;
    let name = "shop.lab.localhost";
    let file = lab.folder().join("session.pem");
    let file = file.to_str().unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
    let ask = async |edge: usize, args: &[&str]| {
        let connect = lab.https(edge).to_string();
        let own = ["s_client", "-connect", &connect, "-servername", name, "-ign_eof"];
        tools::run_with_input("openssl", &[&own, args].concat(), &request).await.all()
    };
    for edge in 0..2 {
        lab.wait_until_served(edge, name, "shop").await;
        let what = format!("edge {edge} holds the secrets of two periods");
        wait_until(&what, DEADLINE, async || {
            (lab.metric(edge, "landfall_ticket_secrets", "").await? >= 2.0).then_some(())
        })
        .await;
    }

    let first = ask(0, &["-sess_out", file]).await;
    let second = ask(1, &["-sess_in", file]).await;

    assert!(first.contains("\nNew, TLSv1."), "{first}");
    assert!(second.contains("\nReused, TLSv1."), "{second}");
}
