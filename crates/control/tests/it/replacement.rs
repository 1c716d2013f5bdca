//! What is sealed to a former group key is issued anew. `LANDFALL_REPLACED=1000000` measures a million.

use std::{fs, path::Path, time::Instant};

use landfall_control::{
    ControlError,
    admin::{
        self,
        keys::{self, Replaced, Replacement, SealedTo},
    },
};
use rcgen::KeyPair;
use serde_json::json;
use sqlx::AssertSqlSafe;

use crate::{
    agents::{NAME, Scene, execute, explain},
    errands::{next, serve, served, settle},
    many_jobs::fill,
    support::{Plane, database, eventually, hostname_record},
    upload::{ca, leaf, signed},
};

/// More than one transaction asks for.
const HOSTNAMES: u32 = 1_100;

async fn new_group_key(dir: &Path) {
    fs::remove_file(dir.join("group.key")).unwrap();
    fs::remove_file(dir.join("group.pub")).unwrap();
    admin::init_group_keys(dir).unwrap();
}

async fn current(plane: &Plane) -> String {
    keys::group_keys_in_use(&plane.config).await.unwrap().current
}

async fn sealed(plane: &Plane, key: &str) -> SealedTo {
    keys::hostnames_sealed_to(&plane.config, key).await.unwrap()
}

/// Once the control plane has taken the new key into use.
async fn replace(plane: &Plane, key: &str, replaced: Replaced) -> Replacement {
    eventually(async || match keys::replace_certificates(&plane.config, key, replaced).await {
        Err(ControlError::GroupKeyUntaken { .. }) => None,
        done => Some(done.unwrap()),
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_of_the_internal_ca_are_replaced_at_once_and_uploaded_ones_are_named() {
    let plane = Plane::start().await;
    let property = plane.property("shop").await;
    let hostname = plane.hostname(&property, "www.shop.edge.test").await;
    let body = signed(&leaf("www.shop.edge.test"), &KeyPair::generate().unwrap(), &ca("Own CA"));
    let (status, answer) = plane.post(&format!("{hostname}/certificate"), &body).await;
    assert!(status.is_success(), "{answer}");
    let old = current(&plane).await;
    let refused = keys::replace_certificates(&plane.config, &old, Replaced::Unrevoked).await;
    assert!(matches!(refused, Err(ControlError::GroupKeyCurrent { .. })), "{refused:?}");

    let plane = plane.restart(new_group_key).await;
    let before = sealed(&plane, &old).await;
    assert_eq!(before.all, 2);
    let shown: Vec<_> = before.hostnames.iter().map(|own| own.issuers.join(" ")).collect();
    assert_eq!(shown, ["internal", "uploaded"]);
    let done = replace(&plane, &old, Replaced::Revoked).await;

    assert_eq!((done.asked, done.waiting, done.revoked), (1, 0, 0));
    assert_eq!(done.left, [("certificate_uploaded", 1)].into());
    let left = eventually(async || Some(sealed(&plane, &old).await).filter(|own| own.all == 1));
    let left = left.await;
    assert_eq!(left.hostnames[0].name, "www.shop.edge.test");
    assert_eq!(left.hostnames[0].next, "none: certificate_uploaded");
    assert_eq!(sealed(&plane, &current(&plane).await).await.all, 1);
    let again = replace(&plane, &old, Replaced::Unrevoked).await;
    assert_eq!((again.asked, again.waiting, again.left.len()), (0, 0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_replaced_before_the_control_plane_has_taken_the_new_key_into_use() {
    let plane = Plane::start().await;
    plane.property("shop").await;
    let old = current(&plane).await;
    new_group_key(plane.dir.path()).await;
    let refused = keys::replace_certificates(&plane.config, &old, Replaced::Unrevoked).await;
    assert!(matches!(refused, Err(ControlError::GroupKeyUntaken { .. })), "{refused:?}");
    let nothing = replace(&plane.restart(async |_| {}).await, "none", Replaced::Unrevoked).await;
    assert_eq!(nothing, Replacement::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cas_certificate_is_served_until_an_agent_has_the_next_one_and_revoked_if_asked() {
    for (replaced, revocations) in [(Replaced::Unrevoked, 0), (Replaced::Revoked, 1)] {
        let Scene { plane, pop, hostname, _dns } = served(json!({})).await;
        let old = current(&plane).await;
        let plane = plane.restart(new_group_key).await;
        let pop = pop.at(&plane);
        let done = replace(&plane, &old, replaced).await;
        assert_eq!((done.asked, done.revoked), (2, revocations), "{done:?}");
        let again = replace(&plane, &old, replaced).await;
        assert_eq!((again.asked, again.waiting >= 1), (0, true), "{again:?}");

        let task = next(&pop, "issue").await;
        let epoch = pop.epoch().await;
        let own = async || hostname_record(&pop.records(epoch, 0).await, NAME);
        assert_eq!(own().await.certificates[0].key.key_id, old);
        let scene = Scene { plane, pop, hostname, _dns };
        serve(&scene, &task).await;
        settle(&scene).await;

        eventually(async || (sealed(&scene.plane, &old).await.all == 0).then_some(())).await;
        let used = keys::group_keys_in_use(&scene.plane.config).await.unwrap();
        let of_old = used.by_key.iter().filter(|(key, _)| *key == old);
        assert_eq!(of_old.map(|(_, count)| count.certificates).sum::<u64>(), 0, "{used:?}");
        let told = explain(&scene.plane, &scene.hostname).await["revocations"].clone();
        assert_eq!(told.as_array().unwrap().len() as u64, revocations);
        if replaced == Replaced::Revoked {
            assert_eq!(next(&scene.pop, "revoke").await["reason"], 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_replaced_page_by_page_and_a_hundred_are_named() {
    let most = std::env::var("LANDFALL_REPLACED");
    let hostnames = most.map_or(HOSTNAMES, |most| most.parse().unwrap());
    let plane = Plane::start().await;
    plane.property("shop").await;
    let plane = plane.restart(async |dir| fill(dir, hostnames).await).await;
    execute(&plane, "DELETE FROM job").await;
    execute(&plane, "UPDATE certificate SET renew_at = unixepoch() + 86400").await;
    let keys = format!(
        "INSERT INTO certificate_key SELECT hostname_id, key_type, name, 'former', zeroblob(65), \
         zeroblob(160) FROM certificate JOIN hostname ON id = hostname_id WHERE id > 1 \
         AND id <= {hostnames}"
    );
    let mut rows = database(plane.dir.path()).await;
    let count = sqlx::query(AssertSqlSafe(keys)).execute(&mut rows).await.unwrap();
    let count = count.rows_affected();

    let begun = Instant::now();
    let named = sealed(&plane, "former").await;
    let (listed, begun) = (begun.elapsed(), Instant::now());
    let done = replace(&plane, "former", Replaced::Unrevoked).await;
    if hostnames > HOSTNAMES {
        eprintln!("{count} hostnames: listed in {listed:?}, asked for in {:?}", begun.elapsed());
    }

    assert_eq!((named.all, named.hostnames.len()), (count, 100));
    assert_eq!(named.hostnames[0].next, "not asked for");
    assert_eq!(done, Replacement { asked: count, ..Replacement::default() });
    let again = replace(&plane, "former", Replaced::Unrevoked).await;
    assert_eq!(again, Replacement { waiting: count, ..Replacement::default() });
    let named = sealed(&plane, "former").await;
    assert!(named.hostnames[0].next.starts_with("asked for, waits for: "), "{named:?}");
}
