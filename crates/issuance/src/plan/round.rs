//! One round of the planner: what is left while one job after the other is decided about.

use std::collections::{BTreeMap, HashMap};

use landfall_model::{AuthorityName, Hostname};
use time::{Duration, OffsetDateTime};

use super::{Action, Budgets, Inventory, Job, Purpose, Stage, Standing, WaitReason};
use crate::{
    hold::Held,
    ledger::{Bucket, Counting, Draw, Keep, NameSet},
    schedule::{LONGEST, OUTAGE_AFTER},
};

/// For so long even an urgent job waits for what passes within seconds.
const LEAST_PATIENCE: Duration = Duration::MINUTE;

/// What is left.
pub(super) struct Round<'a> {
    now: OffsetDateTime,
    budgets: &'a mut Budgets,
    running: BTreeMap<AuthorityName, u32>,
    capacity: u32,
    /// What stops everything of a kind at a CA. It lasts for the round, in which nothing is given back.
    closed: HashMap<(AuthorityName, Account), Block>,
}

/// How a CA counts an order.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Account {
    /// As one of which some is kept for renewals.
    New,
    /// In full.
    Renewal,
    /// Not at all.
    Exempt,
}

/// Why a CA isn't asked.
#[derive(Clone)]
struct Block {
    until: OffsetDateTime,
    reason: WaitReason,
    patience: Patience,
}

/// Whether it is worth while to wait.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// As long as the rules have it.
    Rules,
    /// It passes within seconds, unless somebody keeps it from that.
    Passing,
    /// Nobody knows how long it takes.
    Never,
}

impl<'a> Round<'a> {
    pub(super) fn new(
        now: OffsetDateTime,
        inventory: &Inventory,
        budgets: &'a mut Budgets,
    ) -> Self {
        let running = inventory.running.clone();
        Self { now, budgets, running, capacity: inventory.capacity, closed: HashMap::new() }
    }

    /// Leases the job to the first CA that is free, or says what it waits for.
    pub(super) fn decide(&mut self, job: &Job) -> Action {
        let wait = |until, reason| Action::Wait { job: job.id, until, reason };
        if job.next_at > self.now && job.next_at <= self.now.saturating_add(LONGEST) {
            return wait(job.next_at, WaitReason::NotDue);
        }
        let mut soonest: Option<Block> = None;
        for authority in &job.authorities {
            let Some(block) = self.block(job, authority) else {
                return self
                    .lease(job, authority)
                    .unwrap_or_else(|block| wait(block.until, block.reason));
            };
            if self.is_waited_for(job, &block) {
                return wait(block.until, block.reason);
            }
            if soonest.as_ref().is_none_or(|soonest| block.until < soonest.until) {
                soonest = Some(block);
            }
        }
        match soonest {
            Some(block) => wait(block.until, block.reason),
            None => wait(self.now, WaitReason::NoAuthority),
        }
    }

    /// Whether the job waits, rather than go to another CA. What is ahead of it counts by the time that
    /// it has waited already: a limit that refills each moment may do so for others alone.
    fn is_waited_for(&self, job: &Job, block: &Block) -> bool {
        let patience = self.budgets.rules.patience(&job.purpose);
        let whole = block.until - job.next_at.min(self.now);
        match block.patience {
            Patience::Passing => whole <= patience.max(LEAST_PATIENCE),
            Patience::Never => false,
            Patience::Rules => whole <= patience,
        }
    }

    /// Leases the job for a CA that is free, or for its staging environment.
    fn lease(&mut self, job: &Job, authority: &AuthorityName) -> Result<Action, Block> {
        if self.capacity == 0 {
            return Err(Block::passing(self.now, WaitReason::Capacity));
        }
        let (authority, stage) = match self.rehearsal(job, authority) {
            None => (authority.clone(), Stage::Real),
            Some(staging) => match self.block(job, &staging) {
                None => (staging, Stage::Rehearsal { of: authority.clone() }),
                Some(block)
                    if block.patience == Patience::Passing && self.is_waited_for(job, &block) =>
                {
                    return Err(block);
                }
                // What can't be rehearsed is tried in earnest.
                Some(_) => (authority.clone(), Stage::Real),
            },
        };
        let counting = self.draw(job, &authority)?;
        self.capacity -= 1;
        *self.running.entry(authority.clone()).or_default() += 1;
        Ok(Action::Lease { job: job.id, authority, stage, counting })
    }

