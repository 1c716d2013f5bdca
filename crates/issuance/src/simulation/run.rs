//! Lets time pass.

use std::{cmp::Reverse, collections::BTreeMap, net::IpAddr};

use landfall_model::{AuthorityName, HostPattern, PropertyId};
use time::{Duration, OffsetDateTime};

use super::{
    HOUR,
    ca::Order,
    time_at,
    world::{Death, Event, World},
};
use crate::{
    failure::{Failure, FailureClass, HoldScope, Remedy, Setting, Trouble, classify},
    hold::{Held, Hold},
    ledger::{Bucket, Counting},
    plan::{Action, Inventory, Job, Purpose, WaitReason, plan},
    renewal::Standing,
    schedule::{self, Alternatives, Change, LONGEST, When},
};

/// How long a lease lasts.
const LEASE: Duration = Duration::minutes(10);
/// How many candidates are looked at: enough for all properties to be among them.
const CANDIDATES: usize = 4_000;

impl World {
    /// Runs until a time, in seconds.
    pub(super) fn run(&mut self, until: i64) {
        while self.now < until {
            self.agents_work();
            self.leases_end();
            self.renewals_come_due();
            self.lease();
            let next = self.next_event().min(until);
            self.now = next.max(self.now + 20);
            self.look_for_expired();
        }
    }

    fn next_event(&self) -> i64 {
        let ahead = (self.clock() - time_at(self.now)).whole_seconds();
        let here = |at: OffsetDateTime| at.unix_timestamp() - time_at(0).unix_timestamp() - ahead;
        let event = self.events.peek().map(|Reverse(event)| event.at);
        let renewal = self.renewals.first().map(|(at, _)| here(*at));
        let open = self.open.first().map(|(at, _)| here(*at).max(self.now + 20));
        let clock = self.clock.iter().map(|(from, _)| *from).find(|from| *from > self.now);
        let soon = (!self.leased.is_empty()).then_some(self.now + 300);
        let next = [event, renewal, open, clock, soon, Some(self.now + HOUR)];
        next.into_iter().flatten().min().unwrap()
    }

    fn renewals_come_due(&mut self) {
        let now = self.clock();
        while let Some((at, id)) = self.renewals.first().copied().filter(|(at, _)| *at <= now) {
            self.renewals.remove(&(at, id));
            match self.hosts[id as usize].certificate(id).map(|known| known.standing(now)) {
                Some(Standing::Waits { until }) => {
                    self.renewals.insert((until, id));
                }
                Some(Standing::Due | Standing::Urgent { .. }) | None => self.open_task(id),
            }
        }
    }

    /// Agents whose leases have run out are dead, or as good as dead.
    fn leases_end(&mut self) {
        let now = self.clock();
        let over = |world: &Self, id: i64| {
            let task = world.hosts[id as usize].task.as_ref();
            task.and_then(|task| task.lease.as_ref())
                .is_some_and(|(end, _)| *end <= now || *end > now + LEASE)
        };
        let lost: Vec<i64> = self.leased.iter().copied().filter(|id| over(self, *id)).collect();
        for id in lost {
            let task = self.hosts[id as usize].task.as_ref().unwrap();
            let authority = task.lease.as_ref().unwrap().1.clone();
            self.failed(id, &authority, &Trouble::LeaseLost);
        }
    }

    fn lease(&mut self) {
        let now = self.clock();
        let inventory = self.inventory(now);
        if inventory.jobs.is_empty() || inventory.capacity == 0 {
            return;
        }
        let actions = plan(now, &inventory, &mut self.budgets);
        self.check(&inventory, &actions);
        for action in actions {
            match action {
                Action::Lease { job, authority, counting, .. } => {
                    self.hosts[job.0 as usize].task.as_mut().unwrap().counting = counting;
                    self.leased(job.0, authority, now);
                }
                Action::Wait { job, until, .. } if until > now => self.put_off(job.0, until),
                Action::Wait { .. } => {}
            }
        }
        self.budgets.ledger.take_changes();
    }

    fn inventory(&mut self, now: OffsetDateTime) -> Inventory {
        let due = self.open.range(..=(now, i64::MAX)).take(CANDIDATES);
        // What a clock that was ahead has left behind.
        let ahead = self.open.range((now + LONGEST, 0)..).take(CANDIDATES);
        let ids: Vec<i64> = due.chain(ahead).map(|(_, id)| *id).collect();
        let mut jobs = Vec::new();
        for id in ids {
            match self.job(id, now) {
                Some(job) => jobs.push(job),
                None => self.cancel(id),
            }
        }
        let mut running: BTreeMap<AuthorityName, u32> = BTreeMap::new();
        for id in &self.leased {
            let task = self.hosts[*id as usize].task.as_ref().unwrap();
            *running.entry(task.lease.as_ref().unwrap().1.clone()).or_default() += 1;
        }
        let busy = u32::try_from(self.leased.len()).unwrap();
        let capacity = self.agents.saturating_sub(busy);
        let is_new = |id: &&i64| self.hosts[**id as usize].purpose(**id, now) == Some(Purpose::New);
        let running_new = u32::try_from(self.leased.iter().filter(is_new).count()).unwrap();
        let turn = u32::try_from(self.now % 5).unwrap();
        Inventory { jobs, running, running_new, recent: self.recent.clone(), turn, capacity }
    }

