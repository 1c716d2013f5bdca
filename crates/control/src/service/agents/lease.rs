//! Who gets which job.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use landfall_issuance::{
    hold::Held,
    ledger::{Bucket, Counting},
    plan::{Action, Budgets, Inventory, Stage, WaitReason, plan},
    protocol::{MAX_TASKS, Task},
    schedule::{History, LONGEST},
};
use landfall_model::{AuthorityName, JobId, PropertyId, issuance::PopTarget};
use time::{Duration, OffsetDateTime};

use super::{
    Agent, OWNERS_ORDERS, Service, candidate::Candidate, resting::Unable, stalled::Stalled,
    subjects_of, turns,
};
use crate::{
    call::Call,
    hostname::deployment::Fleet,
    service::ServiceError,
    store::{
        self, Change, StoreError,
        job::{OwnersRecords, Wait},
        lease::{Drawn, Grant, Running},
        waiting::{Kind, Waiting},
    },
    token::random_number,
};

/// How long a job is left alone that no CA may do: the operator has to add one.
const WITHOUT_AUTHORITY: Duration = Duration::minutes(10);

/// How long a job is left alone whose property has enough orders that wait for owners.
const OWNERS_LOOK: Duration = Duration::minutes(10);
/// How long a job is left alone whose row means nothing.
const UNREADABLE: Duration = Duration::hours(1);
/// How long nobody looks for jobs after a look that found none that may be leased, unless one is made:
/// many PoPs ask, and each look is a transaction.
const LULL: std::time::Duration = std::time::Duration::from_millis(250);

/// Whether it is too early to look for jobs again.
#[derive(Debug, Default)]
pub(super) struct Lull(Mutex<Option<(u64, Instant)>>);

impl Lull {
    /// Whether nothing was found a moment ago, and `made` jobs had been made then as now.
    fn lasts(&self, made: u64, now: Instant) -> bool {
        self.lock().is_some_and(|(then, until)| then == made && now < until)
    }

    fn begin(&self, made: u64, now: Instant) {
        *self.lock() = Some((made, now + LULL));
    }

    fn lock(&self) -> MutexGuard<'_, Option<(u64, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What all leases of one call have in common.
pub(super) struct Round<'a> {
    pub(super) pop: &'a str,
    agent: Agent<'a>,
    pops: Pops<'a>,
    /// What the PoP gets no jobs of.
    unable: &'a [Unable],
}

/// All PoPs.
pub(super) struct Pops<'a> {
    fleet: &'a Fleet,
    stalled: Stalled<'a>,
}

/// All PoPs, as they matter to one name.
pub(super) struct Targets {
    /// Those that must answer for it.
    pub(super) needed: Vec<PopTarget>,
    /// Those that are active, and of which no answer is to be had.
    pub(super) stalled: Vec<PopTarget>,
    pub(super) inactive: Vec<PopTarget>,
}

