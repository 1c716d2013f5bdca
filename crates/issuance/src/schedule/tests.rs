use super::*;
use crate::failure::FailureClass;

fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap()
}

fn failure(class: FailureClass, remedy: Remedy) -> Failure {
    Failure { class, words: None, owner: None, operator: None, remedy }
}

/// In minutes from now, at least and at most, over many chances.
fn minutes(failure: &Failure, history: History, left: Alternatives) -> (i64, i64) {
    let waits =
        (0..500).map(|seed| match next(now(), failure, history, left, Jitter::of(seed)).when {
            When::At(at) | When::Verified(at) => (at - now()).whole_minutes(),
            When::Asked => i64::MAX,
        });
    waits.fold((i64::MAX, 0), |(least, most), wait| (least.min(wait), most.max(wait)))
}

#[test]
fn a_name_that_fails_is_tried_after_1_10_and_100_minutes_and_then_daily() {
    let refused = failure(FailureClass::WrongAnswer, Remedy::Backoff);
    let mut history = History::default();
    for expected in [(0, 1), (7, 12), (75, 124), (1_080, 1_799), (1_080, 1_799)] {
        history = history.after(&refused);
        let (least, most) = minutes(&refused, history, Alternatives::default());
        assert!(expected.0 <= least && most <= expected.1, "{expected:?}: {least} to {most}");
    }
}

#[test]
fn what_passes_by_itself_is_tried_soon_and_less_and_less_often() {
    let busy = failure(FailureClass::AuthorityBusy, Remedy::Soon);
    let mut history = History::default();
    let mut last = 0;
    for round in 1..=30 {
        history = history.after(&busy);
        let (_, most) = minutes(&busy, history, Alternatives::default());
        assert!(most >= last && most <= 38, "{round}: {most}");
        last = most;
    }
    assert!(last >= 35);
    assert_eq!(history.failures, 0, "a name is not to blame for its CA");
}

#[test]
fn a_renewal_is_tried_more_often_the_less_is_left() {
    let refused = failure(FailureClass::WrongAnswer, Remedy::Backoff);
    let history = History { failures: 9, ..History::default() };
    // In minutes: what is left, and the next attempt at the latest.
    for (left, most) in
        [(2_880, 1_440), (180, 90), (60, 30), (20, 12), (5, 12), (0, 1_799), (-60, 1_799)]
    {
        let until = Some(now() + Duration::minutes(left));
        let bounded = Alternatives { until, ..Alternatives::default() };
        assert_eq!(minutes(&refused, history, bounded).1, most, "{left}");
    }
    let until = Some(now() + Duration::HOUR);
    let bounded = Alternatives { until, ..Alternatives::default() };
    let forbidden = failure(FailureClass::CaaForbids, Remedy::OtherAuthority);
    let next = next(now(), &forbidden, history, bounded, Jitter::of(1));
    assert!(next.hold.unwrap().1 <= now() + Duration::minutes(30), "{next:?}");
}

#[test]
fn what_one_pop_cannot_do_another_one_gets_at_once_for_some_times() {
    let lacks = failure(FailureClass::GroupKey, Remedy::Soon);
    let others = Alternatives { pops: 1, ..Alternatives::default() };
    for (hitches, is_at_once) in [(1, true), (ELSEWHERE, true), (ELSEWHERE + 1, false)] {
        let history = History { hitches, ..History::default() };
        let next = next(now(), &lacks, history, others, Jitter::of(1));
        assert_eq!(next.when == When::At(now()), is_at_once, "{hitches}");
    }
}

