use std::collections::BTreeMap;

use landfall_model::PropertyId;
use time::Duration;

use super::*;
use crate::{
    hold::Hold,
    ledger::{Ledger, Limits, Preset},
    schedule::History,
};

fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap()
}

fn ca(name: &str) -> AuthorityName {
    name.parse().unwrap()
}

/// A new name of a property, under a domain of its own.
fn job(id: i64, property: i64) -> Job {
    let name = format!("www.shop{id}.test");
    Job {
        id: JobId(id),
        property: PropertyId(property),
        names: vec![name.parse().unwrap()],
        registered_domain: format!("shop{id}.test").parse().unwrap(),
        certificates: 1,
        purpose: Purpose::New,
        next_at: now(),
        created_at: now() + Duration::seconds(id),
        expires_at: None,
        history: History::default(),
        ordered: None,
        authorities: vec![ca("first"), ca("second")],
        traffic: 0,
    }
}

fn renewal(id: i64) -> Job {
    let purpose = Purpose::Renewal { wanted_by: None };
    Job { purpose, expires_at: Some(now() + Duration::days(id)), ..job(id, 1) }
}

fn urgent(id: i64, traffic: u64) -> Job {
    Job { purpose: Purpose::Urgent { wanted_by: None }, traffic, ..renewal(id) }
}

fn failing(job: Job) -> Job {
    Job { history: History { failures: 1, ..History::default() }, ..job }
}

fn budgets(first: Limits) -> Budgets {
    let standing = |staging: Option<&str>| Standing {
        max_running: 1_000,
        outages: 0,
        staging: staging.map(ca),
    };
    let authorities = BTreeMap::from([
        (ca("first"), standing(Some("staging"))),
        (ca("second"), standing(None)),
        (ca("staging"), standing(None)),
    ]);
    let ledger = Ledger::new(BTreeMap::from([(ca("first"), first)]));
    Budgets::new(authorities, ledger, Rules::default())
}

fn inventory(jobs: Vec<Job>, capacity: u32) -> Inventory {
    Inventory { jobs, capacity, ..Inventory::default() }
}

fn leased(actions: &[Action]) -> Vec<(i64, &str)> {
    let leases = actions.iter().filter_map(|action| match action {
        Action::Lease { job, authority, .. } => Some((job.0, authority.as_str())),
        Action::Wait { .. } => None,
    });
    leases.collect()
}

fn order(jobs: Vec<Job>) -> Vec<i64> {
    let actions = plan(now(), &inventory(jobs, 1_000), &mut budgets(Preset::Unlimited.limits()));
    leased(&actions).into_iter().map(|(job, _)| job).collect()
}

fn reason(actions: &[Action], id: i64) -> (&WaitReason, Duration) {
    let found = actions.iter().find_map(|action| match action {
        Action::Wait { job, until, reason } if job.0 == id => Some((reason, *until - now())),
        Action::Wait { .. } | Action::Lease { .. } => None,
    });
    found.unwrap()
}

#[test]
fn renewals_go_before_new_names_and_failing_ones_come_last() {
    let jobs = vec![
        failing(job(1, 1)),
        failing(renewal(2)),
        job(3, 1),
        failing(urgent(4, 9)),
        renewal(5),
        renewal(6),
        urgent(7, 1),
        urgent(8, 5),
    ];
    assert_eq!(order(jobs), [8, 7, 5, 6, 3, 4, 2, 1]);
}

#[test]
fn one_in_five_is_a_name_that_has_failed_whatever_comes() {
    let jobs = || (1..=40).map(|id| job(id, id)).chain((41..=60).map(|id| failing(job(id, id))));
    let order = order(jobs().collect());
    let places: Vec<usize> =
        order.iter().enumerate().filter(|(_, id)| **id > 40).map(|(place, _)| place).collect();
    assert_eq!(places[..4], [4, 9, 14, 19]);
    let first = |turn, jobs: Vec<Job>| {
        let inventory = Inventory { turn, ..inventory(jobs, 1) };
        leased(&plan(now(), &inventory, &mut budgets(Preset::Unlimited.limits())))[0].0
    };
    let of_ten = (0..10).filter(|turn| first(*turn, jobs().collect()) > 40).count();
    assert_eq!(of_ten, 2, "also where one at a time is leased");
    assert!((0..5).all(|turn| first(turn, vec![urgent(1, 1), failing(job(2, 2))]) == 1));
}

#[test]
fn a_failing_name_that_is_asked_for_goes_with_the_others_until_it_fails_again() {
    let asked = History { failures: 2, forgiven: 2, ..History::default() };
    let again = History { failures: 3, ..asked };
    let jobs =
        vec![Job { history: again, ..job(1, 1) }, Job { history: asked, ..job(2, 2) }, job(3, 3)];
    assert_eq!(order(jobs), [2, 3, 1]);
}

