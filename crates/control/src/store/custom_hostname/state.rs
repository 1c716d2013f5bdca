//! The two statuses of a hostname in SQL, for filters and order over many hostnames. What they are is
//! decided by [`Situation`](crate::hostname::certificate_state::Situation) and
//! [`PublicStatus`](crate::hostname::certificate_state::PublicStatus); a test holds both against these.

use landfall_model::Revision;
use sqlx::{QueryBuilder, Sqlite};

use crate::{
    hostname::{
        certificate_state::{DEPLOYMENT_TIME, EXPIRATION_NOTICE, QUICK_ATTEMPTS},
        deployment::{Fleet, Proof},
    },
    store::{pop::PopActivity, to_sql},
};

/// The status of a hostname.
pub(super) const HOSTNAME: &str = "(SELECT CASE \
     WHEN hostname.status = 0 THEN 'pending' \
     WHEN hostname.status = 1 AND NOT EXISTS (SELECT 1 FROM verification \
          WHERE hostname_id = hostname.id AND left_at IS NOT NULL) THEN 'active' \
     ELSE 'moved' END)";

/// The state of a hostname's certificate. Of its own certificates the one that ends first counts.
pub(super) const CERTIFICATE: &str = "(SELECT CASE \
     WHEN hostname.status = 3 THEN 'inactive' \
     WHEN first.not_after IS NULL THEN CASE \
         WHEN hostname.status = 2 THEN 'validation_timed_out' \
         WHEN hostname.status <> 1 OR gone.left_at IS NOT NULL THEN 'pending_validation' \
         WHEN open.attempts > fleet.quick_attempts THEN 'issuance_timed_out' \
         WHEN open.attempts IS NOT NULL THEN 'pending_issuance' \
         ELSE 'initializing' END \
     WHEN first.not_after <= fleet.now THEN 'expired' \
     WHEN NOT EXISTS (SELECT 1 FROM held_name WHERE hostname_id = hostname.id) \
         THEN 'holding_deployment' \
     WHEN fleet.applied IS NULL OR record.revision IS NULL THEN 'pending_deployment' \
     WHEN record.revision <= fleet.applied AND record.rejected = 0 THEN CASE \
         WHEN fleet.by_handshake AND unseen.since + fleet.deployment_time < fleet.now \
              THEN 'deployment_timed_out' \
         WHEN fleet.by_handshake AND unseen.since IS NOT NULL THEN 'pending_deployment' \
         WHEN first.not_after - fleet.now \
                  < min(fleet.notice, (first.not_after - first.not_before) / 3.0) \
              AND (first.issuer NOT IN (0, 3) OR gone.left_at IS NOT NULL) THEN 'pending_expiration' \
         ELSE 'active' END \
     WHEN record.changed_at + fleet.deployment_time < fleet.now THEN 'deployment_timed_out' \
     ELSE 'pending_deployment' END \
     FROM (SELECT 1) \
     LEFT JOIN (SELECT not_before, not_after, issuer FROM certificate \
          WHERE hostname_id = hostname.id AND issuer <> 2 ORDER BY not_after, key_type LIMIT 1) AS first \
     LEFT JOIN (SELECT max(created_at) AS since FROM certificate \
          WHERE hostname_id = hostname.id AND issuer <> 2 AND shown_at IS NULL) AS unseen \
     LEFT JOIN (SELECT left_at FROM verification WHERE hostname_id = hostname.id) AS gone \
     LEFT JOIN (SELECT attempts FROM job WHERE hostname_id = hostname.id AND state = 0) AS open \
     LEFT JOIN (SELECT max(feed_record.revision) AS revision, max(changed_at) AS changed_at, \
                       max(feed_record.id IN (SELECT value FROM json_each(fleet.rejected))) AS rejected \
          FROM held_name JOIN feed_record ON feed_record.id = 'hostname/' || held_name.name \
          WHERE hostname_id = hostname.id) AS record)";

/// Begins a statement over hostnames that may use the two.
pub(super) fn begin(select: &str, fleet: &Fleet) -> QueryBuilder<Sqlite> {
    let active = || {
        let is_active = |activity| activity == PopActivity::Active;
        fleet
            .pops
            .iter()
            .filter(move |pop| is_active(pop.activity(fleet.at, fleet.unhealthy_after)))
    };
    let ack =
        |pop: &&crate::store::pop::Pop| pop.ack.clone().filter(|ack| ack.epoch == fleet.epoch);
    // What every active PoP has applied; none where none is active.
    let applied = active().map(|pop| ack(&pop).map_or(Revision(0), |ack| ack.applied)).min();
    let rejected = active().filter_map(|pop| ack(&pop)).flat_map(|ack| ack.rejected);
    let rejected: Vec<String> = rejected.map(|own| own.id).collect();
    let mut query = QueryBuilder::new(
        "WITH fleet (now, applied, rejected, quick_attempts, deployment_time, notice, \
         by_handshake) AS (SELECT ",
    );
    let mut values = query.separated(", ");
    values.push_bind(fleet.at.unix_timestamp());
    values.push_bind(applied.map(|revision| to_sql(revision.0)));
    values.push_bind(serde_json::json!(rejected).to_string());
    values.push_bind(i64::from(QUICK_ATTEMPTS));
    values.push_bind(DEPLOYMENT_TIME.whole_seconds());
    values.push_bind(EXPIRATION_NOTICE.whole_seconds());
    values.push_bind(fleet.proof == Proof::Handshake);
    query.push(") ").push(select).push(" FROM hostname CROSS JOIN fleet");
    query
}

#[cfg(test)]
mod tests;
