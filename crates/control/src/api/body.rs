//! Reads request bodies: bounded, typed, and wiped where they may hold a secret.

mod lines;
mod stray_key;

use std::time::Duration;

use axum::{body::BodyDataStream, extract::Request};
use futures_util::StreamExt;
use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use zeroize::{Zeroize, Zeroizing};

use super::{json, problem::Problem};
pub(super) use lines::{Line, LineLimits, read_lines};
pub(crate) use stray_key::refuse_private_keys;

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
    json::read(&read_public_bytes(request, limit).await?)
}

/// Reads the bytes of such a body.
pub(crate) async fn read_public_bytes(
    request: Request,
    limit: usize,
) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let bytes = read_json_bytes(request, limit).await?;
    refuse_private_keys(&bytes, &[])?;
    Ok(bytes)
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

/// What a body may be called, and how an error puts it.
struct Kind {
    names: &'static [&'static str],
    expected: &'static str,
}

/// The second is a change's own (RFC 7396 section 4).
const JSON: Kind = Kind {
    names: &["application/json", "application/merge-patch+json"],
    expected: "Expected a JSON body with `Content-Type: application/json`.",
};

/// Reads a body of at most `limit` bytes that is said to be JSON, into a buffer that is wiped.
pub(crate) async fn read_json_bytes(
    request: Request,
    limit: usize,
) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let mut read = Zeroizing::new(Vec::new());
    read_of_kind(request, JSON, limit, |chunk| {
        append(&mut read, chunk);
        Ok(())
    })
    .await?;
    Ok(read)
}

/// Hands the pieces of a body of at most `limit` bytes on as they come, and wipes those that nobody
/// shares.
async fn read_of_kind(
    request: Request,
    kind: Kind,
    limit: usize,
    take: impl FnMut(&[u8]) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let (parts, body) = request.into_parts();
    let mut body = body.into_data_stream();
    let read = read_announced(&parts.headers, &kind, (&mut body, limit), take).await;
    if read.is_err() {
        discard(body).await;
    }
    read
}

/// Takes what is still on its way of a refused body, within bounds: closing at once would reset
/// the connection, and many clients lose the answer with it (RFC 9112 section 9.6).
pub(super) async fn discard(mut body: BodyDataStream) {
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
    kind: &Kind,
    (body, limit): (&mut BodyDataStream, usize),
    mut take: impl FnMut(&[u8]) -> Result<(), Problem>,
) -> Result<(), Problem> {
    if !kind.is_announced(headers) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "The body is of the wrong kind",
            kind.expected,
        ));
    }
    if content_length(headers).is_some_and(|len| len > limit) {
        return Err(too_large(limit));
    }
    let mut len = 0;
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|_| {
            let detail = "The body ended before its announced length.";
            Problem::new(StatusCode::BAD_REQUEST, "body_incomplete", "The body is cut off", detail)
        })?;
        len += chunk.len();
        if len > limit {
            return Err(too_large(limit));
        }
        let taken = take(&chunk);
        if let Ok(mut own) = chunk.try_into_mut() {
            own.zeroize();
        }
        taken?;
    }
    Ok(())
}

/// Appends without leaving an unwiped copy where the vector would have grown.
fn append(to: &mut Zeroizing<Vec<u8>>, chunk: &[u8]) {
    if to.capacity() - to.len() < chunk.len() {
        let mut larger = Zeroizing::new(Vec::with_capacity(2 * (to.len() + chunk.len())));
        larger.extend_from_slice(to);
        *to = larger;
    }
    to.extend_from_slice(chunk);
}

impl Kind {
    fn is_announced(&self, headers: &HeaderMap) -> bool {
        let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = value.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
        self.names.iter().any(|name| essence.eq_ignore_ascii_case(name))
    }
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