impl Service {
    /// Gives an agent at most `free` things to do.
    pub(crate) async fn lease(
        &self,
        agent: Agent<'_>,
        free: u32,
        now: OffsetDateTime,
    ) -> Result<Vec<Task>, ServiceError> {
        let free = free.min(MAX_TASKS);
        let mut tasks = Vec::new();
        let made = *self.store.follow_jobs().borrow();
        if free == 0 || self.agents.lull.lasts(made, Instant::now()) {
            return Ok(tasks);
        }
        let mut connection = self.store.read().await?;
        let first_due = store::lease::first_due(&mut connection).await?;
        let asks = store::renewal::is_any_due(&mut connection, now).await?;
        let has_errands = store::errand::may_be_due(&mut connection, now).await?;
        let pop = store::pop::name(&mut connection, agent.pop).await?.unwrap_or_default();
        drop(connection);
        let unable = self.agents.resting.of(&pop, Instant::now());
        let is_due = first_due.is_some_and(|due| due <= now) && !unable.contains(&Unable::Any);
        if !is_due && !has_errands && !asks {
            return Ok(tasks);
        }
        let mut change = self.store.change(Call::system(now)).await?;
        let fleet = self.fleet(change.on(), now).await?;
        let stalled = Stalled::of(&fleet, change.on()).await?;
        let pops = Pops { fleet: &fleet, stalled };
        let round = Round { pop: &pop, agent, pops, unable: &unable };
        let room = |tasks: &[Task]| free.saturating_sub(u32::try_from(tasks.len()).unwrap_or(free));
        if has_errands {
            tasks = self.lease_errands(&mut change, &round, (&fleet, free)).await?;
        }
        let kept = kept_for_questions(room(&tasks), random_number()?);
        tasks.extend(self.questions(&mut change, (agent.pop, kept)).await?);
        let left = room(&tasks);
        if is_due && left > 0 {
            tasks.extend(self.lease_jobs(&mut change, &round, left).await?);
        }
        let left = room(&tasks);
        tasks.extend(self.questions(&mut change, (agent.pop, left)).await?);
        change.commit().await?;
        if tasks.is_empty() && unable.is_empty() {
            self.agents.lull.begin(made, Instant::now());
        } else if !tasks.is_empty() {
            tracing::debug!(pop, agent = agent.id.0, tasks = tasks.len(), "an agent has work");
        }
        Ok(tasks)
    }

    async fn lease_jobs(
        &self,
        change: &mut Change,
        round: &Round<'_>,
        free: u32,
    ) -> Result<Vec<Task>, ServiceError> {
        let now = change.now();
        let (candidates, recent) = self.candidates(change, free).await?;
        let candidates = self.without_waiting_owners(change, candidates).await?;
        let mut subjects: Vec<String> = Vec::new();
        for own in &candidates {
            subjects.extend(subjects_of(&own.hostname.names(), &own.domain));
        }
        subjects.sort_unstable();
        subjects.dedup();
        let mut budgets = self.budgets(change.on(), &subjects).await?;
        let running = store::lease::running(change.on(), round.pop).await?;
        share(&mut budgets, &running, round);
        let mut closed = store::errand::closed_authorities(change.on(), now).await?;
        closed.extend(round.unable.iter().filter_map(Unable::authority).cloned());
        for name in closed {
            if let Some(standing) = budgets.authorities.get_mut(&name) {
                standing.max_running = 0;
            }
        }
        let jobs = candidates.iter().map(|own| own.planned(self, now)).collect();
        let inventory = Inventory {
            jobs,
            running: running.by_authority,
            running_new: running.new,
            recent,
            turn: u32::from(random_number()?),
            capacity: free,
        };
        let actions = plan(now, &inventory, &mut budgets);
        store::budget::keep_buckets(change.on(), &budgets.ledger.take_changes()).await?;
        let mut tasks = Vec::new();
        for action in actions {
            let (Action::Lease { job, .. } | Action::Wait { job, .. }) = &action;
            let Some(own) = candidates.iter().find(|own| own.job.id == *job) else { continue };
            match &action {
                Action::Lease { authority, stage, counting, .. } => {
                    let grant = grant(round, authority, stage, *counting);
                    match self.lease_one(change, own, &grant, &round.pops).await {
                        Ok(task) => tasks.extend(task),
                        Err(ServiceError::Store(error @ StoreError::Corrupt(_))) => {
                            set_aside(change, vec![(own.job.id, error)]).await?;
                        }
                        Err(error) => return Err(error),
                    }
                }
                Action::Wait { job, until, reason } => {
                    wait(change, *job, *until, reason).await?;
                }
            }
        }
        Ok(tasks)
    }

