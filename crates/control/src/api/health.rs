//! `/livez`, `/readyz` and `/metrics`: for machines that watch; no credentials, nothing secret.

use std::collections::BTreeMap;

use axum::{extract::State, response::IntoResponse};
use http::{StatusCode, header};
use landfall_issuance::ledger::{Bucket, Ledger};
use landfall_model::AuthorityName;
use time::OffsetDateTime;

use super::{App, SharedApp, problem::Problem};
use crate::{
    metrics::verification::VerificationCounts,
    service::ServiceError,
    store::{self, Connection, StoreError},
};

/// Is the process alive?
#[utoipa::path(
    get,
    path = "/livez",
    operation_id = "live",
    tag = "Health",
    responses((status = 200, description = "It is.", body = String))
)]
pub(super) async fn live() -> &'static str {
    "ok\n"
}

/// Is it ready?
///
/// It is where the database answers.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "ready",
    tag = "Health",
    responses(
        (status = 200, description = "It is.", body = String),
        (status = 503, description = "The database does not answer.", body = String),
    )
)]
pub(super) async fn ready(State(app): State<SharedApp>) -> (StatusCode, &'static str) {
    match app.service.store.refresh_head().await {
        Ok(_) => (StatusCode::OK, "ok\n"),
        Err(error) => {
            tracing::warn!(error = %super::problem::chain(&error), "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n")
        }
    }
}

/// Metrics in Prometheus' text format.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "metrics",
    tag = "Health",
    responses(
        (status = 200, description = "The metrics.", body = String,
            content_type = "text/plain; version=0.0.4"),
        (status = 500, description = "`internal`: the log says why."),
        (status = 503, description = "`busy` or `timeout`"),
    )
)]
pub(super) async fn metrics(State(app): State<SharedApp>) -> Result<impl IntoResponse, Problem> {
    let mut connection =
        app.service.store.read().await.map_err(|error| Problem::internal(&error))?;
    let state = store::feed::state(&mut connection).await;
    let pops = store::pop::list(&mut connection).await;
    let backlog = store::job::backlog(&mut connection).await;
    let counts = verification_counts(&mut connection).await;
    let issuance = show_issuance(&app, &mut connection).await;
    drop(connection);
    app.metrics.show_waiting(app.service.store.waiting());
    issuance.map_err(|error| Problem::internal(&error))?;
    let backlog = backlog.map_err(|error| Problem::internal(&error))?;
    app.metrics.jobs(&backlog, OffsetDateTime::now_utc());
    let state = state.map_err(|error| Problem::internal(&error))?;
    let pops = pops.map_err(|error| Problem::internal(&error))?;
    let counts = counts.map_err(|error| Problem::internal(&error))?;
    let pops = (pops.as_slice(), app.service.pop_unhealthy_after);
    let text =
        app.metrics.render(&state, &counts, pops).map_err(|error| Problem::internal(&error))?;
    Ok(([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text))
}

/// Sets what the database says of issuance: CAs' limits and holds, queues, and what is due.
async fn show_issuance(app: &App, on: &mut Connection) -> Result<(), ServiceError> {
    let (authorities, now) = (&app.service.authorities, OffsetDateTime::now_utc());
    let mut ledger = Ledger::new(authorities.limits());
    ledger.load(store::budget::buckets(on, &[String::new()]).await?);
    let running = store::lease::running(on, "").await?.by_authority;
    let outages = store::budget::outages(on).await?;
    let metrics = &app.metrics.issuance.standing;
    for name in authorities.all.keys() {
        let level = ledger.level(name, &Bucket::NewOrders, now);
        let count = |of: &BTreeMap<AuthorityName, u32>| of.get(name).copied().unwrap_or(0);
        metrics.show_authority(name, level, (count(&running), count(&outages)));
    }
    metrics.show_stalled(app.service.stalled_pops(on, now).await?);
    metrics.show_holds(&store::budget::holds(on, &[String::new()]).await?, now);
    let choices = store::choice::of_jobs(on).await?;
    metrics.show(&store::counts::read(on, now, &choices).await?, now);
    let first_look = store::sighting::first_due(on).await?;
    let age = first_look.map_or(0, |first| (now - first).whole_seconds());
    app.service.watch.metrics.show_due(age);
    Ok(())
}

async fn verification_counts(on: &mut Connection) -> Result<VerificationCounts, StoreError> {
    let backlog = store::verification::queue::backlog(on, OffsetDateTime::now_utc()).await?;
    let left = store::verification::count_left(on).await?;
    Ok(VerificationCounts { backlog, left })
}
