use time::Duration;

use super::*;
use crate::{call::Call, store::Store};

const FIRST: &str = "00000000000000000000000000000001";
const SECOND: &str = "00000000000000000000000000000002";

fn label(text: &str) -> ChallengeLabel {
    ChallengeLabel::parse(text).unwrap()
}

fn values(bytes: impl IntoIterator<Item = u8>) -> Vec<TxtValue> {
    bytes.into_iter().map(|byte| TxtValue::of_digest(&[byte; 32]).unwrap()).collect()
}

/// What the end of a lease does.
async fn withdraw(on: &mut Connection, job: JobId) {
    sqlx::query("UPDATE dns_challenge SET state = 2 WHERE job_id = ? AND state <> 2")
        .bind(job.0)
        .execute(on)
        .await
        .unwrap();
}

async fn values_of(on: &mut Connection, wanted: Wanted) -> Vec<TxtValue> {
    let records = list(on, wanted, 100).await.unwrap();
    let mut values: Vec<TxtValue> = records.into_iter().map(|record| record.value).collect();
    values.sort();
    values
}

fn sorted(mut values: Vec<TxtValue>) -> Vec<TxtValue> {
    values.sort();
    values
}

#[tokio::test]
async fn a_later_orders_values_take_the_place_of_the_former_ones() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let store = Store::open(file.path()).await.unwrap();
    let now = OffsetDateTime::now_utc();
    let until = now + Duration::hours(1);
    let mut change = store.change(Call::system(now)).await.unwrap();
    let on = change.on();
    put(on, (JobId(1), &label(FIRST)), &values([1, 2]), until).await.unwrap();
    put(on, (JobId(2), &label(SECOND)), &values([9]), until).await.unwrap();
    assert!(!is_published(on, JobId(1)).await.unwrap());
    let new = list(on, Wanted::There, 100).await.unwrap();
    published(on, &new).await.unwrap();
    assert!(is_published(on, JobId(1)).await.unwrap());
    let before = serial(on).await.unwrap();

    put(on, (JobId(3), &label(FIRST)), &values([2, 3]), until).await.unwrap();
    assert!(serial(on).await.unwrap() > before);
    assert_eq!(values_of(on, Wanted::Gone).await, values([1]));
    assert_eq!(values_of(on, Wanted::There).await, values([3]));
    // What the first job had that the third has too is the third's.
    withdraw(on, JobId(1)).await;
    assert_eq!(all(on).await.unwrap().len(), 3);
    withdraw(on, JobId(3)).await;
    assert_eq!(values_of(on, Wanted::Gone).await, sorted(values([1, 2, 3])));
}

#[tokio::test]
async fn what_is_wanted_again_meanwhile_is_not_forgotten() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let store = Store::open(file.path()).await.unwrap();
    let now = OffsetDateTime::now_utc();
    let mut change = store.change(Call::system(now)).await.unwrap();
    let on = change.on();
    let job = (JobId(1), &label(FIRST));
    put(on, job, &values([1]), now + Duration::hours(1)).await.unwrap();
    withdraw(on, JobId(1)).await;
    let gone = list(on, Wanted::Gone, 100).await.unwrap();
    put(on, job, &values([1]), now + Duration::hours(1)).await.unwrap();
    removed(on, &gone).await.unwrap();
    assert_eq!(values_of(on, Wanted::There).await, values([1]));
    // The same of what is withdrawn while it is being published.
    let new = list(on, Wanted::There, 100).await.unwrap();
    withdraw(on, JobId(1)).await;
    published(on, &new).await.unwrap();
    assert_eq!(values_of(on, Wanted::Gone).await, values([1]));
    removed(on, &new).await.unwrap();
    assert_eq!(values_of(on, Wanted::Gone).await, []);
}

#[tokio::test]
async fn a_label_has_a_bounded_number_of_values_for_a_bounded_time() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let store = Store::open(file.path()).await.unwrap();
    let now = OffsetDateTime::now_utc();
    let mut change = store.change(Call::system(now)).await.unwrap();
    let on = change.on();
    let until = now + Duration::hours(1);
    put(on, (JobId(1), &label(FIRST)), &values(0..20), until).await.unwrap();
    assert_eq!(all(on).await.unwrap().len(), MAX_VALUES);
    assert!(!any_over(on, now).await.unwrap());
    assert!(any_over(on, until).await.unwrap());
    assert_eq!(expire(on, until).await.unwrap(), MAX_VALUES as u64);
    assert_eq!(all(on).await.unwrap().len(), 0);
}
