//! HTTP-01 (RFC 8555 section 8.3), asked for with a token that nobody knows but us.

use aws_lc_rs::rand;
use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use landfall_model::{Hostname, Thumbprint};
use tokio::net::TcpStream;

use super::ProbeError;

/// How much of an answer is read, in bytes. A key authorization has less than 100.
const MAX_BODY: usize = 1024;
/// The most that a response's head may take.
const MAX_HEAD: usize = 16 * 1024;
const USER_AGENT: &str = concat!("landfall/", env!("CARGO_PKG_VERSION"));

pub(super) async fn fetch(
    stream: TcpStream,
    name: &Hostname,
    port: u16,
    thumbprint: &Thumbprint,
) -> Result<(), ProbeError> {
    let token = token();
    let host = if port == 80 { name.to_string() } else { format!("{name}:{port}") };
    let request = Request::get(format!("/.well-known/acme-challenge/{token}"))
        .header(header::HOST, host)
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new());
    let request = request.map_err(|_| ProbeError::Broken)?;
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MAX_HEAD);
    let made = builder.handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = made.map_err(|_| ProbeError::Broken)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|_| ProbeError::Broken)?;
        if response.status() != StatusCode::OK {
            return Err(ProbeError::Status(response.status().as_u16()));
        }
        let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
        let body = body.map_err(|_| ProbeError::OtherAnswer)?.to_bytes();
        let expected = format!("{token}.{}", thumbprint.as_str());
        let is_own = body.trim_ascii() == expected.as_bytes();
        if is_own { Ok(()) } else { Err(ProbeError::OtherAnswer) }
    };
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        // What it has read before its end is still to be had.
        _ = connection => exchange.await,
    }
}

/// As long as those of CAs.
fn token() -> String {
    let mut bytes = [0; 32];
    // One that can be guessed is as good: it is our own PoP that answers.
    let _ = rand::fill(&mut bytes);
    BASE64URL_NOPAD.encode(&bytes)
}
