//! A certificate that is replaced before its time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use landfall_tests::{CUSTOMER_ZONE, DEADLINE, Fleet, Origin, wait_until};
use rusqlite::Connection;
use serde_json::json;
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

use super::load;

const NAME: &str = "www.customer.test";

/// Has a day gone by for the hostname's certificate: it isn't new any more, and its CA is to be asked
/// again when to renew it.
fn let_a_day_pass(fleet: &Fleet) {
    let database = Connection::open(fleet.lab.folder().join("control/control.db")).unwrap();
    database.busy_timeout(DEADLINE).unwrap();
    let changed = database.execute(
        "UPDATE certificate SET created_at = created_at - 86400, poll_at = 0 WHERE issuer = 3",
        (),
    );
    assert_eq!(changed.unwrap(), 1);
}

/// The CA wants a certificate to be renewed, and is asked.
pub(super) async fn renew_at_once(fleet: &Fleet, certificate: &str) {
    let ago = |days| (OffsetDateTime::now_utc() - Duration::days(days)).format(&Rfc3339).unwrap();
    let at_once = json!({
        "suggestedWindow": {"start": ago(2), "end": ago(1)},
        "explanationURL": "https://ca.test/incident",
    });
    fleet.pebble.set_renewal_info(certificate, &at_once).await;
    let_a_day_pass(fleet);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_the_ca_wants_renewed_at_once_is_replaced_while_no_request_fails() {
    let origin = Origin::start("shop").await;
    let mut fleet = Fleet::start(3).await;
    fleet.set_zone(CUSTOMER_ZONE, "www CNAME shop.edge.test.").await;
    let api = fleet.lab.api();
    let property = api.create_property("shop", origin.address()).await;
    api.add_hostname(property, NAME).await;
    fleet.wait_until_served_everywhere(NAME, "shop").await;
    let before = fleet.certificate(0, NAME, &[]).await.unwrap();
    let root = fleet.pebble.root(0).await;
    let client = |edge, idle| {
        let client = fleet.client(edge, &root).pool_max_idle_per_host(idle);
        client.build().unwrap()
    };
    // New connections at two edges, and kept ones at the third.
    let clients = [client(0, 0), client(1, 0), client(2, 1)];
    let url = fleet.url(0, NAME);
    let (stop, answered) = (AtomicBool::new(false), AtomicU64::new(0));

    let renewing = async {
        renew_at_once(&fleet, &before).await;
        for edge in 0..fleet.edges() {
            wait_until("every edge serves another certificate", DEADLINE * 4, async || {
                let now = fleet.certificate(edge, NAME, &[]).await.unwrap();
                (now != before).then_some(())
            })
            .await;
        }
        let so_far = answered.load(Ordering::Relaxed);
        wait_until("requests go on", DEADLINE, async || {
            (answered.load(Ordering::Relaxed) > so_far + 30).then_some(())
        })
        .await;
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(
        load(&clients[0], &url, &stop, &answered),
        load(&clients[1], &url, &stop, &answered),
        load(&clients[2], &url, &stop, &answered),
        renewing,
    );

    let log = fleet.pebble.log();
    assert_eq!(log.matches("Issued certificate").count(), 2, "{log}");
    // The CA would take no second order that replaces the first certificate.
    assert_eq!(log.matches("Added order").count(), 2, "{log}");
}
