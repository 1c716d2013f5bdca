//! The zone that `_acme-challenge` leads to: asked by `kdig`, through unbound, and kept in knot.

use std::{
    io,
    net::SocketAddr,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use landfall_tests::{Authority, RecursiveResolver, UpdateKey};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream, UdpSocket},
    process::Command,
};

use crate::support::{Plane, database, eventually, within};

const ZONE: &str = "dcv.edge.test";
const LABEL: &str = "0123456789abcdef0123456789abcdef";
const FIRST: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const SECOND: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";

/// A plane that serves the zone, with these settings besides.
async fn serving(settings: Value) -> Plane {
    let mut zone = json!({
        "zone": ZONE, "listen": ["127.0.0.1:0"], "nameservers": ["ns1.edge.test"],
    });
    for (key, value) in settings.as_object().unwrap() {
        zone[key] = value.clone();
    }
    Plane::start_with(json!({"challenge_zone": zone})).await
}

/// What a report of challenges writes.
async fn put(folder: &Path, value: &str) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    sqlx::query(
        "INSERT INTO dns_challenge (label, value, job_id, state, until) VALUES (?, ?, 1, 0, ?)",
    )
    .bind(LABEL)
    .bind(value)
    .bind(i64::try_from(now).unwrap() + 3_600)
    .execute(&mut database(folder).await)
    .await
    .unwrap();
}

async fn withdraw(folder: &Path) {
    sqlx::query("UPDATE dns_challenge SET state = 2")
        .execute(&mut database(folder).await)
        .await
        .unwrap();
}

async fn rows(folder: &Path) -> i64 {
    let query = sqlx::query_scalar("SELECT count(*) FROM dns_challenge");
    query.fetch_one(&mut database(folder).await).await.unwrap()
}

/// What `kdig` shows.
pub(crate) async fn kdig(server: SocketAddr, question: &[&str]) -> String {
    let mut command = Command::new("kdig");
    command.arg(format!("@{}", server.ip())).args(["-p", &server.port().to_string()]);
    command.args(["+retry=0", "+timeout=5"]).args(question);
    let output = within(command.output()).await.expect("kdig; `make test` installs it");
    String::from_utf8(output.stdout).unwrap()
}

async fn txt(server: SocketAddr) -> Vec<String> {
    let text = kdig(server, &["+short", &format!("{LABEL}.{ZONE}"), "TXT"]).await;
    let mut values: Vec<String> =
        text.lines().map(|line| line.trim_matches('"').to_owned()).collect();
    values.sort();
    values
}

async fn metrics(plane: &Plane) -> String {
    let response = plane.client.get(plane.url("/metrics")).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    response.text().await.unwrap()
}

#[tokio::test]
async fn serves_the_values_of_a_name_and_its_wildcard_until_they_are_withdrawn() {
    let plane = serving(json!({})).await;
    let [server] = plane.dns[..] else { panic!() };
    assert_eq!(txt(server).await, [""; 0]);
    put(plane.dir.path(), FIRST).await;
    put(plane.dir.path(), SECOND).await;
    eventually(async || (txt(server).await == [FIRST, SECOND]).then_some(())).await;

    let answer = kdig(server, &["+tcp", &format!("{LABEL}.{ZONE}"), "TXT"]).await;
    assert!(answer.contains("status: NOERROR") && answer.contains("Flags: qr aa rd;"), "{answer}");

    withdraw(plane.dir.path()).await;
    eventually(async || txt(server).await.is_empty().then_some(())).await;
    eventually(async || (rows(plane.dir.path()).await == 0).then_some(())).await;
}