    /// Draws what an order of the job counts.
    fn draw(&mut self, job: &Job, authority: &AuthorityName) -> Result<Counting, Block> {
        if self.account(job, authority) == Account::Exempt {
            return Ok(Counting::Exempt);
        }
        if let Some(block) = self.short(job, authority) {
            return Err(block);
        }
        let draw = Draw { tokens: job.certificates.max(1), keep: Keep::Nothing };
        let buckets = Bucket::of_order(&job.names, &job.registered_domain);
        let drawn = self.budgets.ledger.draw(authority, &buckets, draw, self.now);
        drawn.map_err(|short| Block::limit(authority, short.bucket, short.until))?;
        Ok(Counting::Counted)
    }

    /// Which limit has too little for an order of the job. Renewals take their part of what all names
    /// share; nobody else wants a name's own.
    fn short(&mut self, job: &Job, authority: &AuthorityName) -> Option<Block> {
        let draw = self.drawn(job, authority);
        let own = Draw { keep: Keep::Nothing, ..draw };
        let [orders, certificates, set] = Bucket::of_order(&job.names, &job.registered_domain);
        let ledger = &mut self.budgets.ledger;
        let shared = ledger.shortage(authority, &[orders, certificates], draw, self.now);
        let own = ledger.shortage(authority, &[set], own, self.now);
        let short = shared.into_iter().chain(own).max_by_key(|short| short.until)?;
        Some(Block::limit(authority, short.bucket, short.until))
    }

    /// The staging environment that the job goes to first.
    fn rehearsal(&self, job: &Job, authority: &AuthorityName) -> Option<AuthorityName> {
        let staging = self.budgets.authorities.get(authority)?.staging.clone()?;
        (job.history.is_rehearsal_due() && self.budgets.authorities.contains_key(&staging))
            .then_some(staging)
    }

    /// What keeps the CA from being asked for the job.
    fn block(&mut self, job: &Job, authority: &AuthorityName) -> Option<Block> {
        let account = self.account(job, authority);
        let key = (authority.clone(), account);
        if let Some(closed) = self.closed.get(&key) {
            return Some(closed.clone());
        }
        if let Some(block) = self.block_for_all(job, authority, account) {
            self.closed.insert(key, block.clone());
            return Some(block);
        }
        self.block_for_names(job, authority, account)
    }

    /// What keeps it from being asked for anything of this kind.
    fn block_for_all(
        &mut self,
        job: &Job,
        authority: &AuthorityName,
        account: Account,
    ) -> Option<Block> {
        let Some(standing) = self.budgets.authorities.get(authority) else {
            let reason = WaitReason::NoAuthority;
            return Some(Block { until: self.now, reason, patience: Patience::Never });
        };
        let running = self.running.get(authority).copied().unwrap_or(0);
        let kept = if account == Account::New { self.budgets.rules.kept_for_renewals } else { 0 };
        let full = standing.full(running, kept, authority, self.now);
        let held = self.budgets.held(authority, &[Held::Authority, Held::Account], self.now);
        if let Some(hold) = held {
            let held = hold.held.clone();
            return Some(Block::hold(authority, held, hold.class, hold.until));
        }
        if full.is_some() || account == Account::Exempt {
            return full;
        }
        let draw = self.drawn(job, authority);
        // What wants two certificates may be short where one is not: that closes nothing for others.
        let one = Draw { tokens: 1, ..draw };
        let short = self.budgets.ledger.shortage(authority, &[Bucket::NewOrders], one, self.now)?;
        Some(Block::limit(authority, short.bucket, short.until))
    }

