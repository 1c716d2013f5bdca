//! When what waits will be issued: the planner's forecast of all open jobs.

use std::collections::BTreeSet;

use landfall_issuance::{
    forecast::{Forecast, Throughput, forecast},
    plan::{Inventory, Job, Purpose},
};
use landfall_model::PropertyId;
use time::OffsetDateTime;

use super::{budgets_of, registered_domain, subjects_of};
use crate::{
    authority::Authorities,
    config::IssuanceConfig,
    hostname::names_of,
    service::ServiceError,
    store::{self, Connection, lease::OpenJob},
};

/// The most jobs that are looked at: the planner goes through all of them again and again.
const LOOKED_AT: u32 = 20_000;

/// What is seen ahead.
#[derive(Debug)]
pub(crate) struct Outlook {
    pub(crate) forecast: Forecast,
    /// How many jobs wait, agents have, and are not looked at.
    pub(crate) waiting: usize,
    pub(crate) running: u64,
    pub(crate) left_out: u64,
}

/// Looks ahead. Nothing is changed.
pub(crate) async fn look_ahead(
    on: &mut Connection,
    (authorities, config): (&Authorities, &IssuanceConfig),
    throughput: Throughput,
    now: OffsetDateTime,
) -> Result<Outlook, ServiceError> {
    let open = store::lease::open(on, LOOKED_AT).await?;
    let backlog = store::job::backlog(on).await?;
    let jobs: Vec<Job> = open.iter().filter_map(|own| planned(own, authorities, now)).collect();
    let mut subjects: Vec<String> =
        jobs.iter().flat_map(|job| subjects_of(&job.names, &job.registered_domain)).collect();
    subjects.sort_unstable();
    subjects.dedup();
    let budgets = budgets_of(on, authorities, config.rules, &subjects).await?;
    let running = store::lease::running(on, "").await?;
    let properties: BTreeSet<PropertyId> = jobs.iter().map(|job| job.property).collect();
    let recent = store::turn::recent(on, &properties, now).await?;
    let waiting = jobs.len();
    let inventory = Inventory {
        jobs,
        running: running.by_authority,
        running_new: running.new,
        recent,
        turn: 0,
        capacity: 0,
    };
    let run = move || forecast(now, &inventory, &budgets, throughput);
    let forecast = tokio::task::spawn_blocking(run).await.map_err(|_| ServiceError::Interrupted)?;
    let seen = backlog.leased + u64::try_from(open.len()).unwrap_or(u64::MAX);
    let left_out = backlog.agents.saturating_sub(seen);
    Ok(Outlook { forecast, waiting, running: backlog.leased, left_out })
}

/// As the planner takes it. A renewal is taken for one that no CA has asked for.
fn planned(open: &OpenJob, authorities: &Authorities, now: OffsetDateTime) -> Option<Job> {
    let OpenJob { job, name, wish, deadline } = open;
    let names = names_of(name, wish.coverage);
    Some(Job {
        id: job.id,
        property: job.property,
        registered_domain: registered_domain(&names)?,
        names,
        certificates: u32::try_from(wish.key_types.len()).unwrap_or(1),
        purpose: match deadline {
            None => Purpose::New,
            Some(deadline) if *deadline <= now => Purpose::Urgent { wanted_by: None },
            Some(_) => Purpose::Renewal { wanted_by: None },
        },
        next_at: job.next_at,
        created_at: job.created_at,
        expires_at: *deadline,
        history: job.history,
        ordered: job
            .order
            .as_ref()
            .filter(|own| authorities.knows(own))
            .map(|own| own.authority.clone()),
        authorities: authorities.permitted(job.choice.as_ref()),
        traffic: job.traffic,
    })
}