#[test]
fn a_new_name_that_has_waited_for_long_goes_to_the_next_ca_though_the_next_token_is_near() {
    let limits = Limits {
        new_orders: Some(crate::ledger::Limit::bucket(60, Duration::minutes(10)).unwrap()),
        ..Preset::Unlimited.limits()
    };
    for (minutes, expected) in [(9, None), (11, Some("second"))] {
        let mut budgets = budgets(limits);
        let many: Vec<Job> = (1..=60).map(|id| job(id, 1)).collect();
        plan(now(), &inventory(many, 1_000), &mut budgets);
        let late = Job { next_at: now() - Duration::minutes(minutes), ..job(99, 2) };
        let actions = plan(now(), &inventory(vec![late], 9), &mut budgets);
        assert_eq!(leased(&actions).first().map(|lease| lease.1), expected, "{minutes}");
    }
}

#[test]
fn nobody_waits_for_ever_for_jobs_that_a_ca_is_doing() {
    for (seconds, expected) in [(30, None), (700, Some("second"))] {
        let mut budgets = budgets(Preset::Unlimited.limits());
        let late = Job { next_at: now() - Duration::seconds(seconds), ..job(1, 1) };
        let running = BTreeMap::from([(ca("first"), 1_000)]);
        let inventory = Inventory { running, ..inventory(vec![late], 9) };
        let actions = plan(now(), &inventory, &mut budgets);
        assert_eq!(leased(&actions).first().map(|lease| lease.1), expected, "{seconds}");
    }
}

#[test]
fn new_names_get_one_of_five_while_renewals_wait_however_urgent_these_are() {
    let jobs = || (1..=40).map(|id| urgent(id, 1)).chain((41..=60).map(|id| job(id, id)));
    let is_new = |id: &&i64| **id > 40;
    let order = order(jobs().collect());
    let places: Vec<usize> =
        order.iter().enumerate().filter(|(_, id)| is_new(id)).map(|(place, _)| place).collect();
    assert_eq!(places[..4], [4, 9, 14, 19]);
    // One place at a time becomes free: what runs says whose it is.
    for (running_new, is_next_new) in [(0, true), (8, true), (9, false), (40, false)] {
        let running = BTreeMap::from([(ca("first"), 48)]);
        let inventory = Inventory { running, running_new, ..inventory(jobs().collect(), 1) };
        let actions = plan(now(), &inventory, &mut budgets(Preset::Unlimited.limits()));
        let next = leased(&actions)[0].0;
        assert_eq!(is_new(&&next), is_next_new, "{running_new}");
    }
}

#[test]
fn new_names_take_turns_by_property() {
    let many = (0..4).map(|id| job(id, 1));
    let few = (4..6).map(|id| job(id, 2));
    let jobs: Vec<Job> = many.chain(few).chain([job(6, 3)]).collect();
    assert_eq!(order(jobs.clone()), [0, 4, 6, 1, 5, 2, 3]);
    let mut inventory = inventory(jobs, 1);
    inventory.recent = BTreeMap::from([(PropertyId(1), 5), (PropertyId(2), 1)]);
    let actions = plan(now(), &inventory, &mut budgets(Preset::Unlimited.limits()));
    assert_eq!(leased(&actions), [(6, "first")]);
    assert_eq!(reason(&actions, 0), (&WaitReason::Capacity, Duration::ZERO));
}

#[test]
fn a_part_of_the_orders_is_kept_for_renewals() {
    let jobs = (0..400).map(|id| Job { authorities: vec![ca("first")], ..job(id, 1) });
    let mut budgets = budgets(Preset::LetsEncrypt.limits());
    let actions = plan(now(), &inventory(jobs.collect(), 1_000), &mut budgets);
    assert_eq!(leased(&actions).len(), 236);
    let (why, wait) = reason(&actions, 399);
    assert_eq!(*why, WaitReason::Limit(ca("first"), Bucket::NewOrders));
    assert!(wait > Duration::ZERO && wait <= Duration::seconds(36));
    let renewals = (400..500).map(renewal);
    let actions = plan(now(), &inventory(renewals.collect(), 1_000), &mut budgets);
    let by = |name| leased(&actions).iter().filter(|lease| lease.1 == name).count();
    assert_eq!((by("first"), by("second")), (60, 0), "a renewal has time");
    assert!(!budgets.ledger.take_changes().is_empty());
}

