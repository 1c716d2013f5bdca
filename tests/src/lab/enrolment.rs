//! Writes edges' configs and enrols them at a control plane.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::Path,
};

use toml::{Table, Value};

use super::{Edge, text};
use crate::{
    node::{Node, run_landfall},
    ports::free_ports,
    tools::{self, Ran},
};

/// Where an edge is.
pub(super) struct Place {
    /// What DNS says of its PoP.
    pop: IpAddr,
    https: SocketAddr,
    http: SocketAddr,
}

impl Place {
    pub(super) fn of(number: usize, pop_ports: Option<[u16; 2]>) -> Self {
        let address = |last| IpAddr::from([127, 0, 0, u8::try_from(last).unwrap()]);
        match pop_ports {
            None => {
                let [https, http] = free_ports().map(|port| SocketAddr::new(address(1), port));
                Self { pop: address(number + 1), https, http }
            }
            Some([http, https]) => {
                let pop = address(number + 2);
                let at = |port| SocketAddr::new(pop, port);
                Self { pop, https: at(https), http: at(http) }
            }
        }
    }
}

/// Enrols an edge and writes its config.
pub(super) async fn edge(
    (number, place): (usize, &Place),
    folder: &Path,
    control: SocketAddr,
    settings: &[(String, Value)],
) -> Edge {
    let name = format!("edge{number}");
    let path = folder.join(format!("{name}.toml"));
    let pop_address = place.pop.to_string();
    let control_config = folder.join("control.toml");
    let add = ["pop", "add", &name, "--address", &pop_address, "--config", text(&control_config)];
    let added = must(&add).await;
    let token_file = format!("{name}.token");
    tools::write_private(&folder.join(&token_file), &added.stdout);

    let (https, http) = (place.https, place.http);
    let [admin] = free_ports().map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let mut config = Table::new();
    set(&mut config, "listen.https", vec![https.to_string()].into());
    set(&mut config, "listen.http", vec![http.to_string()].into());
    set(&mut config, "listen.admin", admin.to_string().into());
    set(&mut config, "feed.url", format!("http://{control}").into());
    set(&mut config, "feed.token_file", token_file.into());
    set(&mut config, "feed.signing_keys", vec![signing_key(&added)].into());
    set(&mut config, "keys.group_key_files", vec!["keys/group.key"].into());
    set(&mut config, "state.directory", name.as_str().into());
    set(&mut config, "upstream.allow_networks", vec!["127.0.0.0/8"].into());
    set(&mut config, "server.drain", "500ms".into());
    // The CAs that are set by default are public ones.
    set(&mut config, "issuance.enabled", false.into());
    write(&path, config, settings);
    Edge { node: Node::new(&name, &["edge", "--config", text(&path)], folder), https, http, admin }
}

/// From the lines that `pop add` tells the operator to put into the edge's config.
fn signing_key(added: &Ran) -> String {
    let line = added.stderr.lines().find(|line| line.starts_with("signing_keys"));
    let key = line.and_then(|line| line.split('"').nth(1));
    key.unwrap_or_else(|| panic!("no signing key in {}", added.stderr)).to_owned()
}

/// Sets a dotted key, with its tables.
pub(super) fn set(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
        }
        Some((head, rest)) => {
            let inner = table.entry(head).or_insert_with(|| Table::new().into());
            set(inner.as_table_mut().expect("a key of a table"), rest, value);
        }
    }
}

/// Writes a config with these of its keys set.
pub(super) fn write(path: &Path, mut config: Table, settings: &[(String, Value)]) {
    for (key, value) in settings {
        set(&mut config, key, value.clone());
    }
    fs::write(path, config.to_string()).unwrap();
}

/// Runs a `landfall` command that must succeed.
pub(super) async fn must(args: &[&str]) -> Ran {
    let ran = Ran::from(run_landfall(args).await);
    assert!(ran.status.success(), "landfall {args:?}: {}", ran.all());
    ran
}
