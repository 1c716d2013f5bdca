//! From an accepted TCP connection to TLS, with the policy and the certificate of its name.

use std::{io, sync::Arc};

use landfall_certstore::{Offer, Resolver, SelectError, Selected, with_certificate};
use landfall_model::LookupName;
use pingora_core::protocols::l4::stream::Stream as TcpStream;
use rustls::{HandshakeKind, ProtocolVersion, ServerConfig, server::Acceptor};
use tokio::io::AsyncWriteExt;
use tokio_rustls::{LazyConfigAcceptor, StartHandshake, server::TlsStream};

use super::{
    FrontSettings,
    alert::Alert,
    hello::{HelloTooLarge, Limited},
    serve::Ready,
    warnings::Warnings,
};
use crate::{
    client_certificate::{ClientCertificate, ClientCertificateError},
    clock::unix_seconds,
    connection::Connection,
    metrics::Handshake,
    site::Site,
    stream::Protocol,
    sync::describe,
};

type Tls = TlsStream<TcpStream>;

/// Of hostnames whose certificate can't be used.
static UNUSABLE: Warnings = Warnings::new();

/// Completes the handshake, or says how it ended. Takes no longer than the limit.
pub(super) async fn accept(
    tcp: TcpStream,
    resolver: &Resolver<Site>,
    settings: &FrontSettings,
) -> (Option<Ready<Tls>>, Handshake) {
    let handshake = complete(tcp, resolver, settings);
    match tokio::time::timeout(settings.limits.handshake_timeout, handshake).await {
        Ok(Ok((stream, outcome))) => (Some(stream), outcome),
        Ok(Err(outcome)) => (None, outcome),
        Err(_) => (None, Handshake::Timeout),
    }
}

async fn complete(
    tcp: TcpStream,
    resolver: &Resolver<Site>,
    settings: &FrontSettings,
) -> Result<(Ready<Tls>, Handshake), Handshake> {
    let start = read_hello(tcp, settings.limits.client_hello).await?;
    let challenge = settings.challenges.tls(&start.client_hello(), unix_seconds());
    if let Some(challenge) = challenge {
        return Err(answer(start, challenge).await);
    }
    let (start, selected) = select(start, resolver, settings.default_hostname).await?;
    let config = Arc::clone(selected.entry.policy().server_config());
    // rustls asks for the certificate as soon as the connection is made, so that is inside too.
    let handshake = async move { start.into_stream(config).await };
    let tls = with_certificate(&selected, handshake).await.map_err(|error| failure(&error))?;
    let (protocol, outcome) = negotiated(&tls);
    let entry = selected.entry;
    let client = client_certificate(&tls).map_err(|error| {
        tracing::debug!(hostname = %entry.name(), %error, "a client's certificate is not taken");
        Handshake::Refused
    })?;
    if tls.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed) {
        settings.metrics.session_resumed();
    }
    let connection = Connection::tls(entry, client);
    Ok((Ready { transport: tls, protocol, connection, client: None }, outcome))
}

/// Shows a CA what it asks for, and ends the connection (RFC 8737 section 3).
async fn answer(start: StartHandshake<TcpStream>, challenge: Arc<ServerConfig>) -> Handshake {
    match start.into_stream(challenge).await {
        Ok(mut tls) => {
            // The CA has what it came for.
            let _ = tls.shutdown().await;
            Handshake::Challenge
        }
        Err(error) => failure(&error),
    }
}

/// What the client showed in this handshake, or in the one whose session it resumes.
fn client_certificate(tls: &Tls) -> Result<Option<ClientCertificate>, ClientCertificateError> {
    let Some(leaf) = tls.get_ref().1.peer_certificates().and_then(<[_]>::first) else {
        return Ok(None);
    };
    let now = i64::try_from(unix_seconds()).unwrap_or(i64::MAX);
    ClientCertificate::read(leaf, now).map(Some)
}

/// Reads the ClientHello. rustls sends the alert where it is malformed.
async fn read_hello(tcp: TcpStream, max: usize) -> Result<StartHandshake<TcpStream>, Handshake> {
    let acceptor = LazyConfigAcceptor::new(Acceptor::default(), Limited::new(tcp, max));
    let start = acceptor.await.map_err(|error| failure(&error))?;
    Ok(StartHandshake::from_parts(start.accepted, start.io.into_inner()))
}

/// Finds what to present, or ends the connection with the alert that says why not.
async fn select(
    start: StartHandshake<TcpStream>,
    resolver: &Resolver<Site>,
    default_hostname: Option<LookupName>,
) -> Result<(StartHandshake<TcpStream>, Selected<Site>), Handshake> {
    let hello = start.client_hello();
    let name = hello.server_name().and_then(LookupName::from_sni);
    let offer = Offer::of(&hello);
    let mut selected = Err(SelectError::UnknownName);
    for name in name.into_iter().chain(default_hostname) {
        selected = resolver.select(&name, offer).await;
        if !matches!(selected, Err(SelectError::UnknownName)) {
            break;
        }
    }
    match selected {
        Ok(selected) => Ok((start, selected)),
        Err(error) => {
            let (alert, outcome) = refusal(&error);
            alert.send(start.io).await;
            Err(outcome)
        }
    }
}

fn refusal(error: &SelectError) -> (Alert, Handshake) {
    match error {
        SelectError::NoCertificate { .. } => (Alert::UnrecognizedName, Handshake::NoCertificate),
        SelectError::Unusable { name, source } => {
            if UNUSABLE.is_due(name, unix_seconds()) {
                tracing::warn!(hostname = %name, reason = source.reason(), cause = %source, "{error}");
            }
            (Alert::InternalError, Handshake::UnusableCertificate)
        }
        SelectError::Unreadable(cause) => {
            // Whatever the name: anybody can ask for any.
            if UNUSABLE.is_due(&"unreadable", unix_seconds()) {
                tracing::warn!(cause = describe(cause), "{error}");
            }
            (Alert::InternalError, Handshake::UnusableCertificate)
        }
        // The store may come to know more reasons.
        SelectError::UnknownName | _ => (Alert::UnrecognizedName, Handshake::UnknownName),
    }
}

fn failure(error: &io::Error) -> Handshake {
    if error.get_ref().is_some_and(|inner| inner.is::<HelloTooLarge>()) {
        Handshake::HelloTooLarge
    } else if error.kind() == io::ErrorKind::InvalidData {
        Handshake::Refused
    } else {
        Handshake::Disconnected
    }
}

fn negotiated(tls: &Tls) -> (Protocol, Handshake) {
    let tls = tls.get_ref().1;
    let protocol = match tls.alpn_protocol() {
        Some(b"h2") => Protocol::Http2,
        _ => Protocol::Http1,
    };
    let outcome = match tls.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => Handshake::Tls12,
        _ => Handshake::Tls13,
    };
    (protocol, outcome)
}
