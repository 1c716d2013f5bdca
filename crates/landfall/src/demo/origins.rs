//! The demo's origins: each answers with its name and with what the edge told it.

use std::{fmt::Write, net::SocketAddr};

use axum::{Router, extract::Request, http::HeaderMap};
use tokio::{net::TcpListener, task::JoinSet};

use super::{DemoError, LOOPBACK};

/// Origins that end with this value.
#[derive(Default)]
pub(super) struct Origins {
    names: Vec<&'static str>,
    servers: JoinSet<()>,
}

impl Origins {
    /// Whether the property's origin was started.
    pub(super) fn is_running(&self, property: &str) -> bool {
        self.names.contains(&property)
    }

    /// Starts the property's origin at `address`, or at a free port.
    ///
    /// # Errors
    /// [`DemoError::Origin`].
    pub(super) async fn start(
        &mut self,
        property: &'static str,
        address: Option<SocketAddr>,
    ) -> Result<SocketAddr, DemoError> {
        let address = address.unwrap_or(SocketAddr::new(LOOPBACK, 0));
        let failed = |source| DemoError::Origin { property: property.to_owned(), address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let router =
            Router::new().fallback(async move |request: Request| answer(property, &request));
        self.servers.spawn(async move {
            // axum's server ends with its listener alone, and says nothing of why.
            let _ = axum::serve(listener, router).await;
        });
        self.names.push(property);
        Ok(bound)
    }

    /// Waits until any origin ends, which none should.
    pub(super) async fn any_ended(&mut self) -> DemoError {
        self.servers.join_next().await;
        DemoError::OriginEnded
    }
}

fn answer(property: &str, request: &Request) -> String {
    let mut text = format!("origin: {property}\nrequest: {} {}\n", request.method(), request.uri());
    for name in ["host", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"] {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{name}: {}", header(request.headers(), name));
    }
    text
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("-")
}
