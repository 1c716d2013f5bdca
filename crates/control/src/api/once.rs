//! Creations that take effect once however often they are sent: `Idempotency-Key`
//! (draft-ietf-httpapi-idempotency-key-header-07).

use axum::{
    extract::Request,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode};
use landfall_feed::seal::sha256;

use zeroize::Zeroizing;

use super::{
    body::read_public_bytes,
    condition::{self, Tagged},
    json,
    problem::Problem,
};
use crate::{
    api_key::Caller,
    call::{Call, Once},
    service::Creation,
    settings::Fields,
};

const HEADER: &str = "idempotency-key";
/// The longest key, in bytes.
const MAX_LEN: usize = 255;

/// Reads what is to be made, and the call that makes it once.
pub(super) async fn read_creation(
    request: Request,
    call: Call,
    caller: &Caller,
    limit: usize,
) -> Result<(Fields, Call), Problem> {
    let asked = Asked::of(&request)?;
    let body = read_public_bytes(request, limit).await?;
    Ok((json::read(&body)?, asked.once(&body, call, caller)))
}

/// What a request for a creation says before its body.
pub(crate) struct Asked {
    key: Option<Vec<u8>>,
    /// Method and path.
    line: String,
}

impl Asked {
    /// Reads it, and refuses what a creation can't depend on.
    pub(crate) fn of(request: &Request) -> Result<Self, Problem> {
        condition::refuse(request.headers())?;
        let line = format!("{} {}\n", request.method(), request.uri().path());
        Ok(Self { key: key(request.headers())?, line })
    }

    /// The call that makes what this and the body ask for once.
    pub(crate) fn once(self, body: &[u8], call: Call, caller: &Caller) -> Call {
        let Self { key, line } = self;
        call.once(key.map(|key| {
            let asked = Zeroizing::new([line.as_bytes(), body].concat());
            Once { api_key: caller.key, key: sha256(&key), fingerprint: sha256(&asked) }
        }))
    }
}

/// Refuses the header where an answer can't be repeated. `why` it can't is told.
pub(super) fn refuse(headers: &HeaderMap, why: &str) -> Result<(), Problem> {
    if !headers.contains_key(HEADER) {
        return Ok(());
    }
    let detail = why;
    Err(Problem::bad_header("Idempotency-Key", "idempotency_not_supported", detail))
}

fn key(headers: &HeaderMap) -> Result<Option<Vec<u8>>, Problem> {
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let key = value.as_bytes();
    let fits = (1..=MAX_LEN).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic);
    if !fits || values.next().is_some() {
        let detail = format!("Expected one key of 1 to {MAX_LEN} visible ASCII characters.");
        return Err(Problem::bad_header("Idempotency-Key", "invalid_idempotency_key", detail));
    }
    Ok(Some(key.to_vec()))
}

/// What was made, now or earlier, as it is answered.
pub(super) fn created<V, B>(creation: Creation<V>) -> Response
where
    Tagged<B>: From<V> + IntoResponse,
{
    match creation {
        Creation::Made(view) => (StatusCode::CREATED, Tagged::<B>::from(view)).into_response(),
        Creation::Repeated(view) => {
            replayed((StatusCode::CREATED, Tagged::<B>::from(view)).into_response())
        }
    }
}

/// Says of an answer that what it shows was made before.
pub(crate) fn replayed(mut response: Response) -> Response {
    let value = HeaderValue::from_static("true");
    response.headers_mut().insert("idempotency-replayed", value);
    response
}
