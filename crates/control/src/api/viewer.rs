//! `/api/openapi.json` and `/api/docs`: the API's document and a viewer, for whoever asks.

use std::sync::{Arc, LazyLock};

use axum::{
    Router,
    extract::Path,
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use utoipa_swagger_ui::Config;

use super::{SharedApp, openapi, problem::Problem};

const DOCUMENT: &str = "/api/openapi.json";
const VIEWER: &str = "/api/docs/";

/// Nothing but the viewer's own files runs or is fetched. It sets styles of elements by script, and
/// has its icons in its style sheet.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' \
                      data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

static TEXT: LazyLock<Bytes> = LazyLock::new(|| openapi::document().to_string().into());

static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| {
    // A validator would be somebody else's server.
    Arc::new(Config::from(DOCUMENT).validator_url("none").persist_authorization(false))
});

/// The document and its viewer.
pub(super) fn routes() -> Router<SharedApp> {
    Router::new()
        .route(DOCUMENT, get(document))
        .route("/api/docs", get(|| async { Redirect::permanent(VIEWER) }))
        .route(VIEWER, get(|| async { file("") }))
        .route("/api/docs/{file}", get(|Path(name): Path<String>| async move { file(&name) }))
}

async fn document() -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")];
    (headers, TEXT.clone()).into_response()
}

/// One of the viewer's files; its page where none is named.
fn file(name: &str) -> Response {
    let Ok(Some(file)) = utoipa_swagger_ui::serve(name, Arc::clone(&CONFIG)) else {
        return Problem::not_found("file").into_response();
    };
    let mut headers = HeaderMap::new();
    let kind = HeaderValue::from_str(&file.content_type);
    headers.extend(kind.map(|kind| (header::CONTENT_TYPE, kind)));
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    (headers, file.bytes.into_owned()).into_response()
}
