use std::collections::BTreeSet;

use landfall_model::PropertyId;

use super::*;
use crate::{
    ledger::{Bucket, Ledger, Preset},
    plan::{Purpose, Rules, Standing},
    schedule::History,
};

fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap()
}

fn ca() -> AuthorityName {
    "first".parse().unwrap()
}

fn jobs(count: i64) -> Vec<Job> {
    let job = |id| Job {
        id: JobId(id),
        property: PropertyId(id % 7),
        names: vec![format!("www.shop{id}.test").parse().unwrap()],
        registered_domain: format!("shop{id}.test").parse().unwrap(),
        certificates: 1,
        purpose: Purpose::New,
        next_at: now(),
        created_at: now(),
        expires_at: None,
        history: History::default(),
        ordered: None,
        authorities: vec![ca()],
        traffic: 0,
    };
    (0..count).map(job).collect()
}

fn budgets(preset: Preset, staging: Option<AuthorityName>) -> Budgets {
    let standing = Standing { max_running: 50, outages: 0, staging };
    let authorities = BTreeMap::from([
        (ca(), standing.clone()),
        ("staging".parse().unwrap(), Standing { staging: None, ..standing }),
    ]);
    Budgets::new(
        authorities,
        Ledger::new(BTreeMap::from([(ca(), preset.limits())])),
        Rules::default(),
    )
}

const FAST: Throughput = Throughput { at_once: 20, seconds: 10 };

#[test]
fn a_large_batch_takes_as_long_as_the_limit_has_it() {
    let inventory = Inventory { jobs: jobs(1_000), ..Inventory::default() };
    let forecast = forecast(now(), &inventory, &budgets(Preset::LetsEncrypt, None), FAST);
    let hours = (forecast.done_at().unwrap() - now()).as_seconds_f64() / 3600.0;
    // 236 at once, and 100 an hour.
    assert!((7.6..8.2).contains(&hours), "{hours}");
    let done: BTreeSet<JobId> = forecast.done.iter().map(|(job, _)| *job).collect();
    assert_eq!((done.len(), forecast.by_authority[&ca()]), (1_000, 1_000));
    assert_eq!(forecast.waiting, BTreeMap::from([(WaitReason::Capacity, 980)]));
}

#[test]
fn is_as_good_far_ahead() {
    let inventory = Inventory { jobs: jobs(2_000), ..Inventory::default() };
    let budgets = budgets(Preset::LetsEncrypt, None);
    let slow = Throughput { at_once: 1, seconds: 60 };
    for (throughput, expected) in [(FAST, 17.6), (slow, 33.3)] {
        let forecast = forecast(now(), &inventory, &budgets, throughput);
        let hours = (forecast.done_at().unwrap() - now()).as_seconds_f64() / 3600.0;
        // Steps round what agents do in them down, by a tenth at most.
        assert!((expected * 0.95..expected * 1.1).contains(&hours), "{throughput:?}: {hours}");
    }
}

#[test]
fn agents_are_what_an_unlimited_batch_waits_for() {
    let inventory = Inventory { jobs: jobs(1_000), ..Inventory::default() };
    let forecast = forecast(now(), &inventory, &budgets(Preset::Unlimited, None), FAST);
    let seconds = (forecast.done_at().unwrap() - now()).whole_seconds();
    assert!((500..=510).contains(&seconds), "{seconds}");
}

#[test]
fn says_what_waits_for_what() {
    let mut jobs = jobs(60);
    jobs.iter_mut().for_each(|job| job.registered_domain = "shop.test".parse().unwrap());
    jobs[0].authorities.clear();
    let inventory = Inventory { jobs, ..Inventory::default() };
    let fast = Throughput { at_once: 1_000, ..FAST };
    let mut budgets = budgets(Preset::LetsEncrypt, None);
    budgets.authorities.get_mut(&ca()).unwrap().max_running = 1_000;
    let forecast = forecast(now(), &inventory, &budgets, fast);
    let domain = WaitReason::Limit(ca(), Bucket::Certificates("shop.test".parse().unwrap()));
    let waiting = BTreeMap::from([(domain, 20), (WaitReason::NoAuthority, 1)]);
    assert_eq!(forecast.waiting, waiting);
    assert_eq!(forecast.never, [JobId(0)]);
    assert_eq!(forecast.done_at(), None);
    let days = (forecast.done.last().unwrap().1 - now()).as_seconds_f64() / 86_400.0;
    assert!((2.6..3.0).contains(&days), "20 of 50 a week: {days}");
}

#[test]
fn a_rehearsal_is_counted() {
    let mut jobs = jobs(1);
    jobs[0].history.failures = 3;
    let inventory = Inventory { jobs, ..Inventory::default() };
    let budgets = budgets(Preset::Unlimited, Some("staging".parse().unwrap()));
    let forecast = forecast(now(), &inventory, &budgets, FAST);
    assert_eq!(forecast.done, [(JobId(0), now() + Duration::seconds(20))]);
}
