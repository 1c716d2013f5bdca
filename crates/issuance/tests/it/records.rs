//! Names that are proven by TXT records, with a real CA and a real DNS server.

use std::time::Duration;

use landfall_issuance::{
    failure::{Precheck, Trouble},
    protocol::News,
};
use landfall_model::{
    ChallengeMethod::Dns01,
    Fence, KeyType,
    issuance::{Assignment, OpenOrder, TxtRecord, TxtRecords},
};
use time::OffsetDateTime;

use crate::agents::{AT_POPS, Shop, check};

const NAMES: [&str; 2] = ["shop.test", "*.shop.test"];
const LABEL: &str = "0123456789abcdef0123456789abcdef";
const DELEGATED: &str = "_acme-challenge 0 CNAME 0123456789abcdef0123456789abcdef.dcv.shop.test.";

/// The records of the shop's zone beside `more`.
fn zone(more: &str) -> String {
    format!("{AT_POPS}\n@ A 127.0.0.2\n{more}\n")
}

fn by_us() -> TxtRecords {
    TxtRecords::ByUs { target: format!("{LABEL}.dcv.shop.test") }
}

async fn wanted(shop: &Shop) -> (Vec<TxtRecord>, OpenOrder) {
    let is_it = |news: &News| matches!(news, News::TxtWanted { .. });
    let News::TxtWanted { records, order, .. } =
        shop.script.hear("a wish for records", is_it).await
    else {
        unreachable!()
    };
    (records, order)
}

/// The zone with these records.
fn with(records: &[TxtRecord]) -> String {
    let line = |one: &TxtRecord| format!("_acme-challenge 0 TXT \"{}\"\n", one.value);
    zone(&records.iter().map(line).collect::<String>())
}

#[tokio::test]
async fn asks_the_owner_for_records_and_goes_on_with_the_order_once_they_are_there() {
    let mut shop = Shop::open(&zone("")).await;
    let _agent = shop.agent();
    let wildcard = shop.job(Dns01, &NAMES);
    shop.script.give(wildcard.clone());
    let (records, order) = wanted(&shop).await;
    assert_eq!(records.len(), 2);
    assert!(records.iter().all(|record| record.name == "_acme-challenge.shop.test"));
    assert!(order.expires.is_some());

    // Who has it next looks again, and has no need of the CA for that.
    shop.script.forget();
    let mut again = Assignment { order: Some(order), fence: Fence(4), ..wildcard };
    again.wanted.clone_from(&records);
    let nowhere = "https://127.0.0.1:1/directory".to_owned();
    let mut deaf = again.clone();
    deaf.authority.directory = nowhere;
    shop.script.give(deaf);
    assert_eq!(wanted(&shop).await.0, records);

    shop.dns.set("shop.test", &with(&records)).await;
    shop.script.forget();
    shop.script.give(again);
    check(&shop.issued().await[0], &NAMES, KeyType::Ecdsa);
    assert_eq!(shop.orders(), 0, "the first order was good");
}

#[tokio::test]
async fn an_order_that_expired_while_its_owner_waited_is_replaced_by_one_with_other_values() {
    let mut shop = Shop::open(&zone("")).await;
    let _agent = shop.agent();
    let wildcard = shop.job(Dns01, &NAMES);
    shop.script.give(wildcard.clone());
    let (former, order) = wanted(&shop).await;
    shop.script.forget();
    let expires = Some(OffsetDateTime::now_utc() - Duration::from_secs(1));
    // The CA does not know it any more.
    let order = OpenOrder { url: format!("{}x", order.url), expires, ..order };
    let wanted_before = former.clone();
    shop.script.give(Assignment {
        order: Some(order),
        wanted: wanted_before,
        fence: Fence(4),
        ..wildcard.clone()
    });
    let (records, order) = wanted(&shop).await;
    assert!(records.iter().all(|record| !former.contains(record)), "{records:?}");
    assert_eq!(shop.orders(), 1);
    shop.dns.set("shop.test", &with(&records)).await;
    shop.script.forget();
    let order = Some(order);
    shop.script.give(Assignment { order, wanted: records, fence: Fence(5), ..wildcard });
    check(&shop.issued().await[0], &NAMES, KeyType::Ecdsa);
}

#[tokio::test]
async fn a_record_that_lasts_does_for_every_order() {
    let mut shop = Shop::open(&zone("")).await;
    let _agent = shop.agent();
    let wildcard = shop.job(Dns01, &NAMES);
    shop.script.give(wildcard.clone());
    let is_it = |news: &News| matches!(news, News::TxtWanted { .. });
    let wanted = shop.script.hear("a wish for records", is_it).await;
    let News::TxtWanted { records, lasting, order } = wanted else { unreachable!() };
    let record = lasting.expect("pebble takes it");
    assert_eq!(record.name, "_validation-persist.shop.test");
    let line = format!("_validation-persist 0 TXT \"{}\"", record.value);
    shop.dns.set("shop.test", &zone(&line)).await;
    for (fence, order, wanted) in [(4, Some(order), records), (5, None, Vec::new())] {
        shop.script.forget();
        let (fence, lasting) = (Fence(fence), Some(record.clone()));
        shop.script.give(Assignment { order, wanted, lasting, fence, ..wildcard.clone() });
        check(&shop.issued().await[0], &NAMES, KeyType::Ecdsa);
        assert_eq!(shop.script.count(|news| matches!(news, News::TxtWanted { .. })), 0);
    }
}

#[tokio::test]
async fn answers_in_our_own_zone_once_the_records_are_published() {
    let mut shop = Shop::open(&zone(DELEGATED)).await;
    let _agent = shop.agent();
    shop.script.be_late(u32::MAX);
    shop.script.give(Assignment { records: by_us(), ..shop.job(Dns01, &NAMES) });
    let is_it = |news: &News| matches!(news, News::Validating { .. });
    let News::Validating { challenges, .. } = shop.script.hear("challenges", is_it).await else {
        unreachable!()
    };
    let line = |digest: &[u8]| {
        let value = data_encoding::BASE64URL_NOPAD.encode(digest);
        format!("{LABEL}.dcv 0 TXT \"{value}\"\n")
    };
    let lines: String = challenges.iter().map(|one| line(&one.digest)).collect();
    assert_eq!(challenges.len(), 2);
    shop.dns.set("shop.test", &zone(&format!("{DELEGATED}\n{lines}"))).await;
    shop.script.be_late(0);
    check(&shop.issued().await[0], &NAMES, KeyType::Ecdsa);
}

#[tokio::test]
async fn no_order_is_made_where_the_delegation_is_gone() {
    let shop = Shop::open(&zone("_acme-challenge CNAME elsewhere.test.")).await;
    let _agent = shop.agent();
    shop.script.give(Assignment { records: by_us(), ..shop.job(Dns01, &NAMES) });
    let trouble = shop.failed().await;
    let Trouble::Precheck(Precheck::NotDelegated { name, target }) = trouble else {
        panic!("{trouble:?}")
    };
    assert_eq!(name.as_str(), "_acme-challenge.shop.test");
    assert_eq!(target.as_str(), format!("{LABEL}.dcv.shop.test"));
    assert_eq!(shop.orders(), 0);
}
