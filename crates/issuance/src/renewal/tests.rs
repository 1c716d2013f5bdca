use super::*;

fn at(hours: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_800_000_000 + hours * 3600).unwrap()
}

fn certificate(id: i64, days: i64, advice: Option<&RenewalAdvice>) -> Certificate<'_> {
    Certificate {
        hostname: HostnameId(id),
        seed: 7,
        not_before: at(0),
        not_after: at(days * 24),
        issued_at: at(0),
        advice,
    }
}

fn advice(start: i64, end: i64) -> RenewalAdvice {
    RenewalAdvice { start: at(start), end: at(end), explanation: None, ask_again_at: at(0) }
}

#[test]
fn without_a_window_a_third_is_left_or_half_of_a_short_life() {
    for (days, earliest, latest) in [(90, 60.0, 64.5), (45, 30.0, 32.25), (6, 3.0, 3.45)] {
        let mut seen: Vec<f64> = (0..500)
            .map(|id| (certificate(id, days, None).renew_at() - at(0)).as_seconds_f64() / 86_400.0)
            .collect();
        seen.sort_by(f64::total_cmp);
        assert!(seen[0] >= earliest && seen[499] <= latest, "{days}: {seen:?}");
        let spread = latest - earliest;
        assert!(seen[0] < earliest + spread / 20.0 && seen[499] > latest - spread / 20.0);
    }
}

#[test]
fn a_time_in_the_window_is_chosen_once() {
    let window = advice(100, 148);
    let times: Vec<_> = (0..500).map(|id| certificate(id, 45, Some(&window)).renew_at()).collect();
    assert!(times.iter().all(|time| (at(100)..at(148)).contains(time)));
    assert!(times.iter().any(|time| *time < at(105)) && times.iter().any(|time| *time > at(143)));
    assert_eq!(times[3], certificate(3, 45, Some(&window)).renew_at());
}

#[test]
fn stands_where_its_window_and_its_life_have_it() {
    let urgent = |because| Standing::Urgent { because };
    let normal = advice(500, 501);
    let before = advice(-10, -5);
    let upside_down = advice(500, 400);
    let too_late = advice(5_000, 6_000);
    let waits = |certificate: &Certificate<'_>| Standing::Waits { until: certificate.renew_at() };
    let (normal, before) = (certificate(1, 45, Some(&normal)), certificate(1, 45, Some(&before)));
    let turned = certificate(1, 45, Some(&upside_down));
    let late = certificate(1, 45, Some(&too_late));
    let none = certificate(1, 45, None);
    let cases = [
        (normal, 0, waits(&normal)),
        (normal, 501, urgent(Urgency::WindowOver)),
        (before, 0, urgent(Urgency::WindowOver)),
        (turned, 0, waits(&none)),
        (none, 29 * 24, waits(&none)),
        (none, 33 * 24, Standing::Due),
        (none, 38 * 24, urgent(Urgency::LittleLeft)),
        (none, 50 * 24, urgent(Urgency::LittleLeft)),
        (late, 45 * 18 + 1, Standing::Due),
    ];
    for (certificate, hours, standing) in cases {
        assert_eq!(certificate.standing(at(hours)), standing, "{hours} {:?}", certificate.advice);
    }
    let never = Certificate { not_after: at(-1), ..none };
    assert_eq!(never.standing(at(0)), urgent(Urgency::LittleLeft));
}

#[test]
fn what_is_urgent_is_so_from_a_time_on_that_is_known_before() {
    let window = |start, end| Some(advice(start, end));
    for own in [None, window(10 * 24, 11 * 24), window(39 * 24, 44 * 24)] {
        let certificate = certificate(1, 45, own.as_ref());
        let is_urgent = |time| matches!(certificate.standing(time), Standing::Urgent { .. });
        let from = certificate.urgent_at();
        assert!(
            !is_urgent(from - Duration::SECOND) && is_urgent(from + Duration::SECOND),
            "{own:?}"
        );
    }
}

#[test]
fn one_that_is_new_is_left_in_peace() {
    for (minutes, settled) in [(45 * 1_440, 360), (6 * 1_440, 360), (1_440, 60), (0, 0), (-60, 0)] {
        let not_after = at(0) + Duration::minutes(minutes);
        let certificate = Certificate { not_after, ..certificate(1, 45, None) };
        assert_eq!(certificate.settled_at(), at(0) + Duration::minutes(settled), "{minutes}");
    }
}

#[test]
fn an_order_is_wanted_once_the_window_has_begun() {
    let window = advice(100, 148);
    let certificate = certificate(1, 45, Some(&window));
    assert!(!certificate.is_wanted(at(99)));
    assert!(certificate.is_wanted(at(100)));
    assert!(!self::certificate(1, 45, None).is_wanted(at(1_000)));
}

#[test]
fn a_ca_is_asked_twice_a_day() {
    let certificate = certificate(5, 45, None);
    let first = certificate.poll_at(at(0), None);
    assert!((at(0)..at(1)).contains(&first));
    let mut last = first;
    for round in 0..20 {
        let next = certificate.poll_at(last, Some(last));
        let gap = next - last;
        assert!(gap <= POLL && (round == 0 || gap == POLL), "{gap}");
        last = next;
    }
    let year = 365 * 24;
    assert!(certificate.poll_at(at(0), Some(at(year))) <= at(12), "a clock that was ahead");
}

#[test]
fn a_ca_is_asked_when_it_wants_to_be_within_a_day() {
    for (wanted, least, most) in [(0, 0, 12), (18, 18, 18), (10_000, 24, 24)] {
        let window = RenewalAdvice { ask_again_at: at(wanted), ..advice(500, 501) };
        let next = certificate(5, 45, Some(&window)).poll_at(at(0), Some(at(0)));
        assert!((at(least)..=at(most)).contains(&next), "{wanted}: {next}");
    }
}

#[test]
fn one_that_says_that_it_lives_for_ever_is_renewed_within_the_year() {
    let far = advice(1_000_000, 2_000_000);
    for advice in [None, Some(&far)] {
        let certificate = certificate(1, 365 * 1_000, advice);
        assert_eq!(certificate.renew_at(), at(265 * 24));
        assert!(certificate.poll_at(at(0), None) <= at(1));
    }
}
