//! Years of hostnames, CAs, clocks and agents, around the deciders as they are. All is seeded.
//!
//! The CA is a model of its own, written from the description of the limits. Time is in seconds from
//! an arbitrary start; the control plane's clock is that and what it is off by.

mod ca;
mod chance;
mod run;
mod world;

use time::OffsetDateTime;

use self::{
    ca::{Ca, Outage},
    world::World,
};
use crate::plan::Rules;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

fn time_at(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_800_000_000 + seconds).unwrap()
}

/// The most times that a CA was asked for one name in any day.
fn busiest_day(world: &World) -> usize {
    let of_one = |attempts: &[i64]| {
        let from = |index: usize| {
            attempts[index..].iter().take_while(|at| **at < attempts[index] + DAY).count()
        };
        (0..attempts.len()).map(from).max().unwrap_or(0)
    };
    world.hosts.iter().map(|host| of_one(&host.attempts)).max().unwrap_or(0)
}

fn world(seed: u64, life: i64) -> World {
    World::new(seed, vec![("first", Ca::new(life, 0))], Rules::default())
}

/// Served hostnames, most under domains of their own.
fn fill(world: &mut World, count: i64) {
    for id in 0..count {
        let shared = id % 50 == 0;
        let domain = if shared { "shared.test".to_owned() } else { format!("d{id}.test") };
        world.add_served(id % 40, &domain);
    }
}

fn first(world: &World) -> &Ca {
    &world.cas[&world.preference[0]]
}

fn first_mut(world: &mut World) -> &mut Ca {
    let name = world.preference[0].clone();
    world.cas.get_mut(&name).unwrap()
}

#[test]
fn two_thousand_hostnames_live_for_years() {
    for (seed, life, days, ari) in
        [(1, 45 * DAY, 400, true), (2, 90 * DAY, 1_100, false), (3, 6 * DAY, 24, true)]
    {
        let mut world = world(seed, life);
        world.ari = ari;
        world.deaths = 200;
        fill(&mut world, 2_000);
        world.run(days * DAY);
        assert_eq!(world.wrongs, Vec::<String>::new(), "{seed}");
        assert_eq!(first(&world).refused, 0, "{seed}");
        let expected = 2_000 * days * DAY / (life * 2 / 3);
        let issued = i64::from(first(&world).issued);
        assert!(issued < expected * 12 / 10, "{seed}: {issued} of {expected}");
        assert!(busiest_day(&world) <= 5, "{seed}: {}", busiest_day(&world));
        assert!(world.latest_renewal < 3 * HOUR, "{seed}: {}", world.latest_renewal);
    }
}

/// How often the CA was asked from a time to another.
fn asked(world: &World, from: i64, to: i64) -> usize {
    let all = world.hosts.iter().flat_map(|host| &host.attempts);
    all.filter(|at| (from..to).contains(*at)).count()
}

#[test]
fn nothing_expires_through_an_outage_and_the_ca_is_left_alone_in_it() {
    for (seed, life, hours, outage) in [
        (1, 45 * DAY, 9 * 24, Outage::Down),
        (2, 6 * DAY, 24, Outage::Errors),
        (3, 6 * DAY, 30, Outage::Html),
    ] {
        let mut world = world(seed, life);
        fill(&mut world, 500);
        let (from, to) = (life, life + hours * HOUR);
        first_mut(&mut world).outages.push((from, to, outage));
        world.run(life * 2);
        assert_eq!(world.wrongs, Vec::<String>::new(), "{seed}");
        let calls = asked(&world, from, to) as i64;
        assert!((hours / 2..hours * 2 + 20).contains(&calls), "{seed}: {calls} in {hours} h");
        assert_eq!(first(&world).refused, 0, "{seed}");
    }
}

#[test]
fn another_ca_takes_over_where_the_first_is_gone() {
    let cas = vec![("first", Ca::new(6 * DAY, 0)), ("second", Ca::new(6 * DAY, 0))];
    let mut world = World::new(1, cas, Rules::default());
    fill(&mut world, 500);
    first_mut(&mut world).outages.push((5 * DAY, 25 * DAY, Outage::Down));
    world.run(20 * DAY);
    assert_eq!(world.wrongs, Vec::<String>::new());
    assert!(world.cas[&world.preference[1]].issued > 500);
    world.run(35 * DAY);
    assert_eq!(world.wrongs, Vec::<String>::new());
    let by_first = |host: &&world::Host| {
        host.served.as_ref().is_some_and(|served| served.by == world.preference[0])
    };
    assert_eq!(world.hosts.iter().filter(by_first).count(), 500, "and goes back to it");
}

