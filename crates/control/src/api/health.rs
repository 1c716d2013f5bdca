//! `/livez`, `/readyz` and `/metrics`: for machines that watch; no credentials, nothing secret.

use axum::{extract::State, response::IntoResponse};
use http::{StatusCode, header};
use time::OffsetDateTime;

use super::{SharedApp, problem::Problem};
use crate::store;

pub(super) async fn live() -> &'static str {
    "ok\n"
}

/// Ready: the database answers.
pub(super) async fn ready(State(app): State<SharedApp>) -> (StatusCode, &'static str) {
    match app.service.store.refresh_head().await {
        Ok(_) => (StatusCode::OK, "ok\n"),
        Err(error) => {
            tracing::warn!(error = %super::problem::chain(&error), "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n")
        }
    }
}

pub(super) async fn metrics(State(app): State<SharedApp>) -> Result<impl IntoResponse, Problem> {
    let mut connection =
        app.service.store.read().await.map_err(|error| Problem::internal(&error))?;
    let state = store::feed::state(&mut connection).await;
    let pops = store::pop::list(&mut connection).await;
    let backlog = store::job::backlog(&mut connection).await;
    drop(connection);
    let backlog = backlog.map_err(|error| Problem::internal(&error))?;
    app.metrics.jobs(&backlog, OffsetDateTime::now_utc());
    let state = state.map_err(|error| Problem::internal(&error))?;
    let pops = pops.map_err(|error| Problem::internal(&error))?;
    let text = app.metrics.render(&state, &pops).map_err(|error| Problem::internal(&error))?;
    Ok(([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text))
}
