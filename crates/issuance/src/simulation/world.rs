//! Hostnames, what is served for them, and agents that die, around the deciders.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
};

use landfall_model::{AuthorityName, HostnameId, JobId, PropertyId, issuance::RenewalAdvice};
use time::OffsetDateTime;

use super::{ca::Ca, chance::Chance, time_at};
use crate::{
    ledger::{Counting, Ledger, Preset},
    plan::{Budgets, Purpose, Rules, Standing},
    renewal::{Certificate, Standing as Pressing},
    schedule::History,
};

/// What is served for a hostname.
pub(super) struct Served {
    pub(super) seed: u64,
    pub(super) by: AuthorityName,
    pub(super) not_before: OffsetDateTime,
    pub(super) not_after: OffsetDateTime,
    pub(super) issued_at: OffsetDateTime,
    pub(super) advice: Option<RenewalAdvice>,
}

/// A job of a hostname.
pub(super) struct Task {
    pub(super) created_at: OffsetDateTime,
    pub(super) next_at: OffsetDateTime,
    pub(super) history: History,
    pub(super) without_replaces: bool,
    /// When the lease ends, by the control plane's clock, and its CA.
    pub(super) lease: Option<(OffsetDateTime, AuthorityName)>,
    pub(super) fence: u32,
    /// Whether the lease has drawn from the ledger.
    pub(super) counting: Counting,
    /// Who has an open order.
    pub(super) ordered: Option<AuthorityName>,
}

pub(super) struct Host {
    pub(super) property: i64,
    pub(super) name: String,
    pub(super) domain: String,
    pub(super) traffic: u64,
    pub(super) served: Option<Served>,
    pub(super) task: Option<Task>,
    /// When its challenges don't pass, in true time.
    pub(super) broken: Vec<(i64, i64)>,
    /// When a CA was asked for it, in true time.
    pub(super) attempts: Vec<i64>,
}

impl Host {
    pub(super) fn is_broken(&self, now: i64) -> bool {
        self.broken.iter().any(|(from, to)| (*from..*to).contains(&now))
    }

    /// What the certificate is that is served, to the deciders.
    pub(super) fn certificate(&self, id: i64) -> Option<Certificate<'_>> {
        let served = self.served.as_ref()?;
        Some(Certificate {
            hostname: HostnameId(id),
            seed: served.seed,
            not_before: served.not_before,
            not_after: served.not_after,
            issued_at: served.issued_at,
            advice: served.advice.as_ref(),
        })
    }

    /// What its job is for; none where it is not due.
    pub(super) fn purpose(&self, id: i64, now: OffsetDateTime) -> Option<Purpose> {
        let Some(certificate) = self.certificate(id) else { return Some(Purpose::New) };
        let without = self.task.as_ref().is_some_and(|task| task.without_replaces);
        let wanted_by = self
            .served
            .as_ref()
            .filter(|_| !without && certificate.is_wanted(now))
            .map(|served| served.by.clone());
        match certificate.standing(now) {
            Pressing::Waits { .. } => None,
            Pressing::Due => Some(Purpose::Renewal { wanted_by }),
            Pressing::Urgent { .. } => Some(Purpose::Urgent { wanted_by }),
        }
    }
}

/// Something that an agent does at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Event {
    pub(super) at: i64,
    pub(super) job: i64,
    pub(super) fence: u32,
    pub(super) authority: AuthorityName,
    pub(super) death: Death,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Death {
    None,
    BeforeTheOrder,
    BeforeTheUpload,
}

/// What is simulated.
pub(super) struct World {
    pub(super) now: i64,
    /// How far the control plane's clock is ahead, in seconds, from a time on.
    pub(super) clock: Vec<(i64, i64)>,
    pub(super) chance: Chance,
    pub(super) cas: BTreeMap<AuthorityName, Ca>,
    pub(super) preference: Vec<AuthorityName>,
    pub(super) ari: bool,
    /// One in so many agents' jobs ends with the agent's death.
    pub(super) deaths: i64,
    pub(super) agents: u32,
    pub(super) hosts: Vec<Host>,
    pub(super) budgets: Budgets,
    pub(super) events: BinaryHeap<Reverse<Event>>,
    /// When hostnames are to be looked at, by the control plane's clock.
    pub(super) renewals: BTreeSet<(OffsetDateTime, i64)>,
    /// When certificates end, those that were replaced among them.
    pub(super) ends: BTreeSet<(OffsetDateTime, i64)>,
    /// Jobs that nobody has leased, by their next time.
    pub(super) open: BTreeSet<(OffsetDateTime, i64)>,
    pub(super) leased: BTreeSet<i64>,
    pub(super) recent: BTreeMap<PropertyId, u32>,
    pub(super) seeds: u64,
    /// What was seen to go wrong.
    pub(super) wrongs: Vec<String>,
    /// When each hostname was served first.
    pub(super) served_at: BTreeMap<i64, i64>,
    /// The longest that a healthy renewal was due, in seconds.
    pub(super) latest_renewal: i64,
}

