use super::*;

const SCHEDULE: Schedule = Schedule {
    recheck_every: Duration::from_secs(86_400),
    recheck_failed_every: Duration::from_secs(3_600),
    left_after_failures: 3,
    left_after: Duration::from_secs(3 * 3_600),
    give_up_after: 75,
};
const EVEN: Jitter = Jitter(0.0);

fn at(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_800_000_000 + seconds).unwrap()
}

fn pending(tries: u32) -> Standing {
    let lane = if tries == 0 { Lane::Fresh } else { Lane::Pending };
    let progress = Progress { lane, tries, ..Progress::start(at(0)) };
    Standing { id: HostnameId(1), status: HostnameStatus::PendingValidation, progress }
}

fn active(tries: u32, since: OffsetDateTime, left_at: Option<OffsetDateTime>) -> Standing {
    let progress = Progress { lane: Lane::Active, tries, since, left_at, ..Progress::start(at(0)) };
    Standing { id: HostnameId(1), status: HostnameStatus::Active, progress }
}

fn scheduled(verdict: Verdict, now: OffsetDateTime) -> Check {
    Check { trigger: Trigger::Schedule, verdict, now, jitter: EVEN }
}

fn requested(verdict: Verdict, now: OffsetDateTime) -> Check {
    Check { trigger: Trigger::Request, ..scheduled(verdict, now) }
}

fn gap_of(outcome: &Outcome, now: OffsetDateTime) -> i64 {
    (outcome.progress.next_at.unwrap() - now).whole_seconds()
}

#[test]
fn a_pending_hostname_is_given_up_after_75_checks_in_seven_days() {
    for (jitter, least, most) in [(-1.0, 6.1, 6.3), (0.0, 6.8, 7.0), (1.0, 7.5, 7.7)] {
        let (mut standing, mut now, mut checks) = (pending(0), at(0), 0);
        let outcome = loop {
            checks += 1;
            let check = Check { jitter: Jitter(jitter), ..scheduled(Verdict::Failed, now) };
            let outcome = decide(&standing, &check, &SCHEDULE);
            let Some(next_at) = outcome.progress.next_at else { break outcome };
            assert_eq!((outcome.status, outcome.turn), (standing.status, None));
            now = next_at;
            standing.progress = outcome.progress;
        };
        assert_eq!((outcome.status, outcome.turn), (HostnameStatus::GivenUp, Some(Turn::GivenUp)));
        let days = (now - at(0)).as_seconds_f64() / 86_400.0;
        assert!(checks == 75 && (least..most).contains(&days), "{checks} checks in {days} days");
    }
}

#[test]
fn gaps_grow_from_a_minute_to_four_hours() {
    let table = [(0, 60), (1, 63), (9, 93), (10, 242), (20, 981), (39, 13_975), (40, 14_400)];
    for (tries, seconds) in table {
        let outcome = decide(&pending(tries), &scheduled(Verdict::Failed, at(0)), &SCHEDULE);
        assert_eq!(gap_of(&outcome, at(0)), seconds, "after {tries} tries");
        assert_eq!((outcome.progress.lane, outcome.progress.tries), (Lane::Pending, tries + 1));
    }
}

#[test]
fn a_gap_is_a_tenth_shorter_or_longer_at_most() {
    let gap = |random| {
        let check = Check { jitter: Jitter::of(random), ..scheduled(Verdict::Failed, at(0)) };
        gap_of(&decide(&pending(40), &check, &SCHEDULE), at(0))
    };
    assert_eq!((gap(0), gap(u16::MAX)), (12_960, 15_840));
}

#[test]
fn what_could_not_be_told_is_held_against_nobody_and_looked_at_soon() {
    let mut pending = pending(74);
    for (unclear, seconds) in [(0, 30), (1, 60), (2, 120), (3, 240), (4, 300), (u32::MAX, 300)] {
        pending.progress.unclear = unclear;
        let outcome = decide(&pending, &scheduled(Verdict::Inconclusive, at(9)), &SCHEDULE);
        assert_eq!((outcome.status, outcome.turn), (HostnameStatus::PendingValidation, None));
        assert_eq!((outcome.progress.tries, outcome.progress.lane), (74, Lane::Pending));
        assert_eq!(gap_of(&outcome, at(9)), seconds);
    }
    let left = active(5, at(0), Some(at(3)));
    let outcome = decide(&left, &scheduled(Verdict::Inconclusive, at(9)), &SCHEDULE);
    assert_eq!((outcome.progress.left_at, outcome.turn), (Some(at(3)), None));
    assert_eq!((outcome.progress.lane, outcome.progress.tries), (Lane::Active, 5));
}

#[test]
fn a_pass_activates_what_is_pending_and_nothing_else() {
    let status = |status| Standing { status, ..pending(3) };
    let table = [
        (HostnameStatus::PendingValidation, Trigger::Schedule, Some(Turn::Activated)),
        (HostnameStatus::PendingValidation, Trigger::Request, Some(Turn::Activated)),
        (HostnameStatus::GivenUp, Trigger::Request, Some(Turn::Activated)),
        (HostnameStatus::TakenOver, Trigger::Request, Some(Turn::Activated)),
        (HostnameStatus::Active, Trigger::Request, None),
        (HostnameStatus::GivenUp, Trigger::Schedule, None),
        (HostnameStatus::TakenOver, Trigger::Schedule, None),
    ];
    for (before, trigger, turn) in table {
        let check = Check { trigger, ..scheduled(Verdict::Passed, at(9)) };
        let outcome = decide(&status(before), &check, &SCHEDULE);
        assert_eq!(outcome.turn, turn, "{before:?} {trigger:?}");
        let is_active = turn.is_some() || before == HostnameStatus::Active;
        assert_eq!(outcome.status == HostnameStatus::Active, is_active);
        assert_eq!(outcome.progress.next_at.is_some(), is_active);
    }
}

