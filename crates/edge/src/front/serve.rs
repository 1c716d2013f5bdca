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
    patience::Patience,
    stream::{ClientStream, Protocol, Transport},
};

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
        let last_call = tokio::select! {
            () = is_true(shutdown.clone()) => settings.patience.last_call(),
            () = tokio::time::sleep(limits.connection_lifetime) => Patience::long(),
            () = connection.wears_out() => Patience::long(),
        };
        connection.stop(last_call);
        stop.send_replace(true);
        match protocol {
            // Its stream ends when it is idle.
            Protocol::Http1 => pending::<()>().await,
            Protocol::Http2 => is_deaf(&connection, last_call, limits.response_write_timeout).await,
        }
    };
    tokio::select! {
        biased;
        () = stopping => {}
        _ = ServerApp::process_new(app, Box::new(stream), &stopped) => {}
    }
}

/// Ready once the client has neither answered the GOAWAY nor asked for anything for a while, which
/// pingora would wait for without end. A client that answers ends the connection by that, once
/// it has the last response: a request's handler is done before its response is sent, for which there is
/// `to_write`. Who never asked for anything has `last_call`.
async fn is_deaf(connection: &Connection, last_call: Duration, to_write: Duration) {
    loop {
        connection.has_no_streams().await;
        let begun = connection.begun();
        tokio::time::sleep(if begun == 0 { last_call } else { to_write }).await;
        if connection.begun() == begun {
            return;
        }
    }
}

/// Ready once the server is to stop.
async fn is_true(mut shutdown: ShutdownWatch) {
    // An error is the end of who would say so.
    let _ = shutdown.wait_for(|is_stopping| *is_stopping).await;
}
