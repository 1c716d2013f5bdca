//! Creations that take effect once however often they are sent: `Idempotency-Key`
//! (draft-ietf-httpapi-idempotency-key-header-07).

use axum::{
    extract::Request,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode};
use landfall_feed::seal::sha256;

use super::{body::read_public_bytes, condition::Tagged, json, problem::Problem};
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
    let key = key(request.headers())?;
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let body = read_public_bytes(request, limit).await?;
    let once = key.map(|key| {
        let (method, path) = (method.as_str(), path.as_str());
        let asked = [method.as_bytes(), b" ", path.as_bytes(), b"\n", body.as_slice()].concat();
        Once { api_key: caller.key, key: sha256(&key), fingerprint: sha256(&asked) }
    });
    Ok((json::read(&body)?, call.once(once)))
}

/// Refuses the header where a creation can't be repeated.
pub(super) fn refuse(headers: &HeaderMap) -> Result<(), Problem> {
    if !headers.contains_key(HEADER) {
        return Ok(());
    }
    let detail = "A key's secret is answered once and kept nowhere: it can't be repeated.";
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
            let mut response = (StatusCode::CREATED, Tagged::<B>::from(view)).into_response();
            let replayed = HeaderValue::from_static("true");
            response.headers_mut().insert("idempotency-replayed", replayed);
            response
        }
    }
}