#[test]
fn a_request_starts_a_new_series_for_what_is_not_active() {
    let given_up = Standing { status: HostnameStatus::GivenUp, ..pending(75) };
    for verdict in [Verdict::Failed, Verdict::Inconclusive] {
        let outcome = decide(&given_up, &requested(verdict, at(500)), &SCHEDULE);
        assert_eq!(outcome.turn, Some(Turn::Resumed));
        assert_eq!(outcome.status, HostnameStatus::PendingValidation);
        assert_eq!(outcome.progress.since, at(500));
        assert!(outcome.progress.tries <= 1 && outcome.progress.next_at.is_some());
    }
    let outcome = decide(&pending(60), &requested(Verdict::Failed, at(500)), &SCHEDULE);
    assert_eq!((outcome.turn, outcome.progress.tries), (None, 1));
    assert_eq!(gap_of(&outcome, at(500)), 60);
}

#[test]
fn an_active_hostname_has_left_after_failures_in_a_row_over_hours() {
    let hour = 3_600;
    let mut standing = active(0, at(-hour), None);
    for (now, left_at, turn) in [
        (0, None, None),
        (hour, None, None),
        (2 * hour, None, None),
        (3 * hour, Some(at(3 * hour)), Some(Turn::Left)),
        (28 * hour, Some(at(3 * hour)), None),
    ] {
        let outcome = decide(&standing, &scheduled(Verdict::Failed, at(now)), &SCHEDULE);
        assert_eq!((outcome.status, outcome.turn), (HostnameStatus::Active, turn), "at {now}");
        assert_eq!(outcome.progress.left_at, left_at);
        let gap = gap_of(&outcome, at(now));
        match left_at {
            None => assert_eq!(gap, hour),
            Some(_) => assert!((12 * hour..=36 * hour).contains(&gap), "{gap}"),
        }
        standing.progress = outcome.progress;
    }
    let outcome = decide(&standing, &scheduled(Verdict::Passed, at(30 * hour)), &SCHEDULE);
    assert_eq!(outcome.turn, Some(Turn::Returned));
    assert_eq!((outcome.progress.left_at, outcome.progress.tries), (None, 0));
}

#[test]
fn requests_in_quick_succession_do_not_make_a_hostname_leave() {
    let mut standing = active(0, at(0), None);
    for now in 0..100 {
        let outcome = decide(&standing, &requested(Verdict::Failed, at(now)), &SCHEDULE);
        assert_eq!((outcome.progress.left_at, outcome.turn), (None, None));
        standing.progress = outcome.progress;
    }
}

#[test]
fn checks_of_active_hostnames_are_spread_over_the_period() {
    let now = at(0);
    let next = |id| turn_of(HostnameId(id), now, &SCHEDULE);
    let mut of_each_hour = [0; 24];
    for id in 1..=24_000 {
        let wait = (next(id) - now).whole_seconds();
        assert!((43_200..43_200 + 86_400).contains(&wait), "{wait}");
        of_each_hour[usize::try_from((wait - 43_200) / 3_600).unwrap()] += 1;
    }
    assert!(of_each_hour.iter().all(|count| (900..1_100).contains(count)), "{of_each_hour:?}");
    let again = turn_of(HostnameId(7), next(7), &SCHEDULE);
    assert_eq!((again - next(7)).whole_seconds(), 86_400);
}

#[test]
fn a_wait_that_a_clock_ahead_began_ends_when_the_clock_is_set_right() {
    let hour = 3_600;
    let mut standing = active(1, at(365 * 24 * hour), None);
    let outcome = decide(&standing, &scheduled(Verdict::Failed, at(0)), &SCHEDULE);
    assert_eq!(outcome.progress.since, at(0));
    standing.progress = outcome.progress;
    let outcome = decide(&standing, &scheduled(Verdict::Failed, at(4 * hour)), &SCHEDULE);
    assert_eq!(outcome.turn, Some(Turn::Left));
}

#[test]
fn nothing_waits_for_longer_than_its_lane_lets_it() {
    let late = |verdict| Check { jitter: Jitter(1.0), ..scheduled(verdict, at(0)) };
    let standings =
        [pending(0), pending(73), active(0, at(0), None), active(9, at(0), Some(at(0)))];
    for (standing, id) in standings.iter().flat_map(|own| (1..500).map(move |id| (own, id))) {
        for verdict in [Verdict::Passed, Verdict::Failed, Verdict::Inconclusive] {
            let standing = Standing { id: HostnameId(id), ..*standing };
            let Progress { lane, next_at, .. } =
                decide(&standing, &late(verdict), &SCHEDULE).progress;
            assert!(next_at.unwrap() - at(0) <= longest_wait(lane, &SCHEDULE), "{standing:?}");
        }
    }
    assert_eq!(longest_wait(Lane::Active, &SCHEDULE), Duration::from_secs(142_561));
}