    /// What keeps it from being asked for these names.
    fn block_for_names(
        &mut self,
        job: &Job,
        authority: &AuthorityName,
        account: Account,
    ) -> Option<Block> {
        let names = Held::Names(NameSet::new(&job.names));
        let domain = Held::RegisteredDomain(job.registered_domain.clone());
        let held: &[Held] = match account {
            Account::New | Account::Renewal => &[names, domain],
            Account::Exempt => &[names],
        };
        if let Some(hold) = self.budgets.held(authority, held, self.now) {
            let held = hold.held.clone();
            return Some(Block::hold(authority, held, hold.class, hold.until));
        }
        let failed: Vec<Bucket> =
            hosts(job).map(|name| Bucket::FailedAuthorizations(name.clone())).collect();
        let ledger = &mut self.budgets.ledger;
        if let Some(short) = ledger.shortage(authority, &failed, Draw::ONE, self.now) {
            return Some(Block::limit(authority, short.bucket, short.until));
        }
        if account == Account::Exempt {
            return None;
        }
        self.short(job, authority)
    }

    fn account(&self, job: &Job, authority: &AuthorityName) -> Account {
        let exempts = |authority| {
            self.budgets
                .ledger
                .limits(authority)
                .is_some_and(|limits| limits.replacing == Counting::Exempt)
        };
        match &job.purpose {
            _ if job.ordered.as_ref() == Some(authority) => Account::Exempt,
            Purpose::New => Account::New,
            purpose if purpose.wanted_by() == Some(authority) && exempts(authority) => {
                Account::Exempt
            }
            Purpose::Renewal { .. } | Purpose::Urgent { .. } => Account::Renewal,
        }
    }

    fn drawn(&self, job: &Job, authority: &AuthorityName) -> Draw {
        let keep = match self.account(job, authority) {
            Account::New => Keep::Percent(self.budgets.rules.kept_for_renewals.min(90)),
            Account::Renewal | Account::Exempt => Keep::Nothing,
        };
        Draw { tokens: job.certificates.max(1), keep }
    }
}

impl Standing {
    /// Whether no more may run, where so many hundredths are kept: of a CA that fails, one job goes to
    /// see.
    fn full(
        &self,
        running: u32,
        kept: u8,
        authority: &AuthorityName,
        now: OffsetDateTime,
    ) -> Option<Block> {
        if self.outages >= OUTAGE_AFTER {
            let reason = WaitReason::Probe(authority.clone());
            return (running > 0).then_some(Block {
                until: now,
                reason,
                patience: Patience::Never,
            });
        }
        let reason = WaitReason::InFlight(authority.clone());
        let kept = u64::from(self.max_running) * u64::from(kept.min(90)) / 100;
        let may_run = u64::from(self.max_running) - kept;
        (u64::from(running) >= may_run).then(|| Block::passing(now, reason))
    }
}

impl Block {
    const fn passing(now: OffsetDateTime, reason: WaitReason) -> Self {
        Self { until: now, reason, patience: Patience::Passing }
    }

    fn limit(authority: &AuthorityName, bucket: Bucket, until: OffsetDateTime) -> Self {
        let reason = WaitReason::Limit(authority.clone(), bucket);
        Self { until, reason, patience: Patience::Rules }
    }

    fn hold(
        authority: &AuthorityName,
        held: Held,
        class: crate::failure::FailureClass,
        until: OffsetDateTime,
    ) -> Self {
        // What the CA can't do for the name, another one may.
        let is_refusal = matches!(held, Held::Names(_)) && class.wants_another_authority();
        let patience = if is_refusal { Patience::Never } else { Patience::Rules };
        let reason = WaitReason::Hold(authority.clone(), held, class);
        Self { until, reason, patience }
    }
}

/// The names that are proven.
fn hosts(job: &Job) -> impl Iterator<Item = &Hostname> {
    let mut hosts: Vec<&Hostname> =
        job.names.iter().map(landfall_model::HostPattern::base).collect();
    hosts.sort_unstable();
    hosts.dedup();
    hosts.into_iter()
}