#[test]
fn one_domain_holds_up_none_but_itself() {
    let of_one = |id| Job {
        registered_domain: "shop.test".parse().unwrap(),
        authorities: vec![ca("first")],
        ..job(id, 1)
    };
    let jobs = (0..60).map(of_one).chain([job(60, 1)]).collect();
    let actions = plan(now(), &inventory(jobs, 1_000), &mut budgets(Preset::LetsEncrypt.limits()));
    assert_eq!(leased(&actions).len(), 40);
    assert!(leased(&actions).contains(&(60, "first")));
    let bucket = Bucket::Certificates("shop.test".parse().unwrap());
    assert_eq!(*reason(&actions, 59).0, WaitReason::Limit(ca("first"), bucket));
}

#[test]
fn what_the_ca_wants_renewed_is_not_counted() {
    let wanted = |id, by: &str| Job {
        purpose: Purpose::Renewal { wanted_by: Some(ca(by)) },
        registered_domain: "shop.test".parse().unwrap(),
        authorities: vec![ca("first")],
        ..renewal(id)
    };
    let jobs: Vec<Job> = (0..400).map(|id| wanted(id, "first")).collect();
    let mut budgets = budgets(Preset::LetsEncrypt.limits());
    let actions = plan(now(), &inventory(jobs, 1_000), &mut budgets);
    assert_eq!(leased(&actions).len(), 400);
    assert_eq!(budgets.ledger.take_changes(), []);
    // What another CA has issued replaces nothing here.
    let jobs: Vec<Job> = (0..400).map(|id| wanted(id, "second")).collect();
    let actions = plan(now(), &inventory(jobs, 1_000), &mut budgets);
    assert_eq!(leased(&actions).len(), 49);
}

#[test]
fn goes_to_the_next_ca_only_where_the_wait_is_long() {
    let hold = |minutes| Hold {
        authority: ca("first"),
        held: Held::Authority,
        since: now(),
        until: now() + Duration::minutes(minutes),
        class: FailureClass::RateLimited,
    };
    let cases = [
        (job(1, 1), 9, None),
        (job(1, 1), 11, Some("second")),
        (renewal(1), 11 * 60, None),
        (renewal(1), 13 * 60, Some("second")),
        (urgent(1, 0), 1, Some("second")),
        (Job { authorities: vec![ca("first")], ..urgent(1, 0) }, 1, None),
    ];
    for (job, minutes, expected) in cases {
        let mut budgets = budgets(Preset::Unlimited.limits());
        budgets.hold(hold(minutes));
        let actions = plan(now(), &inventory(vec![job.clone()], 9), &mut budgets);
        assert_eq!(leased(&actions).first().map(|lease| lease.1), expected, "{job:?} {minutes}");
        if expected.is_none() {
            let hold = WaitReason::Hold(ca("first"), Held::Authority, FailureClass::RateLimited);
            assert_eq!(reason(&actions, 1), (&hold, Duration::minutes(minutes)));
        }
    }
}

#[test]
fn nobody_waits_for_what_a_ca_can_not_do_for_a_name() {
    let names = Held::Names(crate::ledger::NameSet::new(&job(1, 1).names));
    for (class, held, expected) in [
        (FailureClass::BadChain, names.clone(), Some("second")),
        (FailureClass::CaaForbids, names.clone(), Some("second")),
        (FailureClass::WrongAnswer, names, None),
        (FailureClass::BadChain, Held::Authority, None),
    ] {
        let mut budgets = budgets(Preset::Unlimited.limits());
        let until = now() + Duration::MINUTE;
        budgets.hold(Hold { authority: ca("first"), held, since: now(), until, class });
        let actions = plan(now(), &inventory(vec![job(1, 1)], 9), &mut budgets);
        assert_eq!(leased(&actions).first().map(|lease| lease.1), expected, "{class:?}");
    }
}

#[test]
fn a_hold_of_a_name_or_a_domain_holds_nothing_else() {
    for held in [
        Held::Names(crate::ledger::NameSet::new(&job(1, 1).names)),
        Held::RegisteredDomain(job(1, 1).registered_domain),
    ] {
        let mut budgets = budgets(Preset::Unlimited.limits());
        let until = now() + Duration::days(1);
        let class = FailureClass::RateLimited;
        budgets.hold(Hold { authority: ca("first"), held, since: now(), until, class });
        let actions = plan(now(), &inventory(vec![job(1, 1), job(2, 1)], 9), &mut budgets);
        assert_eq!(leased(&actions), [(1, "second"), (2, "first")]);
    }
}

#[test]
fn one_job_goes_to_see_whether_a_ca_works_again() {
    let mut budgets = budgets(Preset::Unlimited.limits());
    budgets.authorities.get_mut(&ca("first")).unwrap().outages = 3;
    let mut jobs = vec![job(1, 1), job(2, 1), job(3, 1)];
    jobs[2].authorities.pop();
    let actions = plan(now(), &inventory(jobs, 9), &mut budgets);
    assert_eq!(leased(&actions), [(1, "first"), (2, "second")]);
    assert_eq!(*reason(&actions, 3).0, WaitReason::Probe(ca("first")));
}

