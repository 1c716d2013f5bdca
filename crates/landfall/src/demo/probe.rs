//! Asks the edge for a hostname over TLS until it is served.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use reqwest::{Certificate, Client};
use tokio::time::{Instant, sleep};

use super::{DemoError, LOOPBACK, Site};

/// How long a hostname may take to be served.
const DEADLINE: Duration = Duration::from_secs(30);
/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// Waits until the edge answers for the site with its origin's name, under a certificate of one
/// of the roots at `roots`.
///
/// # Errors
/// [`DemoError::Deadline`] with what was seen last.
pub(super) async fn wait_until_served(
    site: &Site,
    port: u16,
    roots: &Path,
) -> Result<(), DemoError> {
    let client = client(site.visit, port, roots)?;
    let url = format!("https://{}:{port}/", site.visit);
    let expected = format!("origin: {}\n", site.property);
    let start = Instant::now();
    loop {
        let last = match attempt(&client, &url).await {
            Ok(body) if body.starts_with(&expected) => return Ok(()),
            Ok(body) => body,
            Err(error) => words(&error),
        };
        if start.elapsed() > DEADLINE {
            let (what, seconds) = (format!("{url} is not served"), DEADLINE.as_secs());
            return Err(DemoError::Deadline { what, seconds, last });
        }
        sleep(PAUSE).await;
    }
}

fn client(hostname: &str, port: u16, roots: &Path) -> Result<Client, DemoError> {
    let read = |source| DemoError::File { operation: "read", path: roots.to_owned(), source };
    let pem = fs::read(roots).map_err(read)?;
    let client = Certificate::from_pem_bundle(&pem).and_then(|roots| {
        Client::builder()
            .tls_certs_only(roots)
            .resolve(hostname, SocketAddr::new(LOOPBACK, port))
            .timeout(REQUEST_TIMEOUT)
            .no_proxy()
            .build()
    });
    client.map_err(|source| DemoError::Client { source })
}

async fn attempt(client: &Client, url: &str) -> Result<String, reqwest::Error> {
    client.get(url).send().await?.text().await
}

/// The error and its sources on one line.
pub(super) fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
