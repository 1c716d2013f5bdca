//! What tasks and agents ask again and again costs the same however many hostnames there are: each statement
//! is a search of an index that has what is wanted first.

use sqlx::{AssertSqlSafe, Row};

use super::{Store, certificate, hostname, lease, renewal, sealed, sighting, waiting};

#[tokio::test]
async fn nothing_that_is_asked_again_and_again_looks_at_all_rows() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let store = Store::open(file.path()).await.unwrap();
    let mut on = store.read().await.unwrap();
    let queries = [
        waiting::waiting_query(),
        lease::FIRST_DUE.to_owned(),
        renewal::to_ask_query(),
        certificate::POSTDATED.to_owned(),
        certificate::DUE_FOR_RENEWAL.to_owned(),
        hostname::WITHOUT_CERTIFICATE.to_owned(),
        sighting::DUE.to_owned(),
        sighting::FIRST_DUE.to_owned(),
        sealed::PAGE.to_owned(),
    ];
    for query in queries {
        let plan = format!("EXPLAIN QUERY PLAN {query}");
        let rows = sqlx::query(AssertSqlSafe(plan)).fetch_all(&mut *on).await.unwrap();
        let steps: Vec<String> = rows.iter().map(|row| row.get(3)).collect();
        for step in &steps {
            let is_of_all =
                ["job", "certificate", "certificate_key", "hostname", "held_name", "feed_record"]
                    .iter()
                    .any(|table| step.as_str() == format!("SCAN {table}"));
            let is_sorted = step.contains("TEMP B-TREE FOR ORDER BY");
            assert!(!is_of_all && !is_sorted, "{query}: {steps:#?}");
        }
    }
}