    /// The jobs that may be leased now, some of each kind, and how many orders each property that has some
    /// began of late.
    async fn candidates(
        &self,
        change: &mut Change,
        free: u32,
    ) -> Result<(Vec<Candidate>, BTreeMap<PropertyId, u32>), ServiceError> {
        let now = change.now();
        let choices = store::choice::of_jobs(change.on()).await?;
        let newest = store::lease::newest_property(change.on()).await?;
        // Another place to begin each time: nobody is always behind the same others.
        let first = PropertyId(i64::from(random_number()?) * newest.0 / i64::from(u16::MAX) + 1);
        let limit = turns::of_a_kind(free);
        let waiting = store::waiting::find(change.on(), now, (&choices, limit), first).await?;
        let properties: BTreeSet<PropertyId> = waiting.iter().filter_map(property_of).collect();
        let recent = store::turn::recent(change.on(), &properties, now).await?;
        let chosen = turns::chosen(waiting, &recent, limit);
        let found = store::lease::of_ids(change.on(), &chosen).await?;
        set_aside(change, found.unreadable).await?;
        let mut candidates = Vec::new();
        for job in found.jobs {
            let id = job.id;
            match self.candidate(change, job).await {
                Ok(candidate) => candidates.extend(candidate),
                Err(ServiceError::Store(error @ StoreError::Corrupt(_))) => {
                    set_aside(change, vec![(id, error)]).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok((candidates, recent))
    }

    /// Puts off what would order more for which owners are to make TXT records than a property may have
    /// open at once: nobody may ever make them, and each counts at the CA.
    async fn without_waiting_owners(
        &self,
        change: &mut Change,
        candidates: Vec<Candidate>,
    ) -> Result<Vec<Candidate>, ServiceError> {
        let until = change.now() + OWNERS_LOOK;
        let mut open: BTreeMap<PropertyId, u32> = BTreeMap::new();
        let mut kept = Vec::with_capacity(candidates.len());
        for candidate in candidates {
            let (job, property) = (candidate.job.id, candidate.job.property);
            if candidate.would_rest() {
                let known = match open.get(&property) {
                    Some(known) => *known,
                    None => store::lease::owners_orders(change.on(), property).await?,
                };
                open.insert(property, known.saturating_add(1));
                if known >= self.agents.rules.owners_orders {
                    let reason = OWNERS_ORDERS.to_owned();
                    let wait = Wait { reason, authority: None, until: until.unix_timestamp() };
                    store::lease::keep_wait(change.on(), job, &wait, Some(until)).await?;
                    continue;
                }
            }
            kept.push(candidate);
        }
        Ok(kept)
    }

    async fn lease_one(
        &self,
        change: &mut Change,
        candidate: &Candidate,
        grant: &Grant,
        pops: &Pops<'_>,
    ) -> Result<Option<Task>, ServiceError> {
        let now = change.now();
        let times = (now, now + self.agents.lease);
        let fence = store::lease::begin(change.on(), candidate.job.id, grant, times).await?;
        let Some(fence) = fence else { return Ok(None) };
        if candidate.would_rest() {
            store::lease::keep_txt(change.on(), candidate.job.id, &OwnersRecords::default())
                .await?;
        }
        if grant.drawn == Drawn::Yes && candidate.served.is_empty() {
            store::turn::count(change.on(), candidate.job.property, now).await?;
        }
        let pops = pops.for_name(&candidate.leads_to, &candidate.job.history);
        for pop in &pops.stalled {
            let (hostname, pop) = (&candidate.hostname.name, &pop.name);
            tracing::debug!(%hostname, pop, "a PoP that has stalled, or was waited for in vain, is not waited for");
        }
        let assignment = self.assignment(change, candidate, (grant, fence), pops).await?;
        self.agents.metrics.leases.with_label_values(&[grant.authority.as_str()]).inc();
        Ok(assignment.map(|assignment| Task::Issue(Box::new(assignment))))
    }
}

/// How many of the tasks that an agent takes may be questions to CAs before jobs are looked for: a quarter, on
/// average. What CAs want renewed is heard however many jobs wait.
fn kept_for_questions(left: u32, random: u16) -> u32 {
    left.saturating_add(u32::from(random % 4)) / 4
}

/// Whose new names these are.
fn property_of(waiting: &Waiting) -> Option<PropertyId> {
    match waiting.kind {
        Kind::New(property) | Kind::Failing(property) => Some(property),
        Kind::Pressing | Kind::Busy | Kind::Renewal => None,
    }
}

/// Lets nobody have jobs for a while whose rows mean nothing: all others go on.
pub(super) async fn set_aside(
    change: &mut Change,
    unreadable: Vec<(JobId, StoreError)>,
) -> Result<(), ServiceError> {
    let until = change.now() + UNREADABLE;
    for (job, error) in unreadable {
        tracing::error!(job = job.0, %error, "a job can't be read, and is set aside");
        store::lease::set_aside(change.on(), job, until).await?;
    }
    Ok(())
}

/// Leaves a part of what a CA does at once to other PoPs, where there are any: one that keeps its jobs
/// must not hold up all.
fn share(budgets: &mut Budgets, running: &Running, round: &Round<'_>) {
    if round.pops.fleet.active_pops().all(|pop| pop.name == round.pop) {
        return;
    }
    for (name, standing) in &mut budgets.authorities {
        let count = |of: &BTreeMap<AuthorityName, u32>| of.get(name).copied().unwrap_or(0);
        let own = standing.max_running.div_ceil(2).saturating_sub(count(&running.of_pop));
        let most = count(&running.by_authority).saturating_add(own);
        standing.max_running = standing.max_running.min(most);
    }
}

fn grant(round: &Round<'_>, authority: &AuthorityName, stage: &Stage, counting: Counting) -> Grant {
    Grant {
        authority: authority.clone(),
        rehearsal_of: match stage {
            Stage::Real => None,
            Stage::Rehearsal { of } => Some(of.clone()),
        },
        drawn: match counting {
            Counting::Counted => Drawn::Yes,
            Counting::Exempt => Drawn::No,
        },
        pop: round.pop.to_owned(),
        agent: round.agent.id.0.clone(),
    }
}

impl Pops<'_> {
    /// As they matter to a job whose name leads to these addresses.
    fn for_name(&self, leads_to: &[IpAddr], history: &History) -> Targets {
        let target = |pop: &store::pop::Pop| PopTarget {
            name: pop.name.clone(),
            addresses: pop.addresses.clone(),
        };
        let (needed, stalled) = self.stalled.parted(leads_to, history);
        let inactive = self.fleet.pops.iter().filter(|pop| !self.fleet.is_active(pop));
        Targets {
            needed: needed.into_iter().map(target).collect(),
            stalled: stalled.into_iter().map(target).collect(),
            inactive: inactive.map(target).collect(),
        }
    }
}

/// Keeps what a job waits for. What is its own puts it off; what stops a CA as a whole does not, so that
/// those that wait for it keep their places.
pub(super) async fn wait(
    change: &mut Change,
    job: JobId,
    until: OffsetDateTime,
    reason: &WaitReason,
) -> Result<(), ServiceError> {
    let now = change.now();
    let own = Some(until.min(now + LONGEST));
    let (authority, put_off) = match reason {
        WaitReason::NotDue | WaitReason::Capacity => return Ok(()),
        WaitReason::InFlight(authority)
        | WaitReason::Probe(authority)
        | WaitReason::Limit(authority, Bucket::NewOrders | Bucket::NewAccounts)
        | WaitReason::Hold(authority, Held::Authority | Held::Account, _) => {
            (Some(authority.clone()), None)
        }
        WaitReason::Limit(authority, _) | WaitReason::Hold(authority, _, _) => {
            (Some(authority.clone()), own)
        }
        WaitReason::NoAuthority => (None, Some(now + WITHOUT_AUTHORITY)),
    };
    let wait = Wait { reason: reason.name().to_owned(), authority, until: until.unix_timestamp() };
    store::lease::keep_wait(change.on(), job, &wait, put_off).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_what_agents_take_is_kept_for_questions_and_of_one_at_a_time_each_fourth() {
        for (left, expected) in [(0, 0), (1, 1), (2, 2), (4, 4), (8, 8), (10, 10)] {
            let of_four: u32 = (0..4).map(|random| kept_for_questions(left, random)).sum();
            assert_eq!(of_four, expected, "{left}");
            assert!((0..4).all(|random| kept_for_questions(left, random) <= left));
        }
    }
}
