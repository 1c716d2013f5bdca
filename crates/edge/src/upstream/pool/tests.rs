use landfall_model::WeightedOrigin;

use super::*;

fn pool(balance: Balance, weights: &[u16]) -> Arc<Pool> {
    pool_of(&Arc::default(), balance, weights)
}

fn pool_of(tenant: &Arc<Tenant>, balance: Balance, weights: &[u16]) -> Arc<Pool> {
    let origins = weights.iter().enumerate().map(|(at, weight)| WeightedOrigin {
        url: format!("http://192.0.2.{at}").parse().unwrap(),
        weight: *weight,
    });
    let settings = OriginPool { balance, ..OriginPool::with(origins.collect()) };
    let defaults = crate::config::fixtures::config("").upstream;
    let speech = Speech::new(&settings, &defaults).unwrap();
    let nowhere = |_: &Origin| Target::Nowhere;
    Arc::new(Pool::new(PropertyId(1), Arc::new(settings), speech, Arc::clone(tenant), nowhere))
}

fn in_use() -> Arc<InUse> {
    Arc::new(InUse::new(IntGauge::new("a", "b").unwrap()))
}

fn wanted() -> Wanted {
    Wanted { now: Moment(1), most: 2, spent: Members::default(), tried: Members::default() }
}

fn set(places: &[usize]) -> Members {
    let mut members = Members::default();
    places.iter().for_each(|at| members.add(*at));
    members
}

fn fail(pool: &Pool, at: usize) {
    let limits = crate::config::fixtures::config("[upstream]\neject_after = 1").upstream;
    pool.members[at].health.failed(Moment(1), &limits, 0.5).unwrap();
}

#[test]
fn round_robin_leaves_out_who_is_out_unless_all_are() {
    let pool = pool(Balance::RoundRobin, &[1, 1, 1]);
    let chosen = |count| (0..count).map(|_| pool.choose(wanted()).unwrap()).collect::<Vec<_>>();
    assert_eq!(chosen(4), [0, 1, 2, 0]);
    fail(&pool, 1);
    assert!(!chosen(6).contains(&1));
    fail(&pool, 0);
    fail(&pool, 2);
    let mut all = chosen(3);
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2]);
}

#[test]
fn least_connections_follow_load_and_weight() {
    let pool = pool(Balance::LeastConnections, &[1, 3]);
    let in_use = in_use();
    let mut leases = Vec::new();
    let mut chosen = [0, 0];
    for _ in 0..8 {
        let at = pool.choose(Wanted { most: 100, ..wanted() }).unwrap();
        chosen[at] += 1;
        leases.push(Lease::take(&pool, at, (100, 100), &in_use).unwrap());
    }
    assert_eq!(chosen, [2, 6]);
    leases.clear();
    assert_eq!(in_use.count.load(Ordering::Relaxed), 0);
    assert_eq!(pool.members[1].in_flight.load(Ordering::Relaxed), 0);
}

#[test]
fn a_retry_goes_elsewhere_where_it_can() {
    let pool = pool(Balance::RoundRobin, &[1, 1]);
    let retry = |tried: &[usize], spent: &[usize]| {
        pool.choose(Wanted { tried: set(tried), spent: set(spent), ..wanted() })
    };
    assert!((0..4).all(|_| retry(&[0], &[]) == Ok(1)));
    assert!((0..4).all(|_| retry(&[0, 1], &[1]) == Ok(0)));
    assert_eq!(retry(&[0, 1], &[0, 1]), Err(NoMember::Spent));
    fail(&pool, 1);
    assert_eq!(retry(&[0], &[]), Ok(0), "one that is out is no better");
    assert_eq!(retry(&[0], &[0]), Ok(1));
}

#[test]
fn nobody_gets_more_than_may_be() {
    let pool = pool(Balance::RoundRobin, &[1]);
    let in_use = in_use();
    let take = || Lease::take(&pool, 0, (2, 3), &in_use);
    let (first, second) = (take(), take());
    assert!(first.is_some() && second.is_some() && take().is_none());
    assert_eq!(pool.choose(wanted()), Err(NoMember::Busy));
    drop(first);
    assert_eq!(pool.choose(wanted()), Ok(0));
    assert!(Lease::take(&pool, 0, (2, 1), &in_use).is_none(), "too many in all");
}

#[test]
fn slow_origins_of_one_property_leave_places_to_others() {
    let tenant = Arc::default();
    let slow: Vec<_> = (0..9).map(|_| pool_of(&tenant, Balance::RoundRobin, &[1])).collect();
    let others = pool(Balance::RoundRobin, &[1]);
    let in_use = in_use();
    let take = |pool| Lease::take(pool, 0, (100, 100), &in_use);
    let held: Vec<_> = (0..100).filter_map(|at| take(&slow[at % slow.len()])).collect();
    assert_eq!(held.len(), 80);
    let of_others: Vec<_> = (0..100).map_while(|_| take(&others)).collect();
    assert_eq!(of_others.len(), 16);
    assert!(take(&slow[0]).is_none());
    let thirds = pool(Balance::RoundRobin, &[1]);
    assert!(take(&thirds).is_some());
    drop(held);
    assert!(take(&slow[0]).is_some());
}

#[test]
fn addresses_take_turns_and_one_that_fails_comes_last() {
    let pool = pool(Balance::RoundRobin, &[1]);
    let known = [IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2])];
    let member = Member { target: Target::Address(known.into()), ..member(&pool) };
    let next = |failed: &[SocketAddr]| member.address(&known, failed, Moment(1));
    let first = next(&[]).unwrap();
    let second = next(&[]).unwrap();
    assert_ne!(first, second);
    assert!((0..3).all(|_| next(&[first]) == Some(second)));
    member.avoid(first, Moment(1));
    assert!((0..3).all(|_| next(&[]) == Some(second)));
    assert_eq!(next(&[second]), Some(first));
    assert_eq!(next(&[first, second]), None);
    assert!(!member.has_other(&[first, second]));
}

fn member(pool: &Pool) -> Member {
    Member {
        origin: pool.members[0].origin.clone(),
        target: Target::Nowhere,
        health: Health::default(),
        weight: 1,
        in_flight: AtomicU32::new(0),
        turn: AtomicUsize::new(0),
        avoided: Default::default(),
    }
}
