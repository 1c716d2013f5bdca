//! What keeps a hand-over from taking place: the old process goes on, and says why.

use std::{net::TcpListener, os::unix::fs::PermissionsExt};

use landfall_tests::{DEADLINE, Lab, Origin, run_landfall, wait_until};
use rustix::process::{Pid, Signal, kill_process};

use super::{SHOP, Succession, is_running};

/// The processes with the command line of `of`, which runs, other than itself and the one that it starts
/// them by.
struct Successors {
    of: Pid,
    command: Vec<u8>,
}

impl Successors {
    fn new(of: Pid) -> Self {
        Self { of, command: command(of) }
    }

    fn running(&self) -> Vec<Pid> {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let others = ids.filter_map(Pid::from_raw).filter(|pid| *pid != self.of);
        let same = others.filter(|pid| command(*pid) == self.command && is_running(*pid));
        same.filter(|pid| parent(*pid) != Some(self.of.as_raw_nonzero().get())).collect()
    }

    async fn first(&self) -> Pid {
        let first = async || self.running().first().copied();
        wait_until("a new process starts", DEADLINE, first).await
    }
}

fn command(pid: Pid) -> Vec<u8> {
    std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default()
}

fn parent(pid: Pid) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()
}

#[tokio::test]
async fn what_a_new_process_could_not_serve_with_is_refused_and_the_old_one_goes_on() {
    let edge = Succession::start(Lab::builder()).await;
    let origin = Origin::start("more").await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let path = edge.lab.edge_config(0);
    let as_it_was = std::fs::read_to_string(&path).unwrap();

    edge.set("server", "threads", 0);
    let (code, said) = edge.refused().await;
    assert_eq!(code, 64, "{said}");
    assert!(said.contains("server.threads: expected at least 1"), "{said}");
    std::fs::write(&path, &as_it_was).unwrap();

    edge.set("listen", "http", vec![taken.clone()]);
    let (code, said) = edge.refused().await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains(&format!("cannot listen on {taken}: Address already in use")), "{said}");
    std::fs::write(&path, &as_it_was).unwrap();

    let token = edge.lab.folder().join("edge0.token");
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (code, said) = edge.refused().await;
    assert!(code == 1 && said.contains("a secret can't be read"), "{said}");
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).unwrap();

    let folder = edge.lab.folder().join("edge0");
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).unwrap();
    let (code, said) = edge.refused().await;
    assert!(code == 1 && said.contains("`server.run_directory`: expected a folder"), "{said}");
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).unwrap();

    let state = edge.lab.folder().join("edge0/last-known-good.db");
    let state = rusqlite::Connection::open(state).unwrap();
    state.busy_timeout(DEADLINE).unwrap();
    state.pragma_update(None, "user_version", 99).unwrap();
    let (code, said) = edge.refused().await;
    assert!(code == 1 && said.contains("has schema 99"), "{code} {said}");
    state.pragma_update(None, "user_version", 1).unwrap();

    assert_eq!(
        edge.lab.metric(0, "landfall_handovers_total", r#"result="refused""#).await,
        Some(4.0)
    );
    assert!(is_running(edge.pid()));
    edge.serves_and_follows("more", origin.address()).await;
}

#[tokio::test]
async fn a_new_process_that_is_killed_or_hangs_leaves_the_old_one_as_it_was() {
    let mut edge = Succession::start(Lab::builder()).await;
    let origin = Origin::start("more").await;
    let successors = Successors::new(edge.pid());
    let first = async |signal| {
        let _ = kill_process(successors.first().await, signal);
    };

    let (refused, ()) = tokio::join!(edge.refused(), first(Signal::KILL));
    assert!(refused.0 == 1 && refused.1.contains("ended before it served"), "{refused:?}");
    edge.serves_and_follows("more", origin.address()).await;

    let hanging = async {
        first(Signal::STOP).await;
        let (code, said) = edge.refused().await;
        assert!(code == 1 && said.contains("another hand-over is under way"), "{said}");
        edge.lab.signal_edge(0, Signal::TERM);
    };
    let (given_up, ()) = tokio::join!(edge.try_reload(), hanging);
    assert!(!given_up.status.success());
    assert!(edge.lab.edge(0).ended(DEADLINE).await.success());
    for pid in successors.running() {
        let _ = kill_process(pid, Signal::CONT);
        edge.gone(pid).await;
    }
}