impl World {
    pub(super) fn new(seed: u64, cas: Vec<(&str, Ca)>, rules: Rules) -> Self {
        let standing = Standing { max_running: 200, outages: 0, staging: None };
        let cas: Vec<(AuthorityName, Ca)> =
            cas.into_iter().map(|(name, ca)| (name.parse().unwrap(), ca)).collect();
        let preference: Vec<AuthorityName> = cas.iter().map(|(name, _)| name.clone()).collect();
        let limits =
            preference.iter().map(|name| (name.clone(), Preset::LetsEncrypt.limits())).collect();
        let standings = preference.iter().map(|name| (name.clone(), standing.clone())).collect();
        Self {
            now: 0,
            clock: Vec::new(),
            chance: Chance::new(seed),
            cas: cas.into_iter().collect(),
            preference,
            ari: true,
            deaths: 1_000_000,
            agents: 64,
            hosts: Vec::new(),
            budgets: Budgets::new(standings, Ledger::new(limits), rules),
            events: BinaryHeap::new(),
            renewals: BTreeSet::new(),
            ends: BTreeSet::new(),
            open: BTreeSet::new(),
            leased: BTreeSet::new(),
            recent: BTreeMap::new(),
            seeds: 0,
            wrongs: Vec::new(),
            served_at: BTreeMap::new(),
            latest_renewal: 0,
        }
    }

    /// The control plane's clock.
    pub(super) fn clock(&self) -> OffsetDateTime {
        let ahead = self.clock.iter().rev().find(|(from, _)| *from <= self.now);
        time_at(self.now + ahead.map_or(0, |(_, ahead)| *ahead))
    }

    /// A hostname that is verified now and has no certificate.
    pub(super) fn add(&mut self, property: i64, domain: &str) -> i64 {
        let id = self.hosts.len() as i64;
        let traffic = self.chance.between(0, 1_000).cast_unsigned();
        self.hosts.push(Host {
            property,
            name: format!("h{id}.{domain}"),
            domain: domain.to_owned(),
            traffic,
            served: None,
            task: None,
            broken: Vec::new(),
            attempts: Vec::new(),
        });
        self.open_task(id);
        id
    }

    /// A hostname that has had a certificate for a while.
    pub(super) fn add_served(&mut self, property: i64, domain: &str) {
        let id = self.add(property, domain);
        let by = self.preference[0].clone();
        let life = self.cas[&by].life;
        let age = self.chance.between(0, life / 2);
        self.serve(id, by, (time_at(self.now - age), time_at(self.now - age + life)));
    }

    pub(super) fn open_task(&mut self, id: i64) {
        let now = self.clock();
        let settled = self.hosts[id as usize].certificate(id).map(|known| known.settled_at());
        let next_at = settled.map_or(now, |settled| settled.max(now));
        let task = &mut self.hosts[id as usize].task;
        if task.is_none() {
            *task = Some(Task {
                created_at: now,
                next_at,
                history: History::default(),
                without_replaces: false,
                lease: None,
                fence: 0,
                counting: Counting::Exempt,
                ordered: None,
            });
            self.open.insert((next_at, id));
        }
    }

    /// A certificate has arrived: the job is done.
    pub(super) fn serve(
        &mut self,
        id: i64,
        by: AuthorityName,
        (not_before, not_after): (OffsetDateTime, OffsetDateTime),
    ) {
        self.seeds += 1;
        let life = not_after - not_before;
        // As Let's Encrypt's windows are: at two thirds of the life, a fiftieth of it long.
        let start = not_before + life * 2 / 3;
        let advice = RenewalAdvice {
            start,
            end: start + life / 50,
            explanation: None,
            ask_again_at: not_before,
        };
        let advice = self.ari.then_some(advice);
        let seed = self.seeds;
        let issued_at = self.clock();
        let host = &mut self.hosts[id as usize];
        host.served = Some(Served { seed, by, not_before, not_after, issued_at, advice });
        self.ends.insert((not_after, id));
        if let Some(task) = host.task.take() {
            self.open.remove(&(task.next_at, id));
        }
        self.leased.remove(&id);
        let at = self.hosts[id as usize].certificate(id).unwrap().renew_at();
        self.renewals.insert((at, id));
        self.served_at.entry(id).or_insert(self.now);
    }

    pub(super) fn job_id(id: i64) -> JobId {
        JobId(id)
    }
}
