//! Backups, and keys that are replaced.

use std::{fs, net::IpAddr, os::unix::fs::PermissionsExt, path::Path};

use landfall_control::{
    Control, ControlError,
    admin::{self, backup, keys},
};
use serde_json::json;

use crate::support::{Plane, config, database, eventually};

const KEPT: [&str; 4] = ["control.db", "feed-signing.key", "internal-ca.key", "internal-ca.pem"];

fn modes(folder: &Path) -> Vec<(String, u32)> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let mode = |entry: fs::DirEntry| {
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        (entry.file_name().into_string().unwrap(), mode)
    };
    let mut modes: Vec<_> = entries.map(mode).collect();
    modes.sort();
    modes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_running_control_plane_is_restored_and_served_in_a_new_epoch() {
    let plane = Plane::start().await;
    plane.property("shop").await;
    let pop = plane.pop("pop-1").await;
    let (epoch, signing_key) = (pop.epoch().await, pop.enrolment.signing_key);
    let copy = plane.dir.path().join("copy");

    admin::allow_shrink(&plane.config).await.unwrap();
    backup::back_up(&plane.config, &copy).await.unwrap();
    plane.property("later").await;

    assert_eq!(modes(&copy), KEPT.map(|name| (name.to_owned(), 0o600)));
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o700);
    let again = backup::back_up(&plane.config, &copy).await.unwrap_err();
    assert!(matches!(again, ControlError::File { .. }), "{again}");
    let over = backup::restore(&plane.config, &copy).await.unwrap_err();
    assert!(matches!(over, ControlError::NotEmpty { .. }), "{over}");
    let plane = plane
        .restart(async |dir| {
            fs::rename(dir.join("state"), dir.join("lost")).unwrap();
            backup::restore(&config(dir, json!({})), &copy).await.unwrap();
        })
        .await;
    let pop = pop.at(&plane);
    assert_eq!(plane.get("/api/Property/1").await.1["name"], "shop");
    assert_eq!(plane.get("/api/Property/2").await.0.as_u16(), 404);
    assert!(pop.epoch().await > epoch);
    assert_eq!(pop.enrolment.signing_key, signing_key);
    let until = sqlx::query_scalar::<_, i64>("SELECT shrink_until FROM feed_state");
    let until = until.fetch_one(&mut database(plane.dir.path()).await).await.unwrap();
    assert!(until <= time::OffsetDateTime::now_utc().unix_timestamp(), "allowed before the loss");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_backup_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    admin::init_group_keys(dir.path()).unwrap();
    let config = config(dir.path(), json!({}));
    let from = dir.path().join("copy");
    backup::restore(&config, &from).await.unwrap_err();
    fs::create_dir(&from).unwrap();
    fs::write(from.join("control.db"), "").unwrap();
    fs::write(from.join("internal-ca.key"), "open to others").unwrap();
    let error = backup::restore(&config, &from).await.unwrap_err();
    assert!(matches!(error, ControlError::Secret(_)), "{error}");
    assert!(!dir.path().join("state/control.db").exists());
    assert!(Control::bind(config).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_feed_is_signed_by_the_prepared_key_from_the_next_start_on() {
    let plane = Plane::start().await;
    let mut pop = plane.pop("pop-1").await;
    let none = keys::switch_signing_key(&plane.config).await.unwrap_err();
    assert!(matches!(none, ControlError::InUse { .. }), "{none}");
    let (next, current) = keys::prepare_signing_key(&plane.config).await.unwrap();
    assert_eq!(keys::prepare_signing_key(&plane.config).await.unwrap(), (next, current));
    assert_eq!(current, pop.enrolment.signing_key);
    let copy = plane.dir.path().join("copy");
    backup::back_up(&plane.config, &copy).await.unwrap();
    assert!(copy.join("feed-signing.next.key").exists());

    let plane = plane
        .restart(async |dir| {
            let config = config(dir, json!({}));
            // Of the server, a child that another test starts may still have the lock.
            let switched = eventually(async || match keys::switch_signing_key(&config).await {
                Err(ControlError::InUse { .. }) => None,
                switched => Some(switched.unwrap()),
            });
            assert_eq!(switched.await, next);
            let none = keys::switch_signing_key(&config).await.unwrap_err();
            assert!(matches!(none, ControlError::NoNextSigningKey { .. }), "{none}");
        })
        .await;
    pop.enrolment.signing_key = next;
    let pop = pop.at(&plane);
    let epoch = pop.epoch().await;
    pop.page(epoch, 0, "").await;
    assert!(next != current);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pops_new_token_takes_the_place_of_its_old_one() {
    let plane = Plane::start().await;
    let mut pop = plane.pop("pop-1").await;
    let epoch = pop.epoch().await;
    let token = admin::renew_pop_token(&plane.config, "pop-1").await.unwrap();
    assert_eq!(pop.changes(epoch, 0, "").await.status().as_u16(), 401);
    pop.enrolment.token = token;
    let pop = pop.at(&plane);
    assert_eq!(pop.changes(epoch, 0, "").await.status().as_u16(), 200);
    let unknown = admin::renew_pop_token(&plane.config, "pop-2").await.unwrap_err();
    assert!(matches!(unknown, ControlError::Unknown { .. }), "{unknown}");
    let addresses: [IpAddr; 1] = ["192.0.2.1".parse().unwrap()];
    assert_eq!(admin::list_pops(&plane.config).await.unwrap()[0].addresses, addresses);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sealed_to_which_group_key_is_counted() {
    let plane = Plane::start().await;
    plane.property("shop").await;
    let old = eventually(async || {
        let used = keys::group_keys_in_use(&plane.config).await.unwrap();
        let [(id, count)] = used.by_key.as_slice() else { panic!("{used:?}") };
        (count.certificates == 1 && count.tickets == 2 && *id == used.current).then(|| id.clone())
    })
    .await;

    let plane = plane
        .restart(async |dir| {
            fs::remove_file(dir.join("group.key")).unwrap();
            fs::remove_file(dir.join("group.pub")).unwrap();
            admin::init_group_keys(dir).unwrap();
        })
        .await;

    let count = async || {
        let used = keys::group_keys_in_use(&plane.config).await.unwrap();
        assert_ne!(used.current, old);
        let of = |key: &String| {
            let found = used.by_key.iter().find(|(id, _)| id == key);
            found.map(|(_, count)| (count.certificates, count.tickets))
        };
        (of(&old), of(&used.current))
    };
    eventually(async || (count().await == (Some((1, 0)), Some((0, 2)))).then_some(())).await;
}