#[tokio::test]
async fn a_new_process_ends_with_the_old_one_that_is_killed_before_it_has_handed_over() {
    let mut edge = Succession::start(Lab::builder()).await;
    let old = edge.pid();
    let successors = Successors::new(old);
    let killing = async {
        successors.first().await;
        let _ = kill_process(old, Signal::KILL);
    };
    let (output, ()) = tokio::join!(edge.try_reload(), killing);
    edge.lab.edge(0).ended(DEADLINE).await;
    let said = format!("{output:?}");
    // Who was quicker is open.
    if output.status.success() {
        edge.lab.wait_until_served(0, super::SHOP, "shop").await;
        for pid in successors.running() {
            let _ = kill_process(pid, Signal::KILL);
        }
        return;
    }
    assert!(said.contains("gave no answer"), "{said}");
    wait_until("the new one ends", DEADLINE, async || {
        successors.running().is_empty().then_some(())
    })
    .await;
    edge.lab.edge(0).start();
    edge.lab.wait_until_served(0, super::SHOP, "shop").await;
}

/// Has the next process hold another group key than what it serves is sealed to.
async fn lose_group_key(edge: &Succession) {
    let other = edge.lab.folder().join("other");
    let made = run_landfall(&["keys", "init", "--dir", other.to_str().unwrap()]).await;
    assert!(made.status.success(), "{made:?}");
    let key = other.join("group.key");
    edge.set("keys", "group_key_files", vec![key.to_str().unwrap().to_owned()]);
}

#[tokio::test]
async fn a_group_key_that_certificates_are_sealed_to_is_not_left_behind() {
    let edge = Succession::start(Lab::builder()).await;
    let origin = Origin::start("more").await;
    let path = edge.lab.edge_config(0);
    let as_it_was = std::fs::read_to_string(&path).unwrap();

    lose_group_key(&edge).await;
    let (code, said) = edge.refused().await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("`keys.group_key_files` lacks the group key"), "{said}");
    assert!(said.contains(&format!("among them one of {SHOP}")), "{said}");
    std::fs::write(&path, &as_it_was).unwrap();
    edge.serves_and_follows("more", origin.address()).await;
}

#[tokio::test]
async fn an_edge_that_starts_without_a_group_key_says_so_until_it_has_it() {
    let mut edge = Succession::start(Lab::builder()).await;
    let path = edge.lab.edge_config(0);
    let as_it_was = std::fs::read_to_string(&path).unwrap();
    let gauge = "landfall_certificates_without_group_key";
    assert_eq!(edge.lab.metric(0, gauge, "").await, Some(0.0));

    edge.lab.edge(0).stop().await;
    lose_group_key(&edge).await;
    edge.lab.edge(0).start();
    edge.lab.edge(0).wait_for_log("lacks the group key that they are sealed to").await;
    assert_eq!(edge.lab.metric(0, gauge, "").await, Some(1.0));
    let ready = edge.lab.read_admin(0, "/readyz").await.unwrap();
    assert_eq!(ready.status, 503, "{ready:?}");
    assert!(ready.text.contains("missing group key: "), "{ready:?}");

    // Without anybody who has it at work, a key may come and go.
    std::fs::write(&path, &as_it_was).unwrap();
    edge.pids = vec![edge.lab.edge(0).pid()];
    edge.reload().await;
    edge.lab.wait_until_served(0, SHOP, "shop").await;
    assert_eq!(edge.lab.metric(0, gauge, "").await, Some(0.0));
    let ready = edge.lab.read_admin(0, "/readyz").await.unwrap();
    assert!(ready.status == 200 && !ready.text.contains("missing"), "{ready:?}");
}

#[tokio::test]
async fn a_new_edge_with_another_group_key_is_not_ready() {
    let mut edge = Succession::start(Lab::builder()).await;
    edge.lab.edge(0).stop().await;
    std::fs::remove_dir_all(edge.lab.folder().join("edge0")).unwrap();
    lose_group_key(&edge).await;
    edge.lab.edge(0).start();
    edge.lab.edge(0).wait_for_log("snapshot applied").await;
    wait_until("the edge says what it lacks", DEADLINE, async || {
        let ready = edge.lab.read_admin(0, "/readyz").await.ok()?;
        (ready.status == 503 && ready.text.contains("lack of a group key: ")).then_some(())
    })
    .await;
}
