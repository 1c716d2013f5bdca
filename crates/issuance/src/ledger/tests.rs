use proptest::prelude::*;

use super::*;

fn at(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_800_000_000 + seconds).unwrap()
}

fn ca() -> AuthorityName {
    "lets_encrypt".parse().unwrap()
}

fn ledger(limits: Limits) -> Ledger {
    Ledger::new(BTreeMap::from([(ca(), limits)]))
}

fn drawn_at_once(ledger: &mut Ledger, bucket: &Bucket, draw: Draw, now: OffsetDateTime) -> u32 {
    let buckets = [bucket.clone()];
    let draws = (0..100_000).take_while(|_| ledger.draw(&ca(), &buckets, draw, now).is_ok());
    u32::try_from(draws.count()).unwrap()
}

#[test]
fn gives_a_burst_and_then_one_at_a_time() {
    let mut ledger = ledger(Preset::LetsEncrypt.limits());
    let orders = [Bucket::NewOrders];
    // 36 s an order: the lag of two minutes is four of them.
    assert_eq!(drawn_at_once(&mut ledger, &orders[0], Draw::ONE, at(0)), 296);
    let short = ledger.draw(&ca(), &orders, Draw::ONE, at(0)).unwrap_err();
    assert!(short.until > at(0) && short.until <= at(36), "{short:?}");
    assert_eq!(drawn_at_once(&mut ledger, &orders[0], Draw::ONE, at(120)), 4);
    assert_eq!(drawn_at_once(&mut ledger, &orders[0], Draw::ONE, at(120 + 360)), 10);
    assert_eq!(drawn_at_once(&mut ledger, &orders[0], Draw::ONE, at(100_000)), 296);
}

#[test]
fn draws_from_every_bucket_or_from_none() {
    let mut ledger = ledger(Preset::LetsEncrypt.limits());
    let domain = Bucket::Certificates("shop.test".parse().unwrap());
    let both = [Bucket::NewOrders, domain.clone()];
    while ledger.draw(&ca(), &both, Draw::ONE, at(0)).is_ok() {}
    let before = ledger.level(&ca(), &both[0], at(0));
    let short = ledger.draw(&ca(), &both, Draw::ONE, at(0)).unwrap_err();
    assert_eq!(short.bucket, domain);
    assert_eq!(ledger.level(&ca(), &both[0], at(0)), before);
}

#[test]
fn draws_several_or_none() {
    let mut ledger = ledger(Preset::LetsEncrypt.limits());
    let set = Bucket::ExactSet(NameSet::new(&["www.shop.test".parse().unwrap()]));
    let two = Draw { tokens: 2, ..Draw::ONE };
    assert_eq!(drawn_at_once(&mut ledger, &set, two, at(0)), 2);
    assert_eq!(ledger.level(&ca(), &set, at(0)), Some(Level { left: 1, of: 5 }));
    let six = Draw { tokens: 6, ..Draw::ONE };
    assert!(ledger.draw(&ca(), std::slice::from_ref(&set), six, at(0)).is_err());
    assert!(ledger.draw(&ca(), &[set], six, at(8 * 86_400)).is_ok());
}

#[test]
fn leaves_what_is_to_be_kept() {
    let mut ledger = ledger(Preset::LetsEncrypt.limits());
    let bucket = Bucket::NewOrders;
    assert_eq!(
        drawn_at_once(&mut ledger, &bucket, Draw { tokens: 1, keep: Keep::Percent(20) }, at(0)),
        236
    );
    assert_eq!(ledger.level(&ca(), &bucket, at(0)), Some(Level { left: 64, of: 300 }));
    assert_eq!(drawn_at_once(&mut ledger, &bucket, Draw::ONE, at(0)), 60);
}

