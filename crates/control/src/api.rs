//! The HTTP face: the native API, the PoPs' feed, health and metrics on one listener.

pub(crate) mod body;
mod certificate;
mod health;
mod hostname;
mod list;
pub(crate) mod problem;
mod property;
mod verification;

use std::{
    any::Any,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderMap, StatusCode, header};
use landfall_feed::sign::SigningKey;
use time::OffsetDateTime;
use tokio::sync::{Semaphore, watch};
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    call::{Actor, Call},
    config::ApiConfig,
    feed::{self, snapshot::SnapshotRequests},
    metrics::{Metrics, RouteClass},
    refusals::Refusals,
    service::Service,
    store::{self, StoreError},
    token::{ApiKeyId, Presented},
};
use problem::Problem;

/// What every handler can reach.
pub(crate) struct App {
    pub(crate) service: Service,
    pub(crate) signing_key: Arc<SigningKey>,
    pub(crate) snapshots: SnapshotRequests,
    pub(crate) snapshot_directory: PathBuf,
    pub(crate) long_polls: Semaphore,
    /// Becomes true once the server is to stop: long polls then end.
    pub(crate) stopping: watch::Receiver<bool>,
    pub(crate) refused_pops: Refusals,
    pub(crate) refused_api_keys: Refusals,
    pub(crate) metrics: Metrics,
    pub(crate) limits: ApiConfig,
}

/// A handle to [`App`], cheap to clone.
pub(crate) type SharedApp = Arc<App>;

/// Every route with its guards.
pub(crate) fn router(app: SharedApp) -> Router {
    let api = Router::new()
        .route("/api/Property", get(property::list).post(property::create))
        .route("/api/Property/{property}", get(property::show).patch(property::change))
        .route("/api/Property/{property}/hostname", get(hostname::list).post(hostname::create))
        .route(
            "/api/Property/{property}/hostname/{hostname}",
            get(hostname::show).patch(hostname::change).delete(hostname::delete),
        )
        .route(
            "/api/Property/{property}/hostname/{hostname}/certificate",
            get(certificate::show).post(certificate::upload).delete(certificate::remove),
        )
        .route_layer(middleware::from_fn_with_state(app.clone(), require_api_key))
        .route_layer(middleware::from_fn_with_state(app.clone(), bound_time));
    let health = Router::new()
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .route_layer(middleware::from_fn_with_state(app.clone(), bound_time));
    Router::new()
        .merge(api)
        .merge(health)
        .merge(feed::routes(&app))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .layer(CatchPanicLayer::custom(caught))
        .layer(middleware::from_fn_with_state(app.clone(), observe))
        .with_state(app)
}

async fn not_found() -> Problem {
    Problem::not_found("path")
}

async fn method_not_allowed(request: Request) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "Method not allowed",
        format!("This path does not take {}.", request.method()),
    )
}

/// The panic's own words may hold anything, so they go nowhere but to the panic hook.
fn caught(_: Box<dyn Any + Send + 'static>) -> Response {
    tracing::error!("a request handler panicked");
    Problem::internal_silent().into_response()
}

async fn observe(State(app): State<SharedApp>, request: Request, next: Next) -> Response {
    let class = RouteClass::of(request.uri().path());
    let response = next.run(request).await;
    app.metrics.request(class, response.status());
    response
}

async fn bound_time(State(app): State<SharedApp>, request: Request, next: Next) -> Response {
    within(app.limits.request_timeout, request, next).await
}

/// Runs a request for at most `limit`. A change that is cut off is rolled back.
pub(crate) async fn within(limit: Duration, request: Request, next: Next) -> Response {
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = "The request took too long.";
            Problem::unavailable("timeout", detail).into_response()
        }
    }
}

/// Lets whoever has an API key in, and tells the handler who it is.
async fn require_api_key(
    State(app): State<SharedApp>,
    mut request: Request,
    next: Next,
) -> Response {
    match caller(&app, request.headers()).await {
        Ok(Some(key)) => {
            let call = Call { now: OffsetDateTime::now_utc(), actor: Actor::Key(key) };
            request.extensions_mut().insert(call);
            next.run(request).await
        }
        Ok(None) => {
            if let Some(refused) = app.refused_api_keys.count(Instant::now()) {
                tracing::warn!(refused, "requests to the API came without a valid API key");
            }
            Problem::unauthorized("a valid API key in `X-API-Key` or as bearer token")
                .into_response()
        }
        Err(error) => Problem::internal(&error).into_response(),
    }
}

async fn caller(app: &App, headers: &HeaderMap) -> Result<Option<ApiKeyId>, StoreError> {
    let header = headers.get("x-api-key").and_then(|value| value.to_str().ok());
    let Some(presented) = header.or_else(|| bearer(headers)).and_then(Presented::<ApiKeyId>::parse)
    else {
        return Ok(None);
    };
    let mut connection = app.service.store.read().await?;
    let stored = store::api_key::secret_hash(&mut connection, presented.id).await?;
    let proven = stored.is_some_and(|stored| presented.matches(&stored));
    Ok(proven.then_some(presented.id))
}

/// The token of `Authorization: Bearer` (RFC 6750 section 2.1).
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