#[tokio::test]
async fn answers_for_its_zone_and_nothing_else() {
    let plane = serving(json!({})).await;
    let [server] = plane.dns[..] else { panic!() };
    let cases = [
        (&[ZONE, "SOA"][..], "status: NOERROR", "ns1.edge.test. hostmaster.dcv.edge.test."),
        (&[ZONE, "NS"], "status: NOERROR", "ns1.edge.test."),
        (&[ZONE, "A"], "status: NOERROR", ";; AUTHORITY SECTION:"),
        (&["nobody.dcv.edge.test", "TXT"], "status: NXDOMAIN", "SOA"),
        (&["edge.test", "SOA"], "status: REFUSED", "ANSWER: 0"),
        (&["www.example.org", "A"], "status: REFUSED", "ANSWER: 0"),
        (&[ZONE, "ANY"], "status: REFUSED", "ANSWER: 0"),
        (&["+edns=1", ZONE, "SOA"], "BADVERS", "ANSWER: 0"),
        (&["-t", "NOTIFY", ZONE], "status: NOTIMPL", "ANSWER: 0"),
    ];
    for (question, code, content) in cases {
        let answer = kdig(server, question).await;
        assert!(answer.contains(code) && answer.contains(content), "{question:?}: {answer}");
    }
    let transfer = kdig(server, &[ZONE, "AXFR"]).await;
    assert!(!transfer.contains("SOA\tns1"), "{transfer}");
    let metrics = metrics(&plane).await;
    assert!(
        metrics.contains("landfall_challenge_zone_queries_total{rcode=\"refused\"}"),
        "{metrics}"
    );
}

#[tokio::test]
async fn who_asks_too_much_is_told_to_ask_over_tcp() {
    let plane = serving(json!({"query_rate": 1, "query_burst": 1})).await;
    let [server] = plane.dns[..] else { panic!() };
    assert!(kdig(server, &[ZONE, "SOA"]).await.contains("status: NOERROR"));
    let cut = kdig(server, &["+ignore", ZONE, "SOA"]).await;
    assert!(cut.contains("tc") && cut.contains("ANSWER: 0"), "{cut}");
    // A client that is who it says goes on by itself.
    let whole = kdig(server, &[ZONE, "SOA"]).await;
    assert!(whole.contains("ANSWER: 1"), "{whole}");
}

#[tokio::test]
async fn goes_on_after_garbage() {
    let plane = serving(json!({})).await;
    let [server] = plane.dns[..] else { panic!() };
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut noise = 1_u64;
    for round in 0..2_000_usize {
        let mut packet = Vec::with_capacity(round % 600);
        for _ in 0..round % 600 {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            packet.push(noise.to_be_bytes()[0]);
        }
        socket.send_to(&packet, server).await.unwrap();
    }
    assert!(kdig(server, &[ZONE, "SOA"]).await.contains("status: NOERROR"));
    assert!(metrics(&plane).await.contains("landfall_challenge_zone_restarts_total 0"));
}

/// A connection from an address, over which the zone's SOA was asked for.
async fn asked_from(client: [u8; 4], server: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((client, 0))).unwrap();
    let mut stream = within(socket.connect(server)).await.unwrap();
    ask_soa(&mut stream).await.unwrap();
    stream
}

async fn ask_soa(stream: &mut TcpStream) -> io::Result<()> {
    // RFC 1035 section 4.1: a header, then `dcv.edge.test`, SOA, IN; the length before (RFC 7766).
    let mut question = vec![0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    question.extend(b"\x03dcv\x04edge\x04test\x00\x00\x06\x00\x01");
    let exchange = async {
        stream.write_u16(u16::try_from(question.len()).unwrap()).await?;
        stream.write_all(&question).await?;
        let mut answer = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut answer).await?;
        assert_eq!(answer[7], 1, "one answer");
        Ok(())
    };
    within(exchange).await
}

async fn is_closed(stream: &mut TcpStream) -> bool {
    within(stream.read_u8()).await.is_err()
}

#[tokio::test]
async fn a_tcp_connection_ends_in_time_however_long_it_may_be_idle() {
    let plane = serving(json!({"idle_timeout": "1m", "connection_timeout": "500ms"})).await;
    let [server] = plane.dns[..] else { panic!() };
    let mut stream = asked_from([127, 0, 0, 1], server).await;
    assert!(is_closed(&mut stream).await);
}

