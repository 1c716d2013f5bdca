//! The secrets that edges encrypt session tickets under.

use data_encoding::{BASE64, HEXLOWER};
use landfall_feed::record::{Body, Record, TicketRecord};
use landfall_model::SealContext;
use reqwest::Method;
use serde_json::Value;

use crate::{
    support::{Plane, Pop},
    upload::{open_sealed, walk},
};

fn tickets(records: &[Record]) -> Vec<(u64, TicketRecord)> {
    let ticket = |record: &Record| {
        let Body::Tickets(tickets) = &record.body else { return None };
        Some((record.revision.0, tickets.clone()))
    };
    records.iter().filter_map(ticket).collect()
}

fn open(plane: &Plane, record: &TicketRecord) -> Vec<u8> {
    let context = SealContext::TicketSecret { starts: record.starts, ends: record.ends };
    open_sealed(plane.dir.path(), context, &record.secret)
}

async fn all(pop: &Pop) -> Vec<Record> {
    pop.records(pop.epoch().await, 0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_publishes_two_secrets_that_follow_each_other_and_a_second_keeps_them() {
    let plane = Plane::start().await;
    let pop = plane.pop("pop-1").await;

    let found = tickets(&all(&pop).await);

    let [(_, this), (_, next)] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(
        (this.ends, this.starts % 43_200, this.ends - this.starts),
        (next.starts, 0, 43_200)
    );
    let secrets = [open(&plane, this), open(&plane, next)];
    assert!(secrets.iter().all(|secret| secret.len() == 32) && secrets[0] != secrets[1]);
    let plane = plane.restart(async |_| {}).await;
    let pop = plane.pop("pop-2").await;
    let again = tickets(&all(&pop).await);
    assert!(found.iter().all(|own| again.contains(own)), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_secret_is_nowhere_on_disk_and_nobody_is_shown_it() {
    let plane = Plane::start().await;
    let pop = plane.pop("pop-1").await;
    let records = all(&pop).await;
    let secrets: Vec<Vec<u8>> =
        tickets(&records).iter().map(|(_, record)| open(&plane, record)).collect();
    let path = format!("/feed/v1/changes?epoch={}&after=0", pop.epoch().await);
    let request = pop.request(Method::GET, &path).header("accept", "application/x-ndjson");
    let text = request.send().await.unwrap().text().await.unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let shown: Vec<&Value> = lines.iter().filter(|line| line["kind"] == "tickets").collect();
    assert_eq!(shown.len(), secrets.len());
    assert!(shown.iter().all(|line| line["secret"]["ciphertext"].is_string()));
    let dir = plane.stop().await;

    let mut read: Vec<(String, Vec<u8>)> = vec![("the feed".to_owned(), text.into_bytes())];
    for path in walk(&dir.path().join("state")) {
        read.push((path.display().to_string(), std::fs::read(&path).unwrap()));
    }
    let sealed = b"tickets/";
    assert!(read.iter().any(|(_, bytes)| bytes.windows(sealed.len()).any(|found| found == sealed)));
    for secret in &secrets {
        let half = &secret[..16];
        let forms = [
            half.to_vec(),
            HEXLOWER.encode(half).into_bytes(),
            BASE64.encode(&half[..15]).into_bytes(),
        ];
        for (place, bytes) in &read {
            for form in &forms {
                let found = bytes.windows(form.len()).any(|window| window == form);
                assert!(!found, "{place} holds a secret");
            }
        }
    }
}
