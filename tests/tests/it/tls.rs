//! TLS as curl and openssl see it: which names are answered, with which certificate, version,
//! cipher and protocol.

use landfall_tests::{DEADLINE, Issued, Lab, Origin, tools, tools::Ran, wait_until};
use reqwest::Method;
use serde_json::{Value, json};

/// What openssl says of the alert for a name that is not served (RFC 6066 section 3).
const UNRECOGNIZED_NAME: &str = "unrecognized name";

/// A lab with the property `shop` and its origin.
struct Shop {
    lab: Lab,
    property: i64,
    _origin: Origin,
}

impl Shop {
    async fn open() -> Self {
        let origin = Origin::start("shop").await;
        let lab = Lab::start().await;
        let property = lab.api().create_property("shop", origin.address()).await;
        lab.wait_until_served(0, "shop.lab.localhost", "shop").await;
        Self { lab, property, _origin: origin }
    }

    /// Adds a hostname with this TLS policy and waits until it is served.
    async fn add(&self, name: &str, tls: Value) -> i64 {
        let path = format!("/api/Property/{}/hostname", self.property);
        let body = json!({"name": name, "tls": tls});
        let added = self.lab.api().must(Method::POST, &path, &body).await;
        let client = name.replace('*', "any");
        self.wait_for(&client, &[], &format!("Verification: OK\nVerified peername: {name}")).await;
        added["id"].as_i64().unwrap()
    }

    async fn set_policy(&self, hostname: i64, tls: Value) {
        let path = format!("/api/Property/{}/hostname/{hostname}", self.property);
        self.lab.api().must(Method::PATCH, &path, &json!({"tls": tls})).await;
    }

    async fn upload(&self, hostname: i64, issued: &Issued) {
        let (chain, key) = (issued.certificate_pem(), issued.key_pem());
        let answer = self.lab.api().upload(self.property, hostname, &chain, &key).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }

    /// What openssl says of a handshake with `name` as SNI, checking the certificate for it.
    async fn handshake(&self, name: &str, args: &[&str]) -> Ran {
        let checked = name.trim_end_matches('.').to_ascii_lowercase();
        let check = ["-verify_hostname", &checked];
        self.lab.handshake(0, name, &[&check, args].concat()).await
    }