#[test]
fn a_clock_that_jumps_back_costs_a_bucket_its_own_time_at_most() {
    let mut ledger = ledger(Preset::LetsEncrypt.limits());
    let buckets = [Bucket::NewOrders];
    let year = 365 * 86_400;
    while ledger.draw(&ca(), &buckets, Draw::ONE, at(year)).is_ok() {}
    assert!(ledger.draw(&ca(), &buckets, Draw::ONE, at(0)).is_err());
    let kept = ledger.take_changes();
    let mut again = self::ledger(Preset::LetsEncrypt.limits());
    again.load(kept);
    assert!(again.draw(&ca(), &buckets, Draw::ONE, at(200)).is_ok());
    assert_eq!(drawn_at_once(&mut again, &buckets[0], Draw::ONE, at(3 * 3600 + 240)), 296);
}

#[test]
fn counts_what_was_used_though_there_was_none() {
    let mut ledger = ledger(Preset::LetsEncrypt.limits());
    let bucket = Bucket::FailedAuthorizations("www.shop.test".parse().unwrap());
    (0..50).for_each(|_| ledger.charge(&ca(), &bucket, at(0)));
    assert_eq!(ledger.level(&ca(), &bucket, at(0)).unwrap().left, 0);
    let free = ledger.available_at(&ca(), &bucket, Draw::ONE, at(0));
    assert_eq!(free, at(12 * 60 + 120));
}

#[test]
fn knows_no_limits_of_a_ca_that_has_none() {
    let mut ledger = ledger(Preset::Unlimited.limits());
    assert_eq!(
        drawn_at_once(
            &mut ledger,
            &Bucket::NewOrders,
            Draw { tokens: 1, keep: Keep::Percent(20) },
            at(0)
        ),
        100_000
    );
    assert_eq!(ledger.take_changes(), []);
    assert_eq!(ledger.level(&ca(), &Bucket::NewOrders, at(0)), None);
}

#[test]
fn gets_back_what_an_attempt_did_not_use() {
    let names = ["www.shop.test".parse().unwrap()];
    let drawn = Bucket::of_order(&names, &"shop.test".parse().unwrap());
    let two = Draw { tokens: 2, ..Draw::ONE };
    for (spent, left) in [
        (Spent::Nothing, [300, 50, 5]),
        (Spent::Order, [298, 50, 5]),
        (Spent::Certificate, [298, 48, 3]),
    ] {
        let mut ledger = ledger(Preset::LetsEncrypt.limits());
        ledger.draw(&ca(), &drawn, two, at(0)).unwrap();
        ledger.give_back(&ca(), &drawn, 2, spent);
        let levels =
            drawn.each_ref().map(|bucket| ledger.level(&ca(), bucket, at(0)).unwrap().left);
        assert_eq!(levels, left, "{spent:?}");
    }
}

#[test]
fn says_which_rows_changed() {
    let mut ledger = ledger(Preset::LetsEncrypt.limits());
    ledger.draw(&ca(), &[Bucket::NewOrders], Draw::ONE, at(0)).unwrap();
    let row = Entry { authority: ca(), bucket: Bucket::NewOrders, arrival: at(36) };
    assert_eq!(ledger.take_changes(), [row]);
    assert_eq!(ledger.take_changes(), []);
}

#[test]
fn buckets_are_read_as_they_are_written() {
    let name = |text: &str| text.parse().unwrap();
    let names: Vec<landfall_model::HostPattern> =
        vec!["shop.test".parse().unwrap(), "*.shop.test".parse().unwrap()];
    let turned: Vec<_> = names.iter().rev().cloned().collect();
    assert_eq!(NameSet::new(&names), NameSet::new(&turned));
    for bucket in [
        Bucket::NewOrders,
        Bucket::Certificates(name("shop.test")),
        Bucket::ExactSet(NameSet::new(&names)),
        Bucket::FailedAuthorizations(name("www.shop.test")),
        Bucket::NewAccounts,
    ] {
        let kind = BucketKind::from_name(bucket.kind().name()).unwrap();
        assert_eq!(Bucket::from_parts(kind, &bucket.subject()), Some(bucket));
    }
    assert_eq!(Bucket::from_parts(BucketKind::Certificates, "-"), None);
    assert_eq!(Bucket::from_parts(BucketKind::ExactSet, "shop.test -"), None);
}

