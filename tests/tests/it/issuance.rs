//! Certificates of a real CA, obtained by the edges themselves for hostnames whose DNS leads to them.

mod accounts;
mod authorities;
mod batch;
mod methods;
mod records;
mod renewal;
mod revocation;
mod seed;
mod system_domain;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use reqwest::Client;

/// Asks an edge again and again until told to stop. Every answer is the origin's.
async fn load(client: &Client, url: &str, stop: &AtomicBool, answered: &AtomicU64) {
    while !stop.load(Ordering::Relaxed) {
        let answer = client.get(url).send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.text().await.expect("a body"), "shop");
        answered.fetch_add(1, Ordering::Relaxed);
    }
}