    fn job(&self, id: i64, now: OffsetDateTime) -> Option<Job> {
        let host = &self.hosts[id as usize];
        let task = host.task.as_ref()?;
        Some(Job {
            id: Self::job_id(id),
            property: PropertyId(host.property),
            names: vec![host.name.parse().unwrap()],
            registered_domain: host.domain.parse().unwrap(),
            certificates: 1,
            purpose: host.purpose(id, now)?,
            next_at: task.next_at,
            created_at: task.created_at,
            expires_at: host.served.as_ref().map(|served| served.not_after),
            history: task.history,
            ordered: task.ordered.clone(),
            authorities: self.preference.clone(),
            traffic: host.traffic,
        })
    }

    /// New names never go where a healthy renewal waits for the same thing.
    fn check(&mut self, inventory: &Inventory, actions: &[Action]) {
        let jobs: BTreeMap<i64, &Job> = inventory.jobs.iter().map(|job| (job.id.0, job)).collect();
        let mut waiting = None;
        for action in actions {
            match action {
                Action::Wait { job, reason, .. } => {
                    let job = jobs[&job.0];
                    let shared = matches!(
                        reason,
                        WaitReason::Capacity
                            | WaitReason::InFlight(_)
                            | WaitReason::Limit(_, Bucket::NewOrders)
                    );
                    if job.purpose != Purpose::New && job.history.failures == 0 && shared {
                        waiting = Some(job.id);
                    }
                }
                Action::Lease { job, .. } if jobs[&job.0].purpose == Purpose::New => {
                    if let Some(renewal) = waiting {
                        self.wrongs.push(format!("new {job:?} goes before {renewal:?}"));
                    }
                }
                Action::Lease { .. } => {}
            }
        }
    }

    fn leased(&mut self, id: i64, authority: AuthorityName, now: OffsetDateTime) {
        let deaths = self.deaths;
        let death = match self.chance.one_in(deaths) {
            false => Death::None,
            true if self.chance.one_in(2) => Death::BeforeTheOrder,
            true => Death::BeforeTheUpload,
        };
        // Prechecks and the wait for the edges; the CA counts within the ledger's lag.
        let at = self.now + self.chance.between(2, 100);
        let host = &mut self.hosts[id as usize];
        *self.recent.entry(PropertyId(host.property)).or_default() += 1;
        let task = host.task.as_mut().unwrap();
        self.open.remove(&(task.next_at, id));
        self.leased.insert(id);
        task.fence += 1;
        task.lease = Some((now + LEASE, authority.clone()));
        let fence = task.fence;
        if death != Death::BeforeTheOrder {
            self.events.push(Reverse(Event { at, job: id, fence, authority, death }));
        }
    }

    /// A clock went back: the renewal isn't due any more.
    fn cancel(&mut self, id: i64) {
        let host = &mut self.hosts[id as usize];
        let at = host.certificate(id).unwrap().renew_at();
        if let Some(task) = host.task.take() {
            self.open.remove(&(task.next_at, id));
        }
        self.renewals.insert((at, id));
    }

    pub(super) fn put_off(&mut self, id: i64, until: OffsetDateTime) {
        let task = self.hosts[id as usize].task.as_mut().unwrap();
        self.open.remove(&(task.next_at, id));
        task.next_at = until;
        task.lease = None;
        self.leased.remove(&id);
        self.open.insert((until, id));
    }

    fn agents_work(&mut self) {
        while let Some(Reverse(event)) = self.events.peek()
            && event.at <= self.now
            && let Some(Reverse(event)) = self.events.pop()
        {
            self.order(&event);
        }
    }

