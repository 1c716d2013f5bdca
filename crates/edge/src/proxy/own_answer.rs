//! How the answers that are ours are sent.

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use pingora::http::ResponseHeader;
use pingora_proxy::Session;

use super::{LINGER, Request, response};
use crate::{refusal::Refusal, request_id::REQUEST_ID};

/// Answers with a refusal. An HTTP/1.1 connection ends with it; HTTP/2 goes on.
pub(super) async fn refuse(
    session: &mut Session,
    refusal: Refusal,
    request: &Request,
) -> pingora::Result<()> {
    let (mut header, body) = refusal.response(session.req_header(), &request.id)?;
    add_hsts(&mut header, request)?;
    let has_body = session.req_header().method != Method::HEAD;
    let body = if has_body { body } else { Bytes::new() };
    session.write_error_response(header, body).await?;
    if refusal != Refusal::RequestTimeout {
        // What is still on its way would reset the connection or the stream, and many clients
        // lose the answer with it (RFC 9112 section 9.6).
        session.set_total_drain_timeout(Some(LINGER));
        let _ = session.drain_request_body().await;
    }
    Ok(())
}

/// Sends the client to TLS. The connection goes on.
pub(super) async fn send_to_tls(
    session: &mut Session,
    location: HeaderValue,
    request: &Request,
) -> pingora::Result<()> {
    let mut header = ResponseHeader::build(StatusCode::PERMANENT_REDIRECT, Some(3))?;
    header.insert_header(header::LOCATION, location)?;
    header.insert_header(header::CONTENT_LENGTH, HeaderValue::from_static("0"))?;
    header.insert_header(REQUEST_ID, request.id.to_value())?;
    session.write_response_header(Box::new(header), true).await?;
    session.write_response_body(None, true).await
}

/// Gives a CA the key authorization that it asks for (RFC 8555 section 8.3). The connection goes on.
pub(super) async fn answer_challenge(
    session: &mut Session,
    answer: String,
    request: &Request,
) -> pingora::Result<()> {
    let mut header = ResponseHeader::build(StatusCode::OK, Some(3))?;
    header.insert_header(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    )?;
    header.insert_header(header::CONTENT_LENGTH, answer.len())?;
    header.insert_header(REQUEST_ID, request.id.to_value())?;
    let has_body = session.req_header().method != Method::HEAD;
    session.write_response_header(Box::new(header), !has_body).await?;
    let body = has_body.then(|| Bytes::from(answer));
    session.write_response_body(body, true).await
}

fn add_hsts(header: &mut ResponseHeader, request: &Request) -> pingora::Result<()> {
    let rules = request.entry.as_ref().map(|entry| entry.route().rules());
    match response::hsts(rules, request.scheme) {
        Some(hsts) => header.insert_header(header::STRICT_TRANSPORT_SECURITY, hsts),
        None => Ok(()),
    }
}
