//! Does the jobs of the internal CA.

use std::time::Duration;

use time::OffsetDateTime;

use super::every;
use crate::{
    api::{SharedApp, problem::chain},
    metrics::Metrics,
    service::{Attempt, Service, ServiceError},
    store,
    token::random_number,
};

/// How often jobs are looked for that came due, or that another process made.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The most jobs that are held in memory.
const AT_ONCE: u32 = 64;

/// Does jobs as they come due. Never ends.
pub(crate) async fn work(app: SharedApp) {
    let mut ticks = every(LOOK_EVERY);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = app.service.store.jobs_made() => {}
        }
        while round(&app.service, &app.metrics).await == Round::Full {}
    }
}

/// What a round found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    /// As many jobs as it takes: there may be more.
    Full,
    /// All that was due, or the database failed.
    Last,
}

async fn round(service: &Service, metrics: &Metrics) -> Round {
    match attempt_due(service, metrics).await {
        Ok(round) => round,
        Err(error) => {
            metrics.job_attempts.with_label_values(&["error"]).inc();
            tracing::warn!(error = %chain(&error), "cannot do a job");
            Round::Last
        }
    }
}

async fn attempt_due(service: &Service, metrics: &Metrics) -> Result<Round, ServiceError> {
    let now = OffsetDateTime::now_utc();
    let due = store::job::due(&mut *service.store.read().await?, now, AT_ONCE).await?;
    for job in &due {
        let (now, random) = (OffsetDateTime::now_utc(), random_number()?);
        let label = match service.attempt_job(job, now, random).await {
            Ok(Attempt::Issued) => "issued",
            Ok(Attempt::Cancelled) => "cancelled",
            Ok(Attempt::Failed) => "failed",
            Ok(Attempt::Overtaken) => "overtaken",
            Err(error) => {
                service.put_job_off(job, &error, (now, random)).await?;
                "error"
            }
        };
        metrics.job_attempts.with_label_values(&[label]).inc();
    }
    match due.len() < AT_ONCE as usize {
        true => Ok(Round::Last),
        false => Ok(Round::Full),
    }
}