#[tokio::test]
async fn a_tcp_connection_makes_room_for_another_clients_where_all_places_are_taken() {
    let plane = serving(json!({
        "max_connections": 3, "max_connections_per_client": 2,
        "idle_timeout": "1m", "connection_timeout": "1m",
    }))
    .await;
    let [server] = plane.dns[..] else { panic!() };
    let mut hoarded = Vec::new();
    for client in [[127, 0, 0, 2], [127, 0, 0, 2], [127, 0, 0, 3]] {
        hoarded.push(asked_from(client, server).await);
    }
    ask_soa(&mut hoarded[0]).await.unwrap();
    let mut own = asked_from([127, 0, 0, 4], server).await;
    assert!(is_closed(&mut hoarded[1]).await, "it has asked nothing for longest");
    for stream in [&mut own, &mut hoarded[0]] {
        ask_soa(stream).await.unwrap();
    }
}

const KEY: UpdateKey =
    UpdateKey { name: "acme-key", secret: "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTEyMw==" };

/// A plane that keeps the zone in `authority`, with this secret.
async fn updating(authority: &Authority, secret: &str) -> Plane {
    let file = tempfile::NamedTempFile::new().unwrap();
    // Made with mode 0600.
    std::fs::write(file.path(), secret).unwrap();
    let update = json!({
        "server": authority.address(), "tsig_key_name": KEY.name, "tsig_secret_file": file.path(),
    });
    Plane::start_with(json!({"challenge_zone": {"zone": ZONE, "update": update}})).await
}

#[tokio::test]
async fn keeps_the_operators_server_as_the_store_says() {
    let authority = Authority::start_updatable(&[(ZONE, "")], KEY).await;
    let plane = updating(&authority, KEY.secret).await;
    assert!(plane.dns.is_empty());
    put(plane.dir.path(), FIRST).await;
    put(plane.dir.path(), SECOND).await;
    let server = authority.address();
    eventually(async || (txt(server).await == [FIRST, SECOND]).then_some(())).await;
    withdraw(plane.dir.path()).await;
    eventually(async || txt(server).await.is_empty().then_some(())).await;
    eventually(async || (rows(plane.dir.path()).await == 0).then_some(())).await;
}

#[tokio::test]
async fn publishes_what_waited_for_a_server_that_was_down() {
    let mut authority = Authority::start_updatable(&[(ZONE, "")], KEY).await;
    let plane = updating(&authority, KEY.secret).await;
    authority.stop();
    put(plane.dir.path(), FIRST).await;
    let failed = "landfall_challenge_zone_updates_total{result=\"unreachable\"}";
    eventually(async || metrics(&plane).await.contains(failed).then_some(())).await;
    authority.resume().await;
    eventually(async || (txt(authority.address()).await == [FIRST]).then_some(())).await;
}

#[tokio::test]
async fn a_wrong_key_is_told_from_other_failures() {
    let authority = Authority::start_updatable(&[(ZONE, "")], KEY).await;
    let plane = updating(&authority, "d3Jvbmctd3Jvbmctd3Jvbmctd3Jvbmctd3Jvbmc=").await;
    put(plane.dir.path(), FIRST).await;
    let refused = "landfall_challenge_zone_updates_total{result=\"key\"}";
    eventually(async || metrics(&plane).await.contains(refused).then_some(())).await;
    assert_eq!(rows(plane.dir.path()).await, 1);
}

#[tokio::test]
async fn a_resolver_follows_a_customers_delegation_to_the_zone() {
    let plane = serving(json!({})).await;
    let [server] = plane.dns[..] else { panic!() };
    let delegation = format!("_acme-challenge.www 0 CNAME {LABEL}.{ZONE}.");
    let authority = Authority::start(&[("shop.test", &delegation)]).await;
    // The zone is another server's.
    let stub =
        format!("stub-zone:\n  name: \"{ZONE}\"\n  stub-addr: {}@{}\n", server.ip(), server.port());
    let resolver = RecursiveResolver::start(&authority, &stub).await;
    put(plane.dir.path(), FIRST).await;
    put(plane.dir.path(), SECOND).await;
    let question = ["+short", "_acme-challenge.www.shop.test", "TXT"];
    eventually(async || {
        let answer = kdig(resolver.address(), &question).await;
        (answer.contains(FIRST) && answer.contains(SECOND)).then_some(())
    })
    .await;
}
