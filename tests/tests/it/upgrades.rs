//! Requests that change to another protocol, as WebSockets do.

use std::fs;

use landfall_tests::{DEADLINE, Lab};
use reqwest::{
    Certificate, Client, StatusCode,
    header::{CONNECTION, UPGRADE},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy, split},
    net::{TcpListener, TcpStream},
};

const SHOP: &str = "shop.lab.localhost";
const ANSWER: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                        Upgrade: websocket\r\n\r\n";

/// Changes the protocol at once, and repeats what it is sent.
async fn echo(stream: TcpStream) {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
    }
    if stream.write_all(ANSWER).await.is_ok() {
        let (mut from, mut to) = split(stream);
        let _ = copy(&mut from, &mut to).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn none_of_many_upgrades_is_cut_whose_origin_answers_at_once() {
    let origin = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = origin.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = origin.accept().await {
            tokio::spawn(echo(stream));
        }
    });
    let lab = Lab::start().await;
    lab.api().create_property("shop", address).await;
    let pem = fs::read(lab.root_certificate()).unwrap();
    let client = Client::builder()
        .tls_certs_only([Certificate::from_pem(&pem).unwrap()])
        .resolve(SHOP, lab.https(0))
        .timeout(DEADLINE)
        .http1_only()
        .no_proxy()
        .build()
        .unwrap();
    let url = format!("https://{SHOP}:{}/", lab.https(0).port());
    let ask = || client.get(&url).header(CONNECTION, "Upgrade").header(UPGRADE, "websocket").send();
    landfall_tests::wait_until("the hostname is served", DEADLINE, async || ask().await.ok()).await;
    for number in 0..800 {
        let response = ask().await.unwrap();
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS, "{number}");
        let mut stream = response.upgrade().await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        let mut read = [0; 5];
        stream.read_exact(&mut read).await.unwrap_or_else(|error| panic!("{number}: {error}"));
        assert_eq!(&read, b"hello");
    }
}
