//! What an operator does by the command line, and what a start refuses.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use landfall_control::{Control, ControlError, admin};
use serde_json::json;

use crate::support::{EVERYTHING, Plane, config};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_work_before_the_first_start() {
    let dir = tempfile::tempdir().unwrap();
    let keys = admin::init_group_keys(dir.path()).unwrap();
    assert_eq!(mode(&keys.private), 0o600);
    let config = config(dir.path(), json!({}));
    let addresses = ["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];

    let enrolment = admin::add_pop(&config, "pop-1", &addresses).await.unwrap();
    let key = admin::add_api_key(&config, "ops", EVERYTHING).await.unwrap();

    assert!(enrolment.token.starts_with("lfp_") && key.starts_with("lf_"));
    let pops = admin::list_pops(&config).await.unwrap();
    assert_eq!(pops[0].addresses, addresses);
    assert!(pops[0].ack.is_none());
    let control = Control::bind(config).await.unwrap();
    assert_ne!(control.address().port(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_checked_and_unique_and_removal_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), json!({}));
    let one = ["192.0.2.1".parse().unwrap()];
    admin::add_pop(&config, "pop-1", &one).await.unwrap();
    admin::add_api_key(&config, "ops", EVERYTHING).await.unwrap();
    let error = |result: Result<(), ControlError>| result.unwrap_err();
    let add_pop = async |name: &str| admin::add_pop(&config, name, &one).await.map(drop);
    assert!(matches!(error(add_pop("pop-1").await), ControlError::Exists { .. }));
    assert!(matches!(error(add_pop("a b").await), ControlError::Name(_)));
    assert!(matches!(error(add_pop("").await), ControlError::Name(_)));
    let none = admin::add_pop(&config, "pop-2", &[]).await.map(drop);
    assert!(matches!(error(none), ControlError::Addresses));
    let again = admin::add_api_key(&config, "ops", EVERYTHING).await.map(drop);
    assert!(matches!(error(again), ControlError::Exists { .. }));

    admin::remove_pop(&config, "pop-1").await.unwrap();
    admin::revoke_api_key(&config, "ops", None).await.unwrap();

    let gone = admin::remove_pop(&config, "pop-1").await;
    assert!(matches!(error(gone), ControlError::Unknown { .. }));
    let gone = admin::revoke_api_key(&config, "ops", None).await;
    assert!(matches!(error(gone), ControlError::Unknown { .. }));
    assert!(admin::list_pops(&config).await.unwrap().is_empty());
    assert!(admin::list_api_keys(&config).await.unwrap()[0].revoked_at.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_pop_is_let_in_no_more() {
    let plane = Plane::start().await;
    let pop = plane.pop("pop-1").await;
    let epoch = pop.epoch().await;
    admin::remove_pop(&plane.config, "pop-1").await.unwrap();
    assert_eq!(pop.changes(epoch, 0, "").await.status().as_u16(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_makes_private_files_and_a_second_one_keeps_them() {
    let plane = Plane::start().await;
    let state = plane.dir.path().join("state");
    plane.property("shop").await;
    assert_eq!(mode(&state), 0o700);
    for name in ["control.db", "feed-signing.key", "internal-ca.key", "control.db-wal"] {
        assert_eq!(mode(&state.join(name)), 0o600, "{name}");
    }
    let read = |name: &str| fs::read(state.join(name)).unwrap();
    let names = ["feed-signing.key", "internal-ca.key", "internal-ca.pem"];
    let before = names.map(read);
    let plane = plane.restart(async |_| {}).await;
    assert_eq!(names.map(read), before);
    assert_eq!(plane.get("/api/Property/1").await.1["name"], "shop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_is_refused_where_a_secret_is_open_to_others() {
    let dir = Plane::start().await.stop().await;
    let config = config(dir.path(), json!({}));
    let state = dir.path().join("state");
    for name in ["control.db", "feed-signing.key", "internal-ca.key", "."] {
        let path = state.join(name);
        let private = mode(&path);
        chmod(&path, 0o750);
        let error = Control::bind(config.clone()).await.err().unwrap();
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(error) = source {
            text.push_str(&error.to_string());
            source = error.source();
        }
        assert!(text.contains("chmod"), "{name}: {text}");
        chmod(&path, private);
    }
    assert!(Control::bind(config).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn group_keys_are_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let keys = admin::init_group_keys(dir.path()).unwrap();
    let before = fs::read(&keys.private).unwrap();
    assert!(admin::init_group_keys(dir.path()).is_err());
    fs::remove_file(&keys.public).unwrap();
    assert!(admin::init_group_keys(dir.path()).is_err());
    assert_eq!(fs::read(&keys.private).unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_said() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let dir = tempfile::tempdir().unwrap();
    admin::init_group_keys(dir.path()).unwrap();
    let config = config(dir.path(), json!({"api": {"listen": address.to_string()}}));
    let error = Control::bind(config).await.err().unwrap();
    assert_eq!(error.to_string(), format!("cannot listen on {address}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_on_a_state_directory_is_refused_until_the_first_one_ended() {
    let plane = Plane::start().await;
    let state = plane.dir.path().join("state");
    let config = plane.config.clone();
    let error = Control::bind(config.clone()).await.err().unwrap();
    let expected = format!("another server runs on the state directory {}", state.display());
    assert_eq!(error.to_string(), expected);
    assert_eq!(admin::list_api_keys(&config).await.unwrap().len(), 1);
    let _dir = plane.stop().await;
    assert!(Control::bind(config).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_under_another_system_domain_is_refused() {
    let plane = Plane::start().await;
    plane.property("shop").await;
    let dir = plane.stop().await;
    for domain in ["other.test", "more.edge.test"] {
        let config = config(dir.path(), json!({"system_domain": domain}));
        let error = Control::bind(config).await.err().unwrap().to_string();
        assert!(error.contains("`shop.edge.test`") && error.contains(domain), "{error}");
    }
    assert!(Control::bind(config(dir.path(), json!({}))).await.is_ok());
}
