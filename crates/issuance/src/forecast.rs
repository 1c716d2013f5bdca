//! When a batch will be done, and what waits for what: the planner in simulated time.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use landfall_model::{AuthorityName, JobId};
use time::{Duration, OffsetDateTime};

use crate::plan::{Action, Budgets, Inventory, Job, Stage, WaitReason, plan};

/// The furthest that is looked ahead.
const HORIZON: Duration = Duration::days(366);
/// The most rounds of the planner.
const MAX_ROUNDS: u32 = 4_000;
/// After so many rounds, time goes in steps twice as long, up to a longest one.
const ROUNDS_OF_A_STEP: u32 = 32;
const FIRST_STEP: Duration = Duration::SECOND;
const LONGEST_STEP: Duration = Duration::HOUR;

/// How fast agents are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throughput {
    /// How many jobs all agents do at once.
    pub at_once: u32,
    /// How long a job takes, in seconds.
    pub seconds: u32,
}

/// What will become of the jobs, if each attempt succeeds and nothing is added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forecast {
    /// When each is done, in the order in which they are; to the second for the first ones, to the hour
    /// far ahead.
    pub done: Vec<(JobId, OffsetDateTime)>,
    /// How many are issued by each CA.
    pub by_authority: BTreeMap<AuthorityName, u32>,
    /// What jobs wait for at present, and how many.
    pub waiting: BTreeMap<WaitReason, u32>,
    /// Those that no end is seen of.
    pub never: Vec<JobId>,
}

impl Forecast {
    /// When the last one is done; none where there is none, or one never is.
    pub fn done_at(&self) -> Option<OffsetDateTime> {
        self.done.last().filter(|_| self.never.is_empty()).map(|(_, at)| *at)
    }
}

/// Runs the planner ahead. `inventory.capacity` is not looked at: `throughput` says what agents do.
pub fn forecast(
    now: OffsetDateTime,
    inventory: &Inventory,
    budgets: &Budgets,
    throughput: Throughput,
) -> Forecast {
    let mut ahead = Ahead {
        given: budgets,
        now,
        inventory: inventory.clone(),
        budgets: budgets.clone(),
        throughput,
        running: BinaryHeap::new(),
        forecast: Forecast::default(),
    };
    // What runs already ends as late as it may.
    for (authority, count) in &inventory.running {
        let end = ahead.end();
        ahead.running.extend((0..*count).map(|_| Reverse((end, None, authority.clone()))));
    }
    ahead.run(now.saturating_add(HORIZON));
    ahead.forecast
}

struct Ahead<'a> {
    given: &'a Budgets,
    now: OffsetDateTime,
    inventory: Inventory,
    budgets: Budgets,
    throughput: Throughput,
    /// When what runs ends, what it is if it is one of the jobs, and at which CA.
    running: BinaryHeap<Reverse<(OffsetDateTime, Option<JobId>, AuthorityName)>>,
    forecast: Forecast,
}

impl Ahead<'_> {
    fn run(&mut self, horizon: OffsetDateTime) {
        let mut step: Duration = FIRST_STEP;
        for round in 0..MAX_ROUNDS {
            self.end_what_is_done();
            self.make_room(step);
            let actions = plan(self.now, &self.inventory, &mut self.budgets);
            if round == 0 {
                self.note_waits(&actions);
            }
            self.inventory.turn = self.inventory.turn.wrapping_add(1);
            let next = self.apply(&actions);
            let Some(next) = next.filter(|next| *next <= horizon) else { break };
            if round > 0 && round % ROUNDS_OF_A_STEP == 0 {
                step = (step * 2i32).min(LONGEST_STEP);
            }
            self.now = next.max(self.now.saturating_add(step));
        }
        self.now = horizon;
        self.end_what_is_done();
        self.forecast.never = self.inventory.jobs.iter().map(|job| job.id).collect();
    }

    /// A step in which agents do several jobs, one after the other, has room for all of them at once.
    fn make_room(&mut self, step: Duration) {
        let seconds = i64::from(self.throughput.seconds.max(1));
        let turns = u32::try_from(step.whole_seconds() / seconds).unwrap_or(u32::MAX).max(1);
        let running = u32::try_from(self.running.len()).unwrap_or(u32::MAX);
        let room = self.throughput.at_once.max(1).saturating_mul(turns);
        self.inventory.capacity = room.saturating_sub(running);
        for (name, standing) in &mut self.budgets.authorities {
            let most = self.given.authorities.get(name).map_or(0, |given| given.max_running);
            standing.max_running = most.saturating_mul(turns);
        }
    }

    fn end(&self) -> OffsetDateTime {
        self.now.saturating_add(Duration::seconds(i64::from(self.throughput.seconds)))
    }

    fn end_what_is_done(&mut self) {
        while let Some(Reverse((end, ..))) = self.running.peek()
            && *end <= self.now
            && let Some(Reverse((end, job, authority))) = self.running.pop()
        {
            if let Some(running) = self.inventory.running.get_mut(&authority) {
                *running = running.saturating_sub(1);
            }
            if let Some(job) = job {
                self.forecast.done.push((job, end));
                *self.forecast.by_authority.entry(authority.clone()).or_default() += 1;
            }
            // It works again.
            if let Some(standing) = self.budgets.authorities.get_mut(&authority) {
                standing.outages = 0;
            }
        }
    }

    fn note_waits(&mut self, actions: &[Action]) {
        for action in actions {
            if let Action::Wait { reason, .. } = action {
                *self.forecast.waiting.entry(reason.clone()).or_default() += 1;
            }
        }
    }

    /// Starts what is leased, and says when something changes next.
    fn apply(&mut self, actions: &[Action]) -> Option<OffsetDateTime> {
        let end = self.end();
        let mut next: Option<OffsetDateTime> = None;
        let mut leased: BTreeMap<JobId, &Stage> = BTreeMap::new();
        for action in actions {
            match action {
                Action::Lease { job, authority, stage, .. } => {
                    let done = (*stage == Stage::Real).then_some(*job);
                    self.running.push(Reverse((end, done, authority.clone())));
                    *self.inventory.running.entry(authority.clone()).or_default() += 1;
                    leased.insert(*job, stage);
                }
                Action::Wait { until, .. } if *until > self.now => {
                    next = Some(next.map_or(*until, |next| next.min(*until)));
                }
                Action::Wait { .. } => {}
            }
        }
        self.start(&leased, end);
        let ends = self.running.peek().map(|Reverse((end, ..))| *end);
        next.into_iter().chain(ends).min()
    }

    /// Takes what is leased from the jobs; what is rehearsed comes back for its second part.
    fn start(&mut self, leased: &BTreeMap<JobId, &Stage>, end: OffsetDateTime) {
        let recent = &mut self.inventory.recent;
        self.inventory.jobs.retain_mut(|job: &mut Job| match leased.get(&job.id) {
            None => true,
            Some(stage) => {
                *recent.entry(job.property).or_default() += 1;
                job.history = job.history.after_rehearsal();
                job.next_at = end;
                **stage != Stage::Real
            }
        });
    }
}

#[cfg(test)]
mod tests;
