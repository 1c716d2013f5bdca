//! A connection from its first request to its last.

use std::{future::pending, net::SocketAddr, sync::Arc, time::Duration};

use pingora_core::{
    apps::{HttpServerApp, ServerApp},
    server::ShutdownWatch,
};
use tokio::sync::watch;

use super::FrontSettings;
use crate::{
    connection::Connection,
    stream::{ClientStream, Protocol, Transport},
};

/// How long an HTTP/2 connection may stay without requests that got its GOAWAY: pingora waits for
/// the client's answer to it for ever.
const LAST_CALL: Duration = Duration::from_millis(500);

/// A connection that is ready for requests.
pub(super) struct Ready<T> {
    pub(super) transport: T,
    pub(super) protocol: Protocol,
    pub(super) connection: Connection,
    /// Whom it is from, where that isn't who has connected.
    pub(super) client: Option<SocketAddr>,
}

/// Serves requests until the connection ends. It is asked to end when the server stops, and when
/// it has had its time or its number of requests: then HTTP/2 clients get a GOAWAY and HTTP/1 ones
/// `Connection: close`, and what was asked is still answered.
pub(super) async fn serve<A, T>(
    app: &Arc<A>,
    ready: Ready<T>,
    settings: &FrontSettings,
    shutdown: &ShutdownWatch,
) where
    A: HttpServerApp + Send + Sync + 'static,
    T: Transport,
{
    let Ready { transport, protocol, connection, client } = ready;
    let connection = Arc::new(connection);
    let (stop, stopped) = watch::channel(false);
    let limits = &settings.limits;
    let metrics = Arc::clone(&settings.metrics);
    let stream = ClientStream::new(transport, protocol, Arc::clone(&connection), limits, metrics);
    let stream = stream.on_behalf_of(client);
    let stopping = async {
        tokio::select! {
            () = is_true(shutdown.clone()) => {}
            () = tokio::time::sleep(limits.connection_lifetime) => {}
            () = connection.wears_out() => {}
        }
        connection.stop();
        stop.send_replace(true);
        match protocol {
            // Its stream ends when it is idle.
            Protocol::Http1 => pending::<()>().await,
            Protocol::Http2 => {
                tokio::time::sleep(LAST_CALL).await;
                connection.has_no_streams().await;
            }
        }
    };
    tokio::select! {
        biased;
        () = stopping => {}
        _ = ServerApp::process_new(app, Box::new(stream), &stopped) => {}
    }
}

/// Ready once the server is to stop.
async fn is_true(mut shutdown: ShutdownWatch) {
    // An error is the end of who would say so.
    let _ = shutdown.wait_for(|is_stopping| *is_stopping).await;
}
