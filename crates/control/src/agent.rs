//! What agents at the edges ask for: what `landfall_issuance::protocol` describes.

use std::time::Duration;

use axum::{
    Extension, Json, Router,
    extract::{Request, State},
    middleware,
    routing::post,
};
use landfall_issuance::protocol::{
    AgentId, LEASE_PATH, LeaseReply, LeaseRequest, MAX_WAIT_SECONDS, RENEWAL_PATH, REPORT_PATH,
    RenewalReply, RenewalReport, Report, ReportReply, Task,
};
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::{
    api::{App, SharedApp, body::read_secret_json, problem::Problem},
    feed::{Waiting, bound_time, require_pop},
    service::{ServiceError, agents::Agent},
    store::line::Line,
    token::PopId,
};

/// The longest name of an agent.
const MAX_AGENT_ID: usize = 64;
/// How often those who wait look for what came due meanwhile: jobs that are made wake them.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The routes, for PoPs alone.
pub(crate) fn routes(app: &SharedApp) -> Router<SharedApp> {
    Router::new()
        .route(LEASE_PATH, post(lease))
        .route(REPORT_PATH, post(report))
        .route(RENEWAL_PATH, post(renewal))
        .route_layer(middleware::from_fn_with_state(app.clone(), require_pop))
        .route_layer(middleware::from_fn_with_state(app.clone(), bound_time))
}

async fn lease(
    State(app): State<SharedApp>,
    Extension(pop): Extension<PopId>,
    request: Request,
) -> Result<Json<LeaseReply>, Problem> {
    const EXPECTED: &str = "an agent's request for work";
    let request: LeaseRequest = read_secret_json(request, app.limits.max_body, EXPECTED).await?;
    check_id(&request.agent)?;
    let agent = Agent { pop, id: &request.agent };
    let wait = Duration::from_secs(request.wait.min(MAX_WAIT_SECONDS));
    let until = Instant::now() + wait;
    // Before the first look: what is made after it is not missed.
    let mut made = app.service.store.follow_jobs();
    app.service.agents.hear(OffsetDateTime::now_utc());
    let mut tasks = look(&app, agent, request.free).await?;
    if tasks.is_empty() && request.free > 0 && !wait.is_zero() {
        let Ok(_permit) = app.long_polls.try_acquire() else {
            let detail = "Too many long polls wait. Come back in a few seconds.";
            return Err(Problem::unavailable("too_many_long_polls", detail));
        };
        let _waiting = Waiting::count_in(&app.metrics.long_polls);
        let mut stopping = app.stopping.clone();
        while tasks.is_empty() && Instant::now() < until && !*stopping.borrow() {
            let pause = LOOK_EVERY.min(until.saturating_duration_since(Instant::now()));
            tokio::select! {
                _ = made.changed() => {}
                _ = stopping.wait_for(|stopping| *stopping) => break,
                () = tokio::time::sleep(pause) => {}
            }
            tasks = look(&app, agent, request.free).await?;
        }
    }
    Ok(Json(LeaseReply { tasks, now: OffsetDateTime::now_utc() }))
}

async fn look(app: &App, agent: Agent<'_>, free: u32) -> Result<Vec<Task>, Problem> {
    let _turn = app.service.store.turn(Line::Leases).await;
    let leased = app.service.lease(agent, free, OffsetDateTime::now_utc()).await;
    leased.map_err(|error| refused(&error))
}

async fn report(
    State(app): State<SharedApp>,
    Extension(pop): Extension<PopId>,
    request: Request,
) -> Result<Json<ReportReply>, Problem> {
    const EXPECTED: &str = "an agent's report";
    let report: Report = read_secret_json(request, app.limits.max_body, EXPECTED).await?;
    let _turn = app.service.store.turn(Line::Reports).await;
    let reply = app.service.report(pop, report, OffsetDateTime::now_utc()).await;
    reply.map(Json).map_err(|error| refused(&error))
}

async fn renewal(
    State(app): State<SharedApp>,
    Extension(pop): Extension<PopId>,
    request: Request,
) -> Result<Json<RenewalReply>, Problem> {
    const EXPECTED: &str = "an agent's report of a renewal";
    let report: RenewalReport = read_secret_json(request, app.limits.max_body, EXPECTED).await?;
    let _turn = app.service.store.turn(Line::Reports).await;
    let kept = app.service.keep_renewal(pop, report, OffsetDateTime::now_utc()).await;
    kept.map(|()| Json(RenewalReply {})).map_err(|error| refused(&error))
}

fn check_id(id: &AgentId) -> Result<(), Problem> {
    let is_id = !id.0.is_empty()
        && id.0.len() <= MAX_AGENT_ID
        && id.0.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let wrong = || {
        let detail = format!("Expected 1 to {MAX_AGENT_ID} letters, digits and hyphens.");
        Problem::bad_parameter("agent", "invalid_agent", detail)
    };
    is_id.then_some(()).ok_or_else(wrong)
}

/// Agents do nothing about what is wrong here but come again.
fn refused(error: &ServiceError) -> Problem {
    Problem::internal(error)
}