#[test]
fn a_ca_has_no_more_at_once_than_it_may_and_new_names_leave_some_for_renewals() {
    let mut budgets = budgets(Preset::Unlimited.limits());
    budgets.authorities.get_mut(&ca("first")).unwrap().max_running = 10;
    let mut inventory = inventory((1..=10).map(|id| job(id, 1)).chain([renewal(11)]).collect(), 99);
    inventory.running = BTreeMap::from([(ca("first"), 5)]);
    inventory.running_new = 5;
    let actions = plan(now(), &inventory, &mut budgets);
    assert_eq!(leased(&actions), [(11, "first"), (1, "first"), (2, "first")]);
    assert_eq!(reason(&actions, 3), (&WaitReason::InFlight(ca("first")), Duration::ZERO));
}

#[test]
fn what_failed_often_is_rehearsed_first() {
    let often = History { failures: 3, ..History::default() };
    let due = Job { history: often, ..job(1, 1) };
    let passed = Job { history: often.after_rehearsal(), ..job(2, 1) };
    let mut budgets = budgets(Preset::Unlimited.limits());
    let actions = plan(now(), &inventory(vec![due, passed], 9), &mut budgets);
    let counting = Counting::Counted;
    let lease = |id, authority, stage| Action::Lease { job: JobId(id), authority, stage, counting };
    assert_eq!(
        actions,
        [
            lease(1, ca("staging"), Stage::Rehearsal { of: ca("first") }),
            lease(2, ca("first"), Stage::Real)
        ]
    );
}

#[test]
fn waits_for_its_own_time_unless_a_clock_was_ahead() {
    let at = |wait| Job { next_at: now() + wait, ..job(1, 1) };
    for (wait, waits) in
        [(Duration::HOUR, true), (Duration::days(365), false), (-Duration::HOUR, false)]
    {
        let mut budgets = budgets(Preset::Unlimited.limits());
        let actions = plan(now(), &inventory(vec![at(wait)], 9), &mut budgets);
        assert_eq!(leased(&actions).is_empty(), waits, "{wait}");
        if waits {
            assert_eq!(reason(&actions, 1), (&WaitReason::NotDue, wait));
        }
    }
}

#[test]
fn says_that_there_is_no_ca() {
    for authorities in [vec![], vec![ca("gone")]] {
        let job = Job { authorities, ..job(1, 1) };
        let mut budgets = budgets(Preset::Unlimited.limits());
        let actions = plan(now(), &inventory(vec![job], 9), &mut budgets);
        assert_eq!(*reason(&actions, 1).0, WaitReason::NoAuthority);
    }
}

#[test]
fn a_name_that_failed_too_often_this_hour_waits() {
    let mut budgets = budgets(Preset::LetsEncrypt.limits());
    let bucket = Bucket::FailedAuthorizations("www.shop1.test".parse().unwrap());
    (0..5).for_each(|_| budgets.ledger.charge(&ca("first"), &bucket, now()));
    let actions = plan(now(), &inventory(vec![failing(job(1, 1))], 9), &mut budgets);
    assert_eq!(leased(&actions), [(1, "second")]);
    let alone = Job { authorities: vec![ca("first")], ..failing(job(1, 1)) };
    let actions = plan(now(), &inventory(vec![alone], 9), &mut budgets);
    let limit = WaitReason::Limit(ca("first"), bucket);
    assert_eq!(reason(&actions, 1), (&limit, Duration::minutes(14)));
}

#[test]
fn two_kinds_of_keys_are_two_orders() {
    let both = |id| Job { certificates: 2, authorities: vec![ca("first")], ..job(id, 1) };
    let mut budgets = budgets(Preset::LetsEncrypt.limits());
    let actions = plan(now(), &inventory((0..400).map(both).collect(), 999), &mut budgets);
    assert_eq!(leased(&actions).len(), 118);
}

#[test]
fn an_order_that_is_open_already_is_not_counted_again() {
    let only = |id| Job { authorities: vec![ca("first")], ..job(id, 1) };
    let mut jobs: Vec<Job> = (0..300).map(only).collect();
    jobs[299].ordered = Some(ca("first"));
    let mut budgets = budgets(Preset::LetsEncrypt.limits());
    let actions = plan(now(), &inventory(jobs, 999), &mut budgets);
    assert_eq!(leased(&actions).len(), 237);
    assert!(leased(&actions).contains(&(299, "first")));
}
