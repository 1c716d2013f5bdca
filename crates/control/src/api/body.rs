//! Reads request bodies: bounded, typed, and wiped where they may hold a secret.

use std::time::Duration;

use axum::{body::BodyDataStream, extract::Request};
use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use zeroize::{Zeroize, Zeroizing};

use super::problem::Problem;
use crate::certificate::pem::PRIVATE_KEY;

/// How much of a refused body is still taken, in bytes, and for how long.
const DISCARDED_BYTES: usize = 8 << 20;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);

/// Reads a JSON body of at most `limit` bytes that has no secret in it.
///
/// Every buffer of ours is wiped; of the server's own buffers, those that nobody shares.
pub(crate) async fn read_json<T: DeserializeOwned>(
    request: Request,
    limit: usize,
) -> Result<T, Problem> {
    let bytes = read_json_bytes(request, limit).await?;
    // Parsed, it would be in texts that nobody wipes, and in the words of an error.
    if bytes.windows(PRIVATE_KEY.len()).any(|window| window == PRIVATE_KEY.as_bytes()) {
        return Err(Problem::private_key());
    }
    serde_json::from_slice(&bytes).map_err(|error| malformed(&error))
}

/// The same for a body that holds a secret: the error says where it is wrong and what was
/// `expected`, and quotes nothing.
pub(crate) async fn read_secret_json<T: DeserializeOwned>(
    request: Request,
    limit: usize,
    expected: &str,
) -> Result<T, Problem> {
    let bytes = read_json_bytes(request, limit).await?;
    serde_json::from_slice(&bytes).map_err(|error| {
        let (status, code, title) = classify(&error);
        let (line, column) = (error.line(), error.column());
        let detail = format!("Expected {expected}; at line {line} column {column} it is not.");
        Problem::new(status, code, title, detail)
    })
}

/// Reads a body of at most `limit` bytes that is said to be JSON, into a buffer that is wiped.
pub(crate) async fn read_json_bytes(
    request: Request,
    limit: usize,
) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let (parts, body) = request.into_parts();
    let mut body = body.into_data_stream();
    let read = read_announced(&parts.headers, &mut body, limit).await;
    if read.is_err() {
        discard(body).await;
    }
    read
}

/// Takes what is still on its way of a refused body, within bounds: closing at once would reset
/// the connection, and many clients lose the answer with it (RFC 9112 section 9.6).
async fn discard(mut body: BodyDataStream) {
    let reading = async {
        let mut left = DISCARDED_BYTES;
        while let Some(Ok(chunk)) = body.next().await {
            left = left.saturating_sub(chunk.len());
            if left == 0 {
                return;
            }
        }
    };
    // A client that is slower than that gets no more of our time.
    let _ = tokio::time::timeout(DISCARD_TIMEOUT, reading).await;
}

async fn read_announced(
    headers: &HeaderMap,
    body: &mut BodyDataStream,
    limit: usize,
) -> Result<Zeroizing<Vec<u8>>, Problem> {
    if !is_json(headers) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "The body is of the wrong kind",
            "Expected a JSON body with `Content-Type: application/json`.",
        ));
    }
    let announced = content_length(headers);
    if announced.is_some_and(|len| len > limit) {
        return Err(too_large(limit));
    }
    read_bytes(body, announced.unwrap_or_default(), limit).await
}

async fn read_bytes(
    body: &mut BodyDataStream,
    announced: usize,
    limit: usize,
) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let mut read = Zeroizing::new(Vec::with_capacity(announced.max(4_096)));
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|_| {
            let detail = "The body ended before its announced length.";
            Problem::new(StatusCode::BAD_REQUEST, "body_incomplete", "The body is cut off", detail)
        })?;
        if read.len() + chunk.len() > limit {
            return Err(too_large(limit));
        }
        append(&mut read, &chunk);
        if let Ok(mut own) = chunk.try_into_mut() {
            own.zeroize();
        }
    }
    Ok(read)
}

/// Appends without leaving an unwiped copy where the vector would have grown.
fn append(to: &mut Zeroizing<Vec<u8>>, chunk: &Bytes) {
    if to.capacity() - to.len() < chunk.len() {
        let mut larger = Zeroizing::new(Vec::with_capacity(2 * (to.len() + chunk.len())));
        larger.extend_from_slice(to);
        *to = larger;
    }
    to.extend_from_slice(chunk);
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
    // The second is a change's own (RFC 7396 section 4).
    ["application/json", "application/merge-patch+json"]
        .iter()
        .any(|kind| essence.eq_ignore_ascii_case(kind))
}

fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn too_large(limit: usize) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "body_too_large",
        "The body is too large",
        format!("A body may have {limit} bytes."),
    )
}

/// serde_json's own words name the field and the place.
fn malformed(error: &serde_json::Error) -> Problem {
    let (status, code, title) = classify(error);
    Problem::new(status, code, title, format!("{error}."))
}

fn classify(error: &serde_json::Error) -> (StatusCode, &'static str, &'static str) {
    match error.classify() {
        serde_json::error::Category::Data => {
            (StatusCode::UNPROCESSABLE_ENTITY, "invalid_field", "The request is invalid")
        }
        serde_json::error::Category::Io
        | serde_json::error::Category::Syntax
        | serde_json::error::Category::Eof => {
            (StatusCode::BAD_REQUEST, "invalid_json", "The body is not JSON")
        }
    }
}

/// A text that is wiped when it is dropped.
pub(crate) struct SecretText(pub(crate) Zeroizing<String>);

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl serde::de::Visitor<'_> for Visitor {
            type Value = SecretText;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E>(self, text: &str) -> Result<SecretText, E> {
                Ok(SecretText(Zeroizing::new(text.to_owned())))
            }

            fn visit_string<E>(self, text: String) -> Result<SecretText, E> {
                Ok(SecretText(Zeroizing::new(text)))
            }
        }

        deserializer.deserialize_string(Visitor)
    }
}