    fn order(&mut self, event: &Event) {
        let (id, clock) = (event.job, self.clock());
        let host = &mut self.hosts[id as usize];
        let Some(task) = host.task.as_ref() else { return };
        let is_ours = task.lease.is_some() && task.fence == event.fence;
        let served = host.served.as_ref().filter(|served| served.by == event.authority);
        let wanted = served.is_some_and(|served| {
            !task.without_replaces && served.advice.as_ref().is_some_and(|told| told.start <= clock)
        });
        let replaces = served.filter(|_| wanted).map(|served| served.seed);
        let order = Order {
            name: &host.name,
            domain: &host.domain,
            replaces,
            is_resumed: task.ordered.as_ref() == Some(&event.authority),
            is_good: !host.is_broken(event.at),
        };
        let ca = self.cas.get_mut(&event.authority).unwrap();
        let answer = ca.order(&order, event.at);
        host.attempts.push(event.at);
        if is_ours && answer.is_ok() {
            host.task.as_mut().unwrap().ordered = Some(event.authority.clone());
        }
        // The fence: who lost the lease is not heard any more.
        if !is_ours || event.death != Death::None {
            return;
        }
        match answer {
            Ok(validity) => {
                let due = host.certificate(id).map_or(clock, |known| known.renew_at());
                let late = if host.broken.is_empty() { (clock - due).whole_seconds() } else { 0 };
                self.latest_renewal = self.latest_renewal.max(late);
                self.serve(id, event.authority.clone(), validity);
                self.budgets.authorities.get_mut(&event.authority).unwrap().outages = 0;
            }
            Err(trouble) => self.failed(id, &event.authority, &trouble),
        }
    }

    /// What the control plane does with a failure.
    fn failed(&mut self, id: i64, authority: &AuthorityName, trouble: &Trouble) {
        let now = self.clock();
        let name: HostPattern = self.hosts[id as usize].name.parse().unwrap();
        let addresses: [IpAddr; 1] = ["203.0.113.1".parse().unwrap()];
        let setting =
            Setting { now, authority, caa_identity: None, name: &name, addresses: &addresses };
        let failure = classify(trouble, &setting);
        let task = self.hosts[id as usize].task.as_ref().unwrap();
        if task.counting == Counting::Counted {
            let domain = self.hosts[id as usize].domain.parse().unwrap();
            let drawn = Bucket::of_order(std::slice::from_ref(&name), &domain);
            self.budgets.ledger.give_back(authority, &drawn, 1, trouble.spent());
        }
        if trouble.spends_an_authorization() {
            let bucket = Bucket::FailedAuthorizations(name.base().clone());
            self.budgets.ledger.charge(authority, &bucket, now);
        }
        let jitter = self.chance.jitter();
        let authorities = self.cas.len() as u32 - 1;
        let left = Alternatives { authorities, ..Alternatives::default() };
        let host = &mut self.hosts[id as usize];
        let task = host.task.as_mut().unwrap();
        task.history = task.history.after(&failure);
        let next = schedule::next(now, &failure, task.history, left, jitter);
        task.without_replaces |= next.change == Change::WithoutReplaces;
        let at = match next.when {
            When::At(at) | When::Verified(at) => at,
            When::Asked => panic!("{failure:?}"),
        };
        let domain = host.domain.parse().unwrap();
        self.put_off(id, at);
        if let Some((scope, until)) = next.hold {
            let held = Held::new(scope, std::slice::from_ref(&name), &domain);
            self.hold(authority, held, until, failure.class);
        }
        self.count_outage(authority, &failure, next.hold.map(|(scope, _)| scope));
    }

    fn count_outage(
        &mut self,
        authority: &AuthorityName,
        failure: &Failure,
        hold: Option<HoldScope>,
    ) {
        let now = self.clock();
        let jitter = self.chance.jitter();
        let standing = self.budgets.authorities.get_mut(authority).unwrap();
        let Some(outages) = schedule::outages(standing.outages, failure.class, hold) else {
            return;
        };
        standing.outages = outages;
        assert!(failure.remedy != Remedy::Terminal, "{failure:?}");
        if let Some(until) = schedule::authority_hold(now, outages, jitter) {
            self.hold(authority, Held::Authority, until, failure.class);
        }
    }

    fn hold(
        &mut self,
        authority: &AuthorityName,
        held: Held,
        until: OffsetDateTime,
        class: FailureClass,
    ) {
        let since = self.clock();
        self.budgets.hold(Hold { authority: authority.clone(), held, since, until, class });
    }

    /// A certificate that ended while nothing was wrong with its hostname.
    fn look_for_expired(&mut self) {
        let now = time_at(self.now);
        while let Some((end, id)) = self.ends.first().copied().filter(|(end, _)| *end <= now) {
            self.ends.remove(&(end, id));
            let host = &mut self.hosts[id as usize];
            let Some(served) = host.served.take_if(|served| served.not_after <= now) else {
                continue;
            };
            let third = (served.not_after - served.not_before).whole_seconds() / 3;
            if !host.broken.iter().any(|(_, to)| *to > self.now - third) {
                let task = host.task.as_ref().map(|task| (task.history, task.next_at));
                self.wrongs.push(format!("{id} ended at {end}: {task:?}"));
            }
        }
    }
}
