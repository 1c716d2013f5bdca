//! The Cloudflare-compatible custom hostnames API: a property is a zone, a hostname of it a custom
//! hostname.
//!
//! It reads and writes that API's JSON and has no rules of its own: what may be is decided where
//! the native API's requests are. Fields that the API doesn't document are ignored, as its clients
//! expect. Start reading at [`routes`]; [`failure`] says how refusals are told.

mod answer;
mod body;
mod edit;
mod envelope;
mod failure;
mod fallback_origin;
mod hostnames;
mod query;
mod ssl;

use axum::{
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::header;

use crate::api::{
    SharedApp,
    guard::{GuardedRoutes, Need, Verb},
    problem::Problem,
};
use failure::Failure;

/// What every path here starts with.
pub(crate) const PREFIX: &str = "/client/v4";

/// Every endpoint, each with what a key needs to call it.
pub(crate) fn routes(app: &SharedApp) -> GuardedRoutes {
    const ALL: &str = "/client/v4/zones/{zone}/custom_hostnames";
    const ONE: &str = "/client/v4/zones/{zone}/custom_hostnames/{custom_hostname}";
    const FALLBACK: &str = "/client/v4/zones/{zone}/custom_hostnames/fallback_origin";
    GuardedRoutes::new(app, |problem| Failure::from(problem).into_response())
        .route(Verb::Get, ALL, Need::READ, hostnames::list)
        .route(Verb::Post, ALL, Need::WRITE, hostnames::create)
        .route(Verb::Get, FALLBACK, Need::READ, fallback_origin::show)
        .route(Verb::Put, FALLBACK, Need::WRITE, fallback_origin::set)
        .route(Verb::Delete, FALLBACK, Need::WRITE, fallback_origin::unset)
        .route(Verb::Get, ONE, Need::READ, hostnames::show)
        .route(Verb::Patch, ONE, Need::WRITE, hostnames::change)
        .route(Verb::Delete, ONE, Need::WRITE, hostnames::delete)
}

/// Tells problems of requests to these paths in the API's own form, whoever found them: a path that
/// isn't there, a limit, a panic.
pub(crate) async fn translate(request: Request, next: Next) -> Response {
    let ours = request.uri().path().starts_with(PREFIX);
    let mut response = next.run(request).await;
    if !ours {
        return response;
    }
    let Some(problem) = response.extensions_mut().remove::<Problem>() else {
        return response;
    };
    let mut told = Failure::from(&problem).into_response();
    for (name, value) in response.headers() {
        if *name != header::CONTENT_TYPE && *name != header::CONTENT_LENGTH {
            told.headers_mut().insert(name, value.clone());
        }
    }
    told
}