#[test]
fn clocks_that_jump_cost_no_certificate_and_make_no_hot_loop() {
    let year = 365 * DAY;
    for (seed, ahead, ari) in [
        (1, 600, true),
        (2, -600, true),
        (3, year, true),
        (4, -year, true),
        (5, year, false),
        (6, -year, false),
    ] {
        let mut world = world(seed, 45 * DAY);
        world.ari = ari;
        world.clock = vec![(20 * DAY, ahead), (20 * DAY + 6 * HOUR, 0)];
        fill(&mut world, 500);
        for id in 0..50 {
            world.add(id, &format!("new{id}.test"));
        }
        world.run(100 * DAY);
        assert_eq!(world.wrongs, Vec::<String>::new(), "{seed}");
        assert!(busiest_day(&world) <= 8, "{seed}: {}", busiest_day(&world));
        assert!(first(&world).refused < 50, "{seed}: {}", first(&world).refused);
    }
}

#[test]
fn a_flood_of_new_names_delays_no_renewal_and_no_other_property() {
    let mut world = world(1, 45 * DAY);
    world.ari = false;
    fill(&mut world, 1_000);
    world.run(40 * DAY);
    let start = world.now;
    for id in 0..1_500 {
        world.add(1_000, &format!("flood{id}.test"));
    }
    let few: Vec<i64> = (0..50).map(|id| world.add(2_000 + id, &format!("few{id}.test"))).collect();
    world.run(start + 4 * DAY);
    assert_eq!(world.wrongs, Vec::<String>::new());
    assert_eq!(first(&world).refused, 0, "orders past a limit");
    assert!(world.latest_renewal < HOUR, "{}", world.latest_renewal);
    let last = few.iter().map(|id| world.served_at[id]).max().unwrap();
    assert!(last - start < HOUR, "{}", last - start);
    // 1,550 names at 100 an hour, and 240 at once.
    let all = world.served_at.values().max().unwrap();
    assert!(*all - start < 18 * HOUR, "{}", *all - start);
}

#[test]
fn agents_that_die_often_cost_time_alone() {
    let mut world = world(1, 45 * DAY);
    world.deaths = 4;
    for id in 0..300 {
        world.add(id % 7, &format!("new{id}.test"));
    }
    world.run(DAY);
    assert_eq!(world.served_at.len(), 300);
    assert_eq!(world.wrongs, Vec::<String>::new());
    assert!(busiest_day(&world) <= 6, "{}", busiest_day(&world));
}

#[test]
fn names_that_fail_cost_the_ca_little_and_come_back_within_two_days() {
    let mut world = world(1, 45 * DAY);
    fill(&mut world, 500);
    world.hosts.iter_mut().step_by(10).for_each(|host| host.broken.push((20 * DAY, 70 * DAY)));
    let broken = (0..100).map(|id| world.add(id, &format!("bad{id}.test"))).collect::<Vec<_>>();
    for id in &broken {
        world.hosts[*id as usize].broken.push((0, 70 * DAY));
    }
    world.run(72 * DAY);
    assert_eq!(world.wrongs, Vec::<String>::new());
    assert_eq!(first(&world).refused, 0, "orders past a limit");
    assert!(busiest_day(&world) <= 5, "{}", busiest_day(&world));
    for id in broken {
        let host = &world.hosts[id as usize];
        assert!((60..100).contains(&host.attempts.len()), "{}", host.attempts.len());
        assert!(host.served.is_some() && world.served_at[&id] >= 70 * DAY, "{id}");
    }
    assert!(world.hosts.iter().all(|host| host.served.is_some()));
}

#[test]
fn before_a_mass_revocation_the_busiest_are_renewed_first() {
    let mut world = world(1, 45 * DAY);
    fill(&mut world, 2_000);
    world.run(10 * DAY);
    let start = world.now;
    for (id, host) in world.hosts.iter_mut().enumerate() {
        let advice = host.served.as_mut().and_then(|served| served.advice.as_mut()).unwrap();
        advice.start = time_at(start - 2 * HOUR);
        advice.end = time_at(start - HOUR);
        world.renewals.insert((time_at(start), id as i64));
        host.attempts.clear();
    }
    world.run(start + 9 * HOUR);
    let mut renewed: Vec<(i64, u64)> =
        world.hosts.iter().map(|host| (host.attempts[0], host.traffic)).collect();
    renewed.sort_unstable();
    let mean = |part: &[(i64, u64)]| part.iter().map(|host| host.1).sum::<u64>() / 100;
    assert!(mean(&renewed[..100]) > 900, "{}", mean(&renewed[..100]));
    assert!(mean(&renewed[1_900..]) < 200, "{}", mean(&renewed[1_900..]));
    assert_eq!(first(&world).refused, 0, "orders past a limit");
    assert_eq!(world.wrongs, Vec::<String>::new());
}
