//! The HTTP face: the native API, the PoPs' feed, health and metrics on one listener.

mod audit;
pub(crate) mod body;
mod certificate;
pub(crate) mod condition;
mod explain;
pub(crate) mod guard;
mod health;
mod hostname;
pub(crate) mod import;
pub(crate) mod json;
mod key;
pub(crate) mod key_uses;
mod list;
pub(crate) mod lists;
pub(crate) mod once;
mod openapi;
mod ownership;
pub(crate) mod problem;
mod property;
pub(crate) mod throttle;
mod verification;
mod viewer;

use std::{any::Any, path::PathBuf, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderValue, StatusCode, header};
use landfall_feed::sign::SigningKey;
use tokio::sync::{Semaphore, watch};
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    agent, cloudflare,
    config::ApiConfig,
    feed::{self, snapshot::SnapshotRequests},
    metrics::{Metrics, RouteClass},
    pops_seen::PopsSeen,
    refusals::Refusals,
    service::Service,
};
use guard::{GuardedRoutes, Need, Verb};
use import::Imports;
use key_uses::KeyUses;
use lists::Lists;
use problem::Problem;
use throttle::Throttle;

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
    pub(crate) key_uses: KeyUses,
    pub(crate) imports: Imports,
    pub(crate) lists: Lists,
    pub(crate) throttle: Throttle,
    pub(crate) pops_seen: PopsSeen,
    /// Those that something else asks in the name of.
    pub(crate) pops_refused: PopsSeen,
    pub(crate) metrics: Metrics,
    pub(crate) limits: ApiConfig,
}

/// A handle to [`App`], cheap to clone.
pub(crate) type SharedApp = Arc<App>;

/// Every route with its guards.
pub(crate) fn router(app: SharedApp) -> Router {
    let api = native(&app)
        .into_router()
        .route_layer(middleware::from_fn_with_state(app.clone(), bound_time));
    let compatible = cloudflare::routes(&app)
        .into_router()
        .route_layer(middleware::from_fn_with_state(app.clone(), bound_time));
    let health = Router::new()
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .route_layer(middleware::from_fn_with_state(app.clone(), bound_time));
    Router::new()
        .merge(api)
        .merge(compatible)
        .merge(health)
        .merge(viewer::routes())
        .merge(feed::routes(&app))
        .merge(agent::routes(&app))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .layer(CatchPanicLayer::custom(caught))
        .layer(middleware::from_fn(cloudflare::translate))
        .layer(middleware::map_response(close_if_too_much))
        .layer(middleware::from_fn_with_state(app.clone(), observe))
        .with_state(app)
}

/// The native API, each endpoint with what a key needs to call it.
fn native(app: &SharedApp) -> GuardedRoutes {
    const PROPERTY: &str = "/api/Property/{property}";
    const HOSTNAMES: &str = "/api/Property/{property}/hostname";
    const IMPORT: &str = "/api/Property/{property}/hostname/import";
    const HOSTNAME: &str = "/api/Property/{property}/hostname/{hostname}";
    const CERTIFICATE: &str = "/api/Property/{property}/hostname/{hostname}/certificate";
    const EXPLAIN: &str = "/api/Property/{property}/hostname/{hostname}/explain";
    const EVENTS: &str = "/api/Property/{property}/hostname/{hostname}/events";
    const REQUEST_CERTIFICATE: &str =
        "/api/Property/{property}/hostname/{hostname}/request-certificate";
    const REVOKE_CERTIFICATE: &str =
        "/api/Property/{property}/hostname/{hostname}/certificate/revoke";
    GuardedRoutes::new(app, Problem::into_response)
        .route(Verb::Get, "/api/Property", Need::READ, property::list)
        .route(Verb::Post, "/api/Property", Need::WRITE_EVERYTHING, property::create)
        .route(Verb::Get, PROPERTY, Need::READ, property::show)
        .route(Verb::Patch, PROPERTY, Need::WRITE, property::change)
        .route(Verb::Delete, PROPERTY, Need::WRITE_EVERYTHING, property::delete)
        .route(Verb::Get, HOSTNAMES, Need::READ, hostname::list)
        .route(Verb::Post, HOSTNAMES, Need::WRITE, hostname::create)
        .route(Verb::Post, IMPORT, Need::WRITE, import::import)
        .route(Verb::Get, HOSTNAME, Need::READ, hostname::show)
        .route(Verb::Patch, HOSTNAME, Need::WRITE, hostname::change)
        .route(Verb::Delete, HOSTNAME, Need::WRITE, hostname::delete)
        .route(Verb::Get, EXPLAIN, Need::READ, explain::explain)
        .route(Verb::Get, EVENTS, Need::READ, explain::events)
        .route(Verb::Get, CERTIFICATE, Need::READ, certificate::show)
        .route(Verb::Post, CERTIFICATE, Need::WRITE, certificate::upload)
        .route(Verb::Delete, CERTIFICATE, Need::WRITE, certificate::remove)
        .route(Verb::Post, REVOKE_CERTIFICATE, Need::WRITE, certificate::revoke)
        .route(Verb::Get, "/api/Audit", Need::ADMIN, audit::list)
        .route(Verb::Post, REQUEST_CERTIFICATE, Need::WRITE, verification::request_certificate)
        .route(Verb::Get, "/api/Key", Need::ADMIN, key::list)
        .route(Verb::Post, "/api/Key", Need::ADMIN, key::create)
        .route(Verb::Get, "/api/Key/{key}", Need::ADMIN, key::show)
        .route(Verb::Delete, "/api/Key/{key}", Need::ADMIN, key::revoke)
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

/// Whoever asks too much has no use for its connection for now, and others may.
async fn close_if_too_much(mut response: Response) -> Response {
    if response.status() == StatusCode::TOO_MANY_REQUESTS {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
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