#[test]
fn every_remedy_has_its_next_attempt() {
    use FailureClass as C;
    let until = now() + Duration::hours(5);
    let none = Alternatives::default();
    let more = Alternatives { authorities: 1, methods: 1, ..none };
    let retry = Remedy::RetryAfter { scope: HoldScope::RegisteredDomain, until };
    let operator = Remedy::Operator { scope: HoldScope::Account };
    let cases = [
        (
            C::CaaForbids,
            Remedy::OtherAuthority,
            more,
            (0, 1),
            Change::Nothing,
            Some(HoldScope::Name),
        ),
        (
            C::CaaForbids,
            Remedy::OtherAuthority,
            none,
            (0, 1),
            Change::Nothing,
            Some(HoldScope::Name),
        ),
        (C::AlpnRefused, Remedy::OtherMethod, more, (0, 1), Change::Method, None),
        (C::ReplacesRefused, Remedy::WithoutReplaces, none, (0, 1), Change::WithoutReplaces, None),
        (C::RateLimited, retry, none, (0, 1), Change::Nothing, Some(HoldScope::RegisteredDomain)),
        (C::AccountGone, operator, none, (0, 1), Change::Nothing, Some(HoldScope::Account)),
        (C::NameRefused, Remedy::Terminal, more, (0, 1), Change::Nothing, Some(HoldScope::Name)),
    ];
    for (class, remedy, left, (least, most), change, scope) in cases {
        let failure = failure(class, remedy);
        let history = History::default().after(&failure);
        let next = next(now(), &failure, history, left, Jitter::of(1));
        assert_eq!((next.change, next.hold.map(|hold| hold.0)), (change, scope), "{class:?}");
        let waits = minutes(&failure, history, left);
        assert!(least <= waits.0 && waits.1 <= most, "{class:?} {waits:?}");
    }
    let refused = failure(C::NameRefused, Remedy::Terminal);
    let next = |failure| super::next(now(), failure, History::default(), none, Jitter::of(1));
    assert_eq!(next(&refused).when, When::Asked);
    let end = now() + time::Duration::days(28);
    let served = Alternatives { until: Some(end), ..none };
    let next_of_served = super::next(now(), &refused, History::default(), served, Jitter::of(1));
    let half = now() + time::Duration::days(14);
    assert_eq!(next_of_served.when, When::At(half), "what is served ends before a refusal does");
    assert_eq!(next_of_served.hold, Some((HoldScope::Name, half)));
    let left = failure(C::DnsNotHere, Remedy::DnsLoop);
    assert!(matches!(next(&left).when, When::Verified(_)));
    assert_eq!(
        next(&failure(C::RateLimited, retry)).hold,
        Some((HoldScope::RegisteredDomain, until))
    );
}

#[test]
fn a_name_that_failed_often_is_rehearsed_before_each_attempt() {
    let refused = failure(FailureClass::WrongAnswer, Remedy::Backoff);
    let mut history = History::default();
    for _ in 0..2 {
        history = history.after(&refused);
        assert!(!history.is_rehearsal_due());
    }
    history = history.after(&refused);
    assert!(history.is_rehearsal_due());
    history = history.after_rehearsal();
    assert!(!history.is_rehearsal_due());
    assert!(history.after(&refused).is_rehearsal_due());
}

#[test]
fn a_ca_that_fails_everybody_is_left_alone() {
    let hold = |outages| authority_hold(now(), outages, Jitter::of(1));
    assert_eq!(hold(2), None);
    for (outages, least, most) in [(3, 45, 75), (4, 90, 150), (5, 180, 300), (1_000, 2_700, 4_500)]
    {
        let seconds = (hold(outages).unwrap() - now()).whole_seconds();
        assert!((least..=most).contains(&seconds), "{outages}: {seconds}");
    }
}

#[test]
fn an_outage_is_one_for_every_name() {
    use FailureClass as C;
    let outages = |before, class| super::outages(before, class, None);
    assert_eq!(outages(2, C::AuthorityDown), Some(3));
    assert_eq!(outages(2, C::AccountGone), Some(3));
    assert_eq!(outages(2, C::BadChain), Some(3));
    assert_eq!(outages(2, C::ClockOff), Some(3), "the agent's is the control plane's");
    assert_eq!(outages(2, C::WrongAnswer), Some(0), "the CA did its work");
    assert_eq!(outages(2, C::RateLimited), Some(0), "the CA did its work");
    assert_eq!(outages(2, C::LeaseLost), None, "an agent's death says nothing of the CA");
}

#[test]
fn one_job_goes_to_see_after_a_hold_of_a_ca_as_after_outages() {
    use FailureClass as C;
    for (before, class, scope, after) in [
        (0, C::RateLimited, HoldScope::Authority, OUTAGE_AFTER),
        (0, C::AuthorityBusy, HoldScope::Account, OUTAGE_AFTER),
        (5, C::RateLimited, HoldScope::Authority, 5),
        (5, C::AuthorityBusy, HoldScope::Authority, 6),
        (0, C::RateLimited, HoldScope::Name, 0),
        (2, C::RateLimited, HoldScope::RegisteredDomain, 0),
    ] {
        assert_eq!(
            outages(before, class, Some(scope)),
            Some(after),
            "{before} {class:?} {scope:?}"
        );
    }
}

#[test]
fn an_attempt_that_is_asked_for_is_twelve_minutes_after_the_last_at_least() {
    let minutes = |minutes| now() + Duration::minutes(minutes);
    assert_eq!(asked(now(), None), now());
    assert_eq!(asked(now(), Some(minutes(-5))), minutes(7));
    assert_eq!(asked(now(), Some(minutes(-50))), now());
    assert_eq!(asked(now(), Some(minutes(500_000))), minutes(12));
}