    /// What openssl says of a request, whose answer it waits for.
    async fn request(&self, name: &str, args: &[&str]) -> String {
        let connect = self.lab.https(0).to_string();
        let own = ["s_client", "-connect", &connect, "-servername", name, "-ign_eof"];
        let request = format!("GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
        let said = tools::run_with_input("openssl", &[&own, args].concat(), &request).await.all();
        assert!(said.contains("HTTP/1.1 200 OK"), "{said}");
        said
    }

    /// Waits until openssl says `text` of a handshake.
    async fn wait_for(&self, name: &str, args: &[&str], text: &str) {
        let what = format!("a handshake with {name} {args:?} shows {text:?}");
        wait_until(&what, DEADLINE, async || {
            self.handshake(name, args).await.all().contains(text).then_some(())
        })
        .await;
    }

    /// The status, HTTP version and body that curl gets on a connection for `name`.
    async fn curl(&self, name: &str, args: &[&str]) -> (String, String) {
        let show = ["-w", "\n%{http_code} over %{http_version}"];
        let said = self.lab.curl(0, name, "/", &[&show, args].concat()).await.expect_success();
        let (body, status) = said.rsplit_once('\n').unwrap();
        (status.to_owned(), body.to_owned())
    }
}

#[tokio::test]
async fn a_request_for_a_hostname_that_the_connection_does_not_cover_is_misdirected() {
    let shop = Shop::open().await;
    let blog = Origin::start("blog").await;
    let api = shop.lab.api();
    api.create_property("blog", blog.address()).await;
    shop.add("www.lab.localhost", json!({})).await;
    shop.add("*.apps.lab.localhost", json!({})).await;
    // Under the wildcard by its name, and yet an entry of its own.
    shop.add("own.apps.lab.localhost", json!({})).await;
    shop.lab.wait_until_served(0, "blog.lab.localhost", "blog").await;
    let asked_before = blog.received().len();
    let misdirected = ("421", "This hostname is not served on this connection.\n");
    let served = ("200", "shop");
    let table = [
        ("www.lab.localhost", "www.lab.localhost", served),
        ("www.lab.localhost", "WWW.Lab.LocalHost", served),
        ("www.lab.localhost", "www.lab.localhost.", served),
        ("www.lab.localhost", "www.lab.localhost:443", served),
        ("www.lab.localhost", "shop.lab.localhost", misdirected),
        ("www.lab.localhost", "blog.lab.localhost", misdirected),
        ("www.lab.localhost", "a.apps.lab.localhost", misdirected),
        ("www.lab.localhost", "unknown.lab.localhost", misdirected),
        ("www.lab.localhost", "127.0.0.1", misdirected),
        ("a.apps.lab.localhost", "b.apps.lab.localhost", served),
        ("a.apps.lab.localhost", "own.apps.lab.localhost", misdirected),
        ("a.apps.lab.localhost", "a.b.apps.lab.localhost", misdirected),
        ("a.apps.lab.localhost", "apps.lab.localhost", misdirected),
        ("own.apps.lab.localhost", "a.apps.lab.localhost", misdirected),
    ];
    for (version, number) in [("--http1.1", "1.1"), ("--http2", "2")] {
        for (connection, host, (status, body)) in table {
            let header = format!("Host: {host}");
            let (got, said) = shop.curl(connection, &[version, "-H", &header]).await;
            assert_eq!(got, format!("{status} over {number}"), "{host} on {connection}");
            // The request's id follows where the answer is the edge's own.
            assert!(said.starts_with(body), "{host} on a connection for {connection}: {said}");
        }
    }
    assert_eq!(blog.received().len(), asked_before);
}

#[tokio::test]
async fn a_name_is_found_however_the_client_writes_it_and_no_other_is() {
    let shop = Shop::open().await;
    shop.add("www.lab.localhost", json!({})).await;
    shop.add("*.apps.lab.localhost", json!({})).await;
    let api = shop.lab.api();
    let idn = api.add_hostname(shop.property, "bücher.lab.localhost").await;
    let path = format!("/api/Property/{}/hostname/{idn}", shop.property);
    assert_eq!(api.read(&path).await["name"], "xn--bcher-kva.lab.localhost");
    shop.lab.wait_until_served(0, "xn--bcher-kva.lab.localhost", "shop").await;

    let served = [
        "www.lab.localhost",
        "WWW.LAB.LOCALHOST",
        "www.lab.localhost.",
        "one.apps.lab.localhost",
        "ONE.Apps.lab.localhost.",
        "xn--bcher-kva.lab.localhost",
        "XN--Bcher-KVA.lab.localhost",
    ];
    for name in served {
        let said = shop.handshake(name, &["-brief"]).await;
        assert!(said.all().contains("Verification: OK\nVerified peername: "), "{}", said.all());
    }
    let refused = [
        "unknown.lab.localhost",
        "a.b.apps.lab.localhost",
        "apps.lab.localhost",
        "lab.localhost",
        "localhost",
        "www.lab.localhost.example",
        "xwww.lab.localhost",
    ];
    for name in refused {
        let said = shop.handshake(name, &[]).await;
        assert!(said.all().contains(UNRECOGNIZED_NAME), "{name}: {}", said.all());
        assert!(said.all().contains("no peer certificate available"), "{name}: {}", said.all());
    }
    let connect = shop.lab.https(0).to_string();
    let args = ["s_client", "-connect", &connect, "-noservername"];
    let said = tools::run("openssl", &args).await.all();
    assert!(said.contains(UNRECOGNIZED_NAME), "{said}");
    let unknown = shop.lab.metric(0, "landfall_handshakes_total", "unknown_name").await;
    assert!(unknown.unwrap() >= 8.0, "{unknown:?}");
}

#[tokio::test]
async fn a_client_gets_the_certificate_that_it_can_use() {
    let shop = Shop::open().await;
    let name = "www.customer.example";
    let path = format!("/api/Property/{}/hostname", shop.property);
    let added = shop.lab.api().must(Method::POST, &path, &json!({"name": name})).await;
    assert_eq!(added["status"], "PendingValidation");
    let hostname = added["id"].as_i64().unwrap();
    let (ecdsa, rsa) = (Issued::new(name), Issued::rsa(name));
    shop.upload(hostname, &ecdsa).await;
    shop.wait_for(name, &[], ecdsa.certificate_pem().trim()).await;
    shop.upload(hostname, &rsa).await;

    // The last upload is what shows that both are there.
    let tls12_rsa = ["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"];
    shop.wait_for(name, &tls12_rsa, rsa.certificate_pem().trim()).await;
    let table: [(&[&str], &Issued, &str); 6] = [
        (&[], &ecdsa, "New, TLSv1.3, "),
        (&["-tls1_2"], &ecdsa, "New, TLSv1.2, Cipher is ECDHE-ECDSA-"),
        (&tls12_rsa, &rsa, "Cipher is ECDHE-RSA-AES128-GCM-SHA256"),
        (&["-tls1_3", "-sigalgs", "rsa_pss_rsae_sha256"], &rsa, "New, TLSv1.3, "),
        (&["-tls1_2", "-sigalgs", "rsa_pkcs1_sha256"], &rsa, "Cipher is ECDHE-RSA-"),
        (&["-sigalgs", "ecdsa_secp256r1_sha256"], &ecdsa, "New, TLSv1.3, "),
    ];
    for (args, issued, text) in table {
        let said = shop.handshake(name, args).await.all();
        assert!(said.contains(text), "{args:?}: {said}");
        assert!(said.contains(issued.certificate_pem().trim()), "{args:?}: {said}");
    }
    assert_eq!(shop.curl(name, &["-k"]).await, ("200 over 2".to_owned(), "shop".to_owned()));
    let status = &shop.lab.api().read(&format!("{path}/{hostname}")).await["status"];
    assert_eq!(status, "PendingValidation");
    let (url, host) = (format!("http://{}/", shop.lab.http(0)), format!("Host: {name}"));
    let plain = tools::run("curl", &["-si", "-H", &host, &url]).await.all();
    assert!(plain.starts_with("HTTP/1.1 421 "), "{plain}");
}

#[tokio::test]
async fn a_hostnames_policy_decides_on_versions_and_ciphers() {
    let shop = Shop::open().await;
    shop.add("default.lab.localhost", json!({})).await;
    shop.add("modern.lab.localhost", json!({"minVersion": "1.3"})).await;
    shop.add("old.lab.localhost", json!({"tls13": false})).await;
    let ciphers = ["ECDHE-ECDSA-AES128-GCM-SHA256", "TLS_CHACHA20_POLY1305_SHA256"];
    shop.add("narrow.lab.localhost", json!({"ciphers": ciphers})).await;
    let tls12_list = ["ECDHE-ECDSA-CHACHA20-POLY1305"];
    shop.add("tls12.lab.localhost", json!({"ciphers": tls12_list})).await;
    let other = "ECDHE-ECDSA-AES256-GCM-SHA384";
    let table: [(&str, &[&str], &str); 14] = [
        ("default", &[], "New, TLSv1.3, Cipher is TLS_AES_256_GCM_SHA384"),
        ("default", &["-tls1_2"], "New, TLSv1.2, Cipher is ECDHE-ECDSA-AES256-GCM-SHA384"),
        (
            "default",
            &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-SHA384"],
            "alert handshake failure",
        ),
        ("default", &["-tls1_1", "-cipher", "ALL@SECLEVEL=0"], "SSL alert number "),
        ("modern", &[], "New, TLSv1.3, "),
        ("modern", &["-tls1_2"], "alert protocol version"),
        ("old", &[], "New, TLSv1.2, Cipher is ECDHE-ECDSA-"),
        ("old", &["-tls1_3"], "alert protocol version"),
        ("narrow", &[], "New, TLSv1.3, Cipher is TLS_CHACHA20_POLY1305_SHA256"),
        ("narrow", &["-tls1_2"], "New, TLSv1.2, Cipher is ECDHE-ECDSA-AES128-GCM-SHA256"),
        ("narrow", &["-tls1_2", "-cipher", other], "alert handshake failure"),
        (
            "narrow",
            &["-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384"],
            "alert handshake failure",
        ),
        ("tls12", &["-tls1_2"], "New, TLSv1.2, Cipher is ECDHE-ECDSA-CHACHA20-POLY1305"),
        ("tls12", &[], "New, TLSv1.3, Cipher is TLS_AES_256_GCM_SHA384"),
    ];
    for (label, args, text) in table {
        let name = format!("{label}.lab.localhost");
        let said = shop.handshake(&name, args).await.all();
        assert!(said.contains(text), "{name} {args:?}: expected {text:?} in {said}");
    }
}

#[tokio::test]
async fn a_policy_decides_on_http2_and_its_change_shows_in_the_next_handshakes() {
    let shop = Shop::open().await;
    let hostname = shop.add("www.lab.localhost", json!({})).await;
    let http = async |args: &[&str]| shop.curl("www.lab.localhost", args).await.0;
    assert_eq!(http(&["--http2"]).await, "200 over 2");
    assert_eq!(http(&["--http1.1"]).await, "200 over 1.1");
    assert_eq!(http(&["--no-alpn"]).await, "200 over 1.1");

    shop.set_policy(hostname, json!({"http2": false})).await;
    let offer = ["-alpn", "h2,http/1.1"];
    shop.wait_for("www.lab.localhost", &offer, "ALPN protocol: http/1.1").await;
    assert_eq!(http(&["--http2"]).await, "200 over 1.1");
    let said = shop.handshake("www.lab.localhost", &["-alpn", "h2"]).await.all();
    assert!(said.contains("no application protocol"), "{said}");

    shop.set_policy(hostname, json!({"minVersion": "1.3"})).await;
    shop.wait_for("www.lab.localhost", &["-tls1_2"], "alert protocol version").await;
    assert_eq!(http(&["--http2"]).await, "200 over 1.1", "what a PATCH does not name stays");

    shop.set_policy(hostname, json!({"minVersion": "1.2", "tls13": false, "http2": true})).await;
    shop.wait_for("www.lab.localhost", &offer, "New, TLSv1.2, ").await;
    assert_eq!(http(&["--http2"]).await, "200 over 2");
}

#[tokio::test]
async fn a_client_whose_first_key_share_is_not_supported_is_asked_for_another() {
    let shop = Shop::open().await;
    shop.add("www.lab.localhost", json!({})).await;
    shop.add("*.apps.lab.localhost", json!({})).await;
    let hellos = async |name: &str, groups: &str| {
        let said = shop.handshake(name, &["-tls1_3", "-groups", groups, "-msg"]).await.all();
        assert!(said.contains("Verification: OK"), "{said}");
        assert!(said.contains("Server Temp Key: X25519"), "{said}");
        said.lines().filter(|line| line.starts_with(">>>") && line.ends_with("ClientHello")).count()
    };
    for name in ["www.lab.localhost", "one.apps.lab.localhost"] {
        assert_eq!(hellos(name, "X25519:P-521").await, 1);
        assert_eq!(hellos(name, "P-521:X25519").await, 2, "{name}");
    }
}

#[tokio::test]
async fn a_session_resumes_for_its_own_hostname_alone() {
    let shop = Shop::open().await;
    for name in ["one.lab.localhost", "two.lab.localhost", "*.apps.lab.localhost"] {
        shop.add(name, json!({})).await;
    }
    shop.add("policy.lab.localhost", json!({"http2": false})).await;
    let file = shop.lab.folder().join("session.pem");
    let file = file.to_str().unwrap();
    let table = [
        ("one.lab.localhost", "one.lab.localhost", "Reused"),
        ("one.lab.localhost", "two.lab.localhost", "New"),
        ("one.lab.localhost", "policy.lab.localhost", "New"),
        ("a.apps.lab.localhost", "a.apps.lab.localhost", "Reused"),
        ("a.apps.lab.localhost", "b.apps.lab.localhost", "New"),
    ];
    for version in ["-tls1_3", "-tls1_2"] {
        for (first, second, expected) in table {
            let made = shop.request(first, &[version, "-sess_out", file]).await;
            assert!(made.contains("\nNew, "), "{made}");
            let said = shop.request(second, &[version, "-sess_in", file, "-trace"]).await;
            let (hello, _) = said.split_once("Received Record").unwrap();
            let is_offered = match version {
                "-tls1_3" => hello.contains("psk(41)"),
                _ => !hello.contains("session_ticket(35), length=0"),
            };
            assert!(is_offered, "{version} {first}, then {second}: {hello}");
            let text = format!("\n{expected}, TLSv1.");
            assert!(said.contains(&text), "{version} {first}, then {second}: {said}");
        }
    }
}