#[test]
fn reads_an_operators_limits() {
    let text = r#"{"new_orders": {"count": 600, "per": "3h"},
                   "exact_set": {"count": 5, "per": "7days", "burst": 2}, "replacing": "counted"}"#;
    let overrides: Overrides = serde_json::from_str(text).unwrap();
    let limits = Preset::LetsEncrypt.limits().with(overrides);
    assert_eq!(limits.new_orders, Some(Limit::bucket(600, Duration::hours(3)).unwrap()));
    assert_eq!(limits.exact_set.unwrap().burst(), 2);
    assert_eq!(limits.certificates, Preset::LetsEncrypt.limits().certificates);
    assert_eq!(limits.replacing, Counting::Counted);
    for bad in [
        r#"{"count": 0, "per": "3h"}"#,
        r#"{"count": 1, "per": "0s"}"#,
        r#"{"count": 1, "per": "2years"}"#,
        r#"{"count": 1, "per": "1h", "burst": 0}"#,
        r#"{"count": 1, "per": "1h", "bust": 1}"#,
    ] {
        assert!(serde_json::from_str::<Limit>(bad).is_err(), "{bad}");
    }
}

/// A CA's own token bucket, counted another way: in tokens, not in times.
struct Model {
    tokens: f64,
    filled: i64,
}

proptest! {
    /// Whatever is drawn, and however late each draw comes in: the CA's own bucket has it.
    #[test]
    fn never_draws_what_the_ca_would_refuse(
        count in 1u32..40,
        minutes in 1i64..600,
        draws in prop::collection::vec((0i64..900, 0i64..=LAG.whole_seconds()), 1..150),
    ) {
        let limit = Limit::bucket(count, Duration::minutes(minutes)).unwrap();
        let limits = Limits { new_orders: Some(limit), ..Preset::Unlimited.limits() };
        let mut ledger = ledger(limits);
        let mut arrivals = Vec::new();
        let mut now = 0;
        for (pause, delay) in draws {
            now += pause;
            if ledger.draw(&ca(), &[Bucket::NewOrders], Draw::ONE, at(now)).is_ok() {
                arrivals.push(now + delay);
            }
        }
        arrivals.sort_unstable();
        let rate = f64::from(count) / (minutes as f64 * 60.0);
        let mut model = Model { tokens: f64::from(count), filled: 0 };
        for arrival in arrivals {
            let refilled = model.tokens + (arrival - model.filled) as f64 * rate;
            model = Model { tokens: refilled.min(f64::from(count)), filled: arrival };
            prop_assert!(model.tokens > 1.0 - 1e-6, "{} tokens at {arrival}", model.tokens);
            model.tokens -= 1.0;
        }
    }

    /// Of a CA that counts windows, no window ever has more.
    #[test]
    fn never_draws_more_than_a_window_allows(
        count in 2u32..40,
        draws in prop::collection::vec(0i64..600, 1..150),
    ) {
        let limit = Limit::window(count, Duration::HOUR).unwrap();
        let limits = Limits { new_orders: Some(limit), ..Preset::Unlimited.limits() };
        let mut ledger = ledger(limits);
        let mut drawn = Vec::new();
        let mut now = 0;
        for pause in draws {
            now += pause;
            if ledger.draw(&ca(), &[Bucket::NewOrders], Draw::ONE, at(now)).is_ok() {
                drawn.push(now);
            }
        }
        for (index, start) in drawn.iter().enumerate() {
            let inside = drawn[index..].iter().take_while(|time| **time < start + 3600);
            prop_assert!(inside.count() <= count as usize);
        }
    }
}
