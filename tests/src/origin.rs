use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Bytes, to_bytes},
    extract::Request,
    http::{HeaderMap, Method, Uri},
};
use tokio::{net::TcpListener, task::JoinHandle};

/// The largest request body that an origin reads, in bytes.
const MAX_BODY: usize = 64 * 1024 * 1024;

/// A request as the origin saw it.
#[derive(Clone, Debug)]
pub struct Received {
    /// The method.
    pub method: Method,
    /// The path and query.
    pub uri: Uri,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Received {
    /// The one value of a header; `None` where it is missing or repeated.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?.to_str().ok()?;
        values.next().is_none().then_some(value)
    }
}

/// An HTTP/1.1 server behind the edge, which ends when this is dropped.
pub struct Origin {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    server: JoinHandle<()>,
}

impl Origin {
    /// Starts an origin that answers every request with `name`, and remembers each.
    pub async fn start(name: &str) -> Self {
        Self::at(([127, 0, 0, 1], 0).into(), name).await
    }

    /// As [`Self::start`], at this address.
    ///
    /// # Panics
    /// Where it can't listen there.
    pub async fn at(address: SocketAddr, name: &str) -> Self {
        let received = Arc::new(Mutex::new(Vec::new()));
        let (name, seen) = (name.to_owned(), Arc::clone(&received));
        let handler = async move |request: Request| {
            let (head, body) = request.into_parts();
            let body = to_bytes(body, MAX_BODY).await.unwrap_or_default();
            let request =
                Received { method: head.method, uri: head.uri, headers: head.headers, body };
            seen.lock().unwrap().push(request);
            name.clone()
        };
        Self::run(address, Router::new().fallback(handler), received).await
    }

    /// Starts an origin that does what `router` says, and remembers nothing.
    pub async fn with_router(router: Router) -> Self {
        Self::run(([127, 0, 0, 1], 0).into(), router, Arc::default()).await
    }

    async fn run(address: SocketAddr, router: Router, received: Arc<Mutex<Vec<Received>>>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, received, server }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it was asked so far, in order.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.server.abort();
    }
}
