//! How much hostnames are used: what must be renewed at once is renewed in that order.

use landfall_feed::protocol::Busy;
use time::OffsetDateTime;

use super::{Connection, StoreError, to_json};
use crate::token::PopId;

/// Over how long handshakes are counted, in seconds.
const SPAN: i64 = 86_400;
/// A PoP is heard once in so many seconds: edges tell once a minute.
const APART: i64 = 50;

/// Adds what a PoP's edges have counted, unless that PoP was heard just now. Names that nobody has are left out.
pub(crate) async fn add(
    on: &mut Connection,
    pop: PopId,
    busiest: &[Busy],
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let at = now.unix_timestamp();
    let heard = sqlx::query(
        "UPDATE pop SET counted_at = ?1 WHERE id = ?2 \
         AND (counted_at IS NULL OR counted_at <= ?1 - ?3 OR counted_at > ?1)",
    );
    let heard = heard.bind(at).bind(pop.0).bind(APART).execute(&mut *on).await;
    if heard.map_err(StoreError::on("keep when a PoP was heard"))?.rows_affected() == 0 {
        return Ok(());
    }
    let counts: Vec<(&str, u32)> =
        busiest.iter().map(|one| (one.name.as_str(), one.handshakes)).collect();
    sqlx::query(
        "INSERT INTO traffic (hostname_id, span, count, before) \
         SELECT hostname_id, ?2, sum(value ->> 1), 0 FROM json_each(?1) \
             JOIN held_name ON held_name.name = value ->> 0 GROUP BY hostname_id \
         ON CONFLICT DO UPDATE SET span = excluded.span, \
             before = CASE excluded.span - span WHEN 0 THEN before WHEN 1 THEN count ELSE 0 END, \
             count = iif(span = excluded.span, count + excluded.count, excluded.count)",
    )
    .bind(to_json(&counts)?)
    .bind(at.div_euclid(SPAN))
    .execute(on)
    .await
    .map_err(StoreError::on("count handshakes"))?;
    Ok(())
}

/// Forgets at most `limit` hostnames that were not used yesterday or today, and says how many.
pub(crate) async fn prune(
    on: &mut Connection,
    now: OffsetDateTime,
    limit: u32,
) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "DELETE FROM traffic WHERE hostname_id IN \
         (SELECT hostname_id FROM traffic WHERE span < ? - 1 LIMIT ?)",
    )
    .bind(now.unix_timestamp().div_euclid(SPAN))
    .bind(i64::from(limit))
    .execute(on)
    .await
    .map_err(StoreError::on("forget who is not used"))?;
    Ok(done.rows_affected())
}

#[cfg(test)]
mod tests {
    use time::Duration;

    use super::*;
    use crate::{call::Call, store::Store};

    async fn counts(on: &mut Connection) -> Vec<(i64, i64, i64)> {
        let query = "SELECT hostname_id, count, before FROM traffic ORDER BY hostname_id";
        sqlx::query_as(query).fetch_all(on).await.unwrap()
    }

    async fn traffic_of_job(on: &mut Connection) -> i64 {
        sqlx::query_scalar("SELECT traffic FROM job").fetch_one(on).await.unwrap()
    }

    #[tokio::test]
    async fn handshakes_of_today_and_yesterday_count_and_each_pop_once_a_minute() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let store = Store::open(file.path()).await.unwrap();
        let now = OffsetDateTime::from_unix_timestamp(20_000 * SPAN).unwrap();
        let mut change = store.change(Call::system(now)).await.unwrap();
        let on = change.on();
        for statement in [
            "INSERT INTO property (id, name, zone_id, pool, created_at) VALUES (1, 'shop', '', '{}', 0)",
            "INSERT INTO hostname (id, property_id, name, public_id, ssl_id, ownership_token, system, \
                 status, internal, route, tls, metadata, wish, created_at) \
             SELECT value, 1, value || '.test', value, value, '', 0, 1, 0, '{}', '{}', '{}', '{}', 0 \
             FROM json_each('[1, 2]')",
            "INSERT INTO held_name (name, hostname_id, property_id, parent, verified) \
             SELECT name, id, 1, '', 1 FROM hostname",
            "INSERT INTO pop (id, name, addresses, token_hash, created_at) \
             SELECT value, value, '', x'', 0 FROM json_each('[1, 2]')",
            "INSERT INTO job (hostname_id, property_id, issuer, lane, choice, state, next_at, created_at) \
             VALUES (1, 1, 0, 0, '', 0, 0, 0)",
        ] {
            sqlx::query(statement).execute(&mut *on).await.unwrap();
        }
        let busy = |name: &str, handshakes| Busy { name: name.to_owned(), handshakes };
        let told = [busy("1.test", 7), busy("nobody's.test", 9), busy("2.test", 5)];
        let steps = [
            (1, 0, vec![(1, 7, 0), (2, 5, 0)], 7),
            (1, 49, vec![(1, 7, 0), (2, 5, 0)], 7),
            (2, 49, vec![(1, 14, 0), (2, 10, 0)], 14),
            (1, 50, vec![(1, 21, 0), (2, 15, 0)], 21),
            (1, SPAN, vec![(1, 7, 21), (2, 5, 15)], 28),
            (1, 3 * SPAN, vec![(1, 7, 0), (2, 5, 0)], 7),
            // The clock was ahead.
            (1, 2 * SPAN, vec![(1, 7, 0), (2, 5, 0)], 7),
        ];
        for (pop, seconds, expected, of_job) in steps {
            add(on, PopId(pop), &told, now + Duration::seconds(seconds)).await.unwrap();
            assert_eq!(counts(on).await, expected, "{pop} {seconds}");
            assert_eq!(traffic_of_job(on).await, of_job, "{pop} {seconds}");
        }
        assert_eq!(prune(on, now + Duration::days(3), 9).await.unwrap(), 0);
        assert_eq!(prune(on, now + Duration::days(9), 1).await.unwrap(), 1);
        assert_eq!(counts(on).await.len(), 1);
    }
}
